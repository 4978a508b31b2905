"""TaskDelegation and HopGrant: decoded, and held against the rules E1 to E10 (deploy/spec/delegation.md 3).

Two passes, as the specification orders them: the encoding first, byte by byte, then the rules on what was read.  Refusals carry the rule's name.
"""
from dataclasses import dataclass, field

import der
from attenuate import Constraint, Entitlement, Grant, TASK_ID, good_action, good_resource, spiffe

DELEGATION_MAX, HOP_GRANT_MAX = 8192, 16 * 1024
KINDS = ("human", "service", "agent")
METHODS = ("mtlsCert", "signedGrant", "oidcIdToken", "writCert")
TIME_LAST = 253402300799
INT_LAST = 2**53 - 1


class Broken(Exception):
    """A rule is broken."""

    def __init__(self, rule, why):
        super().__init__(f"{rule}: {why}")
        self.rule = rule


@dataclass
class Hop:
    id: bytes = b""
    principal: bytes = b""
    kind: int = 0
    method: int = 0
    auth_digest: bytes = b""
    authority: bytes = b""
    auth_time: int = 0
    acr: bytes = b""
    granted_at: int = 0
    not_after: int = 0
    depth: int = 0
    scope_digest: bytes = b""
    cert: tuple = ()                # sha256, serial as a number, issuer's key id
    grant: bytes = b""


@dataclass
class Delegation:
    task: bytes = b""
    purpose: bytes = b""
    parent: bytes = b""
    grant: Grant = None
    hops: list = field(default_factory=list)
    policy: tuple = ()              # id, digest
    context: tuple = ()             # type, digest
    attestation: tuple = ()         # type, digest, verified at


# ---- the encoding: E1, E2, E5 ----

def e1(take, *args):
    try:
        return take(*args)
    except der.NotDer as error:
        raise Broken("E1", error) from None


def time(r, tag=der.GENERALIZED_TIME):
    there = r.next_is(tag)
    try:
        return r.generalized(tag)
    except der.NotDer as error:
        raise Broken("E5" if there else "E1", error) from None


def optional(r, tag):
    """Octets that are not empty where they are there at all."""
    if not r.next_is(tag):
        return b""
    value = e1(r.bytes, tag)
    if not value:
        raise Broken("E1", "there, and empty")
    return value


def elements(r, tag, most):
    """A list, counted before anything in it is read."""
    inner = e1(r.open, tag)
    ahead, n = der.Reader(inner.data, inner.at, inner.end), 0
    while not ahead.done():
        if n == most:
            raise Broken("E1", f"more than {most} elements")
        e1(ahead.any)
        n += 1
    if n == 0:
        raise Broken("E1", "an empty list")
    return inner, n


def texts(r, tag, element, most=16):
    inner, n = elements(r, tag, most)
    return [e1(inner.bytes, element) for _ in range(n)]


def small_integer(r):
    value = r.bytes(der.INTEGER)
    if not der.minimal(value) or len(value) > 8:
        raise der.NotDer("not an INTEGER of 8 octets at most")
    return int.from_bytes(value, "big", signed=True)


def constraint(r):
    if r.next_is(der.constructed(0)):
        return Constraint("sourceNet", values=tuple(texts(r, der.constructed(0), der.OCTET_STRING)))
    if r.next_is(der.constructed(1)):
        inner = e1(r.open, der.constructed(1))
        c = Constraint("window", begin=time(inner), end=time(inner))
    elif r.next_is(der.constructed(3)):
        inner = e1(r.open, der.constructed(3))
        c = Constraint("paramIn", name=e1(inner.bytes, der.IA5), values=tuple(texts(inner, der.SEQUENCE, der.UTF8)))
    elif r.next_is(der.constructed(4)):
        inner = e1(r.open, der.constructed(4))
        c = Constraint("paramMax", name=e1(inner.bytes, der.IA5), max=e1(small_integer, inner))
    else:
        raise Broken("E1", "a constraint that version 1 does not know")
    e1(inner.close)
    return c


def constraints(r, tag):
    if not r.next_is(tag):
        return []
    inner, n = elements(r, tag, 16)
    return [constraint(inner) for _ in range(n)]


def entitlement(r):
    inner = e1(r.open, der.SEQUENCE)
    e = Entitlement(texts(inner, der.SEQUENCE, der.IA5), texts(inner, der.SEQUENCE, der.IA5))
    if inner.next_is(der.context(0)):
        e.delegable = e1(inner.boolean, der.context(0))
        if not e.delegable:
            raise Broken("E1", "delegable FALSE is written out")
    e.constraints = constraints(inner, der.constructed(1))
    e1(inner.close)
    return e


def scope(r):
    inner, n = elements(r, der.SEQUENCE, 32)
    return [entitlement(inner) for _ in range(n)]


