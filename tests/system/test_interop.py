"""What Writ emits, read by everybody else: OpenSSL, Go, Java, Node, GnuTLS, Python.

A missing reader fails the run: an untested claim is no claim.
"""
import base64
import ctypes
import os
import subprocess
import sys
import urllib.request

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from house import ROOT

INTEROP = os.path.join(ROOT, "tests", "system", "interop")
sys.path.insert(0, INTEROP)

import peers  # noqa: E402

HOST = "host-like-task.corp.example"
SSL_INVALIDCERTSTATUS = 91  # of libcurl


def openssl(*arguments, ok=True):
    result = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert not ok or result.returncode == 0, result
    return result


def ocsp_der(house, agent):
    request = ocsp.OCSPRequestBuilder().add_certificate(agent.cert, house.issuing_of(agent), hashes.SHA1()).build()
    asked = urllib.request.Request(house.status_url("/ocsp"), data=request.public_bytes(serialization.Encoding.DER),
                                   headers={"Content-Type": "application/ocsp-request"})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return answer.read()


class Files:
    """DIR as the readers expect it: a good leaf and a revoked one, in folders good/ and revoked/."""

    def __init__(self, house):
        self.house = house
        self.good = house.agent_with_leaf("interop-good", id=HOST)
        self.revoked = house.agent_with_leaf("interop-revoked", id=HOST + ".2")
        answers = {"good.ocsp": ocsp_der(house, self.good)}
        assert house.person("olga").ask("POST", "/v1/revocations", {"serial": self.revoked.serial, "reason": "superseded"}).status == 200
        answers["revoked.ocsp"] = ocsp_der(house, self.revoked)
        from house import wait_for
        wait_for("the CRL lists the revoked leaf",
                 lambda: house.crl(self.good).get_revoked_certificate_by_serial_number(int(self.revoked.serial, 16)))
        issuing = house.issuing_of(self.good)
        anchor_crl_url = issuing.extensions.get_extension_for_class(x509.CRLDistributionPoints).value[0].full_name[0].value
        with urllib.request.urlopen(anchor_crl_url, timeout=10) as answer:
            anchor_crl = x509.load_der_x509_crl(answer.read())
        crl = house.crl(self.good)
        pem, der = serialization.Encoding.PEM, serialization.Encoding.DER
        common = {
            "issuing.pem": issuing.public_bytes(pem), "anchor.pem": house.anchor().public_bytes(pem),
            "issuing.crl": crl.public_bytes(der), "anchor.crl": anchor_crl.public_bytes(der),
            "issuing.crl.pem": crl.public_bytes(pem), "anchor.crl.pem": anchor_crl.public_bytes(pem),
            **{n: open(house.path(n), "rb").read() for n in ("erp.pem", "erp.key", "corp.pem")}, **answers}
        for name, agent in (("good", self.good), ("revoked", self.revoked)):
            os.makedirs(house.path(name), exist_ok=True)
            files = {**common, "leaf.pem": agent.cert.public_bytes(pem), "leaf.key": open(agent.key_file, "rb").read(), "host": agent.task.encode()}
            for file, contents in files.items():
                with open(os.path.join(house.path(name), file), "wb") as f:
                    f.write(contents)

    def dir(self, name):
        return self.house.path(name)


@pytest.fixture(scope="module")
def files(one):
    return Files(one)


def run(*command):
    result = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False,
                            env=dict(os.environ, GO111MODULE="off", GOPATH="/usr/share/gocode", GOFLAGS="", GOCACHE=f"/tmp/writ-gocache-{os.getuid()}"))
    assert result.returncode == 0 and "FAILED" not in result.stdout, result.stdout + result.stderr
    return result.stdout


def test_openssl_verifies_path_crl_and_names(files):
    d = files.dir("good")
    common = ["verify", "-x509_strict", "-CAfile", d + "/anchor.pem", "-untrusted", d + "/issuing.pem", "-crl_check_all",
              "-CRLfile", d + "/issuing.crl.pem", "-CRLfile", d + "/anchor.crl.pem"]
    openssl(*common, "-purpose", "sslclient", d + "/leaf.pem")
    openssl(*common, "-policy_check", "-explicit_policy", "-policy",
            "1.2.840.113556.1.8000.2554.33528.53508.15422.19207.37425.13410731.3484567.3.1", d + "/leaf.pem")
    assert "revoked" in openssl(*common, files.dir("revoked") + "/leaf.pem", ok=False).stderr
    assert "hostname mismatch" in openssl(*common, "-verify_hostname", HOST, d + "/leaf.pem", ok=False).stderr


def test_go_reads_leaf_crls_and_ocsp_and_shakes_hands(files):
    assert "ok mutual TLS handshake" in run("/usr/bin/go", "run", INTEROP + "/check.go", files.dir("good"))


