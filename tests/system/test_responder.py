"""The responder role: a process without a key, which follows an issuer's feed of status and answers for it.

What the feed says and to whom is read here by a reader of its own; what responders answer, by OpenSSL and Python.
"""
import base64
import calendar
import hashlib
import http.server
import os
import pwd
import signal
import ssl
import struct
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from house import House, free_port, program, wait_for

pytestmark = pytest.mark.waits

RECORD, END = 21, 1 << 52
NO_EPOCH = "00" * 16


class Page:
    """deploy/api/v1.yaml, /v1/status/changes."""

    def __init__(self, body):
        magic, self.kind, zero, self.epoch, self.start, self.next, self.newest, self.documents, self.time_ms, n = struct.unpack(">4sB3s16sQQQQqI", body[:68])
        assert magic == b"WRF1" and zero == bytes(3) and len(body) == 68 + n * RECORD
        self.epoch = self.epoch.hex()
        self.records = []
        for i in range(n):
            serial, state, life = struct.unpack(">16sBI", body[68 + i * RECORD:68 + (i + 1) * RECORD])
            self.records.append((serial.hex(), {1: "good", 2: "revoked"}[state], int.from_bytes(serial[:4], "big") * 60 + life))


@pytest.fixture(scope="module")
def scene():
    house = House("swtpm")
    try:
        house.certify("responder-1")
        house.certify("responder-2")
        house.init()
        house.start()
        yield house
    finally:
        house.close()


def changes(client, epoch, start, wait_ms=0):
    answer = client.ask("GET", f"/v1/status/changes?epoch={epoch}&from={start}&wait_ms={wait_ms}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/octet-stream"), answer
    return Page(answer.body)


def table(client, epoch):
    """Everything in it, page by page."""
    at, found = 0, {}
    while at != END:
        page = Page(client.ask("GET", f"/v1/status/table?epoch={epoch}&at={at}").body)
        assert page.kind == 3 and page.start == at and page.next > at
        at = page.next
        found.update({serial: (state, until) for serial, state, until in page.records})
    return found


# ---- the feed, as an issuer gives it ----

def ends(agent):
    return calendar.timegm(agent.cert.not_valid_after.timetuple())


def test_who_follows_reads_the_table_and_then_each_change_in_order(scene):
    client = scene.person("responder-1")
    before = scene.agent_with_leaf("before")
    begin = changes(client, NO_EPOCH, 0)
    assert begin.kind == 2 and begin.next == begin.newest and not begin.records
    assert abs(begin.time_ms / 1000 - time.time()) < 5
    assert table(client, begin.epoch)[before.serial] == ("good", ends(before))
    after = scene.agent_with_leaf("after")
    assert scene.person("olga").ask("POST", "/v1/revocations", {"serial": before.serial}).status == 200
    page = changes(client, begin.epoch, begin.next)
    assert page.kind == 1 and page.next == page.newest == begin.next + 2
    assert page.records == [(after.serial, "good", ends(after)), (before.serial, "revoked", ends(before))]
    assert table(client, begin.epoch)[before.serial] == ("revoked", ends(before))
    assert changes(client, begin.epoch, page.next).records == []
    for epoch, start in ((NO_EPOCH, page.next), (begin.epoch, page.next + 1)):  # another life's numbers, and the future's
        assert changes(client, epoch, start).kind == 2


def test_a_question_waits_for_a_change_and_is_answered_when_there_is_one(scene):
    client = scene.person("responder-1")
    begin = changes(client, NO_EPOCH, 0)
    asked = time.monotonic()
    quiet = changes(client, begin.epoch, begin.next, 300)
    assert quiet.kind == 1 and not quiet.records and quiet.next == begin.next and time.monotonic() - asked >= 0.3
    agent = scene.agent_with_leaf("waited-for")
    start = changes(client, begin.epoch, begin.next).next
    found = []
    waits = threading.Thread(target=lambda: found.append(changes(client, begin.epoch, start, 2000)))
    waits.start()
    assert scene.person("olga").ask("POST", "/v1/revocations", {"serial": agent.serial}).status == 200
    waits.join(30)
    assert [(serial, state) for serial, state, _ in found[0].records] == [(agent.serial, "revoked")]