def hop(r):
    inner, h = e1(r.open, der.SEQUENCE), Hop()
    h.id = e1(inner.bytes, der.OCTET_STRING)
    h.principal = e1(inner.bytes, der.IA5)
    h.kind = e1(inner.number, 2, der.ENUMERATED)
    auth = e1(inner.open, der.SEQUENCE)
    h.method = e1(auth.number, 3, der.ENUMERATED)
    h.auth_digest = e1(auth.bytes, der.OCTET_STRING)
    h.authority = optional(auth, der.context(0))
    if auth.next_is(der.context(1)):
        h.auth_time = time(auth, der.context(1))
        if h.auth_time == 0:
            raise Broken("E5", "authTime of the first second of 1970")
    h.acr = optional(auth, der.context(2))
    e1(auth.close)
    h.granted_at = time(inner)
    h.not_after = time(inner)
    h.depth = e1(inner.number, 7)
    h.scope_digest = e1(inner.bytes, der.OCTET_STRING)
    if inner.next_is(der.constructed(0)):
        ref = e1(inner.open, der.constructed(0))
        sha256 = e1(ref.bytes, der.OCTET_STRING)
        if not sha256:
            raise Broken("E1", "cert.sha256 is empty")
        serial = e1(ref.integer)
        if serial < 0:
            raise Broken("E1", "cert.serial is negative")
        h.cert = sha256, serial, e1(ref.bytes, der.OCTET_STRING)
        e1(ref.close)
    h.grant = optional(inner, der.context(1))
    e1(inner.close)
    return h


def reference(r, tag, with_time):
    if not r.next_is(tag):
        return ()
    inner = e1(r.open, tag)
    ref = (e1(inner.bytes, der.IA5), e1(inner.bytes, der.OCTET_STRING)) + ((time(inner),) if with_time else ())
    e1(inner.close)
    if not ref[0]:
        raise Broken("E1", "its type is empty")
    return ref


def decode(data):
    if len(data) > DELEGATION_MAX:
        raise Broken("E1", f"{len(data)} bytes, the limit is {DELEGATION_MAX}")
    outer, d = der.Reader(data), Delegation()
    r = e1(outer.open, der.SEQUENCE)
    e1(outer.close)
    if e1(small_integer, r) != 1:
        raise Broken("E2", "version is not 1")
    task = e1(r.open, der.SEQUENCE)
    d.task = e1(task.bytes, der.IA5)
    d.purpose = optional(task, der.context(0))
    d.parent = optional(task, der.context(1))
    e1(task.close)
    d.grant = Grant(scope(r), texts(r, der.SEQUENCE, der.IA5))
    hops = e1(r.open, der.SEQUENCE)
    while not hops.done():
        if len(d.hops) == 8:
            raise Broken("E1", "over 8 hops")
        d.hops.append(hop(hops))
    policy = e1(r.open, der.SEQUENCE)
    d.policy = e1(policy.bytes, der.IA5), e1(policy.bytes, der.OCTET_STRING)
    e1(policy.close)
    d.grant.constraints = constraints(r, der.constructed(0))
    d.context = reference(r, der.constructed(1), False)
    d.attestation = reference(r, der.constructed(2), True)
    e1(r.close)
    return d


# ---- the rules on what was read: sizes (E1), E4, E6 to E10 ----

def sized(what, value, least, most):
    if not least <= len(value) <= most:
        raise Broken("E1", f"{what} of {len(value)}, {least} to {most} are allowed")


def visible(what, value, most):
    sized(what, value, 1, most)
    if any(not 0x21 <= octet <= 0x7e for octet in value):
        raise Broken("E4", f"{what} holds more than 0x21 to 0x7e")


def is_control(c):
    return c < 0x20 or 0x7f <= c <= 0x9f or c in (0x61c, 0x200e, 0x200f) or 0x2028 <= c <= 0x202e or 0x2066 <= c <= 0x2069


def clean(what, value, least, most):
    sized(what, value, least, most)
    try:
        text = value.decode("utf-8", "strict")
    except UnicodeDecodeError:
        raise Broken("E4", f"{what} is not UTF-8") from None
    if any(is_control(ord(c)) for c in text):
        raise Broken("E4", f"{what} has control or bidi characters")


def ascending(what, values):
    for before, value in zip(values, values[1:]):
        if before >= value:
            raise Broken("E6", f"{what} not strictly ascending")


def named(what, values, most, most_octets):
    sized(what, values, 1, most)
    for value in values:
        visible(what, value, most_octets)
    ascending(what, values)


def check_network(value):
    if len(value) not in (8, 32):
        raise Broken("E1", "a sourceNet of neither 8 nor 32 octets")
    half = len(value) // 2
    bits = 8 * half
    address, mask = int.from_bytes(value[:half], "big"), int.from_bytes(value[half:], "big")
    host = (1 << bits) - 1 - mask
    if host & (host + 1) or address & host:
        raise Broken("E10", "the mask is not contiguous, or address bits lie outside it")


