#!/usr/bin/env python3
"""An independent verifier of agents' certificates: deploy/spec/delegation.md 6 in Python, for holding libwrit against it.

usage: tests/vectors/verifier.py [NAME...]

Judges the cases of cases.json (all, or those named) and prints what differs from what they expect.  It shares no code with Writ: its DER
reader, its rules and its matching are its own, and python3-cryptography checks the signatures.  Names and order of the refusals are those of the specification.
"""
import base64
import hashlib
import json
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import delegation  # noqa: E402
import der  # noqa: E402
import attenuate  # noqa: E402
import x509  # noqa: E402
from x509 import Refused  # noqa: E402

CHAIN_MAX = 4


class Verifier:
    """What is trusted and demanded, as `struct writ_verifier` of issuer/x509/writ.h; options by the same names."""

    def __init__(self):
        self.anchors, self.identities, self.policies, self.acrs, self.issuing_cas, self.crls = [], [], set(), set(), [], []
        self.options = {"ALLOW_SOFTWARE": 0, "ANY_AUDIENCE": 0, "DEMAND_STATUS": 1, "SOFT_FAIL": 0, "ALLOW_NO_REV": 1, "DEMAND_HUMAN": 0,
                        "HOPS_MAX": 8, "DEMAND_ATTESTED": 0, "DEMAND_CA_STATUS": 0}

    def anchor(self, data, trust_domain):
        ca = x509.read_ca(data, "MISUSE")
        if not ca.is_ca or ca.path_len == 0 or not attenuate.good_trust_domain(trust_domain):
            raise Refused("MISUSE", "no CA with room for an issuing CA below it, or no trust domain")
        self.anchors.append((ca, trust_domain))

    def identity(self, resource):
        if not attenuate.good_resource(resource) or attenuate.resource_pattern(resource)[1]:
            raise Refused("MISUSE", "an identity is a canonical resource and no pattern")
        self.identities.append(resource)

    def issuing(self, data, now):
        """An issuing CA, held against the anchors and kept ready."""
        if any(entry[0].der == data for entry in self.issuing_cas):
            return
        ca = x509.read_ca(data)
        anchor, trust_domain = self.anchor_above(ca)
        if not ca.is_ca:
            raise Refused("PATH", "not a CA")
        self.valid_now(now, anchor, ca)
        x509.signed(anchor.spki, ca, "PATH")
        self.issuing_cas.append((ca, anchor, trust_domain))

    def anchor_above(self, ca):
        for anchor, trust_domain in self.anchors:
            if anchor.subject == ca.issuer and ca.authority_key_id in (b"", anchor.key_id):
                return anchor, trust_domain
        raise Refused("PATH", "of none of the anchors, by name and key id")

    @staticmethod
    def valid_now(now, *certificates):
        for certificate in certificates:
            if not certificate.not_before <= now <= certificate.not_after:
                raise Refused("TIME", "not valid yet, or expired")

    def crl(self, data, now):
        crl = x509.read_crl(data)
        known = [(a, td) for a, td in self.anchors] + [(ca, td) for ca, _, td in self.issuing_cas]
        ca, trust_domain = next(((ca, td) for ca, td in known if ca.subject == crl.issuer and ca.key_id == crl.key_id), (None, None))
        if ca is None:
            raise Refused("STATUS", "a CRL of somebody else")
        if not ca.usage & x509.CRL_SIGN:
            raise Refused("STATUS", "its CA may not sign CRLs")
        before = next((entry for entry in self.crls if entry[0].spki == ca.spki and entry[1].url == crl.url), None)
        if now < crl.this_update or before and (crl.number < before[1].number or crl.this_update < before[1].this_update):
            raise Refused("STATUS", "its thisUpdate lies in the future, or it is older than the one held")
        x509.signed(ca.spki, crl, "STATUS")
        self.crls = [entry for entry in self.crls if entry is not before] + [(ca, crl, trust_domain)]

    # ---- one chain (6.1) ----

    def verify(self, chain, now, stapled=b""):
        """The agent, or Refused: the first refusal in the order of the specification."""
        if not 1 <= len(chain) <= CHAIN_MAX or not self.anchors or not (self.identities or self.options["ANY_AUDIENCE"]):
            raise Refused("MISUSE", "nothing to verify, or nothing to verify it by")
        if any(data[:1] != b"\x30" for data in chain):
            raise Refused("ENCODING", "not a SEQUENCE (nor PEM, which is not read here)")
        leaf = x509.read_leaf(chain[0])
        issuing, known = self.issuer_of(leaf, chain[1:])
        anchor, trust_domain = self.anchor_above(issuing)
        if leaf.trust_domain != trust_domain:
            raise Refused("TRUST_DOMAIN", f"{leaf.trust_domain}, the anchor is trusted for {trust_domain}")
        if leaf.tier == "software" and not self.options["ALLOW_SOFTWARE"]:
            raise Refused("SOFTWARE", "cp-software is not allowed")
        if not issuing.is_ca or leaf.not_after > issuing.not_after:
            raise Refused("PATH", "its issuer is no CA, or the leaf outlives it")
        self.valid_now(now, anchor, issuing, leaf)
        if not x509.asserts(issuing, leaf.tier) or not x509.asserts(anchor, leaf.tier):
            raise Refused("PATH", "a CA does not assert the leaf's policies")
        if not known:
            x509.signed(anchor.spki, issuing, "PATH")
            self.issuing_cas.append((issuing, anchor, trust_domain))
        x509.signed(issuing.spki, leaf, "PATH")
        ends = [leaf.not_after, anchor.not_after] + self.check_status(leaf, issuing, anchor, trust_domain, now, stapled)
        self.check_demands(leaf)
        return Agent(leaf, min(ends))

    def issuer_of(self, leaf, others):
        """Its issuing CA, among those presented, then among those kept; and whether it was held against an anchor before."""
        first = None
        for data in others:
            known = next((ca for ca, _, _ in self.issuing_cas if ca.der == data), None)
            try:
                ca = known or x509.read_ca(data)
            except Refused as refused:
                first = first or refused
                continue
            if ca.subject == leaf.issuer and ca.key_id == leaf.authority_key_id:
                return ca, known is not None
            first = first or Refused("PATH", "another issuer")
        for ca, _, _ in self.issuing_cas:
            if ca.subject == leaf.issuer and ca.key_id == leaf.authority_key_id:
                return ca, True
        raise first or Refused("PATH", "its issuing CA is not there")

    # ---- step 5 ----

    def vouched(self, ca, url, now):
        """Is there a list of that CA about certificates with this URL, and until when is one fresh?"""
        about = [crl for owner, crl, _ in self.crls if owner.subject == ca.subject and owner.spki == ca.spki and crl.url in (b"", url)]
        return bool(about), [crl.next_update for crl in about if crl.this_update <= now <= crl.next_update]

    def unvouched(self, known, demand):
        if not self.options["SOFT_FAIL"] and (known or self.options[demand]):
            raise Refused("STATUS", "no fresh list, and no response")

    def check_status(self, leaf, issuing, anchor, trust_domain, now, stapled):
        if leaf.no_rev and not self.options["ALLOW_NO_REV"]:
            raise Refused("STATUS", "noRevAvail is not taken")
        if any(issuing.serial in crl.serials for owner, crl, _ in self.crls if owner.spki == anchor.spki):
            raise Refused("REVOKED", "the issuing CA")
        known, fresh = self.vouched(anchor, issuing.crl_url, now)
        ends = [max(fresh)] if fresh else []
        if not fresh:
            self.unvouched(known, "DEMAND_CA_STATUS")
        for owner, crl, domain in self.crls:
            if domain != trust_domain:
                continue
            if owner.spki == issuing.spki and int.from_bytes(leaf.serial, "big") in crl.serials:
                raise Refused("REVOKED", "the leaf")
            for hop in leaf.delegation.hops:
                if hop.id in crl.edges or hop.cert and hop.cert[2] == owner.key_id and hop.cert[1] in crl.serials:
                    raise Refused("REVOKED", "a hop")
        if stapled:
            ends.append(self.check_ocsp(leaf, issuing, now, stapled))
        known, fresh = self.vouched(issuing, leaf.crl_url, now)
        ends += [max(fresh)] if fresh else []
        if not fresh and not stapled and not leaf.no_rev:
            self.unvouched(known, "DEMAND_STATUS")
        return ends

    def check_ocsp(self, leaf, issuing, now, data):
        response = x509.read_ocsp(data)
        digest, name_hash, key_hash, number = response.about
        ours = [hashlib.new(digest, part).digest() for part in (issuing.subject, x509.key_of(issuing.spki)[1])]
        if ours != [name_hash, key_hash] or number != int.from_bytes(leaf.serial, "big"):
            raise Refused("STATUS", "about another certificate")
        if not response.this_update <= now <= response.next_update:
            raise Refused("STATUS", "not fresh")
        signer = issuing.spki
        if response.responder != issuing.key_id:
            if len(response.certs) != 1:
                raise Refused("STATUS", "not one delegate's certificate")
            try:
                delegate = x509.read_ca(response.certs[0], "STATUS")
            except Refused as error:
                raise Refused("STATUS", f"its delegate: {error}") from None
            if not delegate.ocsp_signing or delegate.key_id != response.responder or not delegate.not_before <= now <= delegate.not_after:
                raise Refused("STATUS", "its delegate is no responder, another's, or not valid now")
            x509.signed(issuing.spki, delegate, "STATUS")
            signer = delegate.spki
        x509.signed(signer, response, "STATUS")
        if response.revoked:
            raise Refused("REVOKED", "the leaf")
        return response.next_update

    def check_demands(self, leaf):
        d = leaf.delegation
        if not self.options["ANY_AUDIENCE"] and not any(attenuate.resource_covers(a, own) for a in d.grant.audience for own in self.identities):
            raise Refused("AUDIENCE", "we are not among its audience")
        if self.policies and d.policy[1] not in self.policies:
            raise Refused("POLICY", "a policy that is not accepted")
        root = d.hops[0]
        if self.options["DEMAND_HUMAN"] and root.kind != 0:
            raise Refused("DEMAND", "the root is no human")
        if len(d.hops) > self.options["HOPS_MAX"]:
            raise Refused("DEMAND", "too many hops")
        if self.options["DEMAND_ATTESTED"] and not d.attestation:
            raise Refused("DEMAND", "no attestation")
        if self.acrs and root.acr not in self.acrs:
            raise Refused("DEMAND", "the root's authentication is not of a level accepted")


