"""Names, patterns, grants: what covers what, and whether a child's grant lies inside its parent's (deploy/spec/delegation.md 4 and 7).

Patterns are compared segment by segment, constraints as sets and intervals; nothing is shared with the C in policy/ but the specification.
"""
import ipaddress
import re
import socket
from dataclasses import dataclass, field

TD = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
SEGMENT = re.compile(r"[A-Za-z0-9._-]+")
TASK_ID = re.compile(r"[A-Za-z0-9._-]{1,59}")
ACTION = re.compile(r"[a-z0-9_-]+(:[a-z0-9_-]+)*(:\*)?")
RESOURCE = re.compile(r"([a-z][a-z0-9+.-]*)://([^/]*)((?:/[^/]*)*?)(/\*\*?)?", re.DOTALL)
PSEG = re.compile(r"(?:[A-Za-z0-9._~!$&'()+,;=:@-]|%[0-9A-F]{2})+")
DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443, "ftp": 21, "ssh": 22, "ldap": 389, "ldaps": 636}
UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def good_trust_domain(text):
    return len(text) <= 64 and TD.fullmatch(text) is not None


@dataclass(frozen=True)
class Spiffe:
    trust_domain: str
    kind: str
    parts: tuple


def spiffe(text):
    """An id of ours, or None."""
    if len(text) > 512 or not text.startswith("spiffe://"):
        return None
    domain, *parts = text[len("spiffe://"):].split("/")
    if not good_trust_domain(domain) or any(not SEGMENT.fullmatch(p) or p in (".", "..") for p in parts):
        return None
    kind, *rest = parts or [""]
    wanted = {"human": (2, 2), "service": (1, 512), "agent": (1, 2)}.get(kind)
    if wanted is None or not wanted[0] <= len(rest) <= wanted[1]:
        return None
    return Spiffe(domain, kind, tuple(rest))


def good_host(host):
    if host.startswith("["):
        return host.endswith("]") and shortest(socket.AF_INET6, host[1:-1])
    if not TD.fullmatch(host):
        return False
    last = host.split(".")[-1]
    return shortest(socket.AF_INET, host) if last.isdigit() or last.startswith("0x") else True


def shortest(family, text):
    """RFC 5952 for IPv6, dotted decimal for IPv4: as inet_ntop writes it."""
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, text)) == text
    except (OSError, ValueError):
        return False


def good_authority(scheme, authority):
    m = re.fullmatch(r"(\[[^\]]*\]|[^:\[\]@]*)(?::(.*))?", authority, re.DOTALL)
    if not m or not good_host(m[1]):
        return False
    if m[2] is None:
        return True
    return re.fullmatch(r"[1-9][0-9]{0,4}", m[2]) is not None and int(m[2]) <= 65535 and int(m[2]) != DEFAULT_PORTS.get(scheme)


def good_segment(segment):
    if not PSEG.fullmatch(segment) or segment in (".", ".."):
        return False
    encoded = [int(code, 16) for code in re.findall(r"%(..)", segment)]
    return all(chr(c) not in UNRESERVED and c not in (0x00, 0x2f, 0x5c) for c in encoded)


def good_action(text):
    return 1 <= len(text) <= 128 and ACTION.fullmatch(text) is not None


def good_resource(text):
    m = RESOURCE.fullmatch(text) if 1 <= len(text) <= 512 else None
    return m is not None and good_authority(m[1], m[2]) and all(good_segment(s) for s in m[3].split("/")[1:])


# ---- patterns: a list of segments, and how far below it the wildcard reaches: 0, 1, or any number ----

def resource_pattern(text):
    scheme, rest = text.split("://", 1)
    first, *segments = rest.split("/")
    reach = {"*": 1, "**": 2}.get(segments[-1], 0) if segments else 0
    return [f"{scheme}://{first}"] + (segments[:-1] if reach else segments), reach


def action_pattern(text):
    segments = text.split(":")
    return (segments[:-1], 2) if segments[-1] == "*" else (segments, 0)


def covers(parent, child):
    (p, p_reach), (c, c_reach) = parent, child
    if c[:len(p)] != p:
        return False
    below = len(c) - len(p)
    if p_reach == 0:
        return below == 0 and c_reach == 0
    if p_reach == 1:
        return (below, c_reach) in ((1, 0), (0, 1))
    return below > 0 or c_reach > 0


def resource_covers(parent, child):
    return covers(resource_pattern(parent), resource_pattern(child))


def action_covers(parent, child):
    return covers(action_pattern(parent), action_pattern(child))


# ---- grants ----

@dataclass
class Constraint:
    kind: str                       # sourceNet, window, paramIn, paramMax
    name: str = ""                  # paramIn, paramMax
    values: tuple = ()              # sourceNet: address || mask; paramIn: octets
    begin: int = 0                  # window
    end: int = 0
    max: int = 0                    # paramMax

    def key(self):
        return self.kind, self.name


@dataclass
class Entitlement:
    actions: list
    resources: list
    delegable: bool = False
    constraints: list = field(default_factory=list)