def test_the_documents_are_listed_as_they_are_served(scene):
    answer = scene.person("responder-2").ask("GET", "/v1/status/documents")
    listed = {line.split(" ")[6]: line.split(" ") for line in answer.body.decode().splitlines()}
    assert {"/ca/anchor.cer", "/ca/issuing.pem"} < set(listed) and any(path.startswith("/crl/") for path in listed)
    for path in ("/ca/anchor.cer", "/ca/issuing.pem"):
        body = scene.get(path)
        assert listed[path][:2] == [hashlib.sha256(body).hexdigest(), str(len(body))]


@pytest.mark.parametrize("who, status", [("nobody", 401), ("alice", 403), ("olga", 403), ("ada", 403), ("an agent", 403)])
def test_the_feed_is_for_responders_alone(scene, who, status):
    client = scene.nobody() if who == "nobody" else scene.agent_with_leaf("curious").client() if who == "an agent" else scene.person(who)
    for path in ("/v1/status/changes?epoch=" + NO_EPOCH + "&from=0", "/v1/status/table?epoch=" + NO_EPOCH + "&at=0", "/v1/status/documents"):
        answer = client.ask("GET", path)
        assert answer.status == status, answer
        assert status == 401 or (answer.json["rule"], answer.json["limit"]) == ("responder", "principals with the responder role"), answer


def test_a_responder_may_do_nothing_else(scene):
    client = scene.person("responder-1")
    for method, path in (("GET", "/v1/log/entries"), ("GET", "/v1/freezes"), ("GET", "/v1/policy"), ("POST", "/v1/policy/reload")):
        assert client.ask(method, path).status == 403, (method, path)


# ---- responders ----

class Responder:
    """A process of its own, and whoever asks it."""

    def __init__(self, house, name, who="responder-1", issuer=None, status=None, lag_max_s=5, key=None, env=None, ca="corp.pem", user=None):
        self.house, self.name, self.port = house, name, free_port()
        self.log = house.path(name + ".log")
        with open(house.path(name + ".yaml"), "w", encoding="utf-8") as f:
            f.write(f"""\
version: 1
status: {{listen: "127.0.0.1:{self.port}"}}
responder:
  issuer: {issuer or f"https://127.0.0.1:{house.api_port}"}
  status: {status or f"http://127.0.0.1:{house.status_port}"}
  ca: {ca}
  certificate: {who}.pem
  key: {key or who + ".key"}
  lag_max_s: {lag_max_s}
""" + (f"user: {user}\n" if user else ""))
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([program("writd"), "--config", house.path(name + ".yaml"), "--role", "responder"], stdout=log, stderr=log,
                                            env=dict(os.environ, **(env or {})))

    def get(self, path, data=None, headers=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=data, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, dict(answer.getheaders()), answer.read()
        except urllib.error.HTTPError as e:
            return e.code, dict(e.headers), e.read()

    def health(self):
        try:
            return self.get("/healthz")[0]
        except OSError:
            assert self.process.poll() is None, self.said()
            return 0

    def ready(self):
        wait_for(f"{self.name} is ready", lambda: self.health() == 200, 30)
        return self

    def metric(self, name):
        for line in self.get("/metrics")[2].decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split(" ")[1])
        return None

    def response(self, agent, algorithm=None, by_get=False):
        der = request_for(self.house, agent, algorithm)
        if by_get:
            body = self.get("/ocsp/" + urllib.parse.quote(base64.b64encode(der).decode(), safe=""))[2]
        else:
            body = self.get("/ocsp", der, {"Content-Type": "application/ocsp-request"})[2]
        return ocsp.load_der_ocsp_response(body)

    def status(self, agent, **how):
        response = self.response(agent, **how)
        if response.response_status != ocsp.OCSPResponseStatus.SUCCESSFUL:
            return response.response_status.name
        assert response.serial_number == agent.cert.serial_number
        return response.certificate_status.name

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(timeout=30)


def request_for(house, agent, algorithm=None):
    builder = ocsp.OCSPRequestBuilder().add_certificate(agent.cert, house.issuing_of(agent), algorithm or hashes.SHA256())
    return builder.build().public_bytes(serialization.Encoding.DER)


def reachable(path):
    """May a user without rights come to it?"""
    while path != "/":
        path = os.path.dirname(path)
        if not os.stat(path).st_mode & 0o001:
            return False
    return True


