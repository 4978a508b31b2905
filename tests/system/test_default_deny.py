"""Default deny: every method, every path - those of deploy/api/v1.yaml, and more -, without and with each kind of credential, with no body, an empty one and
one that somebody else might have sent.  Nothing is issued, revoked, granted or told but what a row of ALLOWED says.

The store is compared row by row, the journal by what it says was done.  The wire between issuer and signer is swept by tests/contract/signer.c.
"""
import base64
import os
import sqlite3
import ssl
import subprocess
import time
import urllib.error
import urllib.request

import pytest
import yaml

import journal
from house import ERP, INVOICES, POLICY, ROOT, TD, Agent, Client, House, csr_der

with open(os.path.join(ROOT, "deploy", "api", "v1.yaml"), encoding="utf-8") as file:
    API = yaml.safe_load(file)

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "LINK", "get", "REVOKE"]
STRANGE_PATHS = ["/", "/v1", "/v1/", "/v1/tasks/", "/v1/tasks/nobodys", "/v1/tasks/nobodys/", "/v1/tasks/nobodys/leaves", "/v1/tasks//leaves", "/v1/tasks/nobodys/leaves/",
                 "/v1/tasks/nobodys/complete", "/v1/tasks/a/b/complete", "/v1/tasks/%2e%2e/complete", "/v1/tasks/../tasks", "//v1/tasks", "/v1/./tasks", "/v1/tasks;x=1",
                 "/v1/tasks?x=1", "/V1/tasks", "/v2/tasks", "/v1/delegations/", "/v1/renew?force=1", "/v1/revocations/00", "/v1/revocations?all=true", "/v1/freezes/",
                 "/v1/freezes/all", "/v1/log/entries/0", "/v1/log", "/v1/batch/", "/v1/batch?x=1", "/ocsp", "/metrics", "/healthz", "/ca/anchor.cer", "/admin", "/.well-known/est/simpleenroll"]
WHO = ["nobody", "person without a rule", "frozen person", "operator", "auditor", "responder", "agent", "revoked agent", "foreign CA"]

# Who may what of the paths below, on things that are not theirs; {id} is the victim's task (for operators' POST one that is nobody's).
ALLOWED = {("agent", "POST", "/v1/renew"), ("auditor", "GET", "/v1/log/entries"), ("auditor", "GET", "/v1/freezes"), ("operator", "GET", "/v1/freezes"),
           ("operator", "GET", "/v1/tasks/{id}"), ("auditor", "GET", "/v1/tasks/{id}"), ("operator", "GET", "/v1/policy"), ("auditor", "GET", "/v1/policy"),
           ("operator", "POST", "/v1/policy/reload"), ("responder", "GET", "/v1/status/documents")}  # what has a query: tests/system/test_responder.py
ALLOWED |= {(who, "GET", path) for who in ("nobody", "person without a rule", "frozen person", "operator", "auditor", "responder", "agent")
            for path in ("/v1/bundle", "/v1/bundle/spiffe")}  # what everybody shall trust is no secret
# Whose requests prove by themselves who asks: a key's own signature, a grant's, an ID token's.
ANYONES = {"/v1/tasks/{id}/leaves", "/v1/batch", "/v1/grants/prepare", "/v1/bundle", "/v1/bundle/spiffe"}
REFUSALS = {400: "INVALID", 401: "UNAUTHENTICATED", 403: "DENIED", 404: "NOT_FOUND", 405: "INVALID", 409: "CONFLICT", 415: "INVALID"}


