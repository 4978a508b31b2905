"""writ-authz behind real proxies: nginx and HAProxy as deploy/examples configures them, a real agent's leaf, and a service behind.

The same claims are made of both proxies.  A missing one fails the run: an untested example is no example.
"""
import base64
import datetime
import hashlib
import http.client
import http.server
import json
import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse

import pytest
from cryptography.hazmat.primitives import serialization

from house import ERP, ROOT, TD, free_port, program, wait_for

EXAMPLES = os.path.join(ROOT, "deploy", "examples")
ALICE = f"spiffe://{TD}/human/corp/alice"


# ---- what stands behind the proxy ----

class Service:
    """Remembers what it was asked."""

    def __init__(self):
        self.seen = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.send_response(200)
                self.send_header("Content-Length", "6")
                self.end_headers()
                self.wfile.write(b"served")

            do_POST = do_PUT = do_DELETE = do_GET

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):     # a proxy may end a kept connection as it likes
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


# ---- writ-authz and a proxy, from the examples ----

def example(name, *changes):
    """The example, with paths of the test's in the place of a system's; each must be there to be changed."""
    with open(os.path.join(EXAMPLES, name), encoding="utf-8") as f:
        text = f.read()
    for before, after in changes:
        assert before in text, f"{name} has no {before}"
        text = text.replace(before, after)
    return text


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("writ-authz", timeout=10)
        self.socket_path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(self.socket_path)


class Authz:
    def __init__(self, house, folder="authz"):
        self.house, self.dir = house, house.path(folder)
        os.makedirs(self.path("lists"))
        os.chmod(self.dir, 0o755)
        house.write_anchor()
        shutil.copy(house.path("anchor.pem"), self.path("anchor.pem"))
        self.fetch()
        with open(self.path("authz.yaml"), "w", encoding="utf-8") as f:
            f.write(example("authz.yaml", ("/run/writ-authz", self.dir), ("/etc/writ-authz", self.dir), ("/var/lib/writ-authz", self.path("lists")),
                            ("socket_group: www-data ", "#")))
            f.write("options: {allow_software: true}\n")        # the test's TPM is software
        self.process = None
        self.start()

    def path(self, name):
        return os.path.join(self.dir, name)

    def fetch(self):
        subprocess.run([os.path.join(EXAMPLES, "writ-authz-fetch"), self.house.status_url(""), self.path("anchor.pem"), self.path("lists")], check=True,
                       timeout=60)

    def start(self):
        with open(self.path("log"), "ab") as log:
            self.process = subprocess.Popen([program("writ-authz"), "--config", self.path("authz.yaml")], stderr=log)
        wait_for("writ-authz answers", self.healthy)

    def healthy(self):
        assert self.process.poll() is None, self.log()
        try:
            return self.ask("/healthz")[0] == 200
        except OSError:
            return False

    def log(self):
        with open(self.path("log"), encoding="utf-8") as f:
            return f.read()

    def events(self, name):
        return [e for e in map(json.loads, self.log().splitlines()) if e["event"] == name]

    def ask(self, path="/v1/check", headers=(), method="GET"):
        """Asked as a proxy asks: (status, headers, body)."""
        connection = UnixConnection(self.path("authz.sock"))
        try:
            connection.putrequest(method, path)
            for name, value in headers.items() if isinstance(headers, dict) else headers:
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def check(self, agent, method="GET", target="/v2/invoices/17", **more):
        return self.ask(headers=dict({"X-Writ-Certificate": escaped(agent), "X-Writ-Method": method, "X-Writ-Target": target}, **more))

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=20) == 0, self.log()


def der(agent):
    return agent.cert.public_bytes(serialization.Encoding.DER)


def escaped(agent):
    """As nginx writes $ssl_client_escaped_cert."""
    return urllib.parse.quote(agent.issued["certificate"], safe="")


