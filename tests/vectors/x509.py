"""Certificates, CRLs and OCSP responses as a verifier of agents reads them (deploy/spec/delegation.md 2, 5, 6).

Signatures are checked by python3-cryptography; everything that is parsed is parsed here.  A refusal is a Refused with one of the names of
`enum writ_refusal` (issuer/x509/writ.h), and the rule where one is named.
"""
import functools
import hashlib
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

import delegation
import der
from der import NotDer, Reader, constructed, context
from attenuate import good_trust_domain, spiffe

LEAF_MAX, CA_MAX, OCSP_MAX, DEPTH_MAX = 8192 + 2048, 4096, 6144, 16
SEEN_MAX_S, NO_REV_SEEN_MAX_S = 930, 150


def oid(dotted):
    first, second, *arcs = (int(arc) for arc in dotted.split("."))
    out = b""
    for arc in [40 * first + second, *arcs]:
        digits = [arc & 0x7f]
        while arc := arc >> 7:
            digits.append(0x80 | arc & 0x7f)
        out += bytes(reversed(digits))
    return out


ARC = "1.2.840.113556.1.8000.2554.33528.53508.15422.19207.37425.13410731.3484567"
TASK_DELEGATION, LOG_REF, REVOKED_DELEGATIONS = (oid(f"{ARC}.{arc}") for arc in ("1.1", "1.2", "5.1"))
DELEGATED_AGENT = oid(ARC + ".3.1")
TIERS = {oid(ARC + ".3.2"): "resident", oid(ARC + ".3.3"): "sealed", oid(ARC + ".3.4"): "software"}
SAN, KU, BC, SKI, AKI, EKU, POLICIES, CRLDP, NO_REV, CRL_NUMBER, CRL_REASON, IDP = (
    oid("2.5.29." + arc) for arc in ("17", "15", "19", "14", "35", "37", "32", "31", "56", "20", "21", "28"))
ANY_POLICY, AIA, AD_OCSP, NOCHECK, OCSP_BASIC = (oid(text) for text in (
    "2.5.29.32.0", "1.3.6.1.5.5.7.1.1", "1.3.6.1.5.5.7.48.1", "1.3.6.1.5.5.7.48.1.5", "1.3.6.1.5.5.7.48.1.1"))
CN, O = oid("2.5.4.3"), oid("2.5.4.10")
EKU_VALUE = bytes.fromhex("301406082b0601050507030206082b06010505070301")      # clientAuth, serverAuth
OCSP_EKU = bytes.fromhex("300a06082b06010505070309")

# Every key and every signature algorithm has one encoding.
EC = "06072a8648ce3d0201"
KEYS = {"P-256": (bytes.fromhex(f"30593013{EC}06082a8648ce3d030107034200"), 65, 32), "P-384": (bytes.fromhex(f"30763010{EC}06052b81040022036200"), 97, 48),
        "Ed25519": (bytes.fromhex("302a300506032b6570032100"), 32, 0)}
ALGORITHMS = {bytes.fromhex("300a06082a8648ce3d040302"): "P-256", bytes.fromhex("300a06082a8648ce3d040303"): "P-384", bytes.fromhex("300506032b6570"): "Ed25519"}
HASH_ALGORITHMS = {bytes.fromhex(text): name for text, name in (
    ("300906052b0e03021a0500", "sha1"), ("300706052b0e03021a", "sha1"), ("300d06096086480165030402010500", "sha256"), ("300b0609608648016503040201", "sha256"))}


class Refused(Exception):
    def __init__(self, code, why, rule=""):
        super().__init__(f"{code}{' ' + rule if rule else ''}: {why}")
        self.code, self.rule = code, rule


def key_of(spki):
    """Kind and raw key."""
    for kind, (prefix, length, coordinate) in KEYS.items():
        if spki.startswith(prefix) and len(spki) == len(prefix) + length and (not coordinate or spki[len(prefix)] == 4):
            return kind, spki[len(prefix):]
    raise NotDer("not a key of ours")


def key_id(spki):
    return hashlib.sha1(key_of(spki)[1]).digest()


def strict_ecdsa(signature, coordinate):
    r = Reader(signature)
    pair = r.open(der.SEQUENCE)
    r.close()
    for _ in range(2):
        if not 0 < pair.integer() < 1 << 8 * coordinate:
            raise NotDer("r or s is out of range")
    pair.close()