@pytest.fixture(scope="module")
def two(scene):
    """One by a key in a file, and one by a credential."""
    os.makedirs(scene.path("credentials"))
    with open(scene.path("responder-2.key"), "rb") as source, open(scene.path("credentials/client-key"), "wb") as f:
        f.write(source.read())
    os.chmod(scene.path("credentials/client-key"), 0o400)
    made = [Responder(scene, "first"),
            Responder(scene, "second", "responder-2", lag_max_s=2, key="credential:client-key", env={"CREDENTIALS_DIRECTORY": scene.path("credentials")})]
    try:
        for responder in made:
            responder.ready()
        yield made
    finally:
        for responder in made:
            assert responder.close() == 0


@pytest.fixture
def made(scene):
    """More of them, for one test."""
    all_made = []

    def make(*args, **kwargs):
        all_made.append(Responder(scene, *args, **kwargs))
        return all_made[-1]

    yield make
    for responder in all_made:
        responder.close()


def revoke(house, agent):
    assert house.person("olga").ask("POST", "/v1/revocations", {"serial": agent.serial}).status == 200


def test_openssl_and_python_accept_what_each_responder_answers(scene, two):
    good, bad = scene.agent_with_leaf("accepted"), scene.agent_with_leaf("not-accepted")
    revoke(scene, bad)
    anchor, issuing = scene.write_anchor(), scene.path("issuing.pem")
    with open(issuing, "wb") as f:
        f.write(scene.issuing_of(good).public_bytes(serialization.Encoding.PEM))
    for responder in two:
        for how in ({}, {"by_get": True}, {"algorithm": hashes.SHA1()}):
            wait_for("good", lambda how=how, responder=responder: responder.status(good, **how) == "GOOD")
            wait_for("revoked", lambda how=how, responder=responder: responder.status(bad, **how) == "REVOKED")
        for agent, word in ((good, "good"), (bad, "revoked")):
            for nonce in ("-nonce", "-no_nonce"):  # which is not passed on, and its answer as true
                told = subprocess.run(["openssl", "ocsp", "-issuer", issuing, "-cert", agent.cert_file, "-url", f"http://127.0.0.1:{responder.port}/ocsp",
                                       "-CAfile", anchor, nonce], capture_output=True, text=True, check=False)
                assert told.returncode == 0 and "Response verify OK" in told.stderr and f": {word}" in told.stdout, told
                assert ("no nonce in response" in told.stderr) == (nonce == "-nonce")
        assert responder.response(good).this_update <= responder.response(good).next_update


def test_a_revocation_is_heard_from_every_responder_within_the_bound(scene, two):
    agents, late = [scene.agent_with_leaf(f"late-{i}") for i in range(20)], []
    for agent in agents:
        for responder in two:
            wait_for("good", lambda agent=agent, responder=responder: responder.status(agent) == "GOOD")  # so that an answer is ready
    for agent in agents:
        revoke(scene, agent)
        acknowledged = time.monotonic()
        for responder in two:
            wait_for("revoked", lambda agent=agent, responder=responder: responder.status(agent) == "REVOKED", 5)
        late.append(time.monotonic() - acknowledged)
    print(f"heard from both {1000 * sorted(late)[10]:.1f} ms after it was acknowledged (median of 20), {1000 * max(late):.1f} ms at worst")


def test_what_was_never_issued_is_unauthorized(scene, two):
    der, agent = request_for(scene, scene.agent_with_leaf("issued")), scene.agent_with_leaf("template")
    wanted = [request_for(scene, agent).replace(bytes.fromhex(agent.serial), bytes.fromhex(agent.serial[:8]) + os.urandom(12)),  # of this minute
              request_for(scene, agent).replace(bytes.fromhex(agent.serial), b"\x01" + os.urandom(15)), der[:-1] + bytes([der[-1] ^ 1])]
    for responder in two:
        for request in wanted:
            body = responder.get("/ocsp", request, {"Content-Type": "application/ocsp-request"})[2]
            assert body == bytes.fromhex("30030a0106"), body
        assert responder.get("/ocsp", b"no DER", {"Content-Type": "application/ocsp-request"})[2] == bytes.fromhex("30030a0101")