class Front:
    """A proxy with writ-authz beside it and the service behind it."""

    def __init__(self, kind, authz, service):
        self.kind, self.authz, self.service, self.port = kind, authz, service, free_port()
        house, path = authz.house, authz.path
        pem = open(house.path("erp.pem"), encoding="ascii").read() + open(house.path("erp.key"), encoding="ascii").read()
        with open(path("server.pem"), "w", encoding="ascii") as f:
            f.write(pem)
        shutil.copy(house.path("erp.key"), path("server.key"))
        paths = ("/run/writ-authz", authz.dir), ("/etc/writ-authz", authz.dir), ("127.0.0.1:8080", f"127.0.0.1:{service.port}")
        if kind == "nginx":
            me = pwd.getpwuid(os.getuid()).pw_name
            spools = "".join(f"\t{name}_temp_path {path('spool')};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
            # Where an unprivileged nginx may put what it spools is no business of the example.
            text = example("nginx.conf", *paths, ("listen 443 ssl;", f"listen 127.0.0.1:{self.port} ssl;"), ("user www-data;", f"user {me};"),
                           ("/run/nginx.pid", path("nginx.pid")), ("/var/log/nginx", authz.dir), ("http {\n", "http {\n" + spools))
            command = [shutil.which("nginx", path="/usr/sbin:/usr/bin"), "-e", path("nginx-start.log"), "-g", "daemon off;", "-c", path("nginx.conf")]
        else:
            with open(path("haproxy.lua"), "w", encoding="utf-8") as f:
                f.write(example("haproxy.lua", paths[0]))
            text = example("haproxy.cfg", *paths[1:], ("bind 0.0.0.0:443 ", f"bind 127.0.0.1:{self.port} "))
            command = [shutil.which("haproxy", path="/usr/sbin:/usr/bin"), "-db", "-f", path("haproxy.cfg")]
        with open(command[-1], "w", encoding="utf-8") as f:
            f.write(text)
        with open(path(kind + ".log"), "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_for(kind + " listens", self.listens)
        except AssertionError:
            self.close()
            raise

    def listens(self):
        assert self.process.poll() is None, open(self.authz.path(self.kind + ".log"), encoding="utf-8").read()
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def ask(self, agent, path="/v2/invoices/17", method="GET", headers=None):
        """(status, reason, what the service saw or None)"""
        context = ssl.create_default_context(cafile=self.authz.house.path("corp.pem"))
        if agent:
            context.load_cert_chain(*agent if isinstance(agent, tuple) else (agent.cert_file, agent.key_file))
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=20)
        before = len(self.service.seen)
        try:
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        seen = self.service.seen[before:]
        assert (len(seen) == 1) == (body == b"served") == (answer.status == 200), (answer.status, body, seen)
        return answer.status, answer.getheader("X-Writ-Reason"), seen[0] if seen else None

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=20)


@pytest.fixture(scope="module")
def service():
    made = Service()
    yield made
    made.close()


@pytest.fixture(scope="module")
def authz(one):
    made = Authz(one)
    yield made
    made.stop()


@pytest.fixture(scope="module", params=["nginx", "haproxy"])
def front(request, authz, service):
    made = Front(request.param, authz, service)
    yield made
    made.close()


@pytest.fixture(scope="module")
def bot(one):
    return one.agent_with_leaf("authz-bot")


@pytest.fixture(scope="module")
def reader(one, bot):
    """Two hops: only the invoices of 2026."""
    return one.child_with_leaf(bot, "authz-reader", lifetime_s=300)


# ---- who gets in ----

def test_an_agent_gets_what_its_leaf_says_and_the_service_learns_who_it_is(front, bot):
    status, reason, seen = front.ask(bot, "/v2/invoices/2026/17")
    assert (status, reason) == (200, None)
    method, path, headers = seen
    assert (method, path) == ("GET", "/v2/invoices/2026/17")
    assert {k: v for k, v in headers.items() if k.startswith("x-writ-")} == {
        "x-writ-agent": bot.id, "x-writ-root": ALICE, "x-writ-task": bot.task, "x-writ-entitlement": "0",
        "x-writ-expires": headers["x-writ-expires"]}
    assert time.time() < int(headers["x-writ-expires"]) <= bot.cert.not_valid_after.replace(tzinfo=datetime.timezone.utc).timestamp()


@pytest.mark.parametrize("path", ["/v2/invoices/17?page=2", "/v2/invoices/17/", "/v2/invoices/17/?a=/../..&b=%2F//", "/v2/invoices/17?"])
def test_query_and_one_trailing_slash_do_not_change_what_is_asked_and_reach_the_service(front, bot, path):
    status, _, seen = front.ask(bot, path)
    assert status == 200 and seen[1] == path


@pytest.mark.parametrize("method, path, reason", [
    ("POST", "/v2/invoices/17", "NOT_ALLOWED"), ("PUT", "/v2/invoices/17", "NO_ROUTE"), ("DELETE", "/v2/invoices/17", "NO_ROUTE"),
    ("GET", "/v2/invoices", "NO_ROUTE"), ("GET", "/v2/payroll/17", "NO_ROUTE"), ("GET", "/", "NO_ROUTE"), ("GET", "/V2/invoices/17", "NO_ROUTE"),
    ("GET", "/v2/invoices17/17", "NO_ROUTE")])