@functools.lru_cache(maxsize=64)
def load_key(spki):
    """Kind and public key; NotDer or ValueError (a point off its curve)."""
    kind, raw = key_of(spki)
    if kind == "Ed25519":
        return kind, ed25519.Ed25519PublicKey.from_public_bytes(raw)
    return kind, ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1() if kind == "P-256" else ec.SECP384R1(), raw)


def check_signature(spki, algorithm, message, signature):
    """Raises NotDer, InvalidSignature or ValueError."""
    kind, key = load_key(spki)
    if algorithm != kind:
        raise NotDer("the signature's algorithm does not go with the key")
    if kind == "Ed25519":
        key.verify(signature, message)
        return
    strict_ecdsa(signature, KEYS[kind][2])
    key.verify(signature, message, ec.ECDSA(hashes.SHA256() if kind == "P-256" else hashes.SHA384()))


def signed(signer, what, code):
    """Holds `what` (tbs, algorithm, signature) against the signer's key."""
    try:
        check_signature(signer, what.algorithm, what.tbs, what.signature)
    except (NotDer, InvalidSignature, ValueError) as error:
        raise Refused(code, f"signature: {error}") from None


# ---- pieces ----

def split(r):
    """SEQUENCE of contents, AlgorithmIdentifier, BIT STRING; what follows them stays in the reader given back."""
    outer = r.open(der.SEQUENCE)
    tbs = outer.whole(der.SEQUENCE)[1]
    inner, algorithm = outer.whole(der.SEQUENCE)
    inner.oid()
    der.strict(algorithm, 8)
    return tbs, algorithm, outer.bits(), outer


def certificate_parts(data):
    r = Reader(data)
    tbs, algorithm, signature, outer = split(r)
    outer.close()
    r.close()
    return tbs, algorithm, signature


def extension(r):
    inner = r.open(der.SEQUENCE)
    name, critical = inner.oid(), False
    if inner.next_is(der.BOOLEAN):
        critical = inner.boolean()
        der.expect(critical, "critical FALSE is written out")
    value = inner.bytes(der.OCTET_STRING)
    inner.close()
    return name, critical, value


def extensions(r, tag):
    outer = r.open(tag)
    r.close()
    inner = outer.open(der.SEQUENCE)
    outer.close()
    return inner


def name(r):
    inner, whole = r.whole(der.SEQUENCE)
    der.expect(3 <= len(whole) <= 1024, "a Name that is empty, or too long")
    der.strict(whole, 4)
    while not inner.done():
        rdn = inner.open(der.SET)
        der.expect(not rdn.done(), "an empty RDN")
        while not rdn.done():
            attribute = rdn.open(der.SEQUENCE)
            attribute.oid()
            der.expect(attribute.any()[0] in (der.UTF8, der.PRINTABLE, der.IA5), "a string type that is not ours")
            attribute.close()
    return whole


def validity(r):
    inner = r.open(der.SEQUENCE)
    begin, end = inner.time(), inner.time()
    inner.close()
    return begin, end


def serial(r):
    value = r.bytes(der.INTEGER)
    number = int.from_bytes(value, "big", signed=True)
    der.expect(der.minimal(value) and len(value) <= 20 and number > 0, "a serial is positive, and of 20 octets at most")
    return number


def url(value):
    der.expect(1 <= len(value) <= 512 and all(0x21 <= octet <= 0x7e for octet in value), "not a URL")
    return value


def one(r, tag):
    """The only element inside an element."""
    inner = r.open(tag)
    r.close()
    return inner


def distribution_point(value):
    r = one(one(one(one(Reader(value), der.SEQUENCE), der.SEQUENCE), constructed(0)), constructed(0))
    found = url(r.bytes(context(6)))
    r.close()
    return found


# ---- the leaf ----

@dataclass
class Leaf:
    der: bytes
    tbs: bytes = b""
    algorithm: str = ""
    signature: bytes = b""
    serial: bytes = b""
    issuer: bytes = b""
    not_before: int = 0
    not_after: int = 0
    trust_domain: str = ""
    task: bytes = b""
    spki: bytes = b""
    san: bytes = b""
    authority_key_id: bytes = b""
    tier: str = ""
    crl_url: bytes = b""
    no_rev: bool = False
    log: tuple = ()
    delegation: "delegation.Delegation" = None


def profile(condition, why):
    if not condition:
        raise Refused("PROFILE", why)


def read_attribute(r, wanted):
    pair = one(r.open(der.SET), der.SEQUENCE)
    der.expect(pair.oid() == wanted, "another attribute")
    value = pair.bytes(der.UTF8)
    pair.close()
    return value


