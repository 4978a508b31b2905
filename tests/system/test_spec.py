"""The published ASN.1 module (deploy/spec) is one that a stranger's compiler takes, and what Writ issues is of its types.

asn1c makes a decoder of the module; it knows nothing of our own reader and writer.  The independent verifier of tests/vectors takes it, too.
"""
import glob
import json
import os
import re
import subprocess
import sys
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from house import DELEGATION_OID, ERP, ROOT, TD, wait_for
from test_interop import ocsp_der

SPEC = os.path.join(ROOT, "deploy", "spec")
VECTORS = os.path.join(ROOT, "tests", "vectors")
sys.path.insert(0, VECTORS)

import judge  # noqa: E402
import mutate  # noqa: E402
import verifier  # noqa: E402

CASES = {case["name"]: case for case in json.load(open(os.path.join(VECTORS, "cases.json"), encoding="utf-8"))["cases"]}
LOG_REF_OID = DELEGATION_OID[:-1] + "2"


class Decoder:
    def __init__(self, folder):
        self.folder = folder
        module = os.path.join(SPEC, "WritDelegation-v1.asn1")
        made = subprocess.run(["asn1c", "-Werror", "-fcompound-names", "-fincludes-quoted", "-fwide-types", "-pdu=all", module], cwd=folder,
                              capture_output=True, text=True, check=False, timeout=60)
        assert made.returncode == 0, made.stderr
        sources = glob.glob(os.path.join(folder, "*.c"))         # a program that converts is among them
        subprocess.run(["gcc", "-w", "-O0", "-DASN_PDU_COLLECTION", "-DPDU=TaskDelegation", "-I.", "-o", "decoder", *sources], cwd=folder, check=True, timeout=300)

    def read(self, kind, value, form="der"):
        """The value read with every SIZE and range of the module held against it, and written again."""
        path = os.path.join(self.folder, "value.der")
        with open(path, "wb") as f:
            f.write(value)
        return subprocess.run([os.path.join(self.folder, "decoder"), "-p", kind, "-c", "-iber", f"-o{form}", path], capture_output=True, check=False, timeout=20)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    return Decoder(str(tmp_path_factory.mktemp("asn1")))


def extension(certificate, oid):
    return certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier(oid)).value.value


def certificate_of(name):
    with open(os.path.join(VECTORS, CASES[name]["chain"][0]), "rb") as f:
        return f.read()


def test_a_leaf_that_writ_issued_is_read_by_a_decoder_compiled_from_the_module(one, decoder):
    leaf = one.agent_with_leaf("spec").cert
    for kind, oid in (("TaskDelegation", DELEGATION_OID), ("LogRef", LOG_REF_OID)):
        value = extension(leaf, oid)
        read = decoder.read(kind, value)
        assert read.returncode == 0 and read.stdout == value, read.stderr
    text = decoder.read("TaskDelegation", extension(leaf, DELEGATION_OID), "xer").stdout.decode()
    assert "<kind><human/></kind>" in re.sub(r"\s", "", text) and "<id>" in text, text


def der(thing):
    return thing.public_bytes(serialization.Encoding.DER)


def both_say(one, agent, ocsp=b""):
    """What the independent verifier and libwrit make of a leaf, with the lists that are published now: the refusal's name, and the view as JSON."""
    crl, issuing, now = one.crl(agent), one.issuing_of(agent), int(time.time())
    files = {"anchor": der(one.anchor()), "leaf": der(agent.cert), "issuing": der(issuing), "crl": der(crl)}
    case = {"anchor": "anchor", "chain": ["leaf", "issuing"], "trust_domain": TD, "identities": [ERP], "crls": ["crl"], "now": now, "options": {"ALLOW_SOFTWARE": 1}}
    lines = judge.trust(case, files.get)
    told = judge.ask([*lines, judge.verify([files["leaf"], files["issuing"]], now, ocsp), "json"])[len(lines):]
    v = verifier.verifier_of(case, files.get)
    try:
        found = v.verify([files["leaf"], files["issuing"]], now, ocsp)
        return "OK", found.json(), told[0][0], told[1][2]
    except verifier.Refused as refused:
        return refused.code, "", told[0][0], told[1][2]


