"""noRevAvail by policy (RFC 9608): two minutes, nothing below, nothing to ask; and revoked all the same."""
import base64
import os
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from house import ERP, POLICY, ROOT, TD, Agent, House, csr_der, wait_for

INTEROP = os.path.join(ROOT, "tests", "system", "interop")
NO_REV_AVAIL = x509.ObjectIdentifier("2.5.29.56")
RULE = f"""\
  - name: blinks
    delegator: ["spiffe://{TD}/human/corp/**"]
    kind: human
    agents: ["spiffe://{TD}/agent/blinker"]
    entitlements:
      - actions: ["invoices:read"]
        resources: ["{ERP}/v2/invoices/2026"]
    audience: ["{ERP}"]
    max_lifetime: 2m
    max_depth: 0
    no_rev_avail: true
"""


@pytest.fixture(scope="module")
def one():
    made = House("swtpm", policy=POLICY + RULE)
    try:
        made.init()
        made.start()
        yield made
    finally:
        made.close()


def blinker(house, name="blink", lifetime_s=0, **more):
    agent = Agent(house, name)
    opened = house.person().ask("POST", "/v1/tasks", {
        "agent": {"class": f"spiffe://{TD}/agent/blinker", "spki_sha256": agent.spki_sha256}, "depth": 0, "ends_in_s": 3600, "audience": [ERP],
        "scope": [{"actions": ["invoices:read"], "resources": [ERP + "/v2/invoices/2026"]}]})
    assert opened.status == 201, opened
    agent.task, agent.edge = opened.json["task"], opened.json["edge"]
    body = {"csr": base64.b64encode(csr_der(agent.key)).decode(), **({"lifetime_s": lifetime_s} if lifetime_s else {}), **more}
    return agent, house.nobody().ask("POST", f"/v1/tasks/{agent.task}/leaves", body)


@pytest.fixture(scope="module")
def leaf(one):
    agent, issued = blinker(one)
    assert issued.status == 201, issued
    return agent.take(issued.json)


def test_the_leaf_says_so_and_names_no_place_to_ask(leaf):
    found = leaf.cert.extensions.get_extension_for_oid(NO_REV_AVAIL)
    assert not found.critical and found.value.value == b"\x05\x00"
    for absent in (x509.CRLDistributionPoints, x509.AuthorityInformationAccess):
        with pytest.raises(x509.ExtensionNotFound):
            leaf.cert.extensions.get_extension_for_class(absent)
    assert (leaf.cert.not_valid_after - leaf.cert.not_valid_before).total_seconds() + 1 == 150
    assert leaf.issued["no_rev_avail"] is True


def test_other_rules_leaves_have_a_status(one):
    agent = one.agent_with_leaf("ordinary", lifetime_s=60)
    assert "no_rev_avail" not in agent.issued
    with pytest.raises(x509.ExtensionNotFound):
        agent.cert.extensions.get_extension_for_oid(NO_REV_AVAIL)


def test_no_ocsp_response_is_stapled_to_it(one):
    _, issued = blinker(one, "unstapled", ocsp=True)
    assert issued.status == 201 and "ocsp" not in issued.json and issued.json["no_rev_avail"] is True


def test_a_longer_one_is_refused_and_not_given_with_a_status(one):
    _, issued = blinker(one, "long", lifetime_s=121)
    assert issued.status == 403 and issued.json["rule"] == "blinks: max_lifetime" and issued.json["limit"] == "120 s", issued


def test_its_renewal_is_of_the_same_kind(one):
    agent, issued = blinker(one, "renewed")
    agent.take(issued.json)
    renewed = agent.client().ask("POST", "/v1/renew", {})
    assert renewed.status == 201 and renewed.json["no_rev_avail"] is True
    x509.load_pem_x509_certificate(renewed.json["certificate"].encode()).extensions.get_extension_for_oid(NO_REV_AVAIL)


def test_a_rule_that_could_give_longer_or_deeper_ones_is_no_policy(one):
    for line, instead, said in (("    max_lifetime: 2m\n    max_depth: 0\n", "    max_lifetime: 3m\n    max_depth: 0\n", "max_lifetime is 180 s: at most 120"),
                                ("    max_depth: 0\n", "", "max_depth is 2: only 0")):
        with open(one.path("bad-policy.yaml"), "w", encoding="utf-8") as f:
            f.write(POLICY + RULE.replace(line, instead))
        refused = one.run("policy", "check", one.path("bad-policy.yaml"), check=False)
        assert refused.returncode != 0 and said in refused.stderr, refused


def test_policy_check_says_it(one):
    told = one.run("policy", "check", one.path("policy.yaml"), check=False)
    assert "no relying party can find its leaves revoked, for up to 120 s" in told.stdout + told.stderr, told


def files(one, leaf):
    pem = serialization.Encoding.PEM
    os.makedirs(one.path("norev"), exist_ok=True)
    for name, cert in (("leaf", leaf.cert), ("issuing", one.issuing_of(leaf)), ("anchor", one.anchor())):
        with open(one.path(f"norev/{name}.pem"), "wb") as f:
            f.write(cert.public_bytes(pem))
    return one.path("norev")


def test_openssl_go_and_java_read_it(one, leaf):
    where = files(one, leaf)
    text = subprocess.run(["openssl", "x509", "-in", f"{where}/leaf.pem", "-noout", "-text"], capture_output=True, text=True, check=True).stdout
    assert "2.5.29.56" in text or "No Revocation Available" in text
    subprocess.run(["openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", f"{where}/anchor.pem", "-untrusted", f"{where}/issuing.pem",
                    f"{where}/leaf.pem"], check=True, capture_output=True)
    go = subprocess.run(["/usr/bin/go", "run", f"{INTEROP}/norev.go", where], capture_output=True, text=True, check=False, timeout=180,
                        env=dict(os.environ, GO111MODULE="off", GOPATH="/usr/share/gocode", GOFLAGS="", GOCACHE=f"/tmp/writ-gocache-{os.getuid()}"))
    assert go.stdout == "ok\n", go.stdout + go.stderr
    java = subprocess.run(["java", "-XX:TieredStopAtLevel=1", f"{INTEROP}/NoRev.java", where], capture_output=True, text=True, check=False, timeout=180)
    assert java.stdout.splitlines() == ["without revocation: ok", "with revocation: refused"], java.stdout + java.stderr


def test_writ_verify_takes_it_without_a_status_and_has_none_to_fetch(one, leaf):
    def verify(*more):
        return one.run("verify", leaf.cert_file, "--anchor", one.write_anchor(), "--trust-domain", TD, "--audience", ERP, "--allow-software", *more, check=False)
    assert verify().returncode == 0, verify()
    refused = verify("--status")
    assert refused.returncode == 1 and "there is no status to fetch" in refused.stderr, refused


def test_revoked_it_is_in_ledger_ocsp_and_crl_and_its_holder_is_served_no_more(one):
    agent, issued = blinker(one, "ended")
    agent.take(issued.json)
    by_name = one.agent_with_leaf("names-the-list", lifetime_s=60)
    assert one.ocsp(agent) == "GOOD"
    assert one.person("olga").ask("POST", "/v1/revocations", {"serial": agent.serial, "reason": "superseded"}).status == 200
    assert one.ocsp(agent) == "REVOKED"
    assert agent.client().ask("POST", "/v1/renew", {}).status in (401, 403)
    wait_for("the CRL lists it", lambda: one.crl(by_name).get_revoked_certificate_by_serial_number(int(agent.serial, 16)))
