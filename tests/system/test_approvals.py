"""Approvals: a task that waits for others than who asked for it, and what opens it, ends it, or does neither."""
import datetime
import hashlib
import json
import os
import threading
import time

import pytest

import house as houses
from grants import ALICE, claims_for, hops, house_with_grants, sign, submit
from house import ERP, TD, Agent, wait_for

PAYER = f"spiffe://{TD}/agent/payer"
PAY = [{"actions": ["payments:create"], "resources": [ERP + "/v2/payments"]}]
HUMAN = f"spiffe://{TD}/human/corp/"
CROWD = [f"crowd-{n}" for n in range(20)]


def rule(name, agent, approvals):
    return f"""\
  - name: {name}
    delegator: ["{HUMAN}**"]
    kind: human
    agents: ["spiffe://{TD}/agent/{agent}"]
    entitlements:
      - actions: ["payments:create"]
        resources: ["{ERP}/v2/payments"]
    audience: ["{ERP}"]
    max_lifetime: 5m
    {approvals}
"""


APPROVERS = ", ".join(f'"{HUMAN}{name}"' for name in ["alice", "bob", "olga"] + CROWD)
PAYMENTS = rule("payments", "payer", f"approvals: {{of: 2, by: [{APPROVERS}], within: 30m}}")
POLICY = houses.POLICY + PAYMENTS \
    + rule("hasty", "hasty-payer", f'approvals: {{of: 1, by: ["{HUMAN}bob"], within: 5s}}') \
    + rule("changing", "changing-payer", f'approvals: {{of: 1, by: ["{HUMAN}bob"]}}')


@pytest.fixture(scope="module")
def one():
    """People whom the policy names, and one Writ for all."""
    made = house_with_grants(policy=POLICY)
    try:
        made.init()
        for name in CROWD:
            made.certify(name)
        made.start()
        yield made
    finally:
        made.close()


def ask_for(one, name, by="alice", agent_class=PAYER, **more):
    """A task that waits; its agent, with the answer."""
    agent = Agent(one, name)
    agent.task = name
    body = {"id": name, "agent": {"class": agent_class, "spki_sha256": agent.spki_sha256}, "scope": PAY, "audience": [ERP], "depth": 0, "ends_in_s": 1800}
    answer = one.person(by).ask("POST", "/v1/tasks", dict(body, **more))
    assert answer.status == 202, answer
    agent.pending = answer.json
    return agent


def say(one, who, agent, decision="approve", digest=None, headers=None, **more):
    body = dict({"decision": decision, "digest": digest or agent.pending["digest"]}, **more)
    return one.person(who).ask("POST", f"/v1/tasks/{agent.task}/approvals", body, headers)


def show(one, agent, who="alice"):
    return one.person(who).ask("GET", f"/v1/tasks/{agent.task}").json


def entries_of(one, task):
    """What the journal says of a task, in order."""
    found, at = [], 0
    while True:
        answer = one.person("ada").ask("GET", f"/v1/log/entries?from={at}&count=100").json
        found += [e["entry"] for e in answer["entries"]]
        if answer["next"] == at:
            break
        at = answer["next"]
    return [e for e in found if e.get("said", {}).get("task") == task]


def time_of(text):
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")


# ---- what waits is in force nowhere ----

def test_a_task_waits_and_says_for_how_many_and_until_when(one):
    agent = ask_for(one, "waits-1")
    assert agent.pending["state"] == "pending" and (agent.pending["needed"], agent.pending["given"]) == (2, 0)
    assert agent.pending["rule"] == "payments" and agent.pending["agent"].startswith(PAYER + "/i-")
    task = show(one, agent)
    assert task["state"] == "pending" and task["edges"] == [] and "ends" not in task
    assert (time_of(task["approvals"]["expires"]) - time_of(task["created"])).total_seconds() == 1800


