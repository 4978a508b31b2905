"""A freeze: what is revoked, and that nothing new begins by or for who is frozen, until an operator lifts it; over restarts, by the command line as by the API."""
import json
import re
import threading

import pytest

import journal
from grants import claims_for, house_with_grants, sign, submit
from house import ERP, POLICY, TD, Agent, wait_for
from test_approvals import PAY, PAYER, PAYMENTS, ask_for, say, show
from test_refusals import denied, refused

ALICE, BOB, OLGA = (f"spiffe://{TD}/human/corp/{name}" for name in ("alice", "bob", "olga"))
BOT = f"spiffe://{TD}/agent/invoice-bot"


@pytest.fixture(scope="module")
def house():
    made = house_with_grants(policy=POLICY.replace(f'operator: ["{OLGA}"]', f'operator: ["{OLGA}", "spiffe://{TD}/human/corp/oskar"]') + PAYMENTS)
    try:
        made.certify("oskar")
        made.init()
        made.start()
        yield made
    finally:
        made.close()


def writ(house, person, *arguments, code=0):
    """`writ` as this person; what it printed."""
    result = house.run(*arguments, "--api", f"https://127.0.0.1:{house.api_port}", "--ca", house.path("corp.pem"), "--cert", house.path(person + ".pem"),
                       "--key", house.path(person + ".key"), check=False)
    assert result.returncode == code, result
    return result.stderr if code else result.stdout


def frozen_metric(house):
    return int(re.search(r"^writ_frozen (\d+)$", house.get("/metrics").decode(), re.M).group(1))


def entries(house):
    return [{k: v for k, v in e.json["said"].items() if k != "request"} for e in journal.read(house.path("state/journal"), live=True) if e.type == "freeze"]


def test_a_frozen_person_begins_nothing_until_an_operator_lifts_it_and_nothing_comes_back(house):
    bot = house.agent_with_leaf("frozen-bot")
    reader = house.child_with_leaf(bot, "frozen-reader")
    other = house.open_task(Agent(house, "bobs"), house.person("bob"))
    assert writ(house, "olga", "freeze", ALICE) == "edges: 1\nleaves revoked: 2\nlogged: yes\n"
    for restart in (False, True):
        if restart:
            house.stop()
            house.start()
        assert {house.ocsp(bot), house.ocsp(reader)} == {"REVOKED"}
        denied(house.open_task(Agent(house, "new")), "R9", ALICE, "this principal is frozen")
        for agent in (bot, reader):
            refused(agent.client().ask("POST", "/v1/renew"), 401, "UNAUTHENTICATED", "leaf was revoked")
            assert house.leaf(agent.task, agent).json["rule"] == "L4"
        assert house.open_task(Agent(house, "bobs-next"), house.person("bob")).status == 201, "others go on"
        assert frozen_metric(house) == 1
        listed = house.person("ada").ask("GET", "/v1/freezes").json["freezes"]
        assert [(f["what"], f["principal"], f["by"]) for f in listed] == [("principal", ALICE, OLGA)]
    assert other.status == 201 and house.person("bob").ask("GET", "/v1/tasks/" + other.json["task"]).json["state"] == "open"
    assert house.person().ask("GET", "/v1/tasks/" + bot.task).status == 200, "it may look,"
    assert house.person().ask("POST", f"/v1/tasks/{bot.task}/complete").status == 200, "and end what is its own"
    assert re.fullmatch(f"principal: {ALICE} since .* by {OLGA}\n", writ(house, "olga", "freeze", "--list"))

    assert writ(house, "olga", "thaw", ALICE) == "logged: yes\n"
    assert house.open_task(Agent(house, "thawed")).status == 201
    assert {house.ocsp(bot), house.ocsp(reader)} == {"REVOKED"}, "what was revoked stays so"
    assert house.leaf(bot.task, bot).json["rule"] == "L4"
    assert frozen_metric(house) == 0 and writ(house, "olga", "freeze", "--list") == ""
    assert writ(house, "olga", "thaw", ALICE, code=1) == f"writ thaw: NOT_FOUND: principal {ALICE} is not frozen\n"
    assert entries(house)[-2:] == [{"by": OLGA, "principal": ALICE, "state": "frozen", "what": "principal"},
                                   {"by": OLGA, "principal": ALICE, "state": "thawed", "what": "principal"}]