# ---- one request, and the view as JSON ----

INTEGER = re.compile(r"0|-?[1-9][0-9]{0,15}")


class Agent:
    def __init__(self, leaf, expires_at):
        self.leaf, self.expires_at = leaf, expires_at

    def allow(self, action, resource, now, peer=None, parameters=()):
        """The index of the first entitlement that allows it, or Refused."""
        if now > self.expires_at:
            raise Refused("EXPIRED", "verify the certificate anew")
        if now < self.leaf.not_before:
            raise Refused("TIME", "not valid yet")
        if not attenuate.good_action(action) or attenuate.action_pattern(action)[1] or not attenuate.good_resource(resource) or attenuate.resource_pattern(resource)[1]:
            raise Refused("REQUEST", "action and resource are canonical, and no patterns")
        if peer is not None and len(peer) not in (4, 16) or len(parameters) > 64:
            raise Refused("REQUEST", "no address, or over 64 parameters")
        grant, unmet = self.leaf.delegation.grant, None
        for i, e in enumerate(grant.entitlements):
            if not any(attenuate.action_covers(p, action) for p in e.actions) or not any(attenuate.resource_covers(p, resource) for p in e.resources):
                continue
            failing = next((c for c in grant.constraints + e.constraints if not self.holds(c, now, peer, parameters)), None)
            if failing is None:
                return i
            unmet = unmet or failing
        if unmet:
            raise Refused("CONSTRAINT", unmet.kind, unmet.kind)
        raise Refused("NOT_ALLOWED", "no entitlement covers it")

    @staticmethod
    def holds(c, now, peer, parameters):
        if c.kind == "sourceNet":
            return peer is not None and any(inside(peer, net) for net in c.values)
        if c.kind == "window":
            return c.begin <= now <= c.end
        given = [value for name, value in parameters if name == c.name]
        if len(given) != 1:
            return False
        if c.kind == "paramIn":
            return given[0].encode() in c.values
        return INTEGER.fullmatch(given[0]) is not None and abs(int(given[0])) <= 2**53 - 1 and int(given[0]) <= c.max

    def json(self):
        """The text that writ_agent_json() gives (6.3)."""
        leaf, d = self.leaf, self.leaf.delegation
        act = None
        for who in [h.principal for h in d.hops[1:]] + [leaf.san]:
            act = {"sub": who.decode(), **({"act": act} if act else {})}
        digest = hashlib.sha256(leaf.der).digest()
        view = {
            "iss": f"spiffe://{leaf.trust_domain}", "sub": d.hops[0].principal.decode(), "act": act,
            "cnf": {"x5t#S256": base64.urlsafe_b64encode(digest).rstrip(b"=").decode()},
            "iat": leaf.not_before, "nbf": leaf.not_before, "exp": leaf.not_after, "aud": d.grant.audience, "txn": leaf.task.decode(),
            "authorization_details": [{
                "type": "writ_entitlement_v1", "actions": e.actions, "resources": e.resources, "delegable": e.delegable,
                "constraints": [json_constraint(c) for c in d.grant.constraints + e.constraints]} for e in d.grant.entitlements],
            "writ": {
                "v": 1, "purpose": d.purpose.decode() or None, **({"parent_task": d.parent.decode()} if d.parent else {}), "tier": leaf.tier,
                "hops": [json_hop(h) for h in d.hops], "policy": {"id": d.policy[0].decode(), "digest": d.policy[1].hex()},
                "context": d.context and {"type": d.context[0].decode(), "digest": d.context[1].hex()} or None,
                "attestation": d.attestation and {"type": d.attestation[0].decode(), "digest": d.attestation[1].hex(),
                                                  "verified_at": rfc3339(d.attestation[2])} or None,
                "log": {"id": leaf.log[0].hex(), "index": int.from_bytes(leaf.log[1], "big"), "leaf_hash": leaf.log[2].hex()},
                "serial": leaf.serial.hex(), "leaf_sha256": digest.hex()}}
        return json.dumps(view, separators=(",", ":"), ensure_ascii=False)