def test_the_digest_is_of_the_very_text_that_is_shown_and_that_text_is_all_that_is_asked(one):
    agent = ask_for(one, "waits-2", purpose="Pay May's invoices")
    approvals = show(one, agent)["approvals"]
    assert hashlib.sha256(approvals["request"].encode()).hexdigest() == approvals["digest"] == agent.pending["digest"]
    assert json.loads(approvals["request"]) == {
        "agent": agent.pending["agent"], "audience": [ERP], "depth": 0, "ends_in_s": 1800, "opener": HUMAN + "alice", "purpose": "Pay May's invoices",
        "scope": [dict(PAY[0], delegable=False)], "spki_sha256": agent.spki_sha256, "task": "waits-2"}


def test_no_leaf_is_issued_before_the_last_approval(one):
    agent = ask_for(one, "waits-3")
    until = agent.pending["expires"]
    for given in (0, 1):
        answer = one.leaf("waits-3", agent)
        assert answer.status == 503 and answer.json["detail"] == \
            f"task waits-3 waits for approvals, {given} of 2 given, until {until}: ask again later", answer
        assert say(one, "bob", agent).status == 200
    stranger = one.leaf("waits-3", Agent(one, "waits-stranger"))
    assert stranger.status == 404 and stranger.json["detail"].startswith("no delegation of task 'waits-3' names this key"), stranger


def test_an_id_is_reserved_while_its_task_waits(one):
    ask_for(one, "waits-4")
    for agent_class, scope in ((PAYER, PAY), (f"spiffe://{TD}/agent/invoice-bot", [{"actions": ["invoices:read"], "resources": [houses.INVOICES]}])):
        other = Agent(one, "waits-4-other")
        answer = one.person("bob").ask("POST", "/v1/tasks", {"id": "waits-4", "agent": {"class": agent_class, "spki_sha256": other.spki_sha256},
                                                              "scope": scope, "audience": [ERP]})
        assert answer.status == 409 and answer.json["detail"] == "task waits-4 is there already, and waits for approvals", answer


# ---- approved ----

def test_two_others_approve_and_the_agent_gets_its_leaf(one):
    agent = ask_for(one, "opens-1")
    first = say(one, "bob", agent)
    assert first.status == 200 and (first.json["state"], first.json["given"]) == ("pending", 1) and "edge" not in first.json, first
    last = say(one, "olga", agent)
    assert last.status == 200 and (last.json["state"], last.json["given"]) == ("open", 2), last
    issued = one.leaf("opens-1", agent)
    assert issued.status == 201, issued
    leaf = agent.take(issued.json)
    assert leaf.issued["edge"] == last.json["edge"] and one.ocsp(leaf) == "GOOD"
    value = leaf.cert.extensions.get_extension_for_oid(houses.x509.ObjectIdentifier(houses.DELEGATION_OID)).value.value
    assert (HUMAN + "alice").encode() in value, "the delegator is who asked, not who approved"
    task = show(one, agent)
    assert task["state"] == "open" and [s["principal"] for s in task["approvals"]["said"]] == [HUMAN + "bob", HUMAN + "olga"]
    assert task["approvals"]["digest"] == agent.pending["digest"]
    assert (time_of(task["ends"]) - time_of(task["created"])).total_seconds() == 1800, "its end counts from the opening"
    assert task["edges"][0]["granted_at"] == task["created"] and task["edges"][0]["not_after"] == task["ends"]
    completed = one.person().ask("POST", "/v1/tasks/opens-1/complete")
    assert completed.status == 200 and one.ocsp(leaf) == "REVOKED"


def test_who_approves_twice_counts_once(one):
    agent = ask_for(one, "opens-2")
    for _ in range(3):
        answer = say(one, "bob", agent)
        assert answer.status == 200 and (answer.json["state"], answer.json["given"]) == ("pending", 1), answer
    assert say(one, "olga", agent).json["state"] == "open"
    again = say(one, "olga", agent)
    assert again.status == 200 and again.json["state"] == "open" and "edge" not in again.json, "a retry finds it open, and opens nothing"


