"""Where hops come from: the issuer's own store, by the leaf that authenticates the request, and nowhere else.

So no agent acts with another's authority (confused deputy), no hops of two chains are spliced, no chain is cut short, and no key takes another's place.  The
certificates are read by tests/vectors' independent reader.
"""
import base64
import json
import os
import ssl
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from house import DELEGATION_OID, ERP, INVOICES, ROOT, TD, Agent, Client, csr_der, new_key
from test_refusals import GRANT, denied, refused

# In a process of its own: its modules have names that ours have as well.
READ = """import dataclasses, json, sys, delegation
read = dataclasses.asdict(delegation.read(sys.stdin.buffer.read()))
print(json.dumps(read, default=lambda v: v.hex() if isinstance(v, bytes) else str(v)))"""

ALICE, BOB = (f"spiffe://{TD}/human/corp/{name}" for name in ("alice", "bob"))
READER = f"spiffe://{TD}/agent/pdf-reader"


def entitlement(resource, action="invoices:read", delegable=True):
    return {"actions": [action], "resources": [resource], "delegable": delegable}


def delegated(agent):
    der = next(e.value.value for e in agent.cert.extensions if e.oid.dotted_string == DELEGATION_OID)
    read = subprocess.run(["/usr/bin/python3", "-c", READ], input=der, capture_output=True, check=True, cwd=os.path.join(ROOT, "tests", "vectors"))
    return json.loads(read.stdout)


def text(octets):
    return bytes.fromhex(octets).decode()


def hops(agent):
    """(delegator, edge id) of each hop, root first."""
    return [(text(h["principal"]), h["id"]) for h in delegated(agent)["hops"]]


def resources(agent):
    return {r for e in delegated(agent)["grant"]["entitlements"] for r in e["resources"]}


def take(house, agent, answer):
    assert answer.status == 201, answer
    agent.task, agent.edge, agent.id = answer.json["task"], answer.json["edge"], answer.json["agent"]
    return agent.take(house.leaf(agent.task, agent).json)


@pytest.fixture(scope="module")
def two_chains(one):
    """The same key, an agent of alice's with all invoices and of bob's with those of 2026."""
    agent = Agent(one, "both")
    wide = take(one, agent, one.open_task(agent, scope=[entitlement(INVOICES)]))
    narrow = Agent(one, "both-narrow")
    narrow.key = agent.key
    with open(narrow.key_file, "wb") as f:
        f.write(serialization_of(agent.key))
    return wide, take(one, narrow, one.open_task(narrow, one.person("bob"), scope=[entitlement(ERP + "/v2/invoices/2026/**")]))