def count_delegations(data):
    """How many of its extensions are TaskDelegations, as far as they can be told apart."""
    n = 0
    try:
        r = Reader(certificate_parts(data)[0]).open(der.SEQUENCE)
        while not r.done() and not r.next_is(constructed(3)):
            r.any()
        listed = r.open(constructed(3)).open(der.SEQUENCE)
        while not listed.done():
            n += extension(listed)[0] == TASK_DELEGATION
    except NotDer:
        pass
    return n


class Extensions:
    """The leaf's extensions, taken one after the other in the one order that the profile has."""

    def __init__(self, r):
        self.r = r

    def take(self, wanted, critical=False):
        profile(not self.r.done(), "an extension is missing")
        found, is_critical, value = extension(self.r)
        profile(found == wanted, "an extension is missing, out of order, twice, or not of the profile")
        profile(is_critical == critical, "critical where it must not be, or the reverse")
        return value


def read_leaf(data):
    """The leaf, its profile and its TaskDelegation: everything but the signature."""
    if len(data) > LEAF_MAX:
        raise Refused("ENCODING", f"{len(data)} bytes, the limit is {LEAF_MAX}")
    try:
        der.strict(data, DEPTH_MAX)
    except NotDer as error:
        raise Refused("ENCODING", str(error)) from None
    n = count_delegations(data)
    if n != 1:
        raise Refused(*(("DELEGATION", f"{n} TaskDelegations", "E3") if n else ("NO_DELEGATION", "no TaskDelegation")))
    try:
        return read_strict_leaf(data)
    except NotDer as error:
        raise Refused("PROFILE", str(error)) from None


def read_strict_leaf(data):
    leaf = Leaf(data)
    leaf.tbs, algorithm, leaf.signature = certificate_parts(data)
    r = Reader(leaf.tbs).open(der.SEQUENCE)
    der.expect(r.data[r.at:r.at + 5] == b"\xa0\x03\x02\x01\x02", "not v3")
    r.at += 5
    leaf.serial = r.bytes(der.INTEGER)
    profile(len(leaf.serial) == 16 and 0 < leaf.serial[0] < 0x80, "a serial of ours has 16 octets")
    inner_algorithm = r.whole(der.SEQUENCE)[1]
    leaf.algorithm = ALGORITHMS.get(inner_algorithm, "")
    profile(leaf.algorithm == "P-256", "the signature must be ecdsa-with-SHA256")
    leaf.issuer = name(r)
    leaf.not_before, leaf.not_after = validity(r)
    profile(0 < leaf.not_after - leaf.not_before + 1 <= SEEN_MAX_S, "lives for no time, or too long")
    subject = r.open(der.SEQUENCE)
    organization, cn = read_attribute(subject, O), read_attribute(subject, CN)
    subject.close()
    leaf.trust_domain = organization.decode("utf-8")
    profile(good_trust_domain(leaf.trust_domain), "O is no trust domain")
    profile(cn.startswith(b"task:") and delegation.TASK_ID.fullmatch(cn[5:].decode("utf-8")), "CN is not task:ID")
    leaf.task = cn[5:]
    leaf.spki = r.whole(der.SEQUENCE)[1]
    key_of(leaf.spki)
    read_leaf_extensions(Extensions(extensions(r, constructed(3))), leaf)
    profile(algorithm == inner_algorithm, "two signature algorithms")
    return leaf


def read_san(value, leaf):
    r = one(Reader(value), der.SEQUENCE)
    leaf.san = r.bytes(context(6))
    r.close()
    who = spiffe(leaf.san.decode("latin-1"))
    profile(who and who.kind == "agent" and len(who.parts) == 2, "not one agent's SPIFFE ID")
    profile(who.trust_domain == leaf.trust_domain, "trust domains of SAN and subject differ")


def read_policies(value, leaf):
    r = one(Reader(value), der.SEQUENCE)
    found = []
    while not r.done():
        info = r.open(der.SEQUENCE)
        found.append(info.oid())
        info.close()
    profile(len(found) == 2 and found[0] == DELEGATED_AGENT and found[1] in TIERS, "not cp-delegatedAgent and one tier")
    leaf.tier = TIERS[found[1]]


def read_aki(value):
    r = one(Reader(value), der.SEQUENCE)
    found = r.bytes(context(0))
    r.close()
    der.expect(len(found) == 20, "a key id has 20 octets")
    return found