def test_an_idempotency_key_returns_the_first_answer(one):
    agent = ask_for(one, "opens-3")
    key = {"Idempotency-Key": "approve-once"}
    first, second = say(one, "bob", agent, headers=key), say(one, "bob", agent, headers=key)
    assert first.status == 200 and first.body == second.body
    other = say(one, "bob", agent, "refuse", headers=key)
    assert other.status == 409 and other.json["detail"] == "Idempotency-Key 'approve-once': it was used for another request", other


def test_twenty_approvals_at_once_open_exactly_one_task(one):
    agent = ask_for(one, "opens-4")
    answers, ready = [], threading.Barrier(len(CROWD))

    def approve(who):
        client = one.person(who)
        client.connection.connect()
        ready.wait()
        answers.append(client.ask("POST", "/v1/tasks/opens-4/approvals", {"decision": "approve", "digest": agent.pending["digest"]}))
    threads = [threading.Thread(target=approve, args=(who,)) for who in CROWD]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(a.status for a in answers) == [200] * 2 + [409] * 18
    assert sorted(a.json["state"] for a in answers if a.status == 200) == ["open", "pending"]
    assert {a.json["detail"] for a in answers if a.status == 409} == {"task opens-4 is open already"}
    task = show(one, agent)
    assert len(task["edges"]) == 1 and task["approvals"]["given"] == 2


def test_a_signed_grant_waits_is_used_up_and_keeps_the_end_that_was_signed(one):
    agent, end = Agent(one, "signed-1"), int(time.time()) + 1500
    agent.task = "signed-1"
    compact = sign(one.grant_keys["alice-1"], claims_for(agent, agent=PAYER, scope=PAY, depth=0, grant_end=end, task={"id": "signed-1"}), "alice-1")
    answer = submit(one, compact)
    assert answer.status == 202, answer
    agent.pending = answer.json
    again = submit(one, compact)
    assert again.status == 409, again
    ends = datetime.datetime.utcfromtimestamp(end).strftime("%Y-%m-%dT%H:%M:%SZ")
    request = json.loads(show(one, agent)["approvals"]["request"])
    assert request["ends"] == ends and "ends_in_s" not in request and request["opener"] == ALICE
    assert say(one, "alice", agent).status == 403, "who signed it is who asked"
    say(one, "bob", agent)
    last = say(one, "olga", agent)
    assert last.json["state"] == "open" and last.json["not_after"] == ends, last
    issued = one.leaf("signed-1", agent)
    assert issued.status == 201, issued
    (hop,) = hops(agent.take(issued.json).cert)
    assert hop["method"] == "signedGrant" and hop["digest"] == hashlib.sha256(compact.encode()).digest()


# ---- not approved ----

def test_nobody_approves_what_it_asked_for_even_if_the_rule_names_it(one):
    agent = ask_for(one, "denied-1")
    answer = say(one, "alice", agent)
    assert answer.status == 403, answer
    assert (answer.json["rule"], answer.json["value"], answer.json["limit"]) == ("approvals", HUMAN + "alice", "nobody approves what it asked for")
    assert show(one, agent)["approvals"]["given"] == 0


def test_a_principal_that_the_rule_does_not_name_is_refused_also_an_auditor(one):
    agent = ask_for(one, "denied-2")
    for decision in ("approve", "refuse"):
        answer = say(one, "ada", agent, decision)
        assert answer.status == 403 and answer.json["rule"] == "approvals" and answer.json["value"] == HUMAN + "ada", answer
    assert answer.json["limit"] == "approvers of its rule, who asked for it, and operators refuse it"
    assert show(one, agent)["state"] == "pending"


def test_an_agent_approves_nothing(one):
    agent, bot = ask_for(one, "denied-3"), one.agent_with_leaf("denied-bot")
    answer = bot.client().ask("POST", "/v1/tasks/denied-3/approvals", {"decision": "approve", "digest": agent.pending["digest"]})
    assert answer.status == 403 and (answer.json["rule"], answer.json["limit"]) == ("K1", "a human or a service approves"), answer
    nobody = one.nobody().ask("POST", "/v1/tasks/denied-3/approvals", {"decision": "approve", "digest": agent.pending["digest"]})
    assert nobody.status == 401, nobody
    assert show(one, agent)["approvals"]["given"] == 0


