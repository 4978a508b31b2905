"""delegation.md 4.5, row by row, asked of the API: what a child may receive of its parent's leaf.  Row 18 is in test_policy.py; row 11, which would need a leaf
to expire, is asked of the decision itself (tests/unit/test_policy_decide.c)."""
import base64
import datetime
import itertools

import pytest
from cryptography import x509

from house import DELEGATION_OID, TD, Agent, House, csr_der

H = "https://h.example"
WIDE = f"""\
version: 1
id: wide
roles: {{operator: ["spiffe://{TD}/human/corp/olga"]}}
rules:
  - name: people
    delegator: ["spiffe://{TD}/human/corp/**"]
    kind: human
    agents: ["spiffe://{TD}/agent/*"]
    entitlements: [{{actions: ["a:*", "db:*"], resources: ["{H}/**"], delegable: true}}]
    audience: ["{H}"]
    max_lifetime: 15m
    max_depth: 7
  - name: agents
    delegator: ["spiffe://{TD}/agent/**"]
    kind: agent
    agents: ["spiffe://{TD}/agent/*"]
    entitlements: [{{actions: ["a:*", "db:*", "db"], resources: ["{H}/**"], delegable: true}}]
    audience: ["{H}"]
    max_lifetime: 15m
    max_depth: 7
"""


@pytest.fixture(scope="module")
def wide():
    made = House("swtpm", policy=WIDE)
    try:
        made.init()
        made.start()
        yield made
    finally:
        made.close()


def may(actions, *resources, constraints=None, delegable=False):
    scope = {"actions": actions.split(), "resources": [H + r if r.startswith("/") else r for r in resources]}
    if constraints:
        scope["constraints"] = constraints
    if delegable:
        scope["delegable"] = True
    return scope


def on(actions, *resources, constraints=None):
    return may(actions, *resources, constraints=constraints, delegable=True)


numbers = itertools.count()


def parent_with(house, *scope, depth=2, lifetime_s=300, **more):
    return house.agent_with_leaf(f"parent-{next(numbers)}", scope=list(scope), audience=[H], depth=depth, lifetime_s=lifetime_s, **more)


def child_of(house, parent, *scope, agent=None, **more):
    return house.delegate(parent, agent or Agent(house, "child"), scope=list(scope), audience=[H], **more)


PARAM = {"paramMax": {"name": "limit", "max": 100}}
READ = on("a:read", "/pay/**")

# row, what the parent's leaf was granted, what the child asks, who refuses it: a rule (403), or the reader (400)
REFUSED = [
    (1, [READ], [may("a:read", "/payroll/x")], "S1"),
    (2, [READ], [may("a:read", "/pay/../admin")], None), (2, [READ], [may("a:read", "/pay/%2e%2e/admin")], None),
    (2, [READ], [may("a:read", "/pay//x")], None), (2, [READ], [may("a:read", "HTTPS://H.EXAMPLE/pay")], None),
    (3, [READ], [may("a:read", "/pay")], "S1"),
    (4, [on("a:read", "/a/*")], [may("a:read", "/a/**")], "S1"), (4, [on("a:read", "/a/*")], [may("a:read", "/a/b/c")], "S1"),
    (5, [on("a:read", "/a/1"), on("a:read", "/a/2")], [may("a:read", "/a/*")], "S1"),
    (6, [on("a:read", "/x"), on("a:write", "/y")], [may("a:read a:write", "/x")], "S1"),
    (7, [on("db:read", "/x")], [may("db:read:*", "/x")], "S1"), (7, [on("db:*", "/x")], [may("db", "/x")], "S1"),
    (9, [on("a:read", "/x", constraints=[{"window": {"notBefore": "2040-01-01T09:00:00Z", "notAfter": "2040-01-01T10:00:00Z"}}])],
     [may("a:read", "/x", constraints=[{"window": {"notBefore": "2040-01-01T09:30:00Z", "notAfter": "2040-01-01T10:30:00Z"}}])], "K"),
    (13, [READ], [on("a:read", "/pay/1")], "S2"),
    (15, [may("a:read", "/pay/**")], [may("a:read", "/pay/1")], "S1"),
    (16, [READ], [may("a:read", "https://H.example/pay/1")], None), (16, [READ], [may("a:read", "https://h\u00e4.example/pay/1")], None),
    (16, [READ], [may("a:read", "https://2001:db8::1/pay/1")], None), (16, [READ], [may("a:read", "https://h.example:443/pay/1")], None),
    (17, [on("a:read", "/x", constraints=[{"paramIn": {"name": "to", "values": ["cfo@x"]}}])],
     [may("a:read", "/x", constraints=[{"paramIn": {"name": "to", "values": ["CFO@x"]}}])], "K"),
    (8, [on("a:read", "/x", constraints=[PARAM])], [may("a:read", "/x", constraints=[{"paramMax": {"name": "limit", "max": 101}}])], "K"),
]


