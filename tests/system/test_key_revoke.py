"""writ key revoke: an issuing CA in the anchor's CRL. What it issued is refused by everyone who checks, it issues no more, and nothing undoes it."""
import json
import mmap
import os
import struct
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

import journal
from house import TD, Agent, House, wait_for

pytestmark = pytest.mark.waits
PEM = serialization.Encoding.PEM
STAGES = ["key:revoked"]


@pytest.fixture(scope="module")
def house():
    h = House("swtpm", "sealed")
    h.init()
    with open(h.path("fault"), "w+b") as f:
        f.write(bytes(64))
        f.flush()
        os.chmod(h.path("fault"), 0o666)
        h.order = mmap.mmap(f.fileno(), 64)
    h.start(env={"WRIT_FAULT": "@" + h.path("fault")})
    yield h
    h.close()


def admin(house, *arguments, check=True):
    result = house.run(*arguments, "--config", house.path("writ.yaml"), "--json", check=check)
    return json.loads(result.stdout) if check else result


def key_id(cert):
    return cert.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()


def anchor_crl(house, ca):
    url = ca.extensions.get_extension_for_class(x509.CRLDistributionPoints).value[0].full_name[0].value
    return x509.load_der_x509_crl(house.get(url[url.index("/crl/"):]))


def number(crl):
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def written(house, agent):
    """The files that a relying party has, fetched now."""
    ca = house.issuing_of(agent)
    files = {"leaf": agent.cert, "issuing": ca, "issuing-crl": house.crl(agent), "anchor-crl": anchor_crl(house, ca)}
    for name, what in files.items():
        with open(house.path(f"{agent.name}-{name}.pem"), "wb") as f:
            f.write(what.public_bytes(PEM))
    return {name: house.path(f"{agent.name}-{name}.pem") for name in files}


def openssl(house, agent):
    f = written(house, agent)
    return subprocess.run(["openssl", "verify", "-x509_strict", "-CAfile", house.write_anchor(), "-untrusted", f["issuing"], "-crl_check_all", "-CRLfile",
                           f["issuing-crl"], "-CRLfile", f["anchor-crl"], f["leaf"]], capture_output=True, text=True, check=False)


def libwrit(house, agent):
    f = written(house, agent)
    with open(house.path("chain.pem"), "wb") as out:
        for name in ("leaf", "issuing"):
            out.write(open(f[name], "rb").read())
    return house.run("verify", house.path("chain.pem"), "--anchor", house.write_anchor(), "--trust-domain", TD, "--allow-software", "--crl", f["issuing-crl"],
                     "--anchor-crl", f["anchor-crl"], check=False)


class Revoked:
    """One leaf of a CA that is revoked, and one of the CA after it."""


@pytest.fixture(scope="module")
def made(house):
    r = Revoked()
    r.old = house.agent_with_leaf("old", lifetime_s=600)
    r.ca = house.issuing_of(r.old)
    r.before = anchor_crl(house, r.ca)
    assert house.ocsp(r.old) == "GOOD"
    first = openssl(house, r.old)
    assert first.returncode == 0, first.stderr
    ours = libwrit(house, r.old)
    assert ours.returncode == 0, ours.stdout + ours.stderr
    r.answer = admin(house, "key", "revoke", key_id(r.ca), "--reason", "keyCompromise")
    r.new = wait_for("a leaf of another CA", lambda: later(house, r.ca), 10)
    return r


def later(house, ca):
    """The issuer hears of the new CA within a second; until then it is told to ask again."""
    agent = Agent(house, "new")
    issued = house.leaf(house.open_task(agent).json["task"], agent, 600)
    if issued.status == 503:
        assert "was revoked a moment ago: ask again" in json.dumps(issued.json), issued
        return None
    assert issued.status == 201, issued
    assert house.issuing_of(agent.take(issued.json)) != ca, "nothing is issued by it after the answer"
    return agent


def test_its_certificate_is_in_the_anchor_s_list_at_once(house, made):
    assert made.answer["listed"] and made.answer["can_issue"]
    assert made.answer["revoked"] == key_id(made.ca) != made.answer["issuing"]
    wait_for("the new list", lambda: number(anchor_crl(house, made.ca)) >= made.answer["crl_number"], 10)
    crl = anchor_crl(house, made.ca)
    assert number(crl) > number(made.before) and len(made.before) == 0
    assert crl.is_signature_valid(house.anchor().public_key())
    [entry] = list(crl)
    assert entry.serial_number == made.ca.serial_number
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason == x509.ReasonFlags.key_compromise