def test_what_no_route_takes_or_the_leaf_does_not_say_is_refused(front, bot, method, path, reason):
    assert front.ask(bot, path, method) == (403, reason, None)


def test_a_child_gets_no_more_than_its_own_narrower_leaf(front, bot, reader):
    assert front.ask(reader, "/v2/invoices/2026/17")[0] == 200
    assert front.ask(reader, "/v2/invoices/2027/17") == (403, "NOT_ALLOWED", None)
    assert front.ask(bot, "/v2/invoices/2027/17")[0] == 200


def test_constraints_are_held_against_the_clients_address_and_never_against_the_query(front, one):
    for name, constraint, want in (("here", {"sourceNet": ["127.0.0.0/8"]}, (200, None)), ("elsewhere", {"sourceNet": ["10.0.0.0/8"]}, (403, "CONSTRAINT")),
                                   ("limit", {"paramMax": {"name": "limit", "max": 100}}, (403, "CONSTRAINT"))):
        agent = one.agent_with_leaf(f"authz-{name}-{front.kind}", constraints=[constraint])
        assert front.ask(agent, "/v2/invoices/17?limit=1", headers={"X-Writ-Peer": "10.0.0.1"})[:2] == want, name


@pytest.mark.parametrize("path", [
    "/v2/invoices/2026%2F17", "/v2/invoices/2026%2f17", "/v2/invoices%2F..%2Fpayroll", "/v2/invoices/2026%5C17", "/v2/invoices//17",
    "//v2/invoices/17", "/v2/invoices/17//", "/v2/invoices/./17", "/v2/invoices/../invoices/17", "/v2/payroll/../invoices/17",
    "/v2/invoices/%2E%2E/invoices/17", "/v2/invoices/..%2f17", "/v2/invoices/%31%37", "/v2/invoices/%7e17", "/v2/invoices/a%2ab",
    "/v2/invoices/*", "/v2/invoices/17%00", "/v2/invoices/17%0", "/v2/invoices/..;/17", "/v2/invoices/17\\..\\x"])
def test_a_url_that_could_be_read_in_two_ways_reaches_nobody(front, bot, path):
    status, reason, seen = front.ask(bot, path)
    assert seen is None and (status, reason) in [(403, "TARGET"), (400, None)]


@pytest.mark.parametrize("spelling", [str.title, str.lower, str.upper, lambda name: name.replace("-", "_")])
def test_headers_that_a_client_makes_up_reach_nobody(front, bot, reader, spelling):
    made_up = {spelling("X-Writ-" + name): value for name, value in {
        "Agent": f"spiffe://{TD}/agent/admin/1", "Root": f"spiffe://{TD}/human/corp/olga", "Task": "other", "Entitlement": "7", "Expires": "9999999999",
        "Reason": "none", "Certificate": escaped(bot), "Method": "GET", "Target": "/v2/invoices/2026/1", "Peer": "10.0.0.1"}.items()}
    status, _, (_, _, headers) = front.ask(reader, "/v2/invoices/2026/17", headers=made_up)
    assert status == 200
    writ = {k: v for k, v in headers.items() if re.match("x.writ", k)}
    assert writ == {"x-writ-agent": reader.id, "x-writ-root": ALICE, "x-writ-task": reader.task, "x-writ-entitlement": "0",
                    "x-writ-expires": writ["x-writ-expires"]}
    # Nor do they decide anything.
    assert front.ask(reader, "/v2/invoices/2027/17", headers=made_up) == (403, "NOT_ALLOWED", None)


def test_without_an_agents_certificate_nobody_gets_in(front, one):
    for who in (None, (one.path("alice.pem"), one.path("alice.key"))):
        try:
            status, _, seen = front.ask(who)
            assert status in (400, 401) and seen is None
        except (ssl.SSLError, ConnectionError):
            pass        # the proxy ended the handshake


def test_the_service_is_not_reached_by_the_proxys_own_question(front, bot):
    status, _, seen = front.ask(bot, "/.writ-authz")
    assert status in (403, 404) and seen is None


