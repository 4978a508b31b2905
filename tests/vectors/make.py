#!/usr/bin/env python3
"""Makes the test vectors: der/, cases.json and attenuation.json, the same bytes each time.

usage: tests/vectors/make.py [DIR]      DIR: where to write; default the folder of this program

What each case is about stands in its title; who uses them and how is in README.md.
"""
import hashlib
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import attenuation  # noqa: E402
from mint import *  # noqa: E402,F403

NOW = at("2027-01-15T12:00:00Z")
BEGIN, END = NOW - 30, NOW + 299        # a lifetime of 300 s asked
URL = "http://status.agents.corp.example"
ERP = "https://erp.corp.example"
TASK = "0193581c-9a3e-7c41-b5d2-6f1e8a2b9c00"
ROOT = f"spiffe://{TD}/human/okta/00u1abcd"
SERVICE = f"spiffe://{TD}/service/billing/nightly"
HOLDER = f"spiffe://{TD}/agent/invoice-bot/i-9c1b44"
READ = entitlement("invoices:read", f"{ERP}/v2/invoices/2026/q3/**", delegable=True, constraints=[param_max("limit", 100)])

keys = {what: Key(what) for what in ("anchor", "other anchor", "issuing", "other issuing", "responder", "agent", "agent renewed")}
anchor = Ca("anchor", keys["anchor"], begin=NOW - 86400, end=NOW + 3650 * 86400, tiers=("resident", "sealed", "software"))
foreign_anchor = Ca("anchor", keys["other anchor"], begin=NOW - 86400, end=NOW + 3650 * 86400, tiers=("resident", "sealed", "software"))
ANCHOR_CRL = f"{URL}/crl/{anchor.key.id.hex()}.crl"
issuing = Ca("issuing", keys["issuing"], anchor, NOW - 3600, NOW + 15600, ("sealed",), 0, ANCHOR_CRL)
impostor = Ca("issuing", keys["issuing"], foreign_anchor, NOW - 3600, NOW + 15600, ("sealed",), 0, ANCHOR_CRL)
software = Ca("issuing", keys["other issuing"], anchor, NOW - 3600, NOW + 15600, ("software",), 0, ANCHOR_CRL)
responder = Ca("OCSP", keys["responder"], issuing, NOW - 60, NOW + 3540, responder=True)
CRL_URL, OCSP_URL = f"{URL}/crl/{issuing.key.id.hex()}.crl", f"{URL}/ocsp"


def root_hop(**changes):
    facts = dict(principal=ROOT, kind=0, method=2, granted_at=NOW - 120, not_after=NOW + 3000, depth=2, authority="https://corp.okta.example",
                 auth_time=NOW - 150, acr="phr")
    return hop(**{**facts, **changes})


def agent_hop(n, **changes):
    """The n-th agent below the root, which holds a leaf of ours."""
    who = f"spiffe://{TD}/agent/orchestrator/i-{n:06x}"
    facts = dict(principal=who, kind=2, method=3, granted_at=NOW - 120 + n, not_after=NOW + 3000 - n, depth=2 - n,
                 cert=(label("leaf of " + who), hop_serial(n), issuing.key.id))
    return hop(**{**facts, **changes})


def hop_serial(n):
    return int.from_bytes(b"\1\xcb" + label(f"serial of hop {n}", 14), "big")