def check_constraint(c):
    if c.kind == "sourceNet":
        sized("sourceNet", c.values, 1, 16)
        for value in c.values:
            check_network(value)
        ascending("sourceNet", c.values)
    elif c.kind == "window":
        if c.begin > c.end:
            raise Broken("E9", "the window ends before it begins")
    elif c.kind == "paramIn":
        visible("paramIn.name", c.name, 64)
        sized("paramIn.values", c.values, 1, 16)
        for value in c.values:
            clean("a value", value, 0, 256)
        ascending("paramIn.values", c.values)
    else:
        visible("paramMax.name", c.name, 64)
        if abs(c.max) > INT_LAST:
            raise Broken("E1", "paramMax beyond 2^53 - 1")


def check_constraints(cs):
    for i, c in enumerate(cs):
        if any(c.key() == before.key() for before in cs[:i]):
            raise Broken("E9", "two of one kind and name")
        check_constraint(c)


def check_grant(grant):
    sized("scope", grant.entitlements, 1, 32)
    for e in grant.entitlements:
        named("actions", e.actions, 16, 128)
        named("resources", e.resources, 16, 512)
        check_constraints(e.constraints)
    named("audience", grant.audience, 16, 512)
    check_constraints(grant.constraints)
    # From here on names are text; what they are made of was seen to be ASCII.
    for e in grant.entitlements:
        e.actions, e.resources = ([v.decode("ascii") for v in values] for values in (e.actions, e.resources))
    grant.audience = [v.decode("ascii") for v in grant.audience]
    for c in grant.constraints + [c for e in grant.entitlements for c in e.constraints]:
        c.name = c.name.decode("ascii") if c.name else ""
    for e in grant.entitlements:
        if not all(map(good_action, e.actions)) or not all(map(good_resource, e.resources)):
            raise Broken("E4", "an action or resource is not canonical")
    if not all(map(good_resource, grant.audience)):
        raise Broken("E4", "one of the audience is not canonical")


def check_hop(h):
    if len(h.id) != 16:
        raise Broken("E1", "id")
    visible("principal", h.principal, 512)
    who = spiffe(h.principal.decode("ascii"))
    if who is None:
        raise Broken("E4", "principal is no SPIFFE ID of ours")
    if who.kind != KINDS[h.kind]:
        raise Broken("E7", "kind and principal disagree")
    if who.kind == "agent" and len(who.parts) != 2:
        raise Broken("E7", "a class is not an agent")
    sized("auth.digest", h.auth_digest, 32, 32)
    if h.authority:
        visible("auth.authority", h.authority, 256)
    if h.acr:
        visible("auth.acr", h.acr, 128)
    sized("scopeDigest", h.scope_digest, 32, 32)
    if who.kind != "agent" and h.cert:
        raise Broken("E7", "only an agent's hop has a certificate reference")
    if who.kind == "agent":
        if not h.cert:
            raise Broken("E7", "an agent's hop needs a certificate reference")
        sized("cert.sha256", h.cert[0], 32, 32)
        sized("cert.issuerKeyId", h.cert[2], 20, 20)
        if h.cert[1] == 0 or h.cert[1].bit_length() >= 160:
            raise Broken("E1", "cert.serial is zero, or over 20 octets")
    if h.grant:
        sized("grant", h.grant, 32, 32)


def check_chain(hops, i):
    h = hops[i]
    if (KINDS[h.kind] == "agent") != (i > 0):
        raise Broken("E7", "the root is a human or a service, all others are agents")
    for before in hops[:i]:
        if before.id == h.id or before.cert and before.cert[0] == h.cert[0]:
            raise Broken("E7", "an id, or a certificate, twice")
    if i == 0:
        return
    before = hops[i - 1]
    if h.not_after > before.not_after or h.depth >= before.depth or h.granted_at < before.granted_at:
        raise Broken("E8", "ends after, is as deep as, or was granted before the hop before it")


def check_reference(ref, most):
    visible("type", ref[0], most)
    sized("digest", ref[1], 32, 32)


def task_id(value):
    if not TASK_ID.fullmatch(value.decode("latin-1")):
        raise Broken("E4", "task id")


def read(data):
    """TaskDelegation, decoded and checked, or Broken."""
    d = decode(data)
    task_id(d.task)
    if d.parent:
        task_id(d.parent)
    if d.purpose:
        clean("purpose", d.purpose, 1, 256)
    check_grant(d.grant)
    sized("hops", d.hops, 1, 8)
    for i, h in enumerate(d.hops):
        check_hop(h)
        check_chain(d.hops, i)
    check_reference(d.policy, 128)
    if d.context:
        check_reference(d.context, 128)
    if d.attestation:
        check_reference(d.attestation, 64)
    return d


def read_hop_grant(data):
    if len(data) > HOP_GRANT_MAX:
        raise Broken("E1", "over 16 KiB")
    outer = der.Reader(data)
    r = e1(outer.open, der.SEQUENCE)
    e1(outer.close)
    grant = Grant(scope(r), texts(r, der.SEQUENCE, der.IA5))
    grant.constraints = constraints(r, der.constructed(0))
    e1(r.close)
    check_grant(grant)
    return grant