def test_completing_the_task_ends_it_as_soon_as_the_list_is_fetched(front, one):
    agent = one.agent_with_leaf("authz-done-" + front.kind)
    child = one.child_with_leaf(agent, "authz-done-child-" + front.kind)
    assert front.ask(agent)[0] == 200 and front.ask(child, "/v2/invoices/2026/1")[0] == 200
    assert one.person().ask("POST", f"/v1/tasks/{agent.task}/complete", {}).status == 200
    wait_for("the CRL lists it", lambda: one.crl(agent).get_revoked_certificate_by_serial_number(int(agent.serial, 16)))
    front.authz.fetch()
    wait_for("it is refused", lambda: front.ask(agent) == (401, "REVOKED", None))
    assert front.ask(child, "/v2/invoices/2026/1") == (401, "REVOKED", None)


# ---- writ-authz by itself ----

def test_a_decision_is_one_line_with_leaf_task_hops_entitlement_and_verdict(authz, bot, reader):
    assert authz.check(reader, target="/v2/invoices/2026/5?x", **{"X-Writ-Peer": "10.1.2.3"})[0] == 200
    line = authz.events("authz.decision")[-1]
    digest = hashlib.sha256(der(reader)).hexdigest()
    assert {k: line[k] for k in line if k not in ("time", "hops")} == {
        "level": "info", "role": "writ-authz", "event": "authz.decision", "decision": "allow", "status": 200, "reason": "OK", "leaf": digest,
        "task": reader.task, "agent": reader.id, "principals": f"{ALICE} {bot.id}", "entitlement": 0, "action": "invoices:read",
        "resource": ERP + "/v2/invoices/2026/5", "method": "GET", "target": "/v2/invoices/2026/5?x", "peer": "10.1.2.3"}
    assert line["hops"] == f"{bot.edge} {reader.edge}"
    assert authz.check(reader, target="/v2/invoices/2027/5")[0] == 403
    line = authz.events("authz.decision")[-1]
    assert (line["decision"], line["reason"], line["leaf"], line["hops"]) == ("deny", "NOT_ALLOWED", digest, f"{bot.edge} {reader.edge}")
    assert line["why"] and "entitlement" not in line


def test_a_refusal_is_a_problem_with_reason_rule_and_detail(authz, bot):
    status, headers, body = authz.check(bot, target="/v2/invoices/a//b")
    assert status == 403 and headers["X-Writ-Reason"] == "TARGET" and headers["Content-Type"] == "application/problem+json"
    assert json.loads(body) == {"type": "about:blank", "title": "Forbidden", "status": 403, "code": "DENIED", "reason": "TARGET",
                                "detail": "URL: '//' is refused"}
    status, headers, body = authz.ask(headers={"X-Writ-Method": "GET", "X-Writ-Target": "/v2/invoices/1"})
    assert (status, headers["X-Writ-Reason"], json.loads(body)["code"]) == (401, "NO_CERTIFICATE", "UNAUTHENTICATED")
    assert "X-Writ-Agent" not in headers


def proxys(bot, **change):
    headers = {"X-Writ-Certificate": escaped(bot), "X-Writ-Method": "GET", "X-Writ-Target": "/v2/invoices/1"}
    headers.update({"X-Writ-" + k: v for k, v in change.items()})
    return [(k, v) for k, v in headers.items() if v is not None]


def test_headers_missing_or_twice_are_refused(authz, bot):
    for name in ("Method", "Target"):
        status, headers, _ = authz.ask(headers=proxys(bot, **{name: None}))
        assert (status, headers["X-Writ-Reason"]) == (403, "MALFORMED"), name
    for name in ("Certificate", "Method", "Target", "Peer"):
        twice = dict(proxys(bot, Peer="10.0.0.1"))["X-Writ-" + name]
        status, headers, _ = authz.ask(headers=[*proxys(bot, Peer="10.0.0.1"), ("x-writ-" + name.lower(), twice)])
        assert (status, headers["X-Writ-Reason"]) == (403, "MALFORMED"), name
    assert authz.ask(headers=proxys(bot, Peer="10.0.0.1"))[0] == 200


def test_a_certificate_that_is_not_a_leaf_of_ours_is_refused_by_name(authz, bot, one):
    base64_ = base64.b64encode(der(bot)).decode()
    assert authz.ask(headers=proxys(bot, Certificate=base64_))[0] == 200
    broken = bytearray(der(bot))
    broken[-1] ^= 1         # of the signature
    corp = urllib.parse.quote(open(one.path("alice.pem"), encoding="ascii").read(), safe="")
    issuing = urllib.parse.quote(bot.issued["chain"], safe="")
    for certificate, reason in ((base64.b64encode(broken).decode(), "PATH"), (corp, "NO_DELEGATION"), (issuing, "NO_DELEGATION"), ("AAAA", "ENCODING"),
                                ("%", "ENCODING"), (base64_ + "\tx", "ENCODING"), (escaped(bot) + escaped(bot), "ENCODING")):
        status, headers, _ = authz.ask(headers=proxys(bot, Certificate=certificate))
        assert (status, headers["X-Writ-Reason"]) == (401, reason), certificate[:40]