@dataclass
class Grant:
    entitlements: list
    audience: list
    constraints: list = field(default_factory=list)


def network(octets):
    half = len(octets) // 2
    return ipaddress.ip_network((octets[:half], f"{int.from_bytes(octets[half:], 'big'):b}".count("1")))


def implies(child, parent):
    """Is `child` at least as tight?  Only one of the same kind and name can be (4.4)."""
    if child.key() != parent.key():
        return False
    if child.kind == "sourceNet":
        outer = [network(v) for v in parent.values]
        return all(any(n.version == o.version and n.subnet_of(o) for o in outer) for n in map(network, child.values))
    if child.kind == "window":
        return parent.begin <= child.begin and child.end <= parent.end
    if child.kind == "paramIn":
        return set(child.values) <= set(parent.values)
    return child.max <= parent.max


def names_within(e, f):
    return f.delegable and all(any(action_covers(q, a) for q in f.actions) for a in e.actions) and \
        all(any(resource_covers(q, r) for q in f.resources) for r in e.resources)


def bound(child, e, c):
    """Does K(e) imply the constraint?"""
    return any(implies(own, c) for own in child.constraints + e.constraints)


def speaks_of(child, e, c):
    return any(own.key() == c.key() for own in child.constraints + e.constraints)


def excess(child, parent, wildcard_audience=False):
    """The rule that the child breaks, or "": S1 (names, delegable), K (a constraint), S3, A1."""
    if not child.entitlements or any(not e.actions or not e.resources for e in child.entitlements):
        return "S3"
    for e in child.entitlements:
        covering = [f for f in parent.entitlements if names_within(e, f)]
        if not covering:
            return "S1"
        if not any(all(bound(child, e, c) for c in parent.constraints + f.constraints) for f in covering):
            return "K"
    if not child.audience or not all(any(resource_covers(q, a) for q in parent.audience) for a in child.audience):
        return "A1"
    if not wildcard_audience and any(resource_pattern(a)[1] for a in child.audience):
        return "A1"
    return ""


class Clash(Exception):
    """Two constraints of the parent apply to one entitlement, and neither is inside the other."""


def inherit(child, parent):
    """The child's grant with what it did not say copied down from its parent's (4.4)."""
    def at_top(c):
        return not any(speaks_of(child, e, c) for e in child.entitlements)

    def add(to, c):
        for i, own in enumerate(to):
            if own.key() == c.key():
                if implies(own, c):
                    return
                if not implies(c, own):
                    raise Clash(c.key())
                to[i] = c
                return
        if len(to) == 16:
            raise Clash("over 16 constraints")
        to.append(c)

    entitlements = []
    for e in child.entitlements:
        own = list(e.constraints)
        candidates = []
        for f in parent.entitlements:
            if not names_within(e, f):
                continue
            all_of_f = parent.constraints + f.constraints
            if all(bound(child, e, c) or not speaks_of(child, e, c) for c in all_of_f):
                candidates.append((sum(not speaks_of(child, e, c) for c in all_of_f), len(candidates), f))
        if candidates:
            f = min(candidates, key=lambda x: x[:2])[2]
            for c in f.constraints:
                if not speaks_of(child, e, c):
                    add(own, c)
            for c in parent.constraints:
                if not at_top(c) and not speaks_of(child, e, c):
                    add(own, c)
        entitlements.append(Entitlement(e.actions, e.resources, e.delegable, own))
    top = list(child.constraints)
    for c in parent.constraints:
        if at_top(c):
            add(top, c)
    return Grant(entitlements, child.audience, top)


# ---- time, depth, kind: what the issuer decides besides (4.3) ----

def decide(facts, now):
    """("ALLOW", notAfter of a leaf or None), or ("DENY" or "RETRY", rule).  `child` and `parent` are Grants.  Knows no policy but its longest life, 900 s."""
    who, whom = spiffe(facts["delegator"]), spiffe(facts["agent"])
    if who.kind != facts["kind"] or whom.kind != "agent" or who.kind != "agent" or who == whom:
        return "DENY", "K1"
    if facts["act"] == "delegate":
        if facts["depth"] > 7 or facts["depth"] >= facts["parent_depth"]:
            return "DENY", "D1"
        if facts["depth"] == 0 and any(e.delegable for e in facts["child"].entitlements):
            return "DENY", "S2"
        broken = excess(facts["child"], facts["parent"], wildcard_audience=True)
        if broken:
            return "DENY", broken
        if facts["parent_newest_leaf"] < now:
            return "DENY", "L5"
        if not now + 29 <= facts["edge_not_after"] <= min(facts["task_ends"], facts["parent_hop_not_after"]):
            return "DENY", "L2"
        return "ALLOW", None
    end = min(now + (facts["lifetime_s"] or 900) - 1, facts["edge_not_after"], facts["task_ends"])
    if end < now + 29:
        return "DENY", "L2"
    end = min(end, facts["parent_newest_leaf"])
    return ("ALLOW", end) if end >= now + 29 else ("RETRY", "L5")