def test_a_grant_that_a_frozen_person_signed_opens_nothing_whoever_brings_it_and_whenever_it_was_signed(house):
    agent = Agent(house, "granted")
    before = sign(house.grant_keys["alice-1"], claims_for(agent))
    assert house.person("olga").ask("POST", "/v1/revocations", {"principal": ALICE, "freeze": True}).status == 200
    for compact in (before, sign(house.grant_keys["alice-1"], claims_for(agent))):
        for client in (house.nobody(), house.person(), house.person("bob")):
            denied(submit(house, compact, client), "R9", ALICE, "this principal is frozen")
    assert house.person("olga").ask("POST", "/v1/freezes/lift", {"principal": ALICE}).status == 200
    assert submit(house, before).status == 201, "refused, it was not used up"


def test_a_frozen_class_gets_no_new_instance_and_hands_nothing_on(house):
    bot = house.agent_with_leaf("class-bot")
    reader = house.child_with_leaf(bot, "class-reader")
    answer = house.person("olga").ask("POST", "/v1/revocations", {"principal": f"spiffe://{TD}/agent/pdf-reader", "freeze": True})
    assert answer.status == 200 and answer.json["leaves"] == 1, answer
    assert (house.ocsp(bot), house.ocsp(reader)) == ("GOOD", "REVOKED")
    problem = house.delegate(bot, Agent(house, "class-next")).json
    assert (problem["code"], problem["rule"], problem["limit"]) == ("DENIED", "R9", "the agent's class is frozen"), problem
    assert problem["value"].startswith(f"spiffe://{TD}/agent/pdf-reader/i-")
    assert bot.client().ask("POST", "/v1/renew").status == 201, "another class goes on"
    assert house.person("olga").ask("POST", "/v1/freezes/lift", {"principal": f"spiffe://{TD}/agent/pdf-reader"}).status == 200
    assert house.delegate(bot, Agent(house, "class-after")).status == 201


def test_who_is_frozen_may_still_take_back_what_is_its_own(house):
    bot = house.agent_with_leaf("own-bot", by=house.person("bob"))
    assert house.person("olga").ask("POST", "/v1/revocations", {"principal": BOB, "freeze": True}).status == 200
    answer = house.person("bob").ask("POST", "/v1/revocations", {"edge": bot.edge, "reason": "keyCompromise"})
    assert (answer.status, answer.json["leaves"]) == (200, 0), answer
    refused(house.open_task(bot), 409, "CONFLICT", "key is blocked after keyCompromise: make a new one")
    assert house.person("olga").ask("POST", "/v1/freezes/lift", {"principal": BOB}).status == 200


def test_an_operator_who_is_frozen_is_none(house):
    bot = house.agent_with_leaf("by-oskar")
    oskar, olga = house.person("oskar"), house.person("olga")
    me = f"spiffe://{TD}/human/corp/oskar"
    assert olga.ask("POST", "/v1/revocations", {"principal": me, "freeze": True}).status == 200
    denied(oskar.ask("POST", "/v1/freezes/lift", {"principal": me}), "R0", "this thaw", "lifted by an operator who is not frozen")
    denied(oskar.ask("POST", "/v1/revocations", {"all": True}), "R0", "this revocation", "revoked by an operator")
    denied(oskar.ask("POST", "/v1/policy/reload"), "operator", me, "principals with the operator role")
    denied(oskar.ask("POST", f"/v1/tasks/{bot.task}/complete"), "R0", bot.task, "completed by its opener or an operator")
    assert house.ocsp(bot) == "GOOD"
    assert olga.ask("POST", "/v1/freezes/lift", {"principal": me}).status == 200
    assert oskar.ask("POST", f"/v1/tasks/{bot.task}/complete").status == 200


