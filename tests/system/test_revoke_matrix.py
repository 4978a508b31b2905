"""Who may revoke what, cell by cell (delegation.md R0), and what exactly is taken, with which reasons (R1, R2, R3).

Two trees: one of which nobody may take anything, asked by everyone who may not; and for each that may, one of its own.
"""
import urllib.request

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

import journal
from house import INVOICES, TD, Agent, wait_for
from test_refusals import denied, refused

WIDE = [{"actions": ["invoices:read"], "resources": [INVOICES], "delegable": True}]
REVOKED_DELEGATIONS = "1.2.840.113556.1.8000.2554.33528.53508.15422.19207.37425.13410731.3484567.5.1"
AGENTS = ["top", "mid", "target", "below", "sibling", "stranger"]


class Tree:
    """alice -> top -> mid -> (target -> below, sibling); and bob -> stranger."""

    def __init__(self, house, name):
        self.house, self.clients = house, {}
        self.top = house.agent_with_leaf(name + "-top", depth=3)
        self.mid = house.child_with_leaf(self.top, name + "-mid", depth=2, scope=WIDE)
        self.target = house.child_with_leaf(self.mid, name + "-target", depth=1, scope=WIDE)
        self.below = house.child_with_leaf(self.target, name + "-below")
        self.sibling = house.child_with_leaf(self.mid, name + "-sibling")
        self.stranger = Agent(house, name + "-stranger")
        opened = house.open_task(self.stranger, house.person("bob")).json
        self.stranger.task, self.stranger.edge, self.stranger.id = opened["task"], opened["edge"], opened["agent"]
        self.stranger.take(house.leaf(opened["task"], self.stranger).json)

    # Whom each name of the matrix stands for.
    WHO = {"holder": "target", "delegator": "mid", "ancestor": "top", "root": "alice", "sibling": "sibling", "descendant": "below",
           "strange-agent": "stranger", "stranger": "bob", "auditor": "ada", "operator": "olga", "nobody": "nobody"}

    def ask(self, who, what, **more):
        who = self.WHO[who]
        if who not in self.clients:
            agent = getattr(self, who, None)
            self.clients[who] = agent.client() if agent else self.house.nobody() if who == "nobody" else self.house.person(who)
        if what == "complete":
            return self.clients[who].ask("POST", f"/v1/tasks/{self.top.task}/complete")
        body = {"edge": {"edge": self.target.edge}, "leaf": {"serial": self.target.serial}, "task": {"task": self.top.task},
                "principal": {"principal": self.target.id}, "frozen principal": {"principal": self.target.id, "freeze": True},
                "class": {"principal": f"spiffe://{TD}/agent/pdf-reader"}, "everything": {"all": True}}[what]
        return self.clients[who].ask("POST", "/v1/revocations", dict(body, **more))

    def status(self):
        return {name: self.house.ocsp(getattr(self, name)) for name in AGENTS}

    def all_good_but(self, *taken):
        return {name: "REVOKED" if name in taken else "GOOD" for name in AGENTS}


MAY = {"edge": {"delegator", "ancestor", "root", "operator"}, "leaf": {"holder", "delegator", "ancestor", "root", "operator"},
       "task": {"root", "operator"}, "complete": {"root", "operator"}, "principal": {"operator"}, "frozen principal": {"operator"}, "class": {"operator"},
       "everything": {"operator"}}
TAKEN = {"edge": ("target", "below"), "leaf": ("target", "below"), "principal": ("target", "below"), "frozen principal": ("target", "below"),
         "task": ("top", "mid", "target", "below", "sibling"), "complete": ("top", "mid", "target", "below", "sibling")}
LIMIT = {"edge": "revoked by its delegator, an ancestor, the task's opener or an operator",
         "leaf": "revoked by its holder, its delegator, an ancestor, the task's opener or an operator",
         "task": "revoked by its opener or an operator", "complete": "completed by its opener or an operator", "principal": "revoked by an operator",
         "frozen principal": "revoked by an operator", "class": "revoked by an operator", "everything": "revoked by an operator"}


@pytest.fixture(scope="module")
def untouched(one):
    return Tree(one, "untouched")


@pytest.mark.parametrize("what,who", [(what, who) for what, may in MAY.items() for who in Tree.WHO if who not in may])
def test_who_may_not_is_denied(untouched, what, who):
    answer = untouched.ask(who, what)
    if who == "nobody":
        refused(answer, 401, "UNAUTHENTICATED", "this needs a client certificate of a configured delegator or an agent")
    else:
        denied(answer, "R0", untouched.top.task if what == "complete" else "this revocation", LIMIT[what])


