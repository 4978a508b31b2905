"""The table of deploy/spec/delegation.md 4.5 as cases: each row as it stands, and the other way round.

What is expected stands here by hand; no verifier is asked.  make.py writes attenuation.json from it.
"""
import json

from mint import TD, at, entitlement, hop_grant, param_in, param_max, source_net, window

NOW = at("2027-01-15T12:00:00Z")
NINE = at("2027-01-15T09:00:00Z")
AUDIENCE = ["https://h"]
ROOT, ALICE, BOB = (f"spiffe://{TD}/{path}" for path in ("human/okta/00u1abcd", "agent/alice/i-1", "agent/bob/i-2"))
POLICY = """\
version: 1
id: attenuation
rules:
  - name: people
    delegator: ["spiffe://agents.corp.example/human/**"]
    kind: human
    agents: ["spiffe://agents.corp.example/agent/*"]
    entitlements: [{actions: ["read"], resources: ["https://h/**"], delegable: true}]
    audience: ["https://h"]
    max_lifetime: 15m
    max_grant: 2h
    max_depth: 7
  - name: agents
    delegator: ["spiffe://agents.corp.example/agent/**"]
    kind: agent
    agents: ["spiffe://agents.corp.example/agent/*"]
    entitlements: [{actions: ["read"], resources: ["https://h/**"], delegable: true}]
    audience: ["https://h"]
    max_lifetime: 15m
    max_grant: 2h
    max_depth: 7
"""


def one(actions, resources, delegable=False, *constraints):
    return entitlement(actions, " ".join(f"https://h{path}" if path.startswith("/") else path for path in resources.split()), delegable, constraints)


def words_of(actions, resources, delegable=False, *constraints):
    return f"{actions} on {resources}{', delegable' if delegable else ''}{f', {len(constraints)} constraints' if constraints else ''}"


class Grant:
    """Entitlements as tuples: actions, paths, delegable, constraints."""

    def __init__(self, *entitlements, top=(), audience=AUDIENCE):
        self.der = hop_grant([one(*e) for e in entitlements], audience, top)
        self.words = [words_of(*e) for e in entitlements] + ([f"{len(top)} constraints at the top"] if top else []) + \
            ([f"audience {' '.join(audience)}"] if audience != AUDIENCE else [])


def parent(actions, resources, *constraints):
    return Grant((actions, resources, True, *constraints))


def child(actions, resources, *constraints):
    return Grant((actions, resources, False, *constraints))


TOLD, OTHER = "as it stands", "the other way round"
S1, S3, K, A1, E4, OK = "DENY S1", "DENY S3", "DENY K", "DENY A1", "REJECT E4", "OK"
limit = param_max("limit", 100)

