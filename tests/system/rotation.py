"""Rotation under load: clients who must never be refused, and what must hold of every generation that they met.

Knows how to work and to look; how many generations, and how fast, the tests say: test_rotation.py a few, tests/rotation a hundred.
"""
import base64
import json
import os
import subprocess
import threading
import time
import urllib.request

from cryptography import x509
from cryptography.hazmat.primitives import serialization

import journal
from house import ROOT, Agent, Client, csr_der, wait_for
from invariants import Status

CHAINS = os.path.join(ROOT, "tests", "system", "interop", "Chains.java")


class Leaf:
    def __init__(self, issued, edge):
        self.issued, self.serial, self.edge = issued, issued["serial"], edge
        self.cert = x509.load_pem_x509_certificate(issued["certificate"].encode())
        self.issuing = x509.load_pem_x509_certificate(issued["chain"].encode())

    @property
    def generation(self):
        """Names the issuing CA: its key id."""
        return self.issuing.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()


class Worker(threading.Thread):
    """Opens tasks, takes leaves and renews them; every answer but success is a failure, whatever it says."""

    def __init__(self, load, number):
        super().__init__(daemon=True)
        self.load, self.house, self.number = load, load.house, number
        self.leaves, self.wrong, self.asked, self.worst_s = [], [], 0, 0.0

    def ask(self, client, *arguments):
        self.asked += 1
        began = time.monotonic()
        answer = client.ask(*arguments)
        self.worst_s = max(self.worst_s, time.monotonic() - began)
        if answer.status not in (200, 201):
            self.wrong.append((arguments[1], repr(answer)))
            return None
        return answer.json

    def once(self, person, nobody, n):
        agent = Agent(self.house, f"rotating-{self.number}-{n % 8}")
        opened = self.house.open_task(agent, by=person)
        self.asked += 1
        if opened.status != 201:
            self.wrong.append(("/v1/tasks", repr(opened)))
            return
        body = {"csr": base64.b64encode(csr_der(agent.key)).decode(), "lifetime_s": 900}
        issued = self.ask(nobody, "POST", f"/v1/tasks/{opened.json['task']}/leaves", body)
        if not issued:
            return
        self.leaves.append(Leaf(issued, opened.json["edge"]))
        if n % 3 == 0:
            agent.take(issued)
            client = Client(self.house, agent.cert_file, agent.key_file)
            renewed = self.ask(client, "POST", "/v1/renew", {"lifetime_s": 900})
            client.close()
            if renewed:
                self.leaves.append(Leaf(renewed, opened.json["edge"]))

    def run(self):
        person, nobody = self.house.person(), self.house.nobody()
        n = 0
        while not self.load.stopped:
            try:
                self.once(person, nobody, n)
            except Exception as e:  # pylint: disable=broad-except
                self.wrong.append(("no answer", repr(e)))
                return
            n += 1
            time.sleep(self.load.pause_s)


class Load:
    def __init__(self, house, threads=4, pause_s=0.02):
        self.house, self.stopped, self.pause_s = house, False, pause_s
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

    def all(self, what):
        return [one for worker in self.workers for one in getattr(worker, what)]

    @property
    def asked(self):
        return sum(worker.asked for worker in self.workers)

    @property
    def worst_s(self):
        return max(worker.worst_s for worker in self.workers)


def rotate(house):
    """By the operator's command; the new generation's number."""
    return json.loads(house.run("key", "rotate", "--config", house.path("writ.yaml"), "--json").stdout)["number"]


def keys(house):
    """The generations that the signer has, newest first."""
    listed = json.loads(house.run("key", "list", "--config", house.path("writ.yaml"), "--json").stdout)["keys"]
    return [key for key in listed if key["role"] != "anchor"]


def issuing(house):
    return next(key for key in keys(house) if key["role"] == "issuing")


def by_generation(leaves):
    found = {}
    for leaf in leaves:
        found.setdefault(leaf.generation, []).append(leaf)
    return found


def fetch_crl(leaf):
    url = leaf.cert.extensions.get_extension_for_class(x509.CRLDistributionPoints).value[0].full_name[0].value
    with urllib.request.urlopen(url, timeout=20) as answer:
        return x509.load_der_x509_crl(answer.read())


def revoke(house, leaf, leaves):
    """Its delegation, and so all leaves of it: these."""
    taken = [one for one in leaves if one.edge == leaf.edge]
    answer = house.person("olga").ask("POST", "/v1/revocations", {"edge": leaf.edge, "reason": "superseded"})
    assert answer.status == 200 and answer.json["logged"] and answer.json["leaves"] == len(taken), answer
    return taken


def statuses_hold(house, leaves, revoked):
    """Every leaf of every generation, by its own issuer: good or revoked in OCSP; each list verifies, and has the revoked ones and no others."""
    taken = {leaf.serial for leaf in revoked}
    for generation, some in by_generation(leaves).items():
        status = Status(house, some[0].issuing)
        for leaf in some:
            want = "REVOKED" if leaf.serial in taken else "GOOD"
            said = status.of(leaf.serial)
            assert said == want, f"{leaf.serial} of {generation} is {said}"
        ended = {int(leaf.serial, 16) for leaf in some if leaf.serial in taken}
        wait_for(f"the list of {generation}", lambda: {e.serial_number for e in fetch_crl(some[0])} >= ended, 30)  # pylint: disable=cell-var-from-loop
        crl = fetch_crl(some[0])
        assert crl.is_signature_valid(some[0].issuing.public_key()) and crl.issuer == some[0].issuing.subject
        assert {entry.serial_number for entry in crl} == ended


def java_accepts(house, leaves, revoked):
    """One leaf of each generation, and each revoked one."""
    folder = house.path("chains")
    os.makedirs(folder, exist_ok=True)
    pem = serialization.Encoding.PEM
    with open(os.path.join(folder, "anchor.pem"), "wb") as f:
        f.write(house.anchor().public_bytes(pem))
    taken = {leaf.serial for leaf in revoked}
    picked = {("revoked-" if leaf.serial in taken else "good-") + leaf.generation + ("-" + leaf.serial if leaf.serial in taken else ""): leaf for leaf in leaves}
    for name, leaf in picked.items():
        for kind, cert in (("leaf", leaf.cert), ("issuing", leaf.issuing)):
            with open(os.path.join(folder, f"{name}.{kind}.pem"), "wb") as f:
                f.write(cert.public_bytes(pem))
    ran = subprocess.run(["java", CHAINS, folder], capture_output=True, text=True, timeout=300, check=False)
    good, bad = sum(name.startswith("good") for name in picked), sum(name.startswith("revoked") for name in picked)
    assert ran.returncode == 0 and ran.stdout.strip() == f"ok {2 * good} accepted, {2 * bad} refused as revoked", ran.stdout + ran.stderr
    return good, bad


def published(house):
    """Key ids of /ca/issuing.pem, newest first."""
    blocks = house.get("/ca/issuing.pem").split(b"-----END CERTIFICATE-----\n")
    certs = [x509.load_pem_x509_certificate(block + b"-----END CERTIFICATE-----\n") for block in blocks if block.strip()]
    return [cert.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex() for cert in certs]


def key_entries(house, event):
    return [e.json for e in journal.read(house.path("state/journal"), live=True) if e.type == "key" and e.json.get("event") == event]