def test_java_validates_with_revocation_checking_on(files):
    out = run("java", INTEROP + "/Check.java", files.dir("good"), "good")
    assert out.count("ok path with revocation checking") == 2, out
    assert "No subject alternative DNS name matching" in out or "No name matching" in out, out
    assert run("java", INTEROP + "/Check.java", files.dir("revoked"), "revoked").count("ok refused") == 2


def test_node_shakes_hands_and_refuses_by_crl(files):
    assert "ok handshake" in run("node", INTEROP + "/check.js", files.dir("good"), "good")
    assert "ok refused" in run("node", INTEROP + "/check.js", files.dir("revoked"), "revoked")


def test_gnutls_verifies_path_crl_ocsp_and_names(files):
    d = files.dir("good")
    with open(d + "/chain.pem", "wb") as f:
        for name in ("leaf.pem", "issuing.pem"):
            f.write(open(os.path.join(d, name), "rb").read())
    run("certtool", "--verify", "--load-ca-certificate", d + "/anchor.pem", "--infile", d + "/chain.pem")
    named = subprocess.run(["certtool", "--verify", "--load-ca-certificate", d + "/anchor.pem", "--verify-hostname", HOST, "--infile",
                            d + "/chain.pem"], capture_output=True, text=True, check=False)
    assert named.returncode != 0 and "name in the certificate does not match" in named.stdout + named.stderr
    run("certtool", "--verify-crl", "--load-ca-certificate", d + "/issuing.pem", "--infile", d + "/issuing.crl.pem")
    for name, word in (("good", "Status: good"), ("revoked", "Status: revoked")):
        out = run("ocsptool", "--verify-response", "--load-issuer", d + "/issuing.pem", "--load-trust", d + "/issuing.pem", "--load-response",
                  f"{d}/{name}.ocsp")
        assert "Success" in out, out
        assert word in run("ocsptool", "--response-info", "--inder", "--load-response", f"{d}/{name}.ocsp").replace("Certificate ", "")


def test_gnutls_asks_itself_with_a_nonce_and_without(files, one):
    d = files.dir("good")
    ask = ["ocsptool", "--ask=" + one.status_url("/ocsp"), "--load-issuer", d + "/issuing.pem", "--load-trust", d + "/issuing.pem", "--load-cert"]
    for more in ([], ["--nonce"]):
        assert "Verifying OCSP Response: Success" in run(*ask, d + "/leaf.pem", *more)
        refused = subprocess.run([*ask, files.dir("revoked") + "/leaf.pem", *more], capture_output=True, text=True, check=False, timeout=60)
        assert "revoked" in refused.stdout, refused


def curl_cert_status(port, anchor):
    """What `curl --cert-status` does, without the host name that a leaf has not: then curl(1) has no option.  Code and message."""
    lib, message = ctypes.CDLL("libcurl.so.4"), ctypes.create_string_buffer(256)
    lib.curl_easy_init.restype = ctypes.c_void_p
    handle = ctypes.c_void_p(lib.curl_easy_init())
    url, cainfo, errorbuffer, timeout, verifypeer, verifyhost, nosignal, connect_only, verifystatus = 10002, 10065, 10010, 13, 64, 81, 99, 141, 232
    for option, value in ((url, f"https://127.0.0.1:{port}/".encode()), (cainfo, anchor.encode()), (errorbuffer, message)):
        assert lib.curl_easy_setopt(handle, ctypes.c_int(option), value) == 0
    for option, value in ((timeout, 20), (verifypeer, 1), (verifyhost, 0), (nosignal, 1), (connect_only, 1), (verifystatus, 1)):
        assert lib.curl_easy_setopt(handle, ctypes.c_int(option), ctypes.c_long(value)) == 0
    code = lib.curl_easy_perform(handle)
    lib.curl_easy_cleanup(handle)
    return code, message.value.decode()