def read_delegation(value, leaf):
    try:
        leaf.delegation = delegation.read(value)
        if leaf.not_after > leaf.delegation.hops[-1].not_after:
            raise delegation.Broken("E8", "the certificate outlives its last hop")
    except delegation.Broken as error:
        raise Refused("DELEGATION", str(error), error.rule) from None
    profile(leaf.delegation.task == leaf.task, "the task is not the subject's")


def read_leaf_extensions(ext, leaf):
    read_san(ext.take(SAN), leaf)
    profile(ext.take(KU, critical=True) == b"\x03\x02\x07\x80", "keyUsage is not digitalSignature alone")
    profile(ext.take(BC, critical=True) == b"\x30\x00", "basicConstraints is not CA:FALSE")
    leaf.authority_key_id = read_aki(ext.take(AKI))
    profile(ext.take(EKU) == EKU_VALUE, "extKeyUsage is not clientAuth, serverAuth")
    read_policies(ext.take(POLICIES), leaf)
    read_delegation(ext.take(TASK_DELEGATION), leaf)
    if not ext.r.done() and extension(Reader(ext.r.data, ext.r.at, ext.r.end))[0] == NO_REV:
        profile(ext.take(NO_REV) == b"\x05\x00", "noRevAvail is not NULL")
        profile(leaf.not_after - leaf.not_before + 1 <= NO_REV_SEEN_MAX_S, "lives too long for noRevAvail")
        profile(leaf.delegation.hops[-1].depth == 0, "noRevAvail takes depthRemaining 0")
        leaf.no_rev = True
    else:
        leaf.crl_url = distribution_point(ext.take(CRLDP))
        access = one(one(Reader(ext.take(AIA)), der.SEQUENCE), der.SEQUENCE)
        der.expect(access.oid() == AD_OCSP, "another access method")
        url(access.bytes(context(6)))
        access.close()
    ref = one(Reader(ext.take(LOG_REF)), der.SEQUENCE)
    leaf.log = tuple(ref.bytes(der.OCTET_STRING) for _ in range(3))
    ref.close()
    profile([len(part) for part in leaf.log] == [8, 8, 32], "LogRef's fields have 8, 8 and 32 octets")
    profile(ext.r.done(), "something follows LogRef")


# ---- CAs and responders ----

@dataclass
class Ca:
    der: bytes
    tbs: bytes = b""
    algorithm: str = ""
    signature: bytes = b""
    serial: int = 0
    issuer: bytes = b""
    subject: bytes = b""
    not_before: int = 0
    not_after: int = 0
    spki: bytes = b""
    key_id: bytes = b""
    is_ca: bool = False
    path_len: int = None
    usage: int = 0
    policies: set = field(default_factory=set)
    authority_key_id: bytes = b""
    crl_url: bytes = b""
    ocsp_signing: bool = False


CERT_SIGN, CRL_SIGN, DIGITAL_SIGNATURE = 0x0400, 0x0200, 0x8000


def read_ca(data, code="PATH"):
    if len(data) > CA_MAX:
        raise Refused("ENCODING", f"{len(data)} bytes, the limit is {CA_MAX}")
    try:
        der.strict(data, DEPTH_MAX)
    except NotDer as error:
        raise Refused("ENCODING", str(error)) from None
    try:
        ca = read_strict_ca(data)
        load_key(ca.spki)
        return ca
    except (NotDer, ValueError) as error:
        raise Refused(code, f"CA certificate: {error}") from None


def read_strict_ca(data):
    ca = Ca(data)
    ca.tbs, algorithm, ca.signature = certificate_parts(data)
    r = Reader(ca.tbs).open(der.SEQUENCE)
    der.expect(r.data[r.at:r.at + 5] == b"\xa0\x03\x02\x01\x02", "not v3")
    r.at += 5
    ca.serial = serial(r)
    der.expect(r.whole(der.SEQUENCE)[1] == algorithm, "two signature algorithms")
    ca.algorithm = ALGORITHMS.get(algorithm, "")
    ca.issuer = name(r)
    ca.not_before, ca.not_after = validity(r)
    ca.subject = name(r)
    ca.spki = r.whole(der.SEQUENCE)[1]
    ca.key_id = key_id(ca.spki)
    exts, seen = extensions(r, constructed(3)), []
    while not exts.done():
        der.expect(len(seen) < 32, "over 32 extensions")
        found, critical, value = extension(exts)
        reader = CA_EXTENSIONS.get(found)
        der.expect(reader or not critical, "an unknown critical extension")
        der.expect(not reader or found not in seen, "an extension twice")
        seen.append(found)
        if reader:
            reader(value, ca)
    if ca.issuer == ca.subject and POLICIES not in seen:
        ca.policies.add(ANY_POLICY)
    if ca.is_ca:
        der.expect(ca.usage & CERT_SIGN, "a CA without keyCertSign")
    else:
        der.expect(ca.ocsp_signing and ca.usage == DIGITAL_SIGNATURE, "neither a CA nor an OCSP responder")
    return ca