@pytest.mark.parametrize("who", ["alice", "ada", "agent", "nobody"])
def test_only_operators_freeze_and_lift_and_only_they_and_auditors_look(house, who):
    agent = house.agent_with_leaf("lifting")
    client = agent.client() if who == "agent" else house.nobody() if who == "nobody" else house.person(who)
    for path, body, value, limit in (("/v1/revocations", {"principal": BOB, "freeze": True}, "this revocation", "revoked by an operator"),
                                     ("/v1/revocations", {"all": True}, "this revocation", "revoked by an operator"),
                                     ("/v1/freezes/lift", {"principal": BOB}, "this thaw", "lifted by an operator who is not frozen"),
                                     ("/v1/freezes/lift", {"all": True}, "this thaw", "lifted by an operator who is not frozen")):
        answer = client.ask("POST", path, body)
        if who == "nobody":
            refused(answer, 401, "UNAUTHENTICATED", "this needs a client certificate of a configured delegator or an agent")
        else:
            denied(answer, "R0", value, limit)
    answer = client.ask("GET", "/v1/freezes")
    if who in ("alice", "agent"):
        denied(answer, "operator", agent.id if who == "agent" else ALICE, "principals with the operator or the auditor role")
    else:
        assert answer.status == (401 if who == "nobody" else 200)
    assert frozen_metric(house) == 0 and house.ocsp(agent) == "GOOD"


@pytest.mark.parametrize("arguments,words", [
    (["freeze"], "1 argument is wanted, 0 given"), (["freeze", "--all", BOB], f"'{BOB[:40]}' is one argument too many"),
    (["freeze", "--list", "--all"], "--list goes with neither --all nor --reason"), (["freeze", "--all", "--edge", "x"], "no option --edge: man writ lists them"),
    (["thaw"], "1 argument is wanted, 0 given"), (["thaw", "--all", BOB], f"'{BOB[:40]}' is one argument too many")], ids=lambda v: " ".join(v) if isinstance(v, list) else None)
def test_the_command_line_is_strict(house, arguments, words):
    assert writ(house, "olga", *arguments, code=2) == f"writ {arguments[0]}: {words}\n"


def test_nothing_that_begins_while_a_freeze_is_asked_for_outlives_it(house):
    """Eight clients open tasks and take leaves; whatever was granted before the freeze is dead once it is acknowledged, and nothing is granted after."""
    stop, granted, wrong = threading.Event(), [], []

    def work(n):
        client = house.person()
        while not stop.is_set():
            agent = Agent(house, f"race-{n}")
            opened = house.open_task(agent, client)
            if opened.status == 201:
                granted.append((opened.json["task"], opened.json["edge"]))
                house.leaf(opened.json["task"], agent, client=client)
            elif opened.status not in (403, 409):
                wrong.append(opened)

    olga = house.person("olga")
    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    rounds = []
    try:
        for _ in range(20):
            before = len(granted)
            wait_for("some are granted", lambda: len(granted) > before + 3)  # pylint: disable=cell-var-from-loop
            answer = olga.ask("POST", "/v1/revocations", {"principal": ALICE, "freeze": True})
            assert answer.status == 200, answer
            edges = {row["id"]: row["state"] for task, _ in granted[before:before + 3] for row in olga.ask("GET", "/v1/tasks/" + task).json["edges"]}
            assert set(edges.values()) == {"revoked"}, edges
            denied(house.open_task(Agent(house, "late")), "R9", ALICE, "this principal is frozen")
            rounds.append(len(granted) - before)
            assert olga.ask("POST", "/v1/freezes/lift", {"principal": ALICE}).status == 200
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong, wrong[:3]
    assert olga.ask("POST", "/v1/revocations", {"principal": ALICE, "freeze": True}).status == 200
    import sqlite3
    with sqlite3.connect(f"file:{house.path('state/store/writ.db')}?mode=ro", uri=True, timeout=10) as db:
        alive = db.execute("SELECT count(*) FROM edge JOIN principal ON principal.n = edge.delegator WHERE uri = ? AND edge.n NOT IN (SELECT edge FROM revoked)", (ALICE,)).fetchone()
        good = db.execute("SELECT count(*) FROM cert JOIN edge ON edge.n = cert.edge JOIN principal ON principal.n = edge.delegator "
                          "WHERE uri = ? AND cert.state = 1", (ALICE,)).fetchone()
    assert (alive, good) == ((0,), (0,))
    assert olga.ask("POST", "/v1/freezes/lift", {"principal": ALICE}).status == 200
    print(f"20 freezes while 8 clients opened {len(granted)} tasks")