def serialization_of(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def test_a_leaf_has_one_chain_and_its_root_is_who_opened_that_task(two_chains):
    wide, narrow = two_chains
    assert hops(wide) == [(ALICE, wide.edge)] and hops(narrow) == [(BOB, narrow.edge)]
    assert wide.spki_sha256 == narrow.spki_sha256 and wide.task != narrow.task


def test_a_confused_deputy_has_no_more_than_who_asked_it_whatever_it_has_of_its_own(one, two_chains):
    """The privileged agent that works for a weak one does so with a leaf of the weak one's chain."""
    deputy, _ = two_chains
    weak = one.agent_with_leaf("weak", scope=[entitlement(ERP + "/v2/invoices/2026/q1/*")])
    for asked in (INVOICES, ERP + "/v2/invoices/2026/**", ERP + "/v2/invoices/2026/q2/1"):
        problem = one.delegate(weak, deputy, scope=[entitlement(asked, delegable=False)]).json
        assert (problem["code"], problem["rule"]) == ("DENIED", "S1"), problem
    for_weak = Agent(one, "for-weak")
    take(one, for_weak, one.delegate(weak, for_weak, scope=[entitlement(ERP + "/v2/invoices/2026/q1/7", delegable=False)]))
    assert hops(for_weak) == [(ALICE, weak.edge), (weak.id, for_weak.edge)] and resources(for_weak) == {ERP + "/v2/invoices/2026/q1/7"}
    assert resources(deputy) == {INVOICES}, "its own leaf says what it said before, and names nobody else"


def test_hops_of_two_chains_are_never_spliced(one, two_chains):
    wide, narrow = two_chains
    problem = one.delegate(narrow, Agent(one, "spliced"), scope=[entitlement(INVOICES, delegable=False)]).json
    assert (problem["code"], problem["rule"]) == ("DENIED", "S1"), "the wide chain is not at hand to the narrow leaf"
    child = one.child_with_leaf(narrow, "of-narrow")
    assert hops(child) == [(BOB, narrow.edge), (narrow.id, child.edge)]
    other = one.child_with_leaf(wide, "of-wide")
    assert hops(other) == [(ALICE, wide.edge), (wide.id, other.edge)]


@pytest.mark.parametrize("member,value", [
    ("hops", []), ("parent", "00" * 16), ("edge", "00" * 16), ("delegator", ALICE), ("principal", ALICE), ("kind", "human"), ("chain", []), ("task", "x"), ("id", "x"),
    ("certificate", "-----BEGIN CERTIFICATE-----"), ("opener", ALICE), ("san", READER)])
def test_a_delegation_has_no_member_that_speaks_of_hops(one, two_chains, member, value):
    body = {"agent": {"class": READER, "spki_sha256": Agent(one, "member").spki_sha256}, **GRANT, member: value}
    refused(two_chains[0].client().ask("POST", "/v1/delegations", body), 400, "INVALID", f"member '{member}' is unknown")


@pytest.mark.parametrize("member,value", [("hops", []), ("edge", "00" * 16), ("scope", GRANT["scope"]), ("audience", [ERP]), ("depth", 7), ("san", READER), ("kind", "human")])
def test_no_request_for_a_leaf_speaks_of_what_the_leaf_may(one, two_chains, member, value):
    wide, _ = two_chains
    refused(one.leaf(wide.task, wide, **{member: value}), 400, "INVALID", f"member '{member}' is unknown")
    refused(wide.client().ask("POST", "/v1/renew", {member: value}), 400, "INVALID", f"member '{member}' is unknown")
    refused(wide.client().ask("POST", "/v1/renew", {"csr": base64.b64encode(csr_der(wide.key)).decode()}), 400, "INVALID", "member 'csr' is unknown")


def test_a_leaf_of_one_task_is_of_no_use_in_another(one, two_chains):
    """The lineage is the leaf's, read by its serial; a task in the path chooses by key alone."""
    wide, narrow = two_chains
    by_wide = one.leaf(narrow.task, wide, client=wide.client())
    assert by_wide.status == 201 and by_wide.json["edge"] == narrow.edge, "the key is that of both, and the leaf is of the task that was named"
    stranger = one.agent_with_leaf("of-another-task")
    refused(one.leaf(stranger.task, wide, client=wide.client()), 404, "NOT_FOUND",
            f"no delegation of task '{stranger.task}' names this key: task {stranger.task} has no edge for this key")


def test_a_chain_is_never_cut_short(one, two_chains):
    """One hop more for each delegation, the earlier ones byte for byte; an agent is no root; a renewal keeps them all."""
    wide, _ = two_chains
    middle = one.child_with_leaf(wide, "cut-middle", depth=1, scope=[entitlement(INVOICES)])
    lowest = one.child_with_leaf(middle, "cut-lowest")
    assert delegated(middle)["hops"][:1] == delegated(wide)["hops"] and delegated(lowest)["hops"][:2] == delegated(middle)["hops"]
    assert hops(lowest) == [(ALICE, wide.edge), (wide.id, middle.edge), (middle.id, lowest.edge)]
    denied(lowest.client().ask("POST", "/v1/tasks", {"agent": {"class": READER, "spki_sha256": Agent(one, "root").spki_sha256}, **GRANT}), "K1", lowest.id,
           "a human or a service opens a task")
    denied(one.delegate(lowest, Agent(one, "deeper")), "D1", "a delegation below depth 0", "the parent may not delegate")
    before = delegated(lowest)
    renewed = lowest.client().ask("POST", "/v1/renew").json
    assert delegated(lowest.take(renewed)) == before


def test_a_chain_that_an_agent_signed_itself_is_none(one, two_chains):
    """A leaf used as a CA over another one: the handshake refuses it."""
    wide, _ = two_chains
    key = new_key()
    forged = (x509.CertificateBuilder().subject_name(wide.cert.subject).issuer_name(wide.cert.subject).public_key(key.public_key()).serial_number(wide.cert.serial_number)
              .not_valid_before(wide.cert.not_valid_before).not_valid_after(wide.cert.not_valid_after))
    for extension in wide.cert.extensions:
        forged = forged.add_extension(extension.value, extension.critical)
    cert_file, key_file = one.path("forged.pem"), one.path("forged.key")
    with open(cert_file, "wb") as f:
        f.write(forged.sign(wide.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM) + wide.issued["certificate"].encode() + wide.issued["chain"].encode())
    with open(key_file, "wb") as f:
        f.write(serialization_of(key))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        Client(one, cert_file, key_file).ask("POST", "/v1/renew")


def test_a_swapped_key_gets_nothing(one):
    """Delegated for one key, asked for with another: by its own request, by the first one's public key, and by its certificate."""
    named, other = Agent(one, "named-key"), Agent(one, "other-key")
    task = one.open_task(named).json["task"]
    refused(one.leaf(task, other), 404, "NOT_FOUND", f"no delegation of task '{task}' names this key: task {task} has no edge for this key")
    der = bytearray(csr_der(other.key))
    mine = named.key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    theirs = other.key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    at = bytes(der).index(theirs)
    der[at:at + len(theirs)] = mine
    answer = one.nobody().ask("POST", f"/v1/tasks/{task}/leaves", bytes(der), {"Content-Type": "application/pkcs10"})
    refused(answer, 400, "INVALID", "CSR: no proof that the asker has the key: the signature is not this P-256 key's over these bytes")
    leaf = take(one, named, one.open_task(named))
    with pytest.raises(ssl.SSLError):
        Client(one, leaf.cert_file, other.key_file)  # no stack even loads a leaf with another's key
    renewed = leaf.client().ask("POST", "/v1/renew").json
    assert x509.load_pem_x509_certificate(renewed["certificate"].encode()).public_key().public_numbers() == named.key.public_key().public_numbers()