def test_an_approval_of_another_digest_is_refused(one):
    agent, other = ask_for(one, "denied-4"), ask_for(one, "denied-5")
    for digest in (other.pending["digest"], "00" * 32):
        answer = say(one, "bob", agent, digest=digest)
        assert answer.status == 409 and answer.json["detail"] == "the digest is not that of what waits as task denied-4: look at it again", answer
    assert show(one, agent)["approvals"]["given"] == 0


@pytest.mark.parametrize("body,detail", [
    ({"digest": "00" * 32}, "member 'decision' is missing"), ({"decision": "approve"}, "member 'digest' is missing"),
    ({"decision": "maybe", "digest": "00" * 32}, "member 'decision' must be approve or refuse"),
    ({"decision": "approve", "digest": "xx"}, "member 'digest' must be 64 lower-case hex digits"),
    ({"decision": "approve", "digest": "00" * 32, "because": "I like it"}, "member 'because' goes with a refusal"),
    ({"decision": "refuse", "digest": "00" * 32, "because": "\u001b[2J"}, "member 'because' must be UTF-8 without control characters"),
    ({"decision": "approve", "digest": "00" * 32, "principal": HUMAN + "olga"}, "member 'principal' is unknown")])
def test_what_is_no_approval_is_refused(one, body, detail):
    answer = one.person("bob").ask("POST", "/v1/tasks/any/approvals", body)
    assert answer.status == 400 and answer.json["detail"] == detail, answer


def test_an_approver_whose_certificate_has_ended_is_refused(one):
    agent = ask_for(one, "denied-6")
    one.certify("crowd-0", days=-1 / 1440)  # ended a minute ago
    try:
        answer = say(one, "crowd-0", agent)
        assert answer.status == 401, answer
    except OSError:
        pass  # refused by the handshake
    finally:
        one.certify("crowd-0")
    assert show(one, agent)["approvals"]["given"] == 0
    assert say(one, "crowd-0", agent).json["given"] == 1


def test_what_was_not_asked_for_cannot_be_approved(one):
    answer = one.person("bob").ask("POST", "/v1/tasks/denied-7/approvals", {"decision": "approve", "digest": "00" * 32})
    assert answer.status == 404 and answer.json["detail"] == "task denied-7 waits for no approval", answer
    bot = one.agent_with_leaf("denied-7-bot")
    answer = one.person("bob").ask("POST", f"/v1/tasks/{bot.task}/approvals", {"decision": "approve", "digest": "00" * 32})
    assert answer.status == 404 and answer.json["detail"] == f"task {bot.task} waits for no approval", answer


# ---- refused ----

def test_one_refusal_ends_it_and_its_id_is_free(one):
    agent = ask_for(one, "refused-1")
    say(one, "bob", agent)
    answer = say(one, "olga", agent, "refuse", because="twice the sum")
    assert answer.status == 200 and answer.json["state"] == "refused", answer
    late = say(one, "crowd-1", agent)
    assert late.status == 409 and late.json["detail"] == "task refused-1 was refused", late
    task = show(one, agent)
    assert task["state"] == "refused" and task["ended"] and task["approvals"]["said"][-1]["because"] == "twice the sum"
    leaf = one.leaf("refused-1", agent)
    assert leaf.status == 409 and leaf.json["detail"] == "task refused-1 was refused by one who was to approve it", leaf
    again = ask_for(one, "refused-1")
    assert again.pending["digest"] != agent.pending["digest"] and again.pending["given"] == 0


@pytest.mark.parametrize("who", ["alice", "olga"])
def test_who_asked_and_operators_may_take_it_back(one, who):
    agent = ask_for(one, "refused-by-" + who)
    assert say(one, who, agent, "refuse").json["state"] == "refused"
    assert say(one, "bob", agent).status == 409