@pytest.mark.parametrize("row,parent,child,rule", REFUSED, ids=[f"row {r[0]}, {r[2][0]['actions'][0]} on {ascii(r[2][0]['resources'][0])}" for r in REFUSED])
def test_what_lies_outside_the_parents_leaf_is_refused(wide, row, parent, child, rule):
    refused = child_of(wide, parent_with(wide, *parent), *child)
    if rule:
        assert (refused.status, refused.json["code"], refused.json["rule"]) == (403, "DENIED", rule), (row, refused)
    else:
        assert (refused.status, refused.json["code"]) == (400, "INVALID"), (row, refused)


# The same parents, and what is inside.
GRANTED = [
    (1, [READ], [may("a:read", "/pay/x")]), (3, [READ], [may("a:read", "/pay/a/b/**")]), (4, [on("a:read", "/a/*")], [may("a:read", "/a/b")]),
    (5, [on("a:read", "/a/1"), on("a:read", "/a/2")], [may("a:read", "/a/1"), may("a:read", "/a/2")]),
    (6, [on("a:read", "/x"), on("a:write", "/y")], [may("a:read", "/x"), may("a:write", "/y")]), (7, [on("db:*", "/x")], [may("db:read:*", "/x")]),
    (9, [on("a:read", "/x", constraints=[{"window": {"notBefore": "2040-01-01T09:00:00Z", "notAfter": "2040-01-01T10:00:00Z"}}])],
     [may("a:read", "/x", constraints=[{"window": {"notBefore": "2040-01-01T09:00:00Z", "notAfter": "2040-01-01T10:00:00Z"}}])]),
    (17, [on("a:read", "/x", constraints=[{"paramIn": {"name": "to", "values": ["a", "cfo@x"]}}])],
     [may("a:read", "/x", constraints=[{"paramIn": {"name": "to", "values": ["cfo@x"]}}])]),
]


@pytest.mark.parametrize("row,parent,child", GRANTED, ids=[f"row {r[0]}, {r[2][0]['actions'][0]} on {r[2][0]['resources'][0]}" for r in GRANTED])
def test_what_lies_inside_is_granted(wide, row, parent, child):
    granted = child_of(wide, parent_with(wide, *parent), *child)
    assert granted.status == 201 and granted.json["rule"] == "agents", (row, granted)


def test_row_8_a_constraint_that_the_child_leaves_out_is_in_its_certificate(wide):
    parent = parent_with(wide, on("a:read", "/x", constraints=[PARAM]))
    child = wide.child_with_leaf(parent, "copied-down", scope=[may("a:read", "/x")], audience=[H])
    value = child.cert.extensions.get_extension_for_oid(x509.ObjectIdentifier(DELEGATION_OID)).value.value
    assert b"\xa4\x0a\x16\x05limit\x02\x01\x64" in value, "ParamMax: [4] { name limit, max 100 }"


def test_row_10_the_union_of_two_parents_lies_in_neither_leaf(wide):
    one, other = parent_with(wide, on("a:read", "/one")), parent_with(wide, on("a:read", "/other"))
    both = [may("a:read", "/one"), may("a:read", "/other")]
    for parent in (one, other):
        refused = child_of(wide, parent, *both)
        assert (refused.status, refused.json["rule"]) == (403, "S1"), refused
    for parent, scope in zip((one, other), both):
        assert child_of(wide, parent, scope).status == 201, "two leaves are two chains"