def test_another_ca_issues_and_its_leaves_are_accepted(house, made):
    assert key_id(house.issuing_of(made.new)) == made.answer["issuing"]
    assert house.ocsp(made.new) == "GOOD"
    result = openssl(house, made.new)
    assert result.returncode == 0, result.stderr
    ours = libwrit(house, made.new)
    assert ours.returncode == 0, ours.stdout + ours.stderr


def test_its_leaves_are_refused_by_openssl_and_libwrit(house, made):
    refused = openssl(house, made.old)
    assert refused.returncode != 0 and "certificate revoked" in refused.stderr
    ours = libwrit(house, made.old)
    assert ours.returncode != 0 and "revoked" in ours.stdout + ours.stderr, ours.stdout + ours.stderr


def test_its_leaves_stay_answerable_and_are_never_good_again(house, made):
    """A nonce asks the signer itself: what was signed before it is good until its nextUpdate, as OCSP has it."""
    out = subprocess.run(["openssl", "ocsp", "-issuer", house.path("old-issuing.pem"), "-cert", house.path("old-leaf.pem"), "-url", house.status_url("/ocsp"),
                          "-CAfile", house.write_anchor(), "-nonce", "-no_cert_verify"], capture_output=True, text=True, check=False)
    assert "revoked" in out.stdout and "Reason: cACompromise" in out.stdout, out.stdout + out.stderr


def test_it_is_journalled_with_who_and_why(house, made):
    [entry] = [e for e in journal.read(house.path("state/journal"), live=True) if e.json.get("event") == "revoked"]
    assert entry.type == "key" and entry.json["key"] == key_id(made.ca) and entry.json["reason"] == "keyCompromise"
    assert entry.json["by_uid"] == os.geteuid() and int(entry.serial, 16) == made.ca.serial_number


@pytest.mark.parametrize("arguments, code, message", [
    (["00" * 20], 1, "no issuing CA of that key id is live"),
    (["00"], 2, "is no key id of 40 hex digits"),
    (["REVOKED"], 1, "is revoked already"),
    (["ANCHOR"], 1, "that is the anchor"),
    (["REVOKED", "--reason", "certificateHold"], 2, "--reason certificateHold: it is one of keyCompromise"),
    ([], 2, ""),
])
def test_what_cannot_be_revoked_is_refused(house, made, arguments, code, message):
    names = {"REVOKED": key_id(made.ca), "ANCHOR": key_id(house.anchor())}
    result = admin(house, "key", "revoke", *[names.get(a, a) for a in arguments], check=False)
    assert result.returncode == code and message in result.stderr, result.stderr


def test_a_restart_undoes_nothing(house, made):
    house.stop()
    house.start(env={"WRIT_FAULT": "@" + house.path("fault")})
    listed = wait_for("the list", lambda: [e.serial_number for e in anchor_crl(house, made.ca)], 10)
    assert listed == [made.ca.serial_number]
    again = house.agent_with_leaf("again")
    assert house.issuing_of(again) != made.ca
    assert openssl(house, made.old).returncode != 0


def test_a_crash_after_the_journal_undoes_nothing_either(house, made):
    ca = house.issuing_of(house.agent_with_leaf("before-crash"))
    house.order[:56] = STAGES[0].encode().ljust(56, b"\0")
    struct.pack_into("<Q", house.order, 56, 1)
    lost = admin(house, "key", "revoke", key_id(ca), check=False)
    assert lost.returncode != 0 and struct.unpack_from("<Q", house.order, 56)[0] == 0
    house.wait_healthy()
    wait_for("both are listed", lambda: {e.serial_number for e in anchor_crl(house, ca)} == {made.ca.serial_number, ca.serial_number}, 20)
    assert house.issuing_of(later(house, ca) or house.agent_with_leaf("after-crash")) != ca


def test_without_the_device_issuing_stops_and_says_why_until_it_is_back(house, made):
    ca = house.issuing_of(house.agent_with_leaf("before"))
    house.device.kill()
    house.device.wait()
    answer = admin(house, "key", "revoke", key_id(ca))
    assert not answer["listed"] and not answer["can_issue"]
    agent = Agent(house, "nobody")
    opened = house.open_task(agent)
    refused = house.leaf(opened.json["task"], agent)
    assert refused.status == 503 and "is revoked, and the device has not certified a new one yet" in json.dumps(refused.json), refused
    for name in ("tpm/sock", "tpm/sock.ctrl"):
        if os.path.exists(house.path(name)):
            os.unlink(house.path(name))
    house.start_device()
    issued = wait_for("issuing goes on", lambda: (lambda r: r if r.status == 201 else None)(house.leaf(opened.json["task"], agent)), 20)
    agent.take(issued.json)
    assert house.issuing_of(agent) != ca
    wait_for("it is listed", lambda: {made.ca.serial_number, ca.serial_number} <= {e.serial_number for e in anchor_crl(house, ca)}, 20)