# row, way, parent, child, expected, the child with what it inherits where that is more
WITHIN = [
    (1, TOLD, parent("read", "/pay/**"), child("read", "/payroll/x"), S1),
    (1, OTHER, parent("read", "/payroll/**"), child("read", "/pay/x"), S1),
    (1, OTHER, parent("read", "/pay/**"), child("read", "/pay/roll/x"), OK),
    (2, TOLD, parent("read", "/pay/**"), child("read", "/pay/../admin"), E4),
    (2, TOLD, parent("read", "/pay/**"), child("read", "/pay/%2e%2e/admin"), E4),
    (2, TOLD, parent("read", "/pay/**"), child("read", "/pay/%2E%2E/admin"), E4),
    (2, TOLD, parent("read", "/pay/**"), child("read", "/pay//x"), E4),
    (2, TOLD, parent("read", "/pay/**"), child("read", "HTTPS://H/pay"), E4),
    (2, TOLD, parent("read", "/pay/**"), child("read", "/pay/x/"), E4),
    (2, OTHER, parent("read", "/pay/../admin"), child("read", "/admin"), E4),
    (2, OTHER, parent("read", "/pay/**"), child("read", "/pay/..x"), OK),
    (3, TOLD, parent("read", "/a/**"), child("read", "/a"), S1),
    (3, OTHER, parent("read", "/a"), child("read", "/a/**"), S1),
    (3, OTHER, parent("read", "/a/**"), child("read", "/a/b"), OK),
    (3, OTHER, parent("read", "/a/**"), child("read", "/a/**"), OK),
    (4, TOLD, parent("read", "/a/*"), child("read", "/a/**"), S1),
    (4, TOLD, parent("read", "/a/*"), child("read", "/a/b/c"), S1),
    (4, OTHER, parent("read", "/a/**"), child("read", "/a/*"), OK),
    (4, OTHER, parent("read", "/a/*"), child("read", "/a/*"), OK),
    (4, OTHER, parent("read", "/a/**"), child("read", "/a/b/c"), OK),
    (5, TOLD, Grant(("read", "/a/1", True), ("read", "/a/2", True)), child("read", "/a/*"), S1),
    (5, TOLD, Grant(("read", "/a/1", True), ("read", "/a/2", True)), child("read", "/a/1 /a/2"), S1),
    (5, OTHER, parent("read", "/a/*"), Grant(("read", "/a/1"), ("read", "/a/2")), OK),
    (5, OTHER, Grant(("read", "/a/1", True), ("read", "/a/2", True)), Grant(("read", "/a/1"), ("read", "/a/2")), OK),
    (6, TOLD, Grant(("read", "/x", True), ("write", "/y", True)), child("read write", "/x"), S1),
    (6, TOLD, Grant(("read", "/x", True), ("write", "/y", True)), child("write", "/x"), S1),
    (6, OTHER, parent("read write", "/x /y"), Grant(("read", "/x"), ("write", "/y")), OK),
    (6, OTHER, Grant(("read", "/x", True), ("write", "/y", True)), Grant(("write", "/y"), ("read", "/x")), OK),
    (7, TOLD, parent("db:read", "/x"), child("db:read:*", "/x"), S1),
    (7, TOLD, parent("db:*", "/x"), child("db", "/x"), S1),
    (7, OTHER, parent("db:read:*", "/x"), child("db:read", "/x"), S1),
    (7, OTHER, parent("db", "/x"), child("db:*", "/x"), S1),
    (7, OTHER, parent("db:*", "/x"), child("db:read:*", "/x"), OK),
    (8, TOLD, parent("read", "/x", limit), child("read", "/x"), OK, child("read", "/x", limit)),
    (8, TOLD, Grant(("read", "/x", True), top=[limit]), child("read", "/x"), OK, Grant(("read", "/x"), top=[limit])),
    (8, TOLD, Grant(("read", "/x", True), top=[limit]), Grant(("read", "/x", False, param_max("limit", 5)), ("read", "/x")), OK,
     Grant(("read", "/x", False, param_max("limit", 5)), ("read", "/x", False, limit))),
    (8, OTHER, parent("read", "/x"), child("read", "/x", limit), OK),
    (8, OTHER, parent("read", "/x", limit), child("read", "/x", param_max("limit", 101)), K),
    (8, OTHER, parent("read", "/x", limit), child("read", "/x", param_max("other", 5)), OK, child("read", "/x", param_max("other", 5), limit)),
    (9, TOLD, parent("read", "/x", window(NINE, NINE + 3600)), child("read", "/x", window(NINE + 1800, NINE + 5400)), K),
    (9, OTHER, parent("read", "/x", window(NINE + 1800, NINE + 5400)), child("read", "/x", window(NINE, NINE + 3600)), K),
    (9, OTHER, parent("read", "/x", window(NINE, NINE + 3600)), child("read", "/x", window(NINE + 1800, NINE + 3600)), OK),
    (9, OTHER, parent("read", "/x", source_net("10.0.0.0/8")), child("read", "/x", source_net("10.1.0.0/16", "11.0.0.0/8")), K),
    (9, OTHER, parent("read", "/x", source_net("10.0.0.0/8")), child("read", "/x", source_net("10.1.0.0/16")), OK),
    (9, OTHER, parent("read", "/x", source_net("10.0.0.0/8")), child("read", "/x", source_net("::a00:0/104")), K),
    (10, TOLD, parent("read", "/a/**"), Grant(("read", "/a/x"), ("read", "/b/y")), S1),
    (10, OTHER, parent("read", "/b/**"), Grant(("read", "/a/x"), ("read", "/b/y")), S1),
    (10, OTHER, parent("read", "/b/**"), child("read", "/b/y"), OK),
    (10, OTHER, Grant(("read", "/x", True), audience=["https://h"]), Grant(("read", "/x"), audience=["https://g", "https://h"]), A1),
    (10, OTHER, Grant(("read", "/x", True), audience=["https://h/*"]), Grant(("read", "/x"), audience=["https://h/*"]), A1),
    (10, OTHER, Grant(("read", "/x", True), audience=["https://g", "https://h/*"]), Grant(("read", "/x"), audience=["https://h/erp"]), OK),
    (15, TOLD, child("read", "/a/**"), child("read", "/a/b"), S1),
    (15, OTHER, parent("read", "/a/**"), child("read", "/a/b"), OK),
    (15, OTHER, Grant(("read", "/a/**"), ("read", "/a/b", True)), child("read", "/a/b"), OK),
    (16, TOLD, parent("read", "/**"), child("read", "https://H/x"), E4),
    (16, TOLD, parent("read", "/**"), child("Read", "/x"), E4),
    (16, TOLD, parent("read", "/**"), child("read", "https://xn--bcher-kva.example/x"), S1),
    (16, TOLD, parent("read", "/**"), child("read", "https://2001:db8::1/x"), E4),
    (16, TOLD, parent("read", "/**"), child("read", "https://[2001:DB8::1]/x"), E4),
    (16, TOLD, parent("read", "/**"), child("read", "https://h:443/x"), E4),
    (16, OTHER, parent("read", "https://h:443/**"), child("read", "/x"), E4),
    (16, OTHER, parent("read", "https://[2001:db8::1]:8443/**"), child("read", "https://[2001:db8::1]:8443/x"), OK),
    (17, TOLD, parent("read", "/x", param_in("to", "cfo@x")), child("read", "/x", param_in("to", "CFO@x")), K),
    (17, OTHER, parent("read", "/x", param_in("to", "CFO@x")), child("read", "/x", param_in("to", "cfo@x")), K),
    (17, OTHER, parent("read", "/x", param_in("to", "CFO@x", "cfo@x")), child("read", "/x", param_in("to", "cfo@x")), OK),
    (17, OTHER, parent("read", "/x", param_in("to", "cfo@x")), child("read", "/x", param_in("to", "CFO@x", "cfo@x")), K),
]