# ---- in time ----

def test_it_expires_and_is_approved_no_more(one):
    agent = ask_for(one, "expires-1", agent_class=f"spiffe://{TD}/agent/hasty-payer")
    assert wait_for("expired", lambda: show(one, agent)["state"] == "expired")
    answer = say(one, "bob", agent)
    until = agent.pending["expires"]
    assert answer.status == 409 and answer.json["detail"] == f"task expires-1 waited for approvals until {until}: ask for it anew", answer
    leaf = one.leaf("expires-1", agent)
    assert leaf.status == 409 and leaf.json["detail"] == f"task expires-1 waited for approvals until {until}", leaf
    assert "expires-1" not in [t["id"] for t in one.person("bob").ask("GET", "/v1/tasks?state=pending").json["tasks"]]
    ask_for(one, "expires-1", agent_class=f"spiffe://{TD}/agent/hasty-payer")


def test_approvals_outlive_a_restart(one):
    agent = ask_for(one, "restart-1")
    assert say(one, "bob", agent).json["given"] == 1
    one.stop()
    one.start()
    assert show(one, agent)["approvals"]["given"] == 1
    assert say(one, "olga", agent).json["state"] == "open"
    assert one.leaf("restart-1", agent).status == 201


def reload(one, policy):
    with open(one.path("policy.yaml"), "w", encoding="utf-8") as f:
        f.write(policy)
    with open(one.path("writd.log"), "rb") as f:
        before = f.read().count(b"serve.reloaded")
    for pid in one.pids("writ-issuerd"):
        os.kill(pid, 1)

    def reloaded():
        with open(one.path("writd.log"), "rb") as f:
            return f.read().count(b"serve.reloaded") > before
    wait_for("the new policy", reloaded)


CHANGES = {
    "denies": (rule("changing", "changing-payer", f'approvals: {{of: 1, by: ["{HUMAN}bob"]}}'), "", "default-deny"),
    "wants more": ('of: 1, by: ["' + HUMAN + 'bob"]}', 'of: 2, by: ["' + HUMAN + 'bob", "' + HUMAN + 'olga"]}', "approvals"),
    "wants others": ('of: 1, by: ["' + HUMAN + 'bob"]}', 'of: 1, by: ["' + HUMAN + '*"]}', "approvals"),
    "wants none": (f'    approvals: {{of: 1, by: ["{HUMAN}bob"]}}', "", "approvals"),
    "is called otherwise": ("name: changing", "name: changed", "approvals")}


@pytest.mark.parametrize("change", CHANGES)
def test_policy_decides_again_when_it_is_approved(one, change):
    agent = ask_for(one, "changed-" + change.replace(" ", "-"), agent_class=f"spiffe://{TD}/agent/changing-payer")
    before, after, denied_by = CHANGES[change]
    assert before in POLICY
    try:
        reload(one, POLICY.replace(before, after))
        answer = say(one, "bob", agent)
        assert answer.status == 403 and answer.json["rule"] == denied_by, answer
        if denied_by == "approvals":
            assert answer.json["limit"] == "the policy has changed since it was asked for, and wants other approvals or none"
        assert show(one, agent)["state"] == "pending" and one.leaf(agent.task, agent).status == 503
    finally:
        reload(one, POLICY)
    assert say(one, "bob", agent).json["state"] == "open", "as it was asked under, it is opened"


# ---- told ----

