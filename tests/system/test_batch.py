"""POST /v1/batch: many leaves in one request, each decided alone, none before it is in journal and store."""
import base64
import json
import sqlite3
import time

import pytest
from cryptography import x509

import journal
from house import Agent, csr_der

ITEMS_MAX = 256


def item(agent, task, **more):
    return {"task": task, "csr": base64.b64encode(csr_der(agent.key)).decode(), **more}


@pytest.fixture(scope="module")
def agents(one):
    """(agent, task), each with a task of its own."""
    person, made = one.person(), []
    for n in range(40):
        agent = Agent(one, f"batch-{n}")
        opened = one.open_task(agent, by=person)
        assert opened.status == 201, opened
        made.append((agent, opened.json["task"]))
    return made


def batch(house, items, **more):
    return house.nobody().ask("POST", "/v1/batch", {"leaves": items}, **more)


def test_each_item_gets_the_leaf_that_it_would_have_got_alone(one, agents):
    answer = batch(one, [item(agent, task, lifetime_s=300, ocsp=n % 2 == 0) for n, (agent, task) in enumerate(agents)])
    assert answer.status == 200, answer
    results = answer.json["results"]
    assert [r["status"] for r in results] == [201] * len(agents)
    serials = set()
    for n, ((agent, task), result) in enumerate(zip(agents, results)):
        issued = result["issued"]
        assert issued["task"] == task and ("ocsp" in issued) == (n % 2 == 0)
        cert = x509.load_pem_x509_certificate(issued["certificate"].encode())
        assert cert.public_key().public_numbers() == agent.key.public_key().public_numbers(), "in the order in which they were asked for"
        serials.add(issued["serial"])
    assert len(serials) == len(agents)
    assert one.ocsp(agents[0][0].take(results[0]["issued"])) == "GOOD"
    written = {e.serial for e in journal.read(one.path("state/journal"), live=True) if e.type == "issue"}
    with sqlite3.connect(f"file:{one.path('state/store/writ.db')}?mode=ro", uri=True, timeout=10) as db:
        rows = {bytes(serial).hex() for serial, in db.execute("SELECT serial FROM cert")}
    assert serials <= written and serials <= rows


def test_what_is_refused_changes_nothing_for_the_rest(one, agents):
    (first, task), (second, other) = agents[0], agents[1]
    stranger = Agent(one, "batch-stranger")
    answer = batch(one, [item(first, task), item(stranger, task), item(first, "no.such-task"), item(first, "UPPER CASE"), item(second, other)])
    assert [r["status"] for r in answer.json["results"]] == [201, 404, 404, 400, 201], answer
    problem = answer.json["results"][1]["problem"]
    assert problem["code"] == "NOT_FOUND" and problem["status"] == 404
    assert one.leaf(task, stranger).json["detail"] == problem["detail"], "in the words of a request of its own"
    assert set(answer.json["results"][1]) == {"status", "problem"} and set(answer.json["results"][0]) == {"status", "issued"}


def test_a_revoked_delegation_gets_nothing_in_a_batch_either(one, agents):
    (agent, task), (other, still) = agents[-1], agents[-2]
    assert one.person().ask("POST", f"/v1/tasks/{task}/complete").status == 200
    answer = batch(one, [item(agent, task), item(other, still)])
    assert [r["status"] for r in answer.json["results"]] == [403, 201]
    assert answer.json["results"][0]["problem"]["rule"] == "L4"


def test_the_same_key_twice_is_two_leaves_up_to_the_limit_of_its_edge(one, agents):
    agent, task = agents[2]
    answer = batch(one, [item(agent, task)] * 20)
    status = [r["status"] for r in answer.json["results"]]
    assert status.count(201) == 15 and status.count(429) == 5, status  # one is there, 16 may live at once
    good = [r["issued"]["serial"] for r in answer.json["results"] if r["status"] == 201]
    assert len(set(good)) == 15
    assert all(r["retry_after_s"] > 0 for r in answer.json["results"] if r["status"] == 429)


@pytest.mark.parametrize("body, complaint", [
    ({}, "member 'leaves' is missing"),
    ({"leaves": []}, "member 'leaves' must be a list of 1 to 256"),
    ({"leaves": {}}, "member 'leaves' must be a list of 1 to 256"),
    ({"leaves": [{"task": "a.b", "csr": "AA=="}] * (ITEMS_MAX + 1)}, "member 'leaves' must be a list of 1 to 256"),
    ({"leaves": [1]}, "leaves[0] is not a JSON object"),
    ({"leaves": [{"csr": "AA=="}]}, "leaves[0]: member 'task' is missing"),
    ({"leaves": [{"task": "a.b", "csr": "AA==", "principal": "spiffe://x/y"}]}, "leaves[0]: member 'principal' is unknown"),
    ({"leaves": [{"task": "a.b", "csr": "AA=="}, {"task": "a.b", "csr": "A"}]}, "leaves[1]: member 'csr' is neither base64 of DER nor PEM"),
    ({"leaves": [{"task": "a.b", "csr": "AA==", "lifetime_s": 59}]}, "leaves[0]: member 'lifetime_s' must be an integer from 60 to 900"),
    ({"leaves": [{"task": "a.b", "csr": "AA=="}], "more": 1}, "member 'more' is unknown"),
])
def test_the_wrong_shape_of_one_is_refused_before_any_has_begun(one, body, complaint):
    before = len(list(journal.read(one.path("state/journal"), live=True)))
    answer = one.nobody().ask("POST", "/v1/batch", body)
    assert answer.status == 400 and complaint in answer.json["detail"], answer
    issued = [e for e in list(journal.read(one.path("state/journal"), live=True))[before:] if e.type == "issue"]
    assert not issued


def test_an_idempotency_key_is_refused(one, agents):
    answer = batch(one, [item(*agents[3])], headers={"Idempotency-Key": "one"})
    assert answer.status == 400 and "a batch takes no Idempotency-Key" in answer.json["detail"]


def test_a_body_of_256_kib_is_for_batches_alone(one):
    text = json.dumps({"leaves": [{"task": "a.b", "csr": "A" * 900}] * 200})
    kind = {"Content-Type": "application/json"}
    assert 100_000 < len(text) < 256 * 1024
    assert one.nobody().ask("POST", "/v1/batch", text, kind).status in (200, 400)
    assert one.nobody().ask("POST", "/v1/tasks/a.b/leaves", text, kind).status == 413
    assert one.nobody().ask("POST", "/v1/batch", text + " " * 256 * 1024, kind).status == 413


def test_256_items_count_as_256_requests_of_their_asker(fresh):
    house = fresh(extra="limits: {requests_per_principal_s: 100}\n")
    agent = Agent(house, "greedy")
    task = house.open_task(agent).json["task"]
    answer = batch(house, [item(agent, task)] * ITEMS_MAX)
    assert answer.status == 200, answer
    status = [r["status"] for r in answer.json["results"]]
    assert len(status) == ITEMS_MAX and status.count(201) == 16 and set(status) == {201, 429}
    texts = {r["problem"]["detail"] for r in answer.json["results"] if r["status"] == 429}
    assert any("100" in text for text in texts), texts
    time.sleep(1.1)
    assert house.leaf(task, agent).status == 429, "the edge is full"
    assert house.ocsp(agent.take(answer.json["results"][0]["issued"])) == "GOOD"