def test_everything_stops_in_one_transaction_and_begins_again_when_it_is_lifted(house):
    trees = [(bot := house.agent_with_leaf(f"all-{n}"), house.child_with_leaf(bot, f"all-{n}-child")) for n in range(3)]
    told = json.loads(writ(house, "olga", "freeze", "--all", "--reason", "superseded", "--json"))
    assert told["leaves"] >= 6 and told["logged"], told
    for restart in (False, True):
        if restart:
            house.stop()
            house.start()
        assert {house.ocsp(agent) for tree in trees for agent in tree} == {"REVOKED"}
        for person in ("alice", "bob"):
            denied(house.open_task(Agent(house, "stopped"), house.person(person)), "R9", f"spiffe://{TD}/human/corp/{person}", "everything is frozen")
        for bot, _ in trees:
            assert house.leaf(bot.task, bot).json["rule"] == "L4"
            refused(bot.client().ask("POST", "/v1/renew"), 401, "UNAUTHENTICATED", "leaf was revoked")
            assert house.person().ask("GET", "/v1/tasks/" + bot.task).json["state"] == "revoked"
    assert re.fullmatch("all: everything since .* by .*/olga\n", writ(house, "oskar", "freeze", "--list"))
    assert writ(house, "oskar", "thaw", "--all") == "logged: yes\n"
    assert house.agent_with_leaf("after-all").issued
    assert {house.ocsp(agent) for tree in trees for agent in tree} == {"REVOKED"}
    assert [(e["state"], e["what"]) for e in entries(house)[-2:]] == [("frozen", "all"), ("thawed", "all")]


def test_a_freeze_asked_for_while_the_signer_is_away_is_in_force_and_is_logged_when_it_is_back(house):
    import os
    import signal
    bot = house.agent_with_leaf("away")
    old = house.pids("writ-signerd")
    for pid in old:
        os.kill(pid, signal.SIGSTOP)
    try:
        told = []
        asking = threading.Thread(target=lambda: told.append(house.person("olga").ask("POST", "/v1/revocations", {"principal": ALICE, "freeze": True})))
        asking.start()
        wait_for("the store has it", lambda: house.person("ada").ask("GET", "/v1/freezes").json["freezes"])
    finally:
        for pid in old:
            os.kill(pid, signal.SIGKILL)
    asking.join()
    assert told[0].status == 200, told
    house.wait_healthy()
    wait_for("the journal has it", lambda: entries(house)[-1] == {"by": OLGA, "principal": ALICE, "state": "frozen", "what": "principal"})
    assert wait_for("revoked", lambda: house.ocsp(bot) == "REVOKED")
    denied(house.open_task(Agent(house, "still")), "R9", ALICE, "this principal is frozen")
    assert house.person("olga").ask("POST", "/v1/freezes/lift", {"principal": ALICE}).status == 200


def test_a_frozen_approver_approves_nothing_and_what_a_freeze_names_waits_no_longer(house):
    olga = house.person("olga")
    freeze = lambda who, path="/v1/revocations", **more: olga.ask("POST", path, {"principal": who, **more})  # noqa: E731
    agent = ask_for(house, "frozen-1")
    assert freeze(BOB, freeze=True).status == 200
    denied(say(house, "bob", agent), "R9", BOB, "this principal is frozen")
    assert show(house, agent)["state"] == "pending", "bob had said nothing to it yet"
    assert freeze(BOB, "/v1/freezes/lift").status == 200
    assert say(house, "bob", agent).json["given"] == 1
    assert freeze(BOB, freeze=True).status == 200
    shown = show(house, agent)
    assert shown["state"] == "refused" and (shown["approvals"]["said"][-1]["principal"], shown["approvals"]["said"][-1]["because"]) == (OLGA, "frozen"), shown
    other = ask_for(house, "frozen-2")
    assert freeze(ALICE, freeze=True).status == 200
    assert show(house, other)["state"] == "refused", "it was alice who asked for it"
    answer = house.person().ask("POST", "/v1/tasks", {"agent": {"class": PAYER, "spki_sha256": agent.spki_sha256}, "scope": PAY, "audience": [ERP]})
    denied(answer, "R9", ALICE, "this principal is frozen")
    for who in (ALICE, BOB):
        assert freeze(who, "/v1/freezes/lift").status == 200
    late = say(house, "oskar", other)
    assert late.status in (403, 409) and show(house, other)["state"] == "refused", "nothing comes back"