def test_the_journal_says_who_asked_who_approved_and_under_which_certificate(one):
    agent = ask_for(one, "told-1")
    say(one, "bob", agent)
    say(one, "olga", agent)
    entries = wait_for("the journal", lambda: (lambda e: e if len(e) >= 5 else None)(entries_of(one, "told-1")))
    assert [e["t"] for e in entries] == ["task", "task", "task", "task", "grant"]
    pending, bob, olga, opened, grant = (e["said"] for e in entries)
    assert (pending["state"], pending["opener"], pending["needed"], pending["rule"]) == ("pending", HUMAN + "alice", 2, "payments")
    cert = lambda who: hashlib.sha256(houses.x509.load_pem_x509_certificate(  # noqa: E731
        open(one.path(who + ".pem"), "rb").read()).public_bytes(houses.serialization.Encoding.DER)).hexdigest()
    for said, who in ((bob, "bob"), (olga, "olga")):
        assert (said["state"], said["approver"], said["needed"]) == ("approved", HUMAN + who, 2)
        assert said["cert"] == cert(who) and said["digest"] == pending["digest"] == agent.pending["digest"]
    assert [olga["evidence"], bob["evidence"]] == [s["evidence"] for s in show(one, agent)["approvals"]["said"]][::-1]
    assert opened["opener"] == HUMAN + "alice" and grant["delegator"] == HUMAN + "alice" and grant["cert"] == cert("alice")
    refused = ask_for(one, "told-2")
    say(one, "bob", refused, "refuse", because="no")
    said = wait_for("the journal", lambda: [e["said"] for e in entries_of(one, "told-2") if e["said"].get("state") == "refused"])[0]
    assert said["approver"] == HUMAN + "bob" and "because" not in said


def test_what_is_approved_while_the_signer_is_away_is_in_the_journal_when_it_is_back(one):
    agent = ask_for(one, "told-3")
    for pid in one.pids("writ-signerd"):
        os.kill(pid, 9)
    assert say(one, "bob", agent).json["given"] == 1
    one.wait_healthy()
    said = wait_for("the journal", lambda: [e["said"] for e in entries_of(one, "told-3") if e["said"].get("state") == "approved"])
    assert said[0]["approver"] == HUMAN + "bob" and said[0]["digest"] == agent.pending["digest"]


def test_who_may_see_what_waits(one):
    ask_for(one, "seen-1")
    for who, sees in (("alice", True), ("bob", True), ("olga", True), ("ada", True), ("crowd-3", True)):
        assert (one.person(who).ask("GET", "/v1/tasks/seen-1").status == 200) == sees, who
        assert ("seen-1" in [t["id"] for t in one.person(who).ask("GET", "/v1/tasks?state=pending").json["tasks"]]) == sees, who
    one.certify("mallory")
    answer = one.person("mallory").ask("GET", "/v1/tasks/seen-1")
    assert answer.status == 404 and answer.json["detail"] == "task 'seen-1' is not known, or not yours to see", answer
    answer = one.person("mallory").ask("POST", "/v1/tasks/seen-1/approvals", {"decision": "approve", "digest": "00" * 32})
    assert answer.status == 404 and answer.json["detail"] == "task seen-1 waits for no approval", answer
    assert one.person("mallory").ask("GET", "/v1/tasks?state=pending").json == {"tasks": [], "more": False}
    bot = one.agent_with_leaf("seen-bot")
    assert bot.client().ask("GET", "/v1/tasks?state=pending").json == {"tasks": [], "more": False}
    assert one.nobody().ask("GET", "/v1/tasks?state=pending").status == 401
    for query in ("", "?state=all", "?state=pending&state=open"):
        answer = one.person().ask("GET", "/v1/tasks" + query)
        assert answer.status == 400 and answer.json["detail"] == "the query must be state=open or state=pending", answer


def test_an_opener_has_a_bounded_share_of_what_waits(one):
    one.certify("greedy")
    for n in range(32):
        ask_for(one, f"greedy-{n}", by="greedy")
    over = one.person("greedy").ask("POST", "/v1/tasks", {"agent": {"class": PAYER, "spki_sha256": Agent(one, "greedy").spki_sha256}, "scope": PAY, "audience": [ERP]})
    assert over.status == 429 and over.json["detail"] == \
        f"{HUMAN}greedy has 32 tasks that wait for approvals, its limit is 32: have some approved or refused", over
    ask_for(one, "not-greedy")


