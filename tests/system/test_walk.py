"""The main job, over a TPM and over a PKCS#11 token: delegate, issue, use, delegate on, complete, see it revoked."""
import ssl
import subprocess
import threading
import time
import urllib.request

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from house import DELEGATION_OID, ERP, TD, Agent, Client, free_port

ARC = "1.2.840.113556.1.8000.2554.33528.53508.15422.19207.37425.13410731.3484567."


def test_a_human_delegates_a_task_and_the_agent_gets_a_five_minute_leaf(house):
    bot = house.agent_with_leaf("bot", lifetime_s=300)
    cert = bot.cert
    assert cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "task:" + bot.task
    assert cert.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == TD
    san = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [n.value for n in san] == [bot.id]
    assert bot.id.startswith(f"spiffe://{TD}/agent/invoice-bot/")
    life = (cert.not_valid_after - cert.not_valid_before).total_seconds() + 1
    assert life == 330, "30 s back, 300 s on, both ends inclusive"
    assert set(cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == {
        ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    assert not cert.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert bot.cert.serial_number.bit_length() <= 127 and len(bot.serial) == 32


def test_the_leaf_says_that_the_device_is_software(house):
    bot = house.agent_with_leaf("soft")
    policies = {p.policy_identifier.dotted_string for p in
                bot.cert.extensions.get_extension_for_class(x509.CertificatePolicies).value}
    assert policies == {ARC + "3.1", ARC + "3.4"}


def test_the_delegation_is_in_the_leaf_and_is_not_critical(house):
    bot = house.agent_with_leaf("ext")
    ext = bot.cert.extensions.get_extension_for_oid(x509.ObjectIdentifier(DELEGATION_OID))
    assert not ext.critical
    assert f"spiffe://{TD}/human/corp/alice".encode() in ext.value.value
    assert list(bot.cert.extensions)[-1].oid.dotted_string == ARC + "1.2", "the log reference is last"


def test_agents_may_have_p384_and_ed25519_keys(house):
    for kind in ("P-384", "Ed25519"):
        assert house.ocsp(house.agent_with_leaf("kind-" + kind, kind)) == "GOOD"


def test_the_agent_talks_mtls_to_curl_and_openssl_s_server(house):
    bot = house.agent_with_leaf("talker")
    anchor, port = house.write_anchor(), free_port()
    server = subprocess.Popen(["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", house.path("erp.pem"), "-key",
                               house.path("erp.key"), "-CAfile", anchor, "-Verify", "2", "-verify_return_error", "-tls1_3", "-www"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        result = None
        for _ in range(50):
            result = subprocess.run(["curl", "-sS", "--cacert", house.path("corp.pem"), "--cert", bot.cert_file, "--key", bot.key_file,
                                     f"https://127.0.0.1:{port}/"], capture_output=True, text=True, check=False)
            if result.returncode == 0:
                break
            time.sleep(0.1)
        assert "task:" + bot.task in result.stdout, result.stderr
    finally:
        server.kill()
        server.wait()


def test_an_agent_delegates_a_narrower_scope_one_hop_deeper(house):
    bot = house.agent_with_leaf("parent")
    reader = house.child_with_leaf(bot, "child")
    value = reader.cert.extensions.get_extension_for_oid(x509.ObjectIdentifier(DELEGATION_OID)).value.value
    assert f"spiffe://{TD}/human/corp/alice".encode() in value and bot.id.encode() in value
    assert reader.cert.not_valid_after <= bot.cert.not_valid_after, "a child never outlives its parent (L5)"


def test_a_wider_scope_is_refused_with_rule_value_and_limit(house):
    bot = house.agent_with_leaf("wide")
    answer = house.delegate(bot, Agent(house, "wide-child"),
                            scope=[{"actions": ["payments:write"], "resources": [ERP + "/v2/payments/**"]}])
    assert answer.status == 403
    problem = answer.json
    assert problem["code"] == "DENIED" and problem["rule"] == "S1"
    assert "payments:write" in problem["value"] and "invoices:read" in problem["limit"] and problem["hint"]
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_completing_the_task_revokes_everything_below_it_at_once(house):
    bot = house.agent_with_leaf("ending")
    reader = house.child_with_leaf(bot, "ending-child")
    open_connection = bot.client()
    assert open_connection.ask("POST", "/v1/renew").status == 201
    assert (house.ocsp(bot), house.ocsp(reader)) == ("GOOD", "GOOD")

    ended = house.person().ask("POST", f"/v1/tasks/{bot.task}/complete")
    assert ended.status == 200 and ended.json["leaves"] == 3 and ended.json["logged"], ended

    assert (house.ocsp(bot), house.ocsp(reader)) == ("REVOKED", "REVOKED")
    refused = open_connection.ask("POST", "/v1/renew")
    assert refused.status == 401 and refused.json["code"] == "UNAUTHENTICATED", refused
    again = house.leaf(bot.task, bot)
    assert again.status in (403, 409), again

    deadline = time.monotonic() + 8
    while time.monotonic() < deadline:
        crl = house.crl(bot)
        if all(crl.get_revoked_certificate_by_serial_number(int(a.serial, 16)) for a in (bot, reader)):
            break
        time.sleep(0.2)
    assert all(crl.get_revoked_certificate_by_serial_number(int(a.serial, 16)) for a in (bot, reader))
    assert crl.is_signature_valid(house.issuing_of(bot).public_key())


def test_openssl_ocsp_agrees_before_and_after(house):
    bot = house.agent_with_leaf("asked")
    issuing = house.path("issuing.pem")
    with open(issuing, "w", encoding="ascii") as f:
        f.write(bot.issued["chain"])

    def ask(*more):
        return subprocess.run(["openssl", "ocsp", "-issuer", issuing, *more, "-cert", bot.cert_file, "-url", house.status_url("/ocsp"),
                               "-CAfile", house.write_anchor()], capture_output=True, text=True, check=True)
    for more in ([], ["-sha256"], ["-no_nonce"]):
        result = ask(*more)
        assert ": good" in result.stdout and "Response verify OK" in result.stderr, result
    assert "WARNING: no nonce" not in ask().stderr, "a nonce is echoed"
    house.person("olga").ask("POST", "/v1/revocations", {"serial": bot.serial, "reason": "keyCompromise"})
    result = ask()
    assert ": revoked" in result.stdout and "keyCompromise" in result.stdout, result


def test_renewal_keeps_everything_that_was_granted(house):
    bot = house.agent_with_leaf("renewing")
    answer = bot.client().ask("POST", "/v1/renew")
    assert answer.status == 201
    renewed = x509.load_pem_x509_certificate(answer.json["certificate"].encode())
    assert renewed.subject == bot.cert.subject and renewed.serial_number != bot.cert.serial_number
    for oid in (DELEGATION_OID, "2.5.29.17"):
        one, two = (c.extensions.get_extension_for_oid(x509.ObjectIdentifier(oid)).value for c in (bot.cert, renewed))
        assert one == two


def test_an_idempotency_key_returns_the_first_answer(house):
    bot = Agent(house, "idem")
    task = house.open_task(bot).json["task"]
    body = {"csr": __import__("base64").b64encode(__import__("house").csr_der(bot.key)).decode()}
    ask = lambda b: house.nobody().ask("POST", f"/v1/tasks/{task}/leaves", b, {"Idempotency-Key": "once-1"})  # noqa: E731
    first, second = ask(body), ask(body)
    assert first.status == second.status == 201 and first.json["serial"] == second.json["serial"]
    other = ask(dict(body, lifetime_s=60))
    assert other.status == 409 and other.json["code"] == "CONFLICT"


def test_the_auditor_reads_what_was_written_before_it_was_signed(house):
    bot = house.agent_with_leaf("audited")
    index = bot.issued["log"]["index"]
    entries = house.person("ada").ask("GET", f"/v1/log/entries?from={index}&count=1")
    assert entries.status == 200, entries
    entry = entries.json["entries"][0]["entry"]
    assert entry["t"] == "issue" and entry["serial"] == bot.serial
    assert house.person("alice").ask("GET", "/v1/log/entries").status == 403
    assert house.nobody().ask("GET", "/v1/log/entries").status == 401


def test_the_status_front_serves_health_and_metrics(house):
    house.agent_with_leaf("metrics")
    with urllib.request.urlopen(house.status_url("/metrics"), timeout=5) as answer:
        text = answer.read().decode()
    assert "writ_" in text and all(line.startswith("#") or " " in line for line in text.strip().split("\n"))


def test_eight_agents_at_once_each_get_their_own_leaf(house):
    results = []

    def one(n):
        results.append(house.agent_with_leaf(f"crowd-{n}").serial)
    threads = [threading.Thread(target=one, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(set(results)) == 8


def test_a_client_of_tls_1_2_is_refused(house):
    context = ssl.create_default_context(cafile=house.path("corp.pem"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    client = Client(house)
    client.connection._context = context  # pylint: disable=protected-access
    try:
        client.ask("GET", "/v1/tasks/x")
    except ssl.SSLError:
        return
    raise AssertionError("TLS 1.2 was accepted")