def test_nothing_happened_to_what_all_those_asked_for(one, untouched):
    assert untouched.status() == untouched.all_good_but()
    assert one.person().ask("GET", "/v1/tasks/" + untouched.top.task).json["state"] == "open"
    assert one.person("olga").ask("GET", "/v1/freezes").json == {"freezes": []}


def test_who_may_not_revoke_a_thing_does_not_learn_that_there_is_none(one, untouched):
    for who in (one.person("bob"), untouched.below.client()):
        for body, what in (({"edge": "00" * 16}, "edge"), ({"serial": "00" * 16}, "leaf"), ({"task": "no-such-task"}, "task"),
                           ({"principal": f"spiffe://{TD}/human/corp/nobody"}, "principal")):
            denied(who.ask("POST", "/v1/revocations", body), "R0", "this revocation", LIMIT[what])
        denied(who.ask("POST", "/v1/tasks/no-such-task/complete"), "R0", "no-such-task", LIMIT["complete"])


@pytest.mark.parametrize("what,who", [(what, who) for what, may in MAY.items() if what in TAKEN for who in sorted(may)])
def test_who_may_takes_it_and_all_below_it_and_nothing_beside(one, what, who):
    tree = Tree(one, f"{what}-{who}".replace(" ", "-"))
    answer = tree.ask(who, what)
    assert (answer.status, answer.json) == (200, {"edges": 1, "leaves": len(TAKEN[what]), "logged": True}), answer
    assert tree.status() == tree.all_good_but(*TAKEN[what])
    for name in TAKEN[what]:
        agent = getattr(tree, name)
        refused(agent.client().ask("POST", "/v1/renew"), 401, "UNAUTHENTICATED", "leaf was revoked")
        refused(agent.client().ask("POST", "/v1/revocations", {"serial": agent.serial}), 401, "UNAUTHENTICATED", "leaf was revoked")
        refused(one.delegate(agent, Agent(one, "late")), 401, "UNAUTHENTICATED", "leaf was revoked")
        again = one.leaf(agent.task, agent)
        assert (again.status, again.json["code"], again.json["rule"]) == (403, "DENIED", "L4"), again
    again = Tree.ask(tree, "operator", what)
    assert (again.status, again.json["edges"], again.json["leaves"]) == (200, 0, 0), "twice is once"


# ---- reasons, lists, entries ----

def ocsp_reason(house, agent):
    request = ocsp.OCSPRequestBuilder().add_certificate(agent.cert, house.issuing_of(agent), hashes.SHA256()).build()
    asked = urllib.request.Request(house.status_url("/ocsp"), data=request.public_bytes(serialization.Encoding.DER), headers={"Content-Type": "application/ocsp-request"})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        response = ocsp.load_der_ocsp_response(answer.read())
    return response.certificate_status.name, response.revocation_reason.name if response.revocation_reason else None


def delegations_of(crl):
    """The edge ids of the list's own extension: SEQUENCE OF OCTET STRING (16)."""
    found = [e.value.value for e in crl.extensions if e.oid.dotted_string == REVOKED_DELEGATIONS]
    if not found:
        return set()
    der, = found
    assert der[0] == 0x30
    body = der[2:] if der[1] < 0x80 else der[2 + (der[1] & 0x7f):]
    assert len(body) % 18 == 0 and all(body[i:i + 2] == b"\x04\x10" for i in range(0, len(body), 18))
    return {body[i + 2:i + 18].hex() for i in range(0, len(body), 18)}


def test_the_origin_has_the_callers_reason_and_what_is_below_privilege_withdrawn_in_ocsp_crl_and_journal(one):
    tree = Tree(one, "reasons")
    assert tree.ask("ancestor", "edge", reason="superseded").json["leaves"] == 2
    assert ocsp_reason(one, tree.target) == ("REVOKED", "superseded")
    assert ocsp_reason(one, tree.below) == ("REVOKED", "privilege_withdrawn")
    crl = wait_for("a list that says so", lambda: (c := one.crl(tree.target)).get_revoked_certificate_by_serial_number(int(tree.below.serial, 16)) and c)
    from cryptography import x509
    listed = {name: crl.get_revoked_certificate_by_serial_number(int(getattr(tree, name).serial, 16)) for name in AGENTS}
    assert [name for name, entry in listed.items() if entry] == ["target", "below"]
    reasons = {name: entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.name for name, entry in listed.items() if entry}
    assert reasons == {"target": "superseded", "below": "privilege_withdrawn"}
    named = delegations_of(crl)
    assert tree.target.edge in named and not named & {tree.below.edge, tree.mid.edge, tree.top.edge, tree.sibling.edge}, "origins only"
    entries = [e for e in journal.read(one.path("state/journal"), live=True) if e.type == "revoke"]
    assert [e for e in entries if e.names_an_edge and e.serial == tree.target.edge] and not [e for e in entries if e.serial == tree.below.edge]
    assert {e.reason for e in entries if e.serial == tree.target.serial} == {4} and {e.reason for e in entries if e.serial == tree.below.serial} == {9}


