"""Cascades: a tree dies whole or not at all, whenever the process dies; and no leaf is released after the revocation of what it hangs on.

The ordinary run has a tree of some hundred leaves and some hundred races.  tests/cascade runs 10,000 of each: WRIT_TREE_LEAVES, WRIT_TREE_KILLS, WRIT_RACE_ROUNDS.
"""
import hashlib
import http.client
import mmap
import os
import queue
import random
import signal
import sqlite3
import ssl
import struct
import threading
import time

import pytest
import journal
from house import ERP, INVOICES, TD, Agent, House, csr_der, new_key, spki, wait_for
from invariants import Status
from test_refusals import denied, refused
from test_revoke_matrix import ocsp_reason

pytestmark = pytest.mark.waits

LEAVES = int(os.environ.get("WRIT_TREE_LEAVES", "400"))
KILLS = int(os.environ.get("WRIT_TREE_KILLS", "2"))
RACES = int(os.environ.get("WRIT_RACE_ROUNDS", "200"))
SETTLED_IN_S = 2.3  # as in test_crash.py: writd gives a role up after three crashes each within 2 s of its start
WIDE = [{"actions": ["invoices:read"], "resources": [INVOICES], "delegable": True}]
ROOMY = "limits: {requests_per_principal_s: 1000000, leaves_per_edge: 1000, children_per_edge: 1000}\n"
GOOD, REVOKED, ABORTED = 1, 2, 3


def rows(house, query, *values):
    with sqlite3.connect(f"file:{house.path('state/store/writ.db')}?mode=ro", uri=True, timeout=20) as db:
        return db.execute(query, values).fetchall()


# ---- three levels ----

def test_revoking_the_root_of_three_levels_is_told_by_list_and_responder_and_refused_to_renewal_and_issue_over_a_restart(one):
    root = one.agent_with_leaf("levels-root", lifetime_s=900)
    middle = one.child_with_leaf(root, "levels-middle", lifetime_s=900, depth=1, scope=WIDE)
    lowest = one.child_with_leaf(middle, "levels-lowest", lifetime_s=900)
    beside = one.agent_with_leaf("levels-beside", lifetime_s=900)
    levels = (root, middle, lowest)
    answer = one.person().ask("POST", "/v1/revocations", {"edge": root.edge, "reason": "superseded"})
    assert (answer.status, answer.json) == (200, {"edges": 1, "leaves": 3, "logged": True}), answer
    for restart in (False, True):
        if restart:
            one.stop()
            one.start()
        assert [ocsp_reason(one, agent) for agent in levels] == [("REVOKED", "superseded"), *[("REVOKED", "privilege_withdrawn")] * 2]
        crl = wait_for("a list with all three", lambda: (c := one.crl(root)) and all(c.get_revoked_certificate_by_serial_number(int(a.serial, 16)) for a in levels) and c)
        assert crl.get_revoked_certificate_by_serial_number(int(beside.serial, 16)) is None and one.ocsp(beside) == "GOOD"
        for agent in levels:
            refused(agent.client().ask("POST", "/v1/renew"), 401, "UNAUTHENTICATED", "leaf was revoked")
            denied(one.leaf(agent.task, agent), "L4", root.edge, "this delegation was revoked")
            refused(one.delegate(agent, Agent(one, "levels-late")), 401, "UNAUTHENTICATED", "leaf was revoked")
    assert beside.client().ask("POST", "/v1/renew").status == 201


# ---- a tree ----

class Plain:
    """One keep-alive connection of nobody's, for leaves by application/pkcs10: quicker than Client, as thousands are asked for."""

    def __init__(self, house):
        self.connection = http.client.HTTPSConnection("127.0.0.1", house.api_port, context=ssl.create_default_context(cafile=house.path("corp.pem")), timeout=60)

    def leaf(self, task, csr, lifetime_s=900):
        self.connection.request("POST", f"/v1/tasks/{task}/leaves?lifetime_s={lifetime_s}", csr, {"Content-Type": "application/pkcs10"})
        answer = self.connection.getresponse()
        return answer.status, answer.read()