def test_curl_takes_the_first_response_stapled_by_whoever_holds_the_leaf_and_nothing_else(files, one):
    from house import Agent, free_port, wait_for
    stapler = Agent(one, "stapler")
    task = one.open_task(stapler).json["task"]
    stapler.take(one.leaf(task, stapler, ocsp=True).json)
    anchor = files.dir("good") + "/anchor.pem"

    def served(staple):
        port = free_port()
        more = ["-status_file", staple] if staple else []
        server = subprocess.Popen(["openssl", "s_server", "-accept", str(port), "-cert", stapler.cert_file, "-key", stapler.key_file, "-cert_chain",
                                   stapler.cert_file, "-www", *more], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        try:
            wait_for("s_server listens", lambda: openssl("s_client", "-connect", f"127.0.0.1:{port}", ok=False).returncode == 0)
            return curl_cert_status(port, anchor)
        finally:
            server.kill()
            server.wait()

    def staple(name, der):
        with open(one.path(name), "wb") as f:
            f.write(der)
        return one.path(name)
    good = served(staple("first.der", base64.b64decode(stapler.issued["ocsp"])))
    assert good == (0, ""), good
    assert served(None) == (SSL_INVALIDCERTSTATUS, "No OCSP response received")
    others = served(files.dir("good") + "/good.ocsp")
    assert others == (SSL_INVALIDCERTSTATUS, "Could not find certificate ID in OCSP response")
    assert one.person("olga").ask("POST", "/v1/revocations", {"serial": stapler.serial, "reason": "keyCompromise"}).status == 200
    revoked = served(staple("now.der", ocsp_der(one, stapler)))
    assert revoked == (SSL_INVALIDCERTSTATUS, "SSL certificate revocation reason: keyCompromise (1)")


def test_python_reads_every_field(files):
    response = ocsp.load_der_ocsp_response(open(files.dir("good") + "/revoked.ocsp", "rb").read())
    assert response.certificate_status == ocsp.OCSPCertStatus.REVOKED
    assert response.revocation_reason == x509.ReasonFlags.superseded
    assert response.responder_key_hash and response.next_update > response.this_update
    crl = x509.load_der_x509_crl(open(files.dir("good") + "/issuing.crl", "rb").read())
    entry = crl.get_revoked_certificate_by_serial_number(int(files.revoked.serial, 16))
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason == x509.ReasonFlags.superseded
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number > 0
    assert (crl.next_update - crl.last_update).total_seconds() == 210


def test_curl_refuses_the_leaf_as_a_server_named_like_its_task(files):
    from house import free_port
    import time
    d, port = files.dir("good"), free_port()
    server = subprocess.Popen(["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", d + "/leaf.pem", "-key", d + "/leaf.key", "-cert_chain",
                               d + "/issuing.pem", "-tls1_3", "-www"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(50):
            result = subprocess.run(["curl", "-sS", "--cacert", d + "/anchor.pem", "--resolve", f"{HOST}:{port}:127.0.0.1",
                                     f"https://{HOST}:{port}/"], capture_output=True, text=True, check=False)
            if result.returncode != 7:
                break
            time.sleep(0.1)
        assert result.returncode == 60, result
    finally:
        server.kill()
        server.wait()


# ---- agent to agent, every stack with every other (interop/peers.py) ----

@pytest.fixture(scope="module")
def handshakes(one):
    return peers.Run(one)


STACKS = [stack.name for stack in peers.STACKS]


def of(handshakes, stack):
    if stack not in handshakes.as_server:
        pytest.skip(" ".join(why for why in handshakes.absent if why.startswith(stack)))
    return handshakes.as_server[stack], handshakes.as_client[stack]


@pytest.mark.parametrize("stack", STACKS)
def test_an_agent_meets_an_agent_on_every_other_stack_as_client_and_as_server(handshakes, stack):
    of(handshakes, stack)
    said = {pair: (answer, handshakes.accepted[pair]) for pair, answer in handshakes.handshakes.items() if stack in pair}
    assert len(said) == 2 * len(handshakes.stacks) - 1
    assert said == {pair: ("ok " + handshakes.server.id, "ok " + handshakes.client.id) for pair in said}


@pytest.mark.parametrize("stack", STACKS)
def test_a_revoked_leaf_is_refused_as_client_and_as_server(handshakes, stack):
    for said in of(handshakes, stack):
        assert said["revoked"].startswith("refused ") and "revoked" in said["revoked"].lower(), said


@pytest.mark.parametrize("stack", STACKS)
def test_a_leaf_of_another_agent_is_refused_as_client_and_as_server(handshakes, stack):
    for said in of(handshakes, stack):
        assert said["another name"].startswith("refused ") and "another SPIFFE ID" in said["another name"], said


@pytest.mark.parametrize("stack", STACKS)
def test_a_certificate_below_another_anchor_is_refused_as_client_and_as_server(handshakes, stack):
    for said in of(handshakes, stack):
        assert said["another anchor"].startswith("refused ") and "SPIFFE" not in said["another anchor"], said


@pytest.mark.parametrize("stack", STACKS)
def test_without_a_crl_no_stack_notices_that_a_leaf_is_revoked(handshakes, stack):
    """So the specification says it, and R5 bounds it."""
    for said in of(handshakes, stack):
        assert said["revoked, no CRL"] == "ok " + handshakes.revoked.id, said


def test_the_table_of_the_specification_is_what_this_run_saw(handshakes):
    printed = peers.printed()
    assert set(printed) == set(STACKS)
    for stack, cells in handshakes.rows().items():
        assert printed[stack] == cells, stack