def test_a_completed_task_gives_its_leaves_the_reason_of_an_end(one):
    tree = Tree(one, "ends")
    assert tree.ask("root", "complete").json["leaves"] == 5
    assert ocsp_reason(one, tree.top) == ("REVOKED", "cessation_of_operation")
    assert {ocsp_reason(one, getattr(tree, name)) for name in ("mid", "target", "below", "sibling")} == {("REVOKED", "privilege_withdrawn")}
    assert one.person().ask("GET", "/v1/tasks/" + tree.top.task).json["state"] == "complete"
    denied(one.leaf(tree.top.task, tree.top), "L4", tree.top.task, "the task is complete")


def test_nothing_is_ever_un_revoked_and_a_compromised_key_is_refused_for_ever(one):
    tree = Tree(one, "undo")
    olga = one.person("olga")
    assert olga.ask("POST", "/v1/revocations", {"serial": tree.target.serial, "reason": "keyCompromise"}).json["leaves"] == 2
    for method in ("DELETE", "PUT", "PATCH"):
        assert olga.ask(method, "/v1/revocations", {"serial": tree.target.serial}).status == 405
    for reason in ("removeFromCRL", "certificateHold"):
        assert olga.ask("POST", "/v1/revocations", {"serial": tree.target.serial, "reason": reason}).status == 400
    again = olga.ask("POST", "/v1/revocations", {"serial": tree.target.serial, "reason": "superseded"})
    assert again.status == 200 and again.json["leaves"] == 0, again
    assert ocsp_reason(one, tree.target) == ("REVOKED", "key_compromise"), "the first reason stays"
    blocked = "key is blocked after keyCompromise: make a new one"
    for attempt in range(2):
        refused(one.delegate(tree.mid, tree.target), 409, "CONFLICT", blocked)
        refused(one.open_task(tree.target), 409, "CONFLICT", blocked)
        refused(one.open_task(tree.target, one.person("bob")), 409, "CONFLICT", blocked)
        if attempt == 0:
            assert one.open_task(tree.below).status == 201, "the keys below are not compromised"
            one.stop()
            one.start()


def test_a_key_revoked_as_compromised_while_another_task_names_it_gets_nothing_there_either(one):
    agent = one.agent_with_leaf("two-tasks")
    other = one.open_task(agent)
    assert other.status == 201
    assert one.person("olga").ask("POST", "/v1/revocations", {"edge": agent.edge, "reason": "keyCompromise"}).status == 200
    denied(one.leaf(other.json["task"], agent), "R2", "the key", "it was revoked for keyCompromise")


# ---- last, since they take whatever there is ----

def test_an_operator_revokes_a_class_with_all_its_instances(one):
    tree = Tree(one, "class-operator")
    answer = tree.ask("operator", "class")
    assert answer.status == 200 and answer.json["logged"], answer
    assert tree.status() == tree.all_good_but("mid", "target", "below", "sibling"), "pdf-readers all, and invoice-bots none"
    assert one.child_with_leaf(tree.top, "class-next").issued, "without a freeze the next may come"


def test_an_operator_stops_everything(one):
    trees = [Tree(one, f"all-operator-{n}") for n in range(2)]
    answer = trees[0].ask("operator", "everything")
    assert answer.status == 200 and answer.json["logged"] and answer.json["leaves"] >= 12, answer
    for tree in trees:
        assert tree.status() == tree.all_good_but(*AGENTS)
    denied(one.open_task(Agent(one, "frozen")), "R9", f"spiffe://{TD}/human/corp/alice", "everything is frozen")
    assert one.person().ask("GET", "/v1/tasks/" + trees[0].top.task).json["state"] == "revoked"
    assert one.person("olga").ask("POST", "/v1/freezes/lift", {"all": True}).json == {"logged": True}
    assert one.open_task(Agent(one, "thawed")).status == 201
    assert trees[0].status() == trees[0].all_good_but(*AGENTS), "what was revoked stays so"