class Tree:
    """alice -> root -> 9 middle ones -> 10 lowest each: 100 edges, and n leaves spread over them, asked for by eight clients."""

    def __init__(self, house, name, n):
        began = time.monotonic()
        self.house, self.n = house, n
        self.root = house.agent_with_leaf(name + "-root", lifetime_s=900, depth=3)
        self.task, agents = self.root.task, [self.root]
        for m in range(9):
            middle = house.child_with_leaf(self.root, f"{name}-{m}", lifetime_s=900, depth=1, scope=WIDE)
            client, lowest = middle.client(), [Agent(house, f"{name}-{m}-low-{k}") for k in range(10)]
            for agent in lowest:
                answer = client.ask("POST", "/v1/delegations", {"agent": {"class": f"spiffe://{TD}/agent/pdf-reader", "spki_sha256": agent.spki_sha256}, "audience": [ERP],
                                                                 "scope": [{"actions": ["invoices:read"], "resources": [ERP + "/v2/invoices/2026/*"]}]})
                assert answer.status == 201, answer
            client.close()
            agents += [middle, *lowest]
        self.csrs = [csr_der(agent.key) for agent in agents]
        self.serials, wrong, left = [self.root.serial] + [a.serial for a in agents if a.issued and a is not self.root], [], queue.Queue()
        for i in range(n - len(self.serials)):
            left.put(i)

        def work():
            client = Plain(house)
            while not wrong:
                try:
                    i = left.get_nowait()
                except queue.Empty:
                    return
                status, body = client.leaf(self.task, self.csrs[i % len(self.csrs)])
                if status != 201:
                    wrong.append((status, body))
                    return
                self.serials.append(body.split(b'"serial":"', 1)[1][:32].decode())
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong and len(set(self.serials)) == n, (wrong[:2], len(self.serials))
        self.planted_s = time.monotonic() - began

    def states(self):
        """How many leaves of the tree are in which state, in the store."""
        return dict(rows(self.house, "SELECT cert.state, count(*) FROM cert JOIN edge ON edge.n = cert.edge JOIN task ON task.n = edge.task WHERE task.id = ? GROUP BY 1", self.task))

    def edges(self):
        return dict(rows(self.house, "SELECT 1 + (edge.n IN (SELECT edge FROM revoked)), count(*) FROM edge JOIN task ON task.n = edge.task WHERE task.id = ? GROUP BY 1", self.task))

    def revoke(self):
        return self.house.person().ask("POST", "/v1/revocations", {"edge": self.root.edge})

    def listed(self):
        crl = self.house.crl(self.root)
        return len({f"{entry.serial_number:032x}" for entry in crl} & set(self.serials))

    def told(self, some=40):
        """What the responder says of some of them."""
        status = Status(self.house, self.house.issuing_of(self.root))
        return {status.of(serial) for serial in random.Random(1).sample(self.serials, min(some, self.n))}


class Faulty:
    """A house whose processes take orders to die at a stage (base/fault.h)."""

    def __init__(self):
        self.house = House("swtpm", extra=ROOMY)
        self.file = self.house.path("fault")
        with open(self.file, "w+b") as f:
            f.write(bytes(64))
            f.flush()
            os.chmod(self.file, 0o666)
            self.order = mmap.mmap(f.fileno(), 64)
        self.house.init()
        self.start()

    def start(self):
        self.house.start(env={"WRIT_FAULT": "@" + self.file})
        self.settled = time.monotonic()

    def arm(self, stage, passes):
        self.order[:56] = stage.encode().ljust(56, b"\0")
        struct.pack_into("<Q", self.order, 56, passes)

    def disarm(self):
        struct.pack_into("<Q", self.order, 56, 0)


@pytest.fixture(scope="module")
def faulty():
    made = Faulty()
    yield made
    made.house.close()