FACTS = {"act": "delegate", "delegator": ALICE, "kind": "agent", "agent": BOB, "child": child("read", "/x"), "depth": 0, "edge_not_after": NOW + 3600, "task_ends": NOW + 3600,
         "lifetime_s": 0, "parent": parent("read", "/**"), "parent_depth": 1, "parent_hop_not_after": NOW + 3600, "parent_newest_leaf": NOW + 600, "policy": POLICY}

# row, way, facts that differ, verdict, rule or the notAfter of the leaf
DECIDED = [
    (11, TOLD, {"parent_newest_leaf": NOW - 1}, "DENY", "L5"),
    (11, OTHER, {"parent_newest_leaf": NOW}, "ALLOW", ""),
    (12, TOLD, {"act": "issue", "lifetime_s": 300, "parent_newest_leaf": NOW + 40}, "ALLOW", NOW + 40),
    (12, TOLD, {"act": "issue", "lifetime_s": 300, "parent_newest_leaf": NOW + 20}, "RETRY", "L5"),
    (12, OTHER, {"act": "issue", "lifetime_s": 300, "parent_newest_leaf": NOW + 600}, "ALLOW", NOW + 299),
    (12, OTHER, {"act": "renew", "lifetime_s": 300, "parent_newest_leaf": NOW + 29}, "ALLOW", NOW + 29),
    (12, OTHER, {"act": "renew", "lifetime_s": 300, "parent_newest_leaf": NOW + 28}, "RETRY", "L5"),
    (12, OTHER, {"act": "issue", "lifetime_s": 300, "edge_not_after": NOW + 28}, "DENY", "L2"),
    (13, TOLD, {"parent_depth": 0}, "DENY", "D1"),
    (13, TOLD, {"depth": 5}, "DENY", "D1"),
    (13, TOLD, {"depth": 8, "parent_depth": 7}, "DENY", "D1"),
    (13, OTHER, {"depth": 1, "parent_depth": 1}, "DENY", "D1"),
    (13, OTHER, {"depth": 6, "parent_depth": 7}, "ALLOW", ""),
    (13, OTHER, {"child": parent("read", "/x"), "depth": 0}, "DENY", "S2"),
    (13, OTHER, {"child": parent("read", "/x"), "depth": 1, "parent_depth": 2}, "ALLOW", ""),
    (13, OTHER, {"edge_not_after": NOW + 3600, "parent_hop_not_after": NOW + 3599}, "DENY", "L2"),
    (14, TOLD, {"agent": ALICE}, "DENY", "K1"),
    (14, OTHER, {"delegator": BOB, "agent": ALICE}, "ALLOW", ""),
    (14, OTHER, {"delegator": ROOT, "kind": "agent"}, "DENY", "K1"),
    (18, TOLD, {"policy": POLICY.replace('"https://h/**"', '"https://h/y"')}, "DENY", "agents: entitlements"),
    (18, TOLD, {"act": "renew", "policy": POLICY.replace('"https://h/**"', '"https://h/y"')}, "DENY", "agents: entitlements"),
    (18, OTHER, {"act": "renew"}, "ALLOW", NOW + 600),
]