def test_metrics_count_what_waits_and_what_was_said(one):
    def value(name):
        return int(next(line for line in one.get("/metrics").decode().split("\n") if line.startswith(name + " ")).split()[1])
    before = {name: value(name) for name in ("writ_tasks_pending", "writ_approvals_total", "writ_approvals_refused_total")}
    agent = ask_for(one, "counted-1")
    assert value("writ_tasks_pending") == before["writ_tasks_pending"] + 1
    say(one, "bob", agent)
    say(one, "olga", agent, "refuse")
    assert value("writ_approvals_total") == before["writ_approvals_total"] + 1
    assert value("writ_approvals_refused_total") == before["writ_approvals_refused_total"] + 1


# ---- by the command line ----

def writ(one, who, *arguments, check=True):
    env = dict(os.environ, WRIT_API=f"https://127.0.0.1:{one.api_port}", WRIT_CA=one.path("corp.pem"), WRIT_CERT=one.path(who + ".pem"),
               WRIT_KEY=one.path(who + ".key"))
    return one.run(*arguments, check=check, env=env)


def test_the_command_line_asks_shows_approves_and_lists(one):
    agent = Agent(one, "cli-1")
    asked = writ(one, "alice", "delegate", "--agent", PAYER, "--key-of", agent.key_file, "--allow", f"payments:create on {ERP}/v2/payments", "--audience", ERP,
                 "--task", "cli-1", "--purpose", "Pay May")
    lines = dict(line.split(": ", 1) for line in asked.stdout.strip().split("\n"))
    assert (lines["task"], lines["state"]) == ("cli-1", "pending") and lines["approvals"].startswith("0 of 2, until ")
    assert f"task: cli-1: {HUMAN}alice -> {lines['agent']}, 0 of 2 approvals" in writ(one, "bob", "task", "list", "--pending").stdout
    shown = writ(one, "bob", "task", "cli-1").stdout
    assert f"asks for: payments:create\n  on: {ERP}/v2/payments\ntowards: {ERP}\n" in shown and f"digest: {lines['digest']}\n" in shown
    assert "lasts: 3600 s from its opening" in shown and f"key: {agent.spki_sha256}" in shown
    assert "state: pending" in writ(one, "bob", "task", "approve", "cli-1", "--digest", lines["digest"]).stdout
    assert f"approved by: {HUMAN}bob, " in writ(one, "olga", "task", "cli-1").stdout
    opened = writ(one, "olga", "task", "approve", "cli-1").stdout
    assert "state: open\n" in opened and "ends: " in opened
    assert "task: cli-1: open, ends " in writ(one, "alice", "task", "list").stdout
    assert "cli-1" not in writ(one, "bob", "task", "list", "--pending").stdout


def test_the_command_line_refuses_and_says_what_it_could_not(one):
    ask_for(one, "cli-2")
    own = writ(one, "alice", "task", "approve", "cli-2", check=False)
    assert own.returncode == 3 and own.stderr == \
        f"writ task approve: refused by approvals: {HUMAN}alice is outside: nobody approves what it asked for; have another approver do it\n"
    other = writ(one, "bob", "task", "approve", "cli-2", "--digest", "00" * 32, check=False)
    assert other.returncode == 1 and "not the one given: look at it again" in other.stderr
    without = writ(one, "bob", "task", "refuse", "cli-2", check=False)
    assert without.returncode == 2 and without.stderr == "writ task refuse: --because is missing\n"
    assert "state: refused\n" in writ(one, "bob", "task", "refuse", "cli-2", "--because", "no budget").stdout
    assert f"refused by: {HUMAN}bob, " in writ(one, "alice", "task", "cli-2").stdout and ": no budget" in writ(one, "alice", "task", "cli-2").stdout
    bot = one.agent_with_leaf("cli-bot")
    none = writ(one, "alice", "task", "approve", bot.task, check=False)
    assert none.returncode == 1 and none.stderr == f"writ task approve: task {bot.task} waits for no approval\n"