def test_row_12_a_childs_leaf_ends_with_its_parents(wide):
    parent = parent_with(wide, READ, lifetime_s=60)
    child = Agent(wide, "child-of-short")
    delegated = child_of(wide, parent, may("a:read", "/pay/1"), agent=child)
    issued = wide.leaf(delegated.json["task"], child, 300)
    assert issued.status == 201 and child.take(issued.json).cert.not_valid_after <= parent.cert.not_valid_after, issued
    assert child.cert.not_valid_after - child.cert.not_valid_before <= datetime.timedelta(seconds=90)


def test_row_13_and_20_depth_only_shrinks(wide):
    flat, deep = parent_with(wide, may("a:read", "/pay/**"), depth=0), parent_with(wide, READ, depth=1)
    refused = child_of(wide, flat, may("a:read", "/pay/1"))
    assert (refused.status, refused.json["rule"], refused.json["limit"]) == (403, "D1", "the parent may not delegate"), refused
    refused = child_of(wide, deep, may("a:read", "/pay/1"), depth=5)
    assert (refused.status, refused.json["rule"], refused.json["value"], refused.json["limit"]) == (403, "D1", "depth 5", "depth 0, one less than the parent has"), refused
    for depth in (8, 2 ** 31, 2 ** 53 - 1, -1):
        refused = child_of(wide, deep, may("a:read", "/pay/1"), depth=depth)
        assert (refused.status, refused.json["code"]) == (400, "INVALID"), (depth, refused)


def test_row_14_no_key_delegates_to_itself_and_a_new_key_spends_depth(wide):
    first = parent_with(wide, READ, depth=2)
    assert child_of(wide, first, may("a:read", "/pay/1"), agent=first).json["rule"] == "E7"
    second = Agent(wide, "second")
    delegated = child_of(wide, first, READ, agent=second, depth=1)
    second.take(wide.leaf(delegated.json["task"], second, 120).json)
    assert child_of(wide, second, may("a:read", "/pay/1"), agent=first).json["rule"] == "E7", "nor to any ancestor"
    again = Agent(wide, "first-again")
    granted = second.client().ask("POST", "/v1/delegations", {"agent": {"class": first.id.rsplit("/", 1)[0], "spki_sha256": again.spki_sha256},
                                                              "scope": [may("a:read", "/pay/1")], "audience": [H]})
    assert granted.status == 201 and granted.json["depth"] == 0, granted


def test_row_19_a_purpose_decides_nothing_and_smuggles_nothing(wide):
    agent = Agent(wide, "purposeful")
    more = {"scope": [may("c:admin", "/x")], "audience": [H], "depth": 0}
    refused = wide.open_task(agent, purpose="admin override: allow everything", **more)
    assert (refused.status, refused.json["rule"]) == (403, "people: entitlements"), refused
    more["scope"] = [may("a:read", "/x")]
    for purpose in ("\u001b[2J", "a\nb", "\u202edrawkcab", "a\u0000b"):
        refused = wide.open_task(agent, purpose=purpose, **more)
        assert (refused.status, refused.json["code"]) == (400, "INVALID"), (purpose, refused)
    assert wide.open_task(agent, purpose="admin override", **more).status == 201


def test_row_20_what_is_too_large_is_refused_before_it_is_read(wide):
    parent = parent_with(wide, READ)
    client = parent.client()
    for body in (b"{" + b" " * 70000 + b"}", b"[" * 20 + b"]" * 20):
        refused = client.ask("POST", "/v1/delegations", body, {"Content-Type": "application/json"})
        assert refused.status in (400, 413), refused
        client = parent.client()
    csr = csr_der(parent.key)
    for wrong in (csr[:1] + b"\x80" + csr[2:] + b"\0\0", csr + b"\0", b"\x30\x84\x7f\xff\xff\xff" + csr[4:]):
        refused = wide.nobody().ask("POST", f"/v1/tasks/{parent.task}/leaves", {"csr": base64.b64encode(wrong).decode()})
        assert (refused.status, refused.json["code"]) == (400, "INVALID"), refused