def serial_of(what):
    return (NOW // 60).to_bytes(4, "big") + label("serial of leaf " + what, 12)


def delegation_of(**changes):
    facts = dict(task=TASK, scope=[READ], audience=[ERP], hops=[root_hop()], purpose="Q3 invoice reconciliation")
    return task_delegation(**{**facts, **changes})


def leaf_parts(what, value=None, ca=issuing, key=None, begin=BEGIN, end=END, san=HOLDER, domain=TD, task=TASK, tier="sealed", no_rev=False):
    """Fields of the TBS, and the extensions by name, to be changed before they are signed."""
    extensions = {
        "san": ext("2.5.29.17", seq(ia5(san, 0x86))), "ku": ext("2.5.29.15", b"\x03\x02\x07\x80", True), "bc": ext("2.5.29.19", b"\x30\x00", True),
        "aki": ext("2.5.29.35", aki(ca.key.id)), "eku": ext("2.5.29.37", seq(oid("1.3.6.1.5.5.7.3.2"), oid("1.3.6.1.5.5.7.3.1"))),
        "policies": ext("2.5.29.32", policies(ARC + ".3.1", TIER[tier])), "delegation": ext(ARC + ".1.1", value or delegation_of())}
    if no_rev:
        extensions["norev"] = ext("2.5.29.56", b"\x05\x00")
    else:
        extensions.update(crldp=ext("2.5.29.31", crldp(CRL_URL)), aia=ext("1.3.6.1.5.5.7.1.1", aia(OCSP_URL)))
    extensions["log"] = ext(ARC + ".1.2", seq(octets(label("log", 8)), octets((4711).to_bytes(8, "big")), octets(label("log leaf of " + what))))
    return dict(serial=tlv(2, serial_of(what)), issuer=ca.subject, begin=begin, end=end, subject=name(domain, f"task:{task}"),
                spki=(key or keys["agent"]).spki, extensions=extensions), ca.key


def leaf(what, change=None, **facts):
    """`change` gets the extensions by name, in order, and may do with them what it likes."""
    fields, key = leaf_parts(what, **facts)
    if change:
        fields["extensions"] = change(fields["extensions"]) or fields["extensions"]
    fields["extensions"] = list(fields["extensions"].values())
    return signed(tbs(**fields), key)


class Forger:
    """Calls itself the anchor, and has another key."""

    def __init__(self):
        self.subject, self.key = anchor.subject, self
        self.name, self.id, self.sign = "forger", anchor.key.id, keys["other anchor"].sign


class Book:
    """The cases, and the files that they name."""

    def __init__(self):
        self.cases, self.files = [], {}

    def file(self, path, data):
        assert self.files.setdefault(path, data) == data, path
        return path

    def der(self, what, data):
        return self.file(f"der/{what}.der", data)

    def case(self, what, title, certificate, expect="OK", issuer=issuing, **changes):
        refusal, _, rule = expect.partition(" ")
        case = {"name": what, "title": title, "now": NOW, "trust_domain": TD, "anchor": self.der("anchor", anchor.der),
                "chain": [self.der(what, certificate), self.der("issuing-" + hashlib.sha256(issuer.der).hexdigest()[:8], issuer.der)],
                "crls": [self.file("der/issuing.crl", CRL)] if issuer is issuing else [], "identities": [ERP], "options": {},
                "expect": {"refusal": refusal, **({"rule": rule} if rule else {})}}
        case.update(changes)
        self.cases.append({k: v for k, v in case.items() if v not in ([], {}, None)} | {"options": case["options"]})


CRL = crl(issuing, 7, NOW - 30, NOW + 180, [int.from_bytes(serial_of("somebody else's"), "big")], [label("an edge of somebody else", 16)])


def request(action, resource, expect, now=NOW, **more):
    refusal, *rest = expect.split()
    wanted = {"refusal": refusal}
    if refusal == "OK":
        wanted["entitlement"] = int(rest[0])
    elif rest:
        wanted["rule"] = rest[0]
    return {"action": action, "resource": resource, "now": now, **more, "expect": wanted}


def fill(target):
    """A delegation of 8 hops and 32 entitlements that has exactly so many octets."""
    hops = [root_hop(depth=7)] + [agent_hop(n, depth=7 - n) for n in range(1, 8)]

    def value(each, last):
        return delegation_of(hops=hops, scope=[
            entitlement("a:read", f"{ERP}/s/{i:02}/" + "x" * (last if i == 31 else each)) for i in range(32)])
    return next(value(each, last) for each in range(1, 200) for last in (range(1, 300) if len(value(each, each)) > target - 250 else ())
                if len(value(each, last)) == target)


def positive(book):
    yes = book.case
    yes("P1", "one hop: a human, by an ID token", leaf("P1"), requests=[
        request("invoices:read", f"{ERP}/v2/invoices/2026/q3/17", "OK 0", parameters=[["limit", "100"]]),
        request("invoices:read", f"{ERP}/v2/invoices/2026/q3/17", "CONSTRAINT paramMax", parameters=[["limit", "101"]]),
        request("invoices:read", f"{ERP}/v2/invoices/2026/q3/17", "CONSTRAINT paramMax"),
        request("invoices:read", f"{ERP}/v2/invoices/2026/q3/17", "CONSTRAINT paramMax", parameters=[["limit", "1"], ["limit", "1"]]),
        request("invoices:read", f"{ERP}/v2/invoices/2026/q3", "NOT_ALLOWED"),
        request("invoices:write", f"{ERP}/v2/invoices/2026/q3/17", "NOT_ALLOWED"),
        request("invoices:*", f"{ERP}/v2/invoices/2026/q3/17", "REQUEST"),
        request("invoices:read", f"{ERP}/v2/invoices/2026/q3/../q4", "REQUEST"),
        request("invoices:read", f"{ERP}/v2/invoices/2026/q3/**", "REQUEST"),
        request("invoices:read", f"{ERP}/v2/invoices/2026/q3/17", "EXPIRED", NOW + 181, parameters=[["limit", "1"]])])
    service = hop(SERVICE, 1, 0, NOW - 60, NOW + 3000, 0)
    yes("P2", "a service as the root, by its certificate", leaf("P2", value=delegation_of(hops=[service])))
    yes("P3", "three hops, each shallower", leaf("P3", value=delegation_of(hops=[root_hop(), agent_hop(1), agent_hop(2)])), json="json/P3.json")
    yes("P4", "8 hops, 32 entitlements, 8192 octets of extension: the most there may be", leaf("P4", value=fill(8192)))
    every = [source_net("10.0.0.0/8", "2001:db8::/32"), window(NOW - 60, NOW + 120), param_in("to", "cfo@x", "payroll@x"), param_max("amount", -5)]
    both = delegation_of(scope=[entitlement("pay:*", f"{ERP}/pay/*", constraints=every[2:])], constraints=every[:2])
    ten, good = "0a010203", [["amount", "-5"], ["to", "cfo@x"]]
    yes("P5", "every type of constraint, at the top and in an entitlement", leaf("P5", value=both), requests=[
        request("pay:send:now", f"{ERP}/pay/1", "OK 0", peer=ten, parameters=good),
        request("pay:send", f"{ERP}/pay/1", "OK 0", peer="20010db8" + "00" * 12, parameters=good),
        request("pay", f"{ERP}/pay/1", "NOT_ALLOWED", peer=ten, parameters=good),
        request("pay:send", f"{ERP}/pay/1/2", "NOT_ALLOWED", peer=ten, parameters=good),
        request("pay:send", f"{ERP}/pay/1", "CONSTRAINT sourceNet", peer="0b010203", parameters=good),
        request("pay:send", f"{ERP}/pay/1", "CONSTRAINT sourceNet", parameters=good),
        request("pay:send", f"{ERP}/pay/1", "CONSTRAINT sourceNet", peer="20010db9" + "00" * 12, parameters=good),
        request("pay:send", f"{ERP}/pay/1", "CONSTRAINT sourceNet", peer="00" * 10 + "ffff" + ten, parameters=good),
        request("pay:send", f"{ERP}/pay/1", "REQUEST", peer="0a01", parameters=good),
        request("pay:send", f"{ERP}/pay/1", "OK 0", NOW + 120, peer=ten, parameters=good),
        request("pay:send", f"{ERP}/pay/1", "CONSTRAINT window", NOW + 121, peer=ten, parameters=good),
        request("pay:send", f"{ERP}/pay/1", "CONSTRAINT paramIn", peer=ten, parameters=[["amount", "-5"], ["to", "CFO@x"]]),
        request("pay:send", f"{ERP}/pay/1", "CONSTRAINT paramIn", peer=ten, parameters=[["amount", "-5"]]),
        request("pay:send", f"{ERP}/pay/1", "CONSTRAINT paramMax", peer=ten, parameters=[["amount", "-4"], ["to", "cfo@x"]]),
        request("pay:send", f"{ERP}/pay/1", "CONSTRAINT paramMax", peer=ten, parameters=[["amount", "-5.0"], ["to", "cfo@x"]]),
        request("pay:send", f"{ERP}/pay/1", "CONSTRAINT paramMax", peer=ten, parameters=[["amount", "-05"], ["to", "cfo@x"]]),
        request("pay:send", f"{ERP}/pay/1", "CONSTRAINT paramMax", peer=ten, parameters=[["amount", "-9007199254740992"], ["to", "cfo@x"]])])
    short = delegation_of(hops=[root_hop(depth=0)], scope=[entitlement("a", ERP + "/x")])
    yes("P7", "noRevAvail: no status URL, 120 s, depth 0; no list is needed", leaf("P7", value=short, end=NOW + 119, no_rev=True), crls=[])
    yes("P8", "an agent with an Ed25519 key", leaf("P8", key=Key("agent Ed25519", "Ed25519")))
    yes("P8-384", "an agent with a P-384 key", leaf("P8-384", key=Key("agent P-384", "P-384")))
    whole = delegation_of(
        scope=[entitlement("pay:*", f"{ERP}/pay/*", True, every[2:]), entitlement("a:b c", f"{ERP} {ERP}/x/%2A")], constraints=every[:2],
        hops=[root_hop(grant=label("signed grant")), agent_hop(1)], audience=[ERP, "https://erp2.corp.example:8443"], parent="2026-q3",
        purpose="Prüfung \"Q3\" \\ 東京", context=("writ-task-context-v1", label("context")), attestation=("tpm2-certify", label("attestation"), NOW - 40))
    yes("P10", "everything that a leaf can say, and its view as JSON", leaf("P10", value=whole), json="json/P10.json")
    wide = delegation_of(scope=[entitlement("a", "https://[2001:db8::1]:8443/x/%2A")], audience=["https://[2001:db8::1]:8443"])
    yes("P11", "an IPv6 literal, and an asterisk that is no wildcard", leaf("P11", value=wide), identities=["https://[2001:db8::1]:8443"], requests=[
        request("a", "https://[2001:db8::1]:8443/x/%2A", "OK 0"), request("a", "https://[2001:db8::1]:8443/x/y", "NOT_ALLOWED"),
        request("a", "https://[2001:db8:0::1]:8443/x/%2A", "REQUEST")])
    yes("P12", "the renewal of P1: hops, scope and key are the same bytes", leaf("P12", begin=BEGIN + 180, end=END + 180), now=NOW + 180, renews="P1")
    yes("A19", "a purpose decides nothing, whatever it says", leaf("A19", value=delegation_of(purpose="admin override: allow everything")), requests=[
        request("invoices:read", f"{ERP}/v2/invoices/2026/q3/17", "OK 0", parameters=[["limit", "100"]]),
        request("admin:override", f"{ERP}/v2/invoices/2026/q3/17", "NOT_ALLOWED")])
    yes("O1", "a stapled response is enough", leaf("O1"), crls=[],
          ocsp=book.der("O1.ocsp", ocsp(issuing, responder, int.from_bytes(serial_of("O1"), "big"), NOW - 30, NOW + 120)))
    yes("O3", "the shard that the leaf names is enough, beside one that it does not", leaf("O3"),
        crls=[book.file("der/own-shard.crl", crl(issuing, 8, NOW - 30, NOW + 180, url=CRL_URL)),
              book.file("der/shard.crl", crl(issuing, 8, NOW - 30, NOW + 180, url=CRL_URL.replace(".crl", "-1.crl")))])
    yes("O4", "a stale list is passed over where that is said", leaf("O4"), options={"SOFT_FAIL": 1}, crls=[book.file("der/stale.crl", crl(issuing, 6, NOW - 211, NOW - 1))])
    yes("O2", "a key in software, allowed", leaf("O2", ca=software, tier="software"), issuer=software, options={"ALLOW_SOFTWARE": 1, "DEMAND_STATUS": 0})


def patched(data, old, new, nth=0):
    """`data` with one run of octets put in the place of another of the same length."""
    at_ = -1
    for _ in range(nth + 1):
        at_ = data.index(old, at_ + 1)
    assert len(old) == len(new)
    return data[:at_] + new + data[at_ + len(old):]


def with_delegation(what, **changes):
    return leaf(what, value=delegation_of(**changes))


def twice(extensions):
    """A second TaskDelegation behind the first."""
    out = {}
    for key, value in extensions.items():
        out[key] = value
        if key == "delegation":
            out["again"] = value
    return out


def negative(book):
    no, e1 = book.case, "DELEGATION E1"
    no("N1", "two TaskDelegations", leaf("N1", twice), "DELEGATION E3")
    value = delegation_of()
    assert value[1] == 0x82
    no("N2-tag", "a certificate that begins as something else than a SEQUENCE", b"\xb0" + leaf("N2-tag")[1:], "ENCODING")
    no("N2", "a length with one octet more than it needs, in TaskDelegation", leaf("N2", value=value[:1] + b"\x83\0" + value[2:]), e1)
    no("N2-indefinite", "an indefinite length in TaskDelegation", leaf("N2-indefinite", value=b"\x30\x80" + value[4:] + b"\0\0"), e1)
    whole = leaf("N2-certificate")
    no("N2-certificate", "an indefinite length of the certificate", b"\x30\x80" + whole[4:] + b"\0\0", "ENCODING")
    no("N3", "a byte behind TaskDelegation, inside its extension", leaf("N3", value=value + b"\0"), e1)
    no("N3-inside", "an element more than the format has", with_delegation("N3-inside", behind=b"\x05\x00"), e1)
    no("N3-certificate", "a byte behind the certificate", leaf("N3-certificate") + b"\0", "ENCODING")
    written = seq(texts(["a"]), texts([ERP]), tlv(0x80, b"\0"))
    no("N4", "delegable FALSE, which is the default, is written out", with_delegation("N4", scope=[written]), e1)
    no("N4-01", "delegable is 01", with_delegation("N4-01", scope=[seq(texts(["a"]), texts([ERP]), tlv(0x80, b"\1"))]), e1)
    no("N5", "version 2", with_delegation("N5", version=2), "DELEGATION E2")
    nine = [root_hop(depth=7)] + [agent_hop(n, depth=max(7 - n, 0)) for n in range(1, 9)]
    no("N6", "nine hops", with_delegation("N6", hops=nine), e1)
    no("N6-none", "no hop", with_delegation("N6-none", hops=[]), e1)
    no("N7", "the root is an agent", with_delegation("N7", hops=[agent_hop(1)]), "DELEGATION E7")
    no("N7-kind", "the root calls itself human, and its id is a service's", with_delegation("N7-kind", hops=[root_hop(principal=SERVICE)]), "DELEGATION E7")
    no("N8", "a human below the root", with_delegation("N8", hops=[root_hop(), root_hop(principal=ROOT + "2", depth=1)]), "DELEGATION E7")
    no("N9", "an agent's hop without its certificate", with_delegation("N9", hops=[root_hop(), agent_hop(1, cert=None)]), "DELEGATION E7")
    no("N9-human", "a human's hop with a certificate of ours", with_delegation("N9-human", hops=[root_hop(cert=(label("x"), 5, issuing.key.id))]), "DELEGATION E7")
    same = label("edge", 16)
    no("N10", "two hops with one id", with_delegation("N10", hops=[root_hop(ident=same), agent_hop(1, ident=same)]), "DELEGATION E7")
    cert = (label("one leaf"), hop_serial(1), issuing.key.id)
    no("N10-certificate", "two hops with one certificate", with_delegation("N10-certificate", hops=[root_hop(), agent_hop(1, cert=cert), agent_hop(2, cert=cert)]),
       "DELEGATION E7")
    no("N11", "a hop ends after the one before it", with_delegation("N11", hops=[root_hop(), agent_hop(1, not_after=NOW + 3001)]), "DELEGATION E8")
    no("N12", "a hop as deep as the one before it", with_delegation("N12", hops=[root_hop(), agent_hop(1, depth=2)]), "DELEGATION E8")
    no("N12-granted", "a hop granted before the one before it", with_delegation("N12-granted", hops=[root_hop(), agent_hop(1, granted_at=NOW - 121)]), "DELEGATION E8")
    no("N13", "the leaf outlives its last hop by a second", with_delegation("N13", hops=[root_hop(not_after=END - 1)]), "DELEGATION E8")
    no("N14", "a time with a fraction", with_delegation("N14", hops=[root_hop(granted_at="20270115115800.5Z")]), "DELEGATION E5")
    no("N14-offset", "a time with an offset", with_delegation("N14-offset", hops=[root_hop(granted_at="20270115115800+0000")]), "DELEGATION E5")
    no("N14-seconds", "a time without seconds", with_delegation("N14-seconds", hops=[root_hop(granted_at="202701151158Z")]), "DELEGATION E5")
    no("N15", "29 February 2027", with_delegation("N15", hops=[root_hop(granted_at="20270229000000Z")]), "DELEGATION E5")
    no("N15-60", "second 60", with_delegation("N15-60", hops=[root_hop(granted_at="20261231235960Z")]), "DELEGATION E5")
    no("N16", "actions out of order", with_delegation("N16", scope=[entitlement("b a", ERP)]), "DELEGATION E6")
    no("N16-twice", "a resource twice", with_delegation("N16-twice", scope=[entitlement("a", f"{ERP} {ERP}")]), "DELEGATION E6")
    no("N16-audience", "an audience out of order", with_delegation("N16-audience", audience=[ERP, "https://a"]), "DELEGATION E6")
    for tag in (2, 5, 6):
        no(f"N17-{tag}" if tag != 2 else "N17", f"constraint [{tag}], which version 1 does not know",
           with_delegation(f"N17-{tag}", constraints=[tlv(0xa0 | tag, integer(1))]), e1)
    no("N18", "a mask with a hole", with_delegation("N18", constraints=[source_net(bytes([10, 0, 0, 0, 255, 0, 255, 0]))]), "DELEGATION E10")
    no("N18-host", "address bits outside the mask", with_delegation("N18-host", constraints=[source_net(bytes([10, 0, 0, 1, 255, 255, 255, 0]))]), "DELEGATION E10")
    no("N18-length", "a network of 5 octets", with_delegation("N18-length", constraints=[source_net(bytes(5))]), e1)
    no("N18-twice", "two limits on one parameter", with_delegation("N18-twice", constraints=[param_max("limit", 1), param_max("limit", 2)]), "DELEGATION E9")
    no("N18-window", "a window that ends before it begins", with_delegation("N18-window", constraints=[window(NOW, NOW - 1)]), "DELEGATION E9")
    no("N18-empty", "paramIn without a value", with_delegation("N18-empty", constraints=[tlv(0xa3, ia5("to"), seq())]), e1)
    no("N18-big", "paramMax of 2^53", with_delegation("N18-big", constraints=[param_max("limit", 2**53)]), e1)

    def changed(**values):
        return lambda extensions: {**extensions, **values}
    no("N19", "two URIs", leaf("N19", changed(san=ext("2.5.29.17", seq(ia5(HOLDER, 0x86), ia5(HOLDER + "2", 0x86))))), "PROFILE")
    no("N19-dns", "a DNS name beside the URI", leaf("N19-dns", changed(san=ext("2.5.29.17", seq(ia5(HOLDER, 0x86), ia5("erp.corp.example", 0x82))))), "PROFILE")
    no("N19-human", "a holder that is a human", leaf("N19-human", san=ROOT), "PROFILE")
    no("N20", "cA TRUE", leaf("N20", changed(bc=ext("2.5.29.19", seq(tlv(1, b"\xff")), True))), "PROFILE")
    no("N21", "keyCertSign", leaf("N21", changed(ku=ext("2.5.29.15", b"\x03\x02\x02\x84", True))), "PROFILE")
    no("N22", "a leaf of a trust domain that its anchor is not trusted for", leaf("N22"), "TRUST_DOMAIN", trust_domain="other.corp.example")
    other_arc = ext(ARC.replace("3484567", "3484568") + ".1.1", value)
    no("N23", "the right bytes under another arc", leaf("N23", changed(delegation=other_arc)), "NO_DELEGATION")
    no("N23-none", "no TaskDelegation", leaf("N23-none", lambda extensions: {k: v for k, v in extensions.items() if k != "delegation"}), "NO_DELEGATION")
    short = delegation_of(hops=[root_hop(depth=0)], scope=[entitlement("a", ERP + "/x")])
    no("N24", "noRevAvail beside a distribution point", leaf("N24", lambda extensions: {
        **{k: extensions[k] for k in ("san", "ku", "bc", "aki", "eku", "policies", "delegation", "norev")}, "crldp": ext("2.5.29.31", crldp(CRL_URL)),
        "log": extensions["log"]}, value=short, end=NOW + 119, no_rev=True), "PROFILE")
    no("N24-long", "noRevAvail and a life of 300 s", leaf("N24-long", value=short, no_rev=True), "PROFILE")
    no("N24-deep", "noRevAvail and depth 2", leaf("N24-deep", end=NOW + 119, no_rev=True), "PROFILE")
    no("N24-unwanted", "noRevAvail, which is not taken here", leaf("N24-unwanted", value=short, end=NOW + 119, no_rev=True), "STATUS", crls=[],
       options={"ALLOW_NO_REV": 0})
    no("N25", "16 minutes of life", leaf("N25", end=BEGIN + 959), "PROFILE")
    no("N25-931", "a second too long", leaf("N25-931", end=BEGIN + 930), "PROFILE")
    no("N26", "NUL in the purpose", with_delegation("N26", purpose="a\0b"), "DELEGATION E4")
    no("N26-bidi", "a bidi override in the purpose", with_delegation("N26-bidi", purpose="a\u202eb"), "DELEGATION E4")
    no("N26-escape", "an ANSI escape in the purpose", with_delegation("N26-escape", purpose="\x1b[2Jadmin override"), "DELEGATION E4")
    no("N26-utf8", "a purpose that is no UTF-8", with_delegation("N26-utf8", purpose=b"a\xff"), "DELEGATION E4")
    no("N26-space", "a space in an id", with_delegation("N26-space", hops=[root_hop(principal=ROOT + " x")]), "DELEGATION E4")
    no("N26-dots", "a resource that is not canonical", with_delegation("N26-dots", scope=[entitlement("a", f"{ERP}/pay/../admin")]), "DELEGATION E4")
    no("N27", "a policy that is not accepted", leaf("N27"), "POLICY", policies=[label("another policy").hex()])
    stale = crl(issuing, 6, NOW - 211, NOW - 1)
    no("N28", "an expired CRL", leaf("N28"), "STATUS", crls=[book.file("der/stale.crl", stale)])
    no("N28-none", "no CRL and no response", leaf("N28-none"), "STATUS", crls=[])
    no("N28-anchor", "an expired CRL of the anchor", leaf("N28-anchor"), "STATUS",
       crls=[book.file("der/issuing.crl", CRL), book.file("der/anchor-stale.crl", crl(anchor, 2, NOW - 90000, NOW - 1))])
    no("N28-demanded", "no CRL of the anchor, where one is demanded", leaf("N28-demanded"), "STATUS", options={"DEMAND_CA_STATUS": 1})
    no("N28-forged", "a CRL that the issuing CA did not sign", leaf("N28-forged"), "STATUS", crls=[book.file("der/forged.crl", CRL[:-1] + bytes([CRL[-1] ^ 1]))])
    no("N28-shard", "a list of another shard says nothing of this leaf", leaf("N28-shard"), "STATUS",
       crls=[book.file("der/shard.crl", crl(issuing, 8, NOW - 30, NOW + 180, url=CRL_URL.replace(".crl", "-1.crl")))])
    no("N29", "a hop's delegation is revoked, the serial is not", leaf("N29"), "REVOKED",
       crls=[book.file("der/edge-revoked.crl", crl(issuing, 8, NOW - 30, NOW + 180, [], [label("edge of " + ROOT, 16)]))])
    no("N29-serial", "the serial is revoked", leaf("N29-serial"), "REVOKED",
       crls=[book.file("der/serial-revoked.crl", crl(issuing, 8, NOW - 30, NOW + 180, [int.from_bytes(serial_of("N29-serial"), "big")]))])
    no("N29-hop", "the leaf that a hop was made with is revoked", with_delegation("N29-hop", hops=[root_hop(), agent_hop(1)]), "REVOKED",
       crls=[book.file("der/hop-revoked.crl", crl(issuing, 8, NOW - 30, NOW + 180, [hop_serial(1)]))])
    no("N29-ca", "the issuing CA is revoked", leaf("N29-ca"), "REVOKED",
       crls=[book.file("der/issuing.crl", CRL), book.file("der/anchor-revokes.crl", crl(anchor, 3, NOW - 30, NOW + 86400, [issuing.serial]))])
    number = int.from_bytes(serial_of("N29-ocsp"), "big")
    no("N29-ocsp", "a stapled response says revoked", leaf("N29-ocsp"), "REVOKED", crls=[],
       ocsp=book.der("N29-ocsp.ocsp", ocsp(issuing, responder, number, NOW - 30, NOW + 120, revoked=True)))
    no("N29-other", "a stapled response about another leaf", leaf("N29-other"), "STATUS",
       ocsp=book.der("N29-other.ocsp", ocsp(issuing, responder, number, NOW - 30, NOW + 120)))
    no("N30", "an unknown critical extension beside ours", leaf("N30", lambda extensions: {**extensions, "more": ext("1.3.6.1.4.1.32473.1", b"\x05\x00", True)}), "PROFILE")
    no("N31", "another audience", leaf("N31"), "AUDIENCE", identities=["https://hr.corp.example"])
    no("N31-below", "an audience names us alone, not what is below us", leaf("N31-below"), "AUDIENCE", identities=[ERP + "/v2"])
    bombs(book)
    path(book)
    no("D1", "a service as the root, where a human is demanded", leaf("D1", value=delegation_of(hops=[hop(SERVICE, 1, 0, NOW - 60, NOW + 3000, 0)])), "DEMAND",
       options={"DEMAND_HUMAN": 1})
    no("D2", "three hops, where two are the most", leaf("D2", value=delegation_of(hops=[root_hop(), agent_hop(1), agent_hop(2)])), "DEMAND", options={"HOPS_MAX": 2})
    no("D3", "no attestation, where one is demanded", leaf("D3"), "DEMAND", options={"DEMAND_ATTESTED": 1})
    no("D4", "a root authenticated at another level", leaf("D4"), "DEMAND", acrs=["phrh"])


def bombs(book):
    no, e1, value = book.case, "DELEGATION E1", delegation_of()
    no("N32", "a certificate that says it has 4 GiB", b"\x30\x84\xff\xff\xff\xff" + leaf("N32")[4:], "ENCODING")
    no("N32-list", "a hop that says it has 2 GiB", with_delegation("N32-list", hops=[b"\x30\x84\x7f\xff\xff\xff" + root_hop()[4:]]), e1)
    no("N32-string", "a task id of 64 KiB", with_delegation("N32-string", task="t" * 65536), "ENCODING")
    no("N32-8193", "one octet more than an extension may have", leaf("N32-8193", value=fill(8193)), e1)
    no("N32-depth", "depthRemaining of 2^31", with_delegation("N32-depth", hops=[root_hop(depth=2**31)]), e1)
    no("N32-integer", "an INTEGER that is not minimal", with_delegation("N32-integer", hops=[root_hop(depth=b"\x02\x02\x00\x02")]), e1)
    no("N32-17", "17 actions", with_delegation("N32-17", scope=[entitlement(" ".join(f"a{i:02}" for i in range(17)), ERP)]), e1)
    no("N32-33", "33 entitlements", with_delegation("N32-33", scope=[entitlement("a", ERP)] * 33), e1)
    many = [tlv(0xa0, *[octets(b"")] * 16)] * 16
    no("N32-many", "208 constraints of 16 empty networks each", with_delegation("N32-many", scope=[entitlement("a", ERP, constraints=many)] * 13), e1)
    no("N32-empty", "a TaskDelegation without contents", leaf("N32-empty", value=b"\x30\x00"), e1)
    nested = b"\x05\x00"
    for _ in range(40):
        nested = seq(nested)
    no("N32-nested", "40 SEQUENCEs, one in the other", leaf("N32-nested", value=nested), e1)


def path(book):
    no = book.case
    good = leaf("S1")
    no("S1", "a bit of the signature is another", good[:-1] + bytes([good[-1] ^ 1]), "PATH")
    no("S2", "a bit of the scope is another, under the old signature", patched(leaf("S2"), b"q3", b"q4"), "PATH")
    no("S3", "an issuing CA of our names, which another anchor signed", leaf("S3"), "PATH", issuer=impostor, crls=[])
    forged = Ca("issuing", keys["issuing"], Forger(), NOW - 3600, NOW + 15600, ("sealed",), 0, ANCHOR_CRL)
    no("S3-signature", "an issuing CA of our names and key ids, which the anchor did not sign", leaf("S3-signature"), "PATH", issuer=forged, crls=[])
    no("S4", "the issuing CA is not presented", leaf("S4"), "PATH", crls=[], chain=[book.der("S4", leaf("S4"))])
    no("S5", "a tier that the issuing CA does not assert", leaf("S5", tier="resident"), "PATH")
    no("S6", "a leaf that outlives its issuing CA", leaf("S6", begin=NOW + 15400, end=NOW + 15700, value=delegation_of(hops=[root_hop(not_after=NOW + 20000)])), "PATH",
       now=NOW + 15500, crls=[], options={"DEMAND_STATUS": 0})
    no("S7", "a key in software, not allowed", leaf("S7", ca=software, tier="software"), "SOFTWARE", issuer=software)
    no("T1", "a second after its end", leaf("T1", end=NOW - 1), "TIME")
    no("T2", "a second before its beginning", leaf("T2", begin=NOW + 1), "TIME")


def json_views(book):
    """The two golden files, written by the independent verifier and read by people before they were checked in."""
    import verifier
    for case in book.cases:
        if "json" not in case:
            continue
        data = [book.files[path_] for path_ in case["chain"]]
        v = verifier.Verifier()
        v.anchor(anchor.der, TD)
        v.options.update(ANY_AUDIENCE=1, DEMAND_STATUS=0)
        book.file(case["json"], v.verify(data, case["now"]).json().encode())


def main(where):
    book = Book()
    positive(book)
    negative(book)
    json_views(book)
    book.file("cases.json", (json.dumps({"version": 1, "cases": book.cases}, indent=1, ensure_ascii=False) + "\n").encode())
    book.file("attenuation.json", attenuation.text().encode())
    for path_, data in book.files.items():
        full = os.path.join(where, path_)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as f:
            f.write(data)
    digest = hashlib.sha256(b"".join(path_.encode() + data for path_, data in sorted(book.files.items()))).hexdigest()
    print(f"{len(book.cases)} cases, {len(book.files)} files, {sum(map(len, book.files.values()))} bytes, SHA-256 {digest[:16]}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else HERE)