def test_documents_are_the_issuers_byte_for_byte(scene, two):
    agent = scene.agent_with_leaf("listed")
    revoke(scene, agent)
    serial = agent.cert.serial_number
    path = urllib.parse.urlparse(agent.cert.extensions.get_extension_for_class(x509.CRLDistributionPoints).value[0].full_name[0].value).path
    for responder in two:
        lists = lambda responder=responder: x509.load_der_x509_crl(responder.get(path)[2]).get_revoked_certificate_by_serial_number(serial)  # noqa: E731
        wait_for("the list names it", lists)
        for same in ("/ca/anchor.cer", "/ca/issuing.pem"):
            assert responder.get(same)[2] == scene.get(same)
        _, headers, _ = responder.get("/ca/anchor.cer")
        assert responder.get("/ca/anchor.cer", headers={"If-None-Match": headers["ETag"]})[0] == 304
        assert responder.get("/crl/none.crl")[0] == 404


def test_a_responder_has_no_file_open_and_no_way_to_more(scene, two):
    for responder in two:
        folder = f"/proc/{responder.process.pid}"
        files = [os.readlink(f"{folder}/fd/{n}") for n in os.listdir(f"{folder}/fd")]
        assert not [f for f in files if f.startswith("/") and not f.startswith("/dev/") and f != responder.log], files
        for name in ("cmdline", "environ"):
            with open(f"{folder}/{name}", "rb") as f:
                assert b"PRIVATE KEY" not in f.read()
        for thread in os.listdir(f"{folder}/task"):
            with open(f"{folder}/task/{thread}/status", encoding="ascii") as f:
                said = f.read()
            assert "Seccomp:\t2" in said and "NoNewPrivs:\t1" in said
        with open(f"{folder}/maps", encoding="utf-8", errors="replace") as f:
            maps = f.read()
        assert "libsqlite" not in maps and "libtss2" not in maps and "softhsm" not in maps


def test_started_by_root_it_becomes_the_user_that_is_named(scene, made):
    if os.geteuid() != 0 or not reachable(program("writ-responderd")):
        pytest.skip("only root changes its user, and the program must be in that one's reach")
    users = made("users", user="daemon").ready()
    with open(f"/proc/{users.process.pid}/status", encoding="ascii") as f:
        said = f.read()
    assert f"Uid:\t{pwd.getpwnam('daemon').pw_uid}\t" in said and "Groups:\t \n" in said and "CapEff:\t0000000000000000" in said, said


@pytest.mark.parametrize("what", ["exec", "fork"])
def test_a_call_outside_its_list_ends_a_responder(made, what):
    from test_sandbox import sanitized
    if sanitized() and what == "fork":
        pytest.skip("the run-time library of a sanitizer needs this call")
    assert made("breach-" + what, env={"WRIT_FAULT": f"sandbox:{what}:1"}).process.wait(timeout=30) == -signal.SIGSYS


def watch(responder, expected, seconds):
    """Asks each again and again; what was said, beside what may be said."""
    wrong, said, end = [], set(), time.monotonic() + seconds
    while time.monotonic() < end:
        for agent, word in expected:
            got = responder.status(agent)
            said.add(got)
            if got not in (word, "TRY_LATER"):
                wrong.append((agent.name, word, got))
    return wrong, said


def test_nothing_wrong_is_said_while_the_issuer_is_killed_and_comes_back(scene, two):
    good, bad = scene.agent_with_leaf("through-good"), scene.agent_with_leaf("through-bad")
    revoke(scene, bad)
    for responder in two:
        wait_for("known", lambda responder=responder: (responder.status(good), responder.status(bad)) == ("GOOD", "REVOKED"))
    before = [responder.metric("writ_responder_epochs_total") for responder in two]
    found = []
    watchers = [threading.Thread(target=lambda r=r: found.append(watch(r, [(good, "GOOD"), (bad, "REVOKED")], 2))) for r in two]
    for watcher in watchers:
        watcher.start()
    pid, = scene.pids("writ-issuerd")
    os.kill(pid, signal.SIGKILL)
    for watcher in watchers:
        watcher.join()
    assert [wrong for wrong, _ in found] == [[], []]
    scene.wait_healthy()
    newer = scene.agent_with_leaf("after-the-kill")
    for responder, n in zip(two, before):
        wait_for("followed on", lambda responder=responder: responder.health() == 200 and responder.status(newer) == "GOOD", 30)
        assert responder.metric("writ_responder_epochs_total") == n + 1 and responder.metric("writ_responder_resyncs_total") >= 1
        assert (responder.status(good), responder.status(bad)) == ("GOOD", "REVOKED")


