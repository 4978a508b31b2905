"""Clients at work while things are killed, and what each of them was told.

A `Load` opens tasks, takes leaves, renews, delegates, revokes and completes from several threads; each thread keeps to tasks of its own and writes down what
was acknowledged.  A request without an answer may have happened or not, and is written down as such.  Knows nothing of what must hold: that is
invariants.py's.
"""
import base64
import http.client
import os
import random
import ssl
import threading
import time

from cryptography import x509

from house import ERP, TD, Agent, Client, csr_der

GOOD, MAYBE, REVOKED = "good", "maybe", "revoked"
AWAY = (OSError, http.client.HTTPException, ssl.SSLError)
WIDE = [{"actions": ["invoices:read"], "resources": [ERP + "/v2/invoices/**"], "delegable": True}]


class Leaf:
    def __init__(self, issued, agent):
        self.issued, self.agent, self.fate, self.by = issued, agent, GOOD, None
        self.serial, self.index = issued["serial"], issued["log"]["index"]
        self.cert = x509.load_pem_x509_certificate(issued["certificate"].encode())


class Worker(threading.Thread):
    def __init__(self, load, number):
        super().__init__(daemon=True)
        self.load, self.house, self.number = load, load.house, number
        self.random = random.Random(load.seed * 100 + number)
        self.clients, self.leaves, self.wrong, self.asked, self.away = {}, [], [], 0, 0

    def client(self, who):
        if who not in self.clients:
            self.clients[who] = self.house.nobody() if who == "nobody" else self.house.person(who)
        return self.clients[who]

    def ask(self, client, *arguments):
        """The answer, or None when there is none to rely on: the connection broke, or it says try later."""
        self.asked += 1
        own = self.client(client) if isinstance(client, str) else client
        try:
            answer = own.ask(*arguments)
        except AWAY:
            answer = None
            if isinstance(client, str):
                self.clients.pop(client).close()
            else:
                client.close()
        if answer is None or answer.status in (429, 503):
            self.away += 1
            time.sleep(0.05)
            return None
        if answer.status not in (200, 201):
            self.wrong.append((arguments[0], arguments[1], repr(answer)))
            return None
        return answer.json

    def leaf(self, task, agent, again=4):
        """A leaf, asked for with an idempotency key until it is there: the same one each time."""
        key = {"Idempotency-Key": os.urandom(8).hex()}
        body = {"csr": base64.b64encode(csr_der(agent.key)).decode(), "lifetime_s": 900}
        for _ in range(again):
            if self.load.stopped:
                return None
            issued = self.ask("nobody", "POST", f"/v1/tasks/{task}/leaves", body, key)
            if issued:
                leaf = Leaf(issued, agent)
                self.leaves.append(leaf)
                if self.random.random() < 0.1:
                    second = self.ask("nobody", "POST", f"/v1/tasks/{task}/leaves", body, key)
                    if second and second["serial"] != issued["serial"]:
                        self.wrong.append(("once", task, f"{issued['serial']} and then {second['serial']} for one Idempotency-Key"))
                return leaf
            time.sleep(0.2)
        return None

    def revoke(self, who, path, body, taken):
        """The leaves of `taken` may be revoked from here on, and are once it is acknowledged."""
        for leaf in taken:
            if leaf.fate == GOOD:
                leaf.fate, leaf.by = MAYBE, path
        told = self.ask(who, "POST", path, body)
        if told:
            for leaf in taken:
                leaf.fate = REVOKED
            if told["leaves"] < 1:
                self.wrong.append((path, str(body), f"{told}: none of {len(taken)} leaves"))

    def once(self):
        agent = Agent(self.house, f"load-{self.number}")
        opened = self.ask("alice", "POST", "/v1/tasks", {"agent": {"class": f"spiffe://{TD}/agent/invoice-bot", "spki_sha256": agent.spki_sha256},
                                                        "scope": WIDE, "audience": [ERP], "depth": 2})
        if not opened:
            return
        task, edge = opened["task"], opened["edge"]
        first = self.leaf(task, agent)
        if not first:
            return
        mine, below = [first], []
        agent.take(first.issued)
        choice = self.random.random()
        if choice < 0.7:
            client = Client(self.house, agent.cert_file, agent.key_file)
            if choice < 0.5:
                renewed = self.ask(client, "POST", "/v1/renew", {"lifetime_s": 600})
                if renewed:
                    mine.append(Leaf(renewed, agent))
                    self.leaves.append(mine[-1])
            child = Agent(self.house, f"load-{self.number}-child")
            delegated = self.ask(client, "POST", "/v1/delegations", {"agent": {"class": f"spiffe://{TD}/agent/pdf-reader", "spki_sha256": child.spki_sha256},
                                                                     "scope": [dict(WIDE[0], delegable=False)], "audience": [ERP]})
            client.close()
            leaf = self.leaf(task, child) if delegated else None
            if leaf:
                below.append(leaf)
        end = self.random.random()
        if end < 0.2:
            self.revoke("alice", f"/v1/tasks/{task}/complete", None, mine + below)
        elif end < 0.35:
            self.revoke("olga", "/v1/revocations", {"edge": edge, "reason": "superseded"}, mine + below)
        elif end < 0.5 and below:
            self.revoke("alice", "/v1/revocations", {"serial": below[0].serial, "reason": "keyCompromise"}, below)

    def run(self):
        while not self.load.stopped:
            try:
                self.once()
                time.sleep(self.load.pause_s)
            except Exception as e:  # pylint: disable=broad-except
                self.wrong.append(("load", "", repr(e)))
                return
        for client in self.clients.values():
            client.close()


class Load:
    """`with Load(house): ...` works in the background; afterwards `leaves` says what was acknowledged."""

    def __init__(self, house, threads=8, seed=1, pause_s=0):
        self.house, self.seed, self.stopped, self.pause_s = house, seed, False, pause_s
        self.workers = [Worker(self, n) for n in range(threads)]

    def __enter__(self):
        for worker in self.workers:
            worker.start()
        return self

    def __exit__(self, *_):
        self.stopped = True
        for worker in self.workers:
            worker.join(60)
            assert not worker.is_alive(), "a client waits for ever"

    @property
    def leaves(self):
        return [leaf for worker in self.workers for leaf in worker.leaves]

    @property
    def wrong(self):
        return [what for worker in self.workers for what in worker.wrong]