class Scene:
    """A victim, whose names nobody else may learn, and one client of each kind."""

    def __init__(self, house):
        self.house = house
        house.certify("mallory")
        house.certify("frank")
        house.certify("responder-1")
        self.victim = house.agent_with_leaf("victim", id="victims.task-7f3a", purpose="a secret purpose", lifetime_s=900)
        self.child = house.child_with_leaf(self.victim, "victims-child", lifetime_s=900)
        self.agent = house.agent_with_leaf("asking", depth=0, scope=[{"actions": ["invoices:read"], "resources": [INVOICES]}], lifetime_s=900)
        self.revoked = house.agent_with_leaf("revoked", lifetime_s=900)
        assert house.person("olga").ask("POST", "/v1/revocations", {"serial": self.revoked.serial}).status == 200
        assert house.person("olga").ask("POST", "/v1/revocations", {"principal": f"spiffe://{TD}/human/corp/frank", "freeze": True}).status == 200
        key, cert = house.path("foreign.key"), house.path("foreign.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert, "-subj", "/CN=olga",
                        "-days", "2"], check=True, capture_output=True)
        self.makers = {"nobody": house.nobody, "person without a rule": lambda: house.person("mallory"), "frozen person": lambda: house.person("frank"),
                       "operator": lambda: house.person("olga"), "auditor": lambda: house.person("ada"), "responder": lambda: house.person("responder-1"), "agent": self.agent.client, "revoked agent": self.revoked.client,
                       "foreign CA": lambda: Client(house, cert, key)}
        v, c = self.victim, self.child
        self.secrets = [v.id, c.id, v.edge, c.edge, v.serial, c.serial, "a secret purpose", v.issued["certificate"].split("\n")[1], v.spki_sha256]

        mine = Agent(house, "deny-new")
        agent = {"agent": {"class": f"spiffe://{TD}/agent/invoice-bot", "spki_sha256": mine.spki_sha256}, "audience": [ERP],
                 "scope": [{"actions": ["invoices:read"], "resources": [INVOICES]}]}
        self.honest = {"/v1/tasks": [agent, dict(agent, id=v.task), {"grant": "e30.e30.e30"}], "/v1/delegations": [agent, dict(agent, agent=dict(agent["agent"], spki_sha256=v.spki_sha256))],
                       "/v1/tasks/{id}/leaves": [{"csr": base64.b64encode(csr_der(mine.key)).decode()}],
                       "/v1/batch": [{"leaves": []}, {"leaves": [{"task": v.task}]}],
                       "/v1/revocations": [{"edge": v.edge}, {"serial": v.serial}, {"task": v.task}, {"principal": v.id}, {"principal": f"spiffe://{TD}/agent/invoice-bot"},
                                           {"principal": f"spiffe://{TD}/human/corp/alice", "freeze": True}, {"all": True}],
                       "/v1/tasks/{id}/approvals": [{"decision": "approve", "digest": "00" * 32}, {"decision": "refuse", "digest": "00" * 32}],
                       "/v1/freezes/lift": [{"all": True}, {"principal": f"spiffe://{TD}/human/corp/frank"}]}

    def paths(self, who, method):
        """Each path as the file shapes it, and as it is asked for."""
        for shape in API["paths"]:
            yield shape, shape.replace("{id}", "nobodys" if who == "operator" and method != "GET" else self.victim.task)
        for path in STRANGE_PATHS:
            yield path, path

    def bodies(self, who, method, shape):
        """None, an empty object, and what an honest client would send there - of the victim's."""
        if method in ("GET", "HEAD"):
            return [None]
        if method != "POST" or (who == "operator" and shape in ("/v1/revocations", "/v1/freezes/lift")):  # there it may
            return [None, {}]
        return [None, {}, *self.honest.get(shape, [])]


@pytest.fixture(scope="module")
def scene():
    house = House("swtpm", policy=POLICY.replace(f'delegator: ["spiffe://{TD}/human/corp/**"]', f'delegator: ["spiffe://{TD}/human/corp/alice", "spiffe://{TD}/human/corp/frank"]'),
                  extra="limits: {requests_per_principal_s: 100000}\n")  # that nothing is refused for being too much
    try:
        house.init()
        house.start()
        yield Scene(house)
    finally:
        house.close()