def ca_constraints(value, ca):
    r = one(Reader(value), der.SEQUENCE)
    if r.next_is(der.BOOLEAN):
        ca.is_ca = r.boolean()
        der.expect(ca.is_ca, "cA FALSE is written out")
    if ca.is_ca and r.next_is(der.INTEGER):
        ca.path_len = r.number(16)
    r.close()


def ca_usage(value, ca):
    der.strict(value, 1)
    bits = Reader(value).bytes(der.BIT_STRING)
    der.expect(2 <= len(bits) <= 3, "1 to 9 named bits")
    ca.usage = int.from_bytes(bits[1:].ljust(2, b"\0"), "big")


def ca_subject_key_id(value, ca):
    r = Reader(value)
    der.expect(r.bytes(der.OCTET_STRING) == ca.key_id, "not the SHA-1 of its key")
    r.close()


def ca_authority(value, ca):
    r = one(Reader(value), der.SEQUENCE)
    if r.next_is(context(0)):
        found = r.bytes(context(0))
        ca.authority_key_id = found if len(found) == 20 else b""


def ca_policies(value, ca):
    r = one(Reader(value), der.SEQUENCE)
    der.expect(not r.done(), "no policy")
    while not r.done():
        ca.policies.add(r.open(der.SEQUENCE).oid())


def ca_distribution(value, ca):
    try:
        ca.crl_url = distribution_point(value)
    except NotDer:
        ca.crl_url = b""            # an owner's CA may have several: then there is none that we follow


def ca_ext_usage(value, ca):
    ca.ocsp_signing = value == OCSP_EKU


CA_EXTENSIONS = {BC: ca_constraints, KU: ca_usage, SKI: ca_subject_key_id, AKI: ca_authority, POLICIES: ca_policies,
                 CRLDP: ca_distribution, EKU: ca_ext_usage, NOCHECK: lambda value, ca: None}


def asserts(ca, tier):
    wanted = {DELEGATED_AGENT, next(o for o, name_ in TIERS.items() if name_ == tier)}
    return ANY_POLICY in ca.policies or wanted <= ca.policies


# ---- lists and responses ----

@dataclass
class Crl:
    tbs: bytes
    algorithm: str
    signature: bytes
    issuer: bytes = b""
    this_update: int = 0
    next_update: int = 0
    serials: set = field(default_factory=set)
    key_id: bytes = b""
    number: int = 0
    url: bytes = b""
    edges: list = field(default_factory=list)


def read_crl(data):
    try:
        return read_strict_crl(data)
    except NotDer as error:
        raise Refused("STATUS" if data[:1] == b"\x30" and is_strict(data) else "ENCODING", f"CRL: {error}") from None


def read_strict_crl(data):
    tbs, algorithm, signature = certificate_parts(data)
    crl = Crl(tbs, ALGORITHMS.get(algorithm, ""), signature)
    r = Reader(tbs).open(der.SEQUENCE)
    der.expect(r.integer() == 1, "not v2")
    der.expect(r.whole(der.SEQUENCE)[1] == algorithm, "two signature algorithms")
    crl.issuer = name(r)
    crl.this_update, crl.next_update = r.time(), r.time()
    der.expect(crl.this_update < crl.next_update, "nextUpdate is not after thisUpdate")
    if r.next_is(der.SEQUENCE):
        entries = r.open(der.SEQUENCE)
        der.expect(not entries.done(), "an empty list is left out")
        while not entries.done():
            crl.serials.add(crl_entry(entries))
    exts, seen = extensions(r, constructed(0)), []
    while not exts.done():
        found, critical, value = extension(exts)
        reader = CRL_EXTENSIONS.get(found)
        der.expect(reader or not critical, "an unknown critical extension")
        der.expect(not reader or found not in seen, "an extension twice")
        seen.append(found)
        if reader:
            reader(value, crl)
    return crl