def test_the_independent_verifier_takes_what_writ_issues_and_refuses_it_once_it_is_revoked(one):
    """Parent and child, by the published list and by a stapled response, and libwrit with it: the same view, the same refusal."""
    parent = one.agent_with_leaf("spec-parent")
    child = one.child_with_leaf(parent, "spec-child")
    for agent, hops in ((parent, 1), (child, 2)):
        for ocsp in (b"", ocsp_der(one, agent)):
            code, view, theirs, their_view = both_say(one, agent, ocsp)
            assert (code, theirs) == ("OK", "OK") and view == their_view, (view, their_view)
        assert len(json.loads(view)["writ"]["hops"]) == hops and json.loads(view)["writ"]["tier"] == "software"
    assert one.person("olga").ask("POST", "/v1/revocations", {"serial": parent.serial, "reason": "superseded"}).status == 200
    wait_for("the list has the parent's leaf", lambda: one.crl(parent).get_revoked_certificate_by_serial_number(int(parent.serial, 16)))
    for agent in (parent, child):
        code, _, theirs, _ = both_say(one, agent)
        assert (code, theirs) == ("REVOKED", "REVOKED"), (code, theirs)


@pytest.mark.parametrize("name", [n for n, case in CASES.items() if case["expect"]["refusal"] == "OK"])
def test_what_the_vectors_accept_is_of_the_modules_types(decoder, name):
    value = extension(x509.load_der_x509_certificate(certificate_of(name)), DELEGATION_OID)
    read = decoder.read("TaskDelegation", value)
    assert read.returncode == 0 and read.stdout == value, read.stderr


@pytest.mark.parametrize("name", ["N5", "N6", "N6-none", "N17", "N17-5", "N17-6", "N18-length", "N18-empty", "N18-big", "N26-utf8", "N32-17", "N32-depth", "N32-empty"])
def test_what_the_module_alone_forbids_is_refused_by_the_decoder_too(decoder, name):
    """The other rules are beyond the types: order, text, dates, hops, and that there is one encoding only."""
    tree = mutate.parse(certificate_of(name))[0]
    value = next(n.contents[1].contents for n in tree.walk() if not isinstance(n.contents, bytes) and len(n.contents) == 2 and
                 n.contents[0].encode() == mutate.mint.oid(DELEGATION_OID))
    read = decoder.read("TaskDelegation", value if isinstance(value, bytes) else b"".join(n.encode() for n in value))
    assert read.returncode != 0 and (b"constraint" in read.stderr or b"Decode failed" in read.stderr), read


def test_the_specification_names_every_refusal_of_the_public_header_and_every_rule():
    with open(os.path.join(ROOT, "issuer", "x509", "writ.h"), encoding="utf-8") as f:
        refusals = re.findall(r"WRIT_REFUSED_([A-Z_]+) =", f.read())
    with open(os.path.join(SPEC, "delegation.md"), encoding="utf-8") as f:
        text = f.read()
    assert len(refusals) == 19
    for name in refusals + [f"E{n}" for n in range(1, 11)] + "S1 S2 S3 A1 D1 L1 L2 L3 L4 L5 T1 K1 P1".split():
        assert re.search(rf"\b{name}\b", text), name


def test_the_object_identifiers_of_the_module_are_those_of_the_certificates():
    with open(os.path.join(SPEC, "WritDelegation-v1.asn1"), encoding="utf-8") as f:
        module = f.read()
    arc = ".".join(re.search(r"id-writ OBJECT IDENTIFIER ::= \{([^}]*)\}", module)[1].split())
    named = {name: arc + "." + ".".join(arcs.split()) for name, arcs in re.findall(r"(id-writ-[\w-]+)\s+OBJECT IDENTIFIER ::= \{ id-writ ([\d ]+)\}", module)}
    leaf = x509.load_der_x509_certificate(certificate_of("P1"))
    assert extension(leaf, named["id-writ-pe-taskDelegation"]) and extension(leaf, named["id-writ-pe-logRef"])
    policies = [p.policy_identifier.dotted_string for p in leaf.extensions.get_extension_for_class(x509.CertificatePolicies).value]
    assert policies == [named["id-writ-cp-delegatedAgent"], named["id-writ-cp-sealed"]]