def test_beyond_the_lag_bound_it_is_try_later_and_documents_go_on(scene, two):
    agent, (patient, strict) = scene.agent_with_leaf("stale"), two
    for responder in two:
        wait_for("good", lambda responder=responder: responder.status(agent) == "GOOD")
    pid, = scene.pids("writ-issuerd")
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for("the strict one says so", lambda: strict.status(agent) == "TRY_LATER", 20)
        status, _, body = strict.get("/healthz")
        assert status == 503 and b"ms old, over 2 s" in body, body
        assert strict.metric("writ_responder_fresh") == 0 and strict.metric("writ_responder_lag_seconds") > 2
        assert strict.get("/ca/anchor.cer")[0] == 200
        assert patient.status(agent) in ("GOOD", "TRY_LATER")
    finally:
        os.kill(pid, signal.SIGCONT)
    for responder in two:
        wait_for("well again", lambda responder=responder: responder.health() == 200 and responder.status(agent) == "GOOD", 30)


def test_who_is_no_responder_hears_nothing_and_says_nothing(scene, made):
    agent = scene.agent_with_leaf("unheard")
    alice = made("alices", "alice")
    wait_for("it was refused", lambda: alice.health() == 503 and alice.metric("writ_responder_feed_failures_total"))
    assert b"role responder" in alice.get("/healthz")[2]
    assert alice.status(agent) == "TRY_LATER" and alice.metric("writ_responder_fresh") == 0
    assert alice.get("/ca/anchor.cer")[0] == 404


def test_an_issuer_that_another_ca_certified_is_not_believed(scene, made):
    other = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=other",
                            "-days", "2"], check=True, capture_output=True).stdout
    with open(scene.path("other-ca.pem"), "wb") as f:
        f.write(other)
    lost = made("lost", ca="other-ca.pem")
    wait_for("it does not trust it", lambda: lost.health() == 503 and lost.metric("writ_responder_feed_failures_total"))
    assert b"certificate" in lost.get("/healthz")[2]


# ---- somebody in between ----

class Between(http.server.BaseHTTPRequestHandler):
    """Passes on what the issuer answers, changed by `self.server.change`(path, body)."""
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.pass_on(None)

    def do_POST(self):
        self.pass_on(self.rfile.read(int(self.headers["Content-Length"])))

    def pass_on(self, data):
        request = urllib.request.Request(self.server.upstream + self.path, data=data, headers={"Content-Type": self.headers.get("Content-Type", "text/plain")})
        try:
            with urllib.request.urlopen(request, timeout=20, context=self.server.context) as answer:
                body = self.server.change(self.path, answer.read())
        except OSError:
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def between(scene):
    """Two such: in front of the API, whose certificate it has, and of the status listener."""
    servers = []
    for tls in (True, False):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Between)
        server.daemon_threads = True
        server.change, server.context = lambda path, body: body, None
        server.upstream = f"https://127.0.0.1:{scene.api_port}" if tls else f"http://127.0.0.1:{scene.status_port}"
        if tls:
            server.context = ssl.create_default_context(cafile=scene.path("corp.pem"))
            server.context.load_cert_chain(scene.path("responder-1.pem"), scene.path("responder-1.key"))
            own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            own.load_cert_chain(scene.path("api.pem"), scene.path("api.key"))
            server.socket = own.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
    yield servers
    for server in servers:
        server.shutdown()
        server.server_close()


def changed(at, octet):
    return lambda path, body: body[:at] + bytes([octet]) + body[at + 1:] if "/v1/status/changes" in path else body


FEED_FAULTS = {
    "cut short": lambda path, body: body[:-1] if "/v1/status/changes" in path else body,
    "a number that was not asked for": changed(31, 0xee),
    "far too much": lambda path, body: bytes(400000) if "/v1/status/changes" in path else body,
}