def inside(peer, net):
    half = len(net) // 2
    return len(peer) == half and all(a & m == n for a, m, n in zip(peer, net[half:], net[:half]))


def rfc3339(t):
    import datetime
    return (datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=t)).isoformat() + "Z"


def json_constraint(c):
    if c.kind == "sourceNet":
        import socket
        return {c.kind: ["%s/%d" % (socket.inet_ntop(socket.AF_INET if len(v) == 8 else socket.AF_INET6, v[:len(v) // 2]),
                                    f"{int.from_bytes(v[len(v) // 2:], 'big'):b}".count("1")) for v in c.values]}
    if c.kind == "window":
        return {c.kind: {"not_before": rfc3339(c.begin), "not_after": rfc3339(c.end)}}
    if c.kind == "paramIn":
        return {c.kind: {"name": c.name, "values": [v.decode() for v in c.values]}}
    return {c.kind: {"name": c.name, "max": c.max}}


def json_hop(h):
    return {"id": h.id.hex(), "principal": h.principal.decode(), "kind": delegation.KINDS[h.kind], "method": delegation.METHODS[h.method],
            "auth_digest": h.auth_digest.hex(), **({"authority": h.authority.decode()} if h.authority else {}),
            **({"auth_time": rfc3339(h.auth_time)} if h.auth_time else {}), **({"acr": h.acr.decode()} if h.acr else {}),
            "granted_at": rfc3339(h.granted_at), "not_after": rfc3339(h.not_after), "depth": h.depth, "scope_digest": h.scope_digest.hex(),
            **({"cert": {"sha256": h.cert[0].hex(), "serial": "%x" % h.cert[1] if len("%x" % h.cert[1]) % 2 == 0 else "0%x" % h.cert[1],
                         "issuer_key_id": h.cert[2].hex()}} if h.cert else {}), **({"grant": h.grant.hex()} if h.grant else {})}


# ---- the cases ----

def load(name):
    with open(os.path.join(HERE, name), "rb") as f:
        return f.read()


def verifier_of(case, load=load):
    """A verifier that trusts and demands what the case says, its issuing CA and lists given; `load` reads a file by its name."""
    v = Verifier()
    v.options.update(case.get("options", {}))
    v.anchor(load(case["anchor"]), case["trust_domain"])
    for identity in case.get("identities", []):
        v.identity(identity)
    v.policies = {bytes.fromhex(digest) for digest in case.get("policies", [])}
    v.acrs = {acr.encode() for acr in case.get("acrs", [])}
    if case.get("crls"):
        v.issuing(load(case["chain"][1]), case["now"])
    for crl in case.get("crls", []):
        v.crl(load(crl), case["now"])
    return v


def judge(case, load=load):       
    """What the case comes to: (code, rule), the agent or None."""
    try:
        agent = verifier_of(case, load).verify([load(name) for name in case["chain"]], case["now"], load(case["ocsp"]) if "ocsp" in case else b"")
        return ("OK", ""), agent
    except Refused as refused:
        return (refused.code, refused.rule), None


def ask(agent, request):
    try:
        peer = bytes.fromhex(request["peer"]) if "peer" in request else None
        return "OK", "", agent.allow(request["action"], request["resource"], request["now"], peer, request.get("parameters", ()))
    except Refused as refused:
        return refused.code, refused.rule, None


def faults_of(case):
    """What differs from what the case expects, in words."""
    found, agent = judge(case)
    wanted = (case["expect"]["refusal"], case["expect"].get("rule", ""))
    if found != wanted:
        return [f"{case['name']}: {found}, expected {wanted}"]
    faults = []
    for i, request in enumerate(case.get("requests", [])):
        wanted = tuple(request["expect"].get(k, d) for k, d in (("refusal", ""), ("rule", ""), ("entitlement", None)))
        if ask(agent, request) != wanted:
            faults.append(f"{case['name']}: request {i + 1}: {ask(agent, request)}, expected {wanted}")
    if "json" in case and agent and agent.json().encode() != load(case["json"]):
        faults.append(f"{case['name']}: the view as JSON is not {case['json']}")
    return faults


def main(names):
    cases = [case for case in json.loads(load("cases.json"))["cases"] if not names or case["name"] in names]
    faults = [fault for case in cases for fault in faults_of(case)]
    for fault in faults:
        print(fault)
    print(f"{len(cases)} cases, {len(faults)} differ")
    return 1 if faults or not cases else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