def test_other_paths_and_methods_answer_nothing(authz, bot):
    for method, path, want in (("POST", "/v1/check", 405), ("HEAD", "/v1/check", 405), ("GET", "/", 404), ("GET", "/v1/check/", 404),
                               ("GET", "/v1//check", 404), ("GET", "/v1/check/..", 404), ("GET", "/V1/check", 404)):
        assert authz.ask(path, dict(proxys(bot)), method)[0] == want, (method, path)


def test_what_is_no_list_in_the_folder_is_told_and_changes_nothing(authz, bot):
    crl = next(n for n in os.listdir(authz.path("lists")) if n.endswith(".crl"))
    for name, contents in (("broken.crl", b"not a list"), ("broken.cer", b"not a certificate"), ("of-corp.cer", open(authz.house.path("corp.pem"), "rb").read()),
                           (crl, b"cut")):
        with open(authz.path("lists/new"), "wb") as f:
            f.write(contents)
        os.rename(authz.path("lists/new"), authz.path("lists/" + name))
        wait_for(name + " is told", lambda: [e for e in authz.events("authz.list_refused") if e["file"] == authz.path("lists/" + name)])
        assert authz.check(bot)[0] == 200
    for name in ("broken.crl", "broken.cer", "of-corp.cer"):
        os.unlink(authz.path("lists/" + name))
    authz.fetch()
    wait_for("the list is good again", lambda: not [n for n in os.listdir(authz.path("lists")) if n.startswith("broken")] and authz.check(bot)[0] == 200)


def test_a_list_that_is_taken_away_frees_nobody(authz, one):
    agent = one.agent_with_leaf("authz-taken-away")
    assert authz.check(agent)[0] == 200
    assert one.person().ask("POST", f"/v1/tasks/{agent.task}/complete", {}).status == 200
    wait_for("the CRL lists it", lambda: one.crl(agent).get_revoked_certificate_by_serial_number(int(agent.serial, 16)))
    authz.fetch()
    wait_for("it is refused", lambda: authz.check(agent)[0] == 401)
    for name in os.listdir(authz.path("lists")):
        if name.endswith((".crl", ".cer")):
            os.unlink(authz.path("lists/" + name))
    polled = len(authz.events("authz.list"))
    authz.fetch()
    wait_for("the folder was looked at", lambda: len(authz.events("authz.list")) > polled)
    assert authz.check(agent)[1]["X-Writ-Reason"] == "REVOKED"


def test_without_any_list_nobody_gets_in(one, bot):
    other = Authz(one, "authz-no-lists")
    try:
        for name in os.listdir(other.path("lists")):
            os.unlink(other.path("lists/" + name))
        other.stop()
        other.start()
        status, headers, _ = other.check(bot)
        assert status == 401 and headers["X-Writ-Reason"] in ("PATH", "STATUS")
    finally:
        other.stop()


def test_it_starts_over_a_stale_socket_and_not_beside_itself(authz):
    second = subprocess.run([program("writ-authz"), "--config", authz.path("authz.yaml")], capture_output=True, text=True, timeout=20, check=False)
    assert second.returncode == 1 and "another process answers on it" in second.stderr
    authz.process.kill()
    authz.process.wait()
    authz.start()


def test_wrong_arguments_and_a_wrong_configuration_are_misuse(tmp_path, authz):
    text = open(authz.path("authz.yaml"), encoding="utf-8").read()
    for change, told in ((("version: 1", "version: 2"), "version"), (("listen: unix:", "listen: tcp:"), "listen"),
                         (("anchor.pem", "authz.yaml"), "anchor"), (("allow_software", "allow_all"), "allow_all")):
        path = tmp_path / "authz.yaml"
        path.write_text(text.replace(*change), encoding="utf-8")
        result = subprocess.run([program("writ-authz"), "--config", str(path)], capture_output=True, text=True, timeout=20, check=False)
        assert result.returncode == 2 and told in result.stderr, result
    for arguments in ([], ["--config"], ["--help"], ["--config", "x", "y"]):
        assert subprocess.run([program("writ-authz"), *arguments], capture_output=True, timeout=20, check=False).returncode == 2