def rounds():
    """Each stage of a revocation, named by who dies where, at which pass of it, and whether that is before or after the commit (None: whichever)."""
    yield "writ-issuerd", "store:cascade", 1, False
    yield "writ-issuerd", "store:cascade", LEAVES // 2, False
    yield "writ-issuerd", "store:cascade", LEAVES, False
    yield "writ-issuerd", "revoke:stored", 1, True
    yield "writ-signerd", "signer:revoked", 1, True
    if KILLS > 2:
        yield "writ-issuerd", "store:after-commit", 1, None
        yield "writ-issuerd", "revoke:signer", 1, True
        yield "writ-issuerd", "revoke:before-answer", 1, True
        yield "writ-signerd", "journal:before-sync", 2, None
        yield "writ-signerd", "journal:after-sync", 2, None
    for _ in range(KILLS):
        yield "writ-issuerd", None, 0, None


def test_a_tree_is_revoked_whole_or_not_at_all_whenever_a_process_is_killed(faulty):
    """Each time it is looked for in the store, the list, the responder, the journal and the API; and planted anew when it died."""
    house, tree, takes_s, lines = faulty.house, None, max(0.05, LEAVES / 50000), []
    for number, (name, stage, passes, dies) in enumerate(rounds()):
        if not tree:
            tree = Tree(house, f"tree-{number}", LEAVES)
        assert tree.states() == {GOOD: tree.n}
        time.sleep(max(0, faulty.settled + SETTLED_IN_S - time.monotonic()))
        old, answers = house.pids(name)[0], []

        def ask(tree=tree):
            try:
                answers.append(tree.revoke())
            except (OSError, http.client.HTTPException):
                answers.append(None)
        asking = threading.Thread(target=ask)
        if stage:
            faulty.arm(stage, passes)
        asking.start()
        if not stage:
            time.sleep(random.Random(number).uniform(0.005, 0.005 + 1.2 * takes_s))
            os.kill(old, signal.SIGKILL)
        asking.join()
        where = f"round {number}, {name} killed at {stage or 'a random moment'}, pass {passes}"
        wait_for(where + ": it died", lambda: house.pids(name) not in ([], [old]), 20)  # pylint: disable=cell-var-from-loop
        faulty.disarm()
        faulty.settled = time.monotonic()
        house.wait_healthy()
        states, edges = tree.states(), tree.edges()
        assert len(states) == 1 and len(edges) == 1 and sum(states.values()) == tree.n, f"{where}: {states}, {edges}"
        died = states == {REVOKED: tree.n}
        assert dies is None or died == dies, f"{where}: {states}"
        if answers[0] is not None and answers[0].status == 200:
            assert died, where
        assert tree.told() == {"REVOKED" if died else "GOOD"}, where
        lines.append(f"{where}: {'revoked' if died else 'untouched'}")
        if died:
            wait_for(where + ": the list has all of them", lambda: tree.listed() == tree.n)  # pylint: disable=cell-var-from-loop
            entries = {e.serial for e in journal.read(house.path("state/journal"), live=True) if e.type == "revoke"}
            assert set(tree.serials) <= entries, where
            denied(house.leaf(tree.task, tree.root), "L4", tree.root.edge, "this delegation was revoked")
            tree = None
        else:
            again = house.leaf(tree.task, tree.root)
            assert tree.listed() == 0 and again.status == 201, where
            tree.serials.append(again.json["serial"])
            tree.n += 1
    print("\n".join(lines))


def test_the_time_of_a_revocation_is_told(faulty):
    house = faulty.house
    tree = Tree(house, "timed", LEAVES)
    began = time.monotonic()
    answer = tree.revoke()
    took = time.monotonic() - began
    assert (answer.status, answer.json) == (200, {"edges": 1, "leaves": LEAVES, "logged": True}), answer
    assert tree.told(200) == {"REVOKED"}, "all say so as soon as it is acknowledged"
    assert tree.states() == {REVOKED: LEAVES}
    wait_for("the list has all of them", lambda: tree.listed() == LEAVES)
    print(f"revoking the root of a tree of {LEAVES} leaves on 100 edges: {took * 1000:.0f} ms until acknowledged, {(time.monotonic() - began) * 1000:.0f} ms until all are in the "
          f"list; planted by 8 clients in {tree.planted_s:.1f} s")


# ---- races ----