def rows(house):
    """All that the store holds, but for tidying up."""
    with sqlite3.connect(f"file:{house.path('state/store/writ.db')}?mode=ro", uri=True, timeout=10) as db:
        tables = [name for name, in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('outbox', 'note')")]
        return {(table, row) for table in tables for row in map(repr, db.execute(f"SELECT * FROM {table}"))}


def deeds(house):
    """What the journal says was done."""
    time.sleep(0.3)  # notes are written behind their answers
    entries = journal.read(house.path("state/journal"), live=True)
    return [(e.index, e.type) for e in entries if e.type not in ("deny", "crl", "settled")]


def ask(scene, client, method, path, body):
    try:
        return client[0].ask(method, path, body, {"Content-Type": "application/json"} if body is not None else {})
    except (ssl.SSLError, ConnectionError, OSError):
        client[0].close()
        return None


@pytest.mark.parametrize("who", WHO)
def test_whatever_is_asked_is_refused_but_for_what_a_row_allows(scene, who):
    house, client = scene.house, [scene.makers[who]()]
    before, done = rows(house), deeds(house)
    asked = renewed = reloaded = unanswered = 0
    for method in METHODS if who != "foreign CA" else ["POST"]:  # whose every request is a handshake
        for shape, path in scene.paths(who, method):
            for body in scene.bodies(who, method, shape):
                answer = ask(scene, client, method, path, body)
                asked += 1
                if answer is None:
                    unanswered += 1
                    client[0] = scene.makers[who]()
                    continue
                where = (who, method, path, body, answer)
                if (who, method, shape) in ALLOWED and answer.status < 300:
                    renewed += shape == "/v1/renew"
                    reloaded += shape == "/v1/policy/reload"
                    continue
                assert answer.status in REFUSALS and (method == "HEAD" or answer.json["code"] == REFUSALS[answer.status]), where
                if method == "HEAD":
                    assert not answer.body
                    continue
                sent = path + repr(body)
                told = [secret for secret in scene.secrets if secret in answer.body.decode() and secret not in sent]
                assert not told, (where, told)
                if who == "revoked agent" or (who == "nobody" and "grant" not in (body or {}) and method.lower() in API["paths"].get(shape, {}) and method.isupper() and shape not in ANYONES):
                    assert answer.status == 401, where
    assert unanswered == (asked if who == "foreign CA" else 0), "only the handshake of a foreign CA fails"
    after, did = rows(house), deeds(house)
    new = after - before
    assert before <= after, f"rows went or changed: {list(before - after)[:3]}"
    new = {(table, row) for table, row in new if table != "denied"}  # what was refused is kept for a day, for `writ policy diff`
    assert {table for table, _ in new} <= ({"leaf", "cert_der"} if renewed else set()) and sum(table == "leaf" for table, _ in new) == renewed, list(new)[:5]
    assert sorted(t for _, t in did[len(done):]) == ["issue"] * renewed + ["policy"] * reloaded, did[len(done):]
    assert {house.ocsp(agent) for agent in (scene.victim, scene.child, scene.agent)} == {"GOOD"}
    print(f"{who}: {asked} requests, {renewed + reloaded} of them did what a row allows")


def test_the_rows_that_allow_are_each_of_use(scene):
    """A row that nothing needs would hide what it lets through."""
    for who, method, shape in ALLOWED:
        path = shape.replace("{id}", scene.victim.task)
        assert scene.makers[who]().ask(method, path).status in (200, 201), (who, method, path)


def test_a_revoked_leaf_is_refused_on_the_connection_that_was_open_before(scene):
    agent = scene.house.agent_with_leaf("open-connection")
    client = agent.client()
    assert client.ask("GET", "/v1/tasks/" + agent.task).status == 200
    assert scene.house.person("olga").ask("POST", "/v1/revocations", {"serial": agent.serial}).status == 200
    for method, path in (("GET", "/v1/tasks/" + agent.task), ("POST", "/v1/renew"), ("POST", "/v1/delegations"), ("GET", "/v1/freezes")):
        answer = client.ask(method, path)
        assert (answer.status, answer.json["detail"]) == (401, "leaf was revoked"), answer


def test_a_denial_is_in_the_journal(scene):
    bot = scene.makers["agent"]()
    assert bot.ask("POST", "/v1/revocations", {"edge": scene.victim.edge}).status == 403
    assert bot.ask("GET", "/v1/tasks/" + scene.victim.task).status == 404
    deeds(scene.house)
    said = [e.json["said"] for e in journal.read(scene.house.path("state/journal"), live=True) if e.type == "deny"]
    mine = [(s["rule"], s["value"]) for s in said if s.get("who") == scene.agent.id]
    assert ("R0", "this revocation") in mine and ("reader", scene.victim.task) in mine, mine[-10:]


def test_the_status_port_knows_nothing_of_the_api(scene):
    paths = ["/" + p.lstrip("/").replace("{id}", scene.victim.task) for p in API["paths"]]
    for method in ("GET", "POST", "PUT", "DELETE"):
        for path in paths + ["/", "/crl/../ca/anchor.cer", "/crl/" + "0" * 40 + ".crl", "/ca/x.cer", "/log/checkpoint/x", "/state/store/writ.db", "/%2e%2e/writ.yaml"]:
            request = urllib.request.Request(scene.house.status_url(path), method=method, data=b"{}" if method in ("POST", "PUT") else None)
            try:
                with urllib.request.urlopen(request, timeout=5) as answer:
                    raise AssertionError((method, path, answer.status))
            except urllib.error.HTTPError as e:
                assert e.code in (400, 404, 405), (method, path, e.code)