# Rows that are about a certificate: the case of cases.json that is it.
CERTIFICATES = [
    (19, TOLD, "A19"), (19, TOLD, "N26-escape"), (19, OTHER, "P1"),
    (20, TOLD, "N32-depth"), (20, TOLD, "N32"), (20, TOLD, "N32-list"), (20, TOLD, "N2-indefinite"), (20, TOLD, "N32-integer"), (20, OTHER, "P4"),
]


def within_case(row, way, over, under, expected, inherited=None):
    result, _, rule = expected.partition(" ")
    case = {"row": row, "way": way, "parent": {"words": over.words, "der": over.der.hex()}, "child": {"words": under.words, "der": under.der.hex()},
            "expect": {"result": result, **({"rule": rule} if rule else {})}}
    if result == "OK":
        case["expect"]["inherited"] = (inherited or under).der.hex()
    return case


def decided_case(row, way, changes, verdict, told):
    facts = {name: value.der.hex() if isinstance(value, Grant) else value for name, value in {**FACTS, **changes}.items()}
    expect = {"verdict": verdict, **({"not_after": told} if isinstance(told, int) else {"rule": told} if told else {})}
    return {"row": row, "way": way, "changes": [name for name in changes if name != "policy"], "now": NOW, "facts": facts, "expect": expect}


def text():
    """attenuation.json."""
    default = decided_case(0, "", {}, "ALLOW", "")["facts"]
    decided = [decided_case(*case) for case in DECIDED]
    for case in decided:
        case["facts"] = {name: value for name, value in case["facts"].items() if value != default[name]}
    return json.dumps({"version": 1, "within": [within_case(*case) for case in WITHIN], "facts": default, "decided": decided,
                       "certificates": [{"row": row, "way": way, "case": case} for row, way, case in CERTIFICATES]}, indent=1) + "\n"