class Racer(threading.Thread):
    """Rounds of: a task, then leaves asked for by two clients while a third revokes the edge, at a random moment."""

    def __init__(self, house, n, seed):
        super().__init__(daemon=True)
        self.house, self.n, self.random = house, n, random.Random(seed)
        self.late, self.alice, self.revoker, self.clients = Plain(house), house.person(), house.person(), [Plain(house) for _ in range(2)]
        self.queues, self.results = [queue.Queue() for _ in self.clients], queue.Queue()
        self.edges, self.released, self.refused, self.wrong = [], [], {}, []

    def ask(self, i):
        while True:
            order = self.queues[i].get()
            if order is None:
                return
            task, csr, delay = order
            time.sleep(delay)
            try:
                self.results.put(self.clients[i].leaf(task, csr, 300))
            except (OSError, http.client.HTTPException) as e:
                self.results.put((0, repr(e).encode()))

    def round(self):
        key = new_key()
        csr = csr_der(key)
        opened = self.alice.ask("POST", "/v1/tasks", {"agent": {"class": f"spiffe://{TD}/agent/invoice-bot", "spki_sha256": hashlib.sha256(spki(key)).hexdigest()},
                                                      "scope": WIDE, "audience": [ERP], "depth": 2}).json
        self.edges.append(opened["edge"])
        for q in self.queues:
            q.put((opened["task"], csr, self.random.uniform(0, 0.004)))
        time.sleep(self.random.uniform(0, 0.03))
        revoked = self.revoker.ask("POST", "/v1/revocations", {"edge": opened["edge"]})
        late, _ = self.late.leaf(opened["task"], csr, 300)
        if revoked.status != 200:
            self.wrong.append(revoked)
        for status, body in [self.results.get(timeout=60) for _ in self.queues]:
            if status == 201:
                self.released.append((body.split(b'"serial":"', 1)[1][:32].decode(), opened["edge"]))
            elif status in (403, 409):
                self.refused[status] = self.refused.get(status, 0) + 1
            else:
                self.wrong.append((status, body))
        if late != 403:
            self.wrong.append(("asked after the acknowledgement", late))

    def run(self):
        workers = [threading.Thread(target=self.ask, args=(i,), daemon=True) for i in range(len(self.clients))]
        for worker in workers:
            worker.start()
        for _ in range(self.n):
            if self.wrong:
                break
            self.round()
        for q in self.queues:
            q.put(None)


def test_no_leaf_is_released_after_its_edge_was_revoked_however_they_race(faulty):
    """What was released was in the store before the revocation, so that it was taken along: revoked, never good, and never an aborted one."""
    house, began = faulty.house, time.monotonic()
    racers = [Racer(house, max(1, RACES // 4), seed) for seed in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    wrong = [w for racer in racers for w in racer.wrong]
    assert not wrong, wrong[:3]
    released = [r for racer in racers for r in racer.released]
    edges = {e for racer in racers for e in racer.edges}
    lost = {status: sum(racer.refused.get(status, 0) for racer in racers) for status in (403, 409)}
    found = {serial.hex(): (state, edge.hex()) for serial, state, edge in rows(house, "SELECT cert.serial, cert.state, edge.id FROM cert JOIN edge ON edge.n = cert.edge")}
    ours = {serial: state for serial, (state, edge) in found.items() if edge in edges}
    assert set(ours.values()) <= {REVOKED, ABORTED}, "none is good"
    assert {found[serial] for serial, edge in released} <= {(REVOKED, edge) for edge in edges}, "what was released was taken along, not aborted"
    alive = [edge.hex() for edge, in rows(house, "SELECT id FROM edge WHERE n NOT IN (SELECT edge FROM revoked)")]
    assert not edges & set(alive)
    entries = {e.serial: e for e in journal.read(house.path("state/journal"), live=True) if e.type == "revoke"}
    assert all(serial in entries for serial, _ in released)
    status = Status(house, house.issuing_of(house.agent_with_leaf("race-any")))
    assert {status.of(serial) for serial, _ in released[-200:]} <= {"REVOKED"}
    assert released and sum(lost.values()), "both sides won at times"
    print(f"{sum(len(racer.edges) for racer in racers)} races in {time.monotonic() - began:.1f} s: {len(released)} leaves released and revoked, {lost[403]} refused by the look before, "
          f"{lost[409]} by the transaction, {sum(state == ABORTED for state in ours.values())} signed and aborted")