def crl_entry(r):
    entry = r.open(der.SEQUENCE)
    number = serial(entry)
    entry.time()
    if entry.done():
        return number
    exts = one(entry, der.SEQUENCE)
    der.expect(not exts.done(), "empty extensions")
    reasons = 0
    while not exts.done():
        found, critical, value = extension(exts)
        if found == CRL_REASON:
            reason, reasons = Reader(value), reasons + 1
            reason.number(10, der.ENUMERATED)
            reason.close()
            der.expect(reasons == 1, "two reasons")
        else:
            der.expect(not critical, "a critical extension of an entry")
    return number


def crl_key_id(value, crl):
    try:
        crl.key_id = read_aki(value)
    except NotDer:
        crl.key_id = b""


def crl_number(value, crl):
    r = Reader(value)
    crl.number = r.number(2**64 - 1)
    r.close()


def crl_distribution(value, crl):
    r = one(one(one(Reader(value), der.SEQUENCE), constructed(0)), constructed(0))
    crl.url = url(r.bytes(context(6)))
    r.close()


def crl_edges(value, crl):
    r = one(Reader(value), der.SEQUENCE)
    while not r.done():
        crl.edges.append(r.bytes(der.OCTET_STRING))
    der.expect(crl.edges and all(len(e) == 16 for e in crl.edges), "edge ids have 16 octets")
    der.expect(all(a < b for a, b in zip(crl.edges, crl.edges[1:])), "edge ids are not strictly ascending")


CRL_EXTENSIONS = {AKI: crl_key_id, CRL_NUMBER: crl_number, IDP: crl_distribution, REVOKED_DELEGATIONS: crl_edges}


@dataclass
class Ocsp:
    tbs: bytes
    algorithm: str
    signature: bytes
    certs: list
    responder: bytes = b""
    about: tuple = ()               # hash name, issuer's name hash, issuer's key hash, serial
    revoked: bool = False
    this_update: int = 0
    next_update: int = 0


def read_ocsp(data):
    if len(data) > OCSP_MAX:
        raise Refused("ENCODING", f"OCSP response of {len(data)} bytes")
    try:
        r = one(Reader(data), der.SEQUENCE)
        if r.number(16, der.ENUMERATED):
            raise Refused("STATUS", "the responder answers with an error")
        typed = one(one(r, constructed(0)), der.SEQUENCE)
        der.expect(typed.oid() == OCSP_BASIC, "not a basic response")
        basic = typed.open(der.OCTET_STRING)
        typed.close()
        tbs, algorithm, signature, behind = split(basic)
        basic.close()
        certs = []
        if not behind.done():
            inner = one(one(behind, constructed(0)), der.SEQUENCE)
            while not inner.done():
                certs.append(inner.any()[1])
        response = Ocsp(tbs, ALGORITHMS.get(algorithm, ""), signature, certs)
        read_response_data(response)
        return response
    except NotDer as error:
        raise Refused("STATUS" if is_strict(data) else "ENCODING", f"OCSP response: {error}") from None


def is_strict(data):
    try:
        der.strict(data, DEPTH_MAX)
    except NotDer:
        return False
    return True


def skip_extensions(r):
    if r.next_is(constructed(1)):
        outer = r.open(constructed(1))
        inner = outer.open(der.SEQUENCE)
        outer.close()
        while not inner.done():
            der.expect(not extension(inner)[1], "an unknown critical extension")


def read_response_data(response):
    r = Reader(response.tbs).open(der.SEQUENCE)
    by_key = r.open(constructed(2))
    response.responder = by_key.bytes(der.OCTET_STRING)
    by_key.close()
    r.generalized()
    single = one(r.open(der.SEQUENCE), der.SEQUENCE)
    cert_id = single.open(der.SEQUENCE)
    hash_name = HASH_ALGORITHMS.get(cert_id.whole(der.SEQUENCE)[1])
    der.expect(hash_name, "a hash that is neither SHA-1 nor SHA-256")
    response.about = hash_name, cert_id.bytes(der.OCTET_STRING), cert_id.bytes(der.OCTET_STRING), serial(cert_id)
    cert_id.close()
    if single.next_is(context(0)):
        der.expect(not single.bytes(context(0)), "good is not a NULL")
    else:
        revoked = single.open(constructed(1))
        revoked.generalized()
        if not revoked.done():
            reason = one(revoked, constructed(0))
            reason.number(10, der.ENUMERATED)
            reason.close()
        response.revoked = True
    response.this_update = single.generalized()
    following = single.open(constructed(0))
    response.next_update = following.generalized()
    following.close()
    skip_extensions(single)
    single.close()
    skip_extensions(r)
    r.close()