def test_a_feed_that_is_not_one_is_not_believed_and_followed_again_when_it_is(scene, made, between):
    feed, status = between
    responder = made("through", issuer=f"https://127.0.0.1:{feed.server_port}", status=f"http://127.0.0.1:{status.server_port}", lag_max_s=2).ready()
    agent = scene.agent_with_leaf("fed")
    wait_for("good", lambda: responder.status(agent) == "GOOD")
    for name, fault in FEED_FAULTS.items():
        failures = responder.metric("writ_responder_feed_failures_total")
        feed.change = fault
        wait_for(name, lambda failures=failures: responder.metric("writ_responder_feed_failures_total") > failures)
        assert responder.status(agent) in ("GOOD", "TRY_LATER"), name
    wait_for("its knowledge is too old", lambda: responder.status(agent) == "TRY_LATER")
    revoke(scene, agent)
    feed.change = lambda path, body: body
    wait_for("it follows again", lambda: responder.status(agent) == "REVOKED")
    assert responder.metric("writ_responder_resyncs_total") >= 1


@pytest.mark.parametrize("lag_max_s, wait_ms", [(1, 250), (5, 500)])
def test_it_asks_four_times_within_the_bound_also_while_nothing_happens(scene, made, between, lag_max_s, wait_ms):
    feed, paths = between[0], []
    feed.change = lambda path, body: paths.append(path) or body
    made(f"asks-{lag_max_s}", issuer=f"https://127.0.0.1:{feed.server_port}", lag_max_s=lag_max_s)
    wait_for("it waits for changes", lambda: any(path.endswith(f"&wait_ms={wait_ms}") and NO_EPOCH not in path for path in paths))
    assert {path.split("&wait_ms=")[1] for path in paths if "&wait_ms=" in path} == {"0", str(wait_ms)}


def test_documents_that_were_changed_on_the_way_are_not_published(scene, made, between):
    _, status = between
    status.change = lambda path, body: body[:-1] + bytes([body[-1] ^ 1]) if path.startswith(("/ca/", "/crl/")) else body
    responder = made("changed-documents", status=f"http://127.0.0.1:{status.server_port}")
    wait_for("it was seen", lambda: responder.health() == 503 and responder.metric("writ_responder_document_failures_total"))
    assert responder.get("/ca/anchor.cer")[0] == 404
    status.change = lambda path, body: body
    responder.ready()
    assert responder.get("/ca/anchor.cer")[2] == scene.get("/ca/anchor.cer")


def test_an_answer_that_the_issuers_responder_did_not_sign_for_this_is_not_passed_on(scene, made, between):
    _, status = between
    responder = made("lied-to", status=f"http://127.0.0.1:{status.server_port}").ready()
    other, stale = scene.agent_with_leaf("another"), scene.agent_with_leaf("was-good")

    def issuers(agent):
        asked = urllib.request.Request(scene.status_url("/ocsp"), data=request_for(scene, agent), headers={"Content-Type": "application/ocsp-request"})
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return answer.read()

    anothers, was_good = issuers(other), issuers(stale)

    def signature_changed(body):
        signature = ocsp.load_der_ocsp_response(body).signature
        return body.replace(signature, signature[:-1] + bytes([signature[-1] ^ 1]))

    lies = {"of another certificate": lambda body: anothers, "its signature changed": signature_changed,
            "its time changed": lambda body: body.replace(b"\x18\x0f20", b"\x18\x0f21"), "an error": lambda body: bytes.fromhex("30030a0102"), "nothing": lambda body: b"", "no DER": lambda body: b"x" * 500, "too much": lambda body: body * 9}
    for i, (name, lie) in enumerate(lies.items()):
        fresh = scene.agent_with_leaf(f"asked-{i}")
        status.change = lambda path, body, lie=lie: lie(body) if path == "/ocsp" else body
        wait_for("it is known", lambda fresh=fresh: responder.status(fresh) != "UNAUTHORIZED")
        failures = responder.metric("writ_responder_ask_failures_total")
        assert responder.status(fresh) == "TRY_LATER", name
        assert responder.metric("writ_responder_ask_failures_total") > failures, name
        status.change = lambda path, body: body
        assert responder.status(fresh) == "GOOD", name
    # Signed, of this certificate, and current: but true no more.
    status.change = lambda path, body: was_good if path == "/ocsp" else body
    revoke(scene, stale)
    wait_for("not good any more", lambda: responder.status(stale) == "TRY_LATER")
    for _ in range(50):
        assert responder.status(stale) == "TRY_LATER"
    status.change = lambda path, body: body
    assert responder.status(stale) == "REVOKED"
