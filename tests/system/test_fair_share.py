"""The resident tier's queue over a device that takes its time: whoever floods waits for himself, and what is refused was never begun.

The delay is the TPM's own, put before it by a TCTI of ours: each TPM2_Sign takes so much longer.
"""
import base64
import json
import os
import re
import signal
import threading
import time

import pytest

import journal
from burst import ask_all_at_once
from faults import FOREVER, ShimHouse
from house import Agent, csr_der, wait_for

TPM2_SIGN, SLOW_MS, FLOOD = "15d", 12, 500
pytestmark = pytest.mark.waits
IN_HAND = 16  # leaves that the device may have at once, at its fastest (issuer/signer/resident.c)


@pytest.fixture(scope="module")
def slow():
    made = ShimHouse("swtpm", tier="resident", extra="threads: 2\nlimits: {connections_per_address: 4096, handshakes_s: 4096, "
                                                     "requests_per_principal_s: 10000, leaves_per_edge: 1000}\n")
    try:
        made.init()
        made.start()
        made.order.set(TPM2_SIGN, "delay", SLOW_MS, FOREVER)
        for _ in range(20):  # the signer learns how long a signature takes
            made.agent_with_leaf("first")
        yield made
    finally:
        made.close()


class Flood(threading.Thread):
    """FLOOD requests of one agent of alice's, all at once."""

    def __init__(self, house):
        super().__init__(daemon=True)
        self.house, self.answers = house, []
        self.bot = Agent(house, "flood")
        opened = house.open_task(self.bot)
        assert opened.status == 201, opened
        self.task = opened.json["task"]
        self.path = f"/v1/tasks/{self.task}/leaves"
        self.body = json.dumps({"csr": base64.b64encode(csr_der(self.bot.key)).decode(), "lifetime_s": 300}).encode()

    def run(self):
        self.answers = ask_all_at_once(self.house, [self.body] * FLOOD, [self.path] * FLOOD)

    def of_status(self, status):
        return [a for a in self.answers if a[1] == status]


def journalled(house):
    """How many leaves were begun, and how many of them aborted."""
    types = [e.type for e in journal.read(house.path("state/journal"), live=True)]
    return types.count("issue"), types.count("abort")


def metric(house, name):
    return float(re.search(r"^" + re.escape(name) + r" ([0-9.]+)$", house.get("/metrics").decode(), re.M).group(1))


def refusals(house):
    return sum(map(float, re.findall(r'^writ_(?:turns|device)_refused_total\{reason="[^"]+"\} ([0-9.]+)$', house.get("/metrics").decode(), re.M)))


@pytest.fixture(scope="module")
def flooded(slow):
    """A flood by alice, and meanwhile bob, who asks for a leaf, and again when he has it: how many signatures the device made in each of his waits."""
    bot, person, client = Agent(slow, "bobs"), slow.person("bob"), slow.nobody()
    opened = slow.open_task(bot, by=person)
    assert opened.status == 201, opened
    flood = Flood(slow)
    flood.before, flood.passed, began = journalled(slow)[0], [], slow.order.signs
    flood.start()
    wait_for("the flood's first leaves", lambda: slow.order.signs >= began + 5, 20)
    while flood.is_alive() and len(flood.passed) < 10:
        at = slow.order.signs
        answer = slow.leaf(opened.json["task"], bot, client=client)
        assert answer.status == 201, answer
        flood.passed.append(slow.order.signs - at)
    flood.join()
    return flood


def test_a_flood_by_one_delegator_leaves_anothers_wait_bounded(flooded):
    got, refused = flooded.of_status(201), flooded.of_status(503)
    assert len(got) > 12 and len(got) + len(refused) == FLOOD, [a[1] for a in flooded.answers]
    # What the device had in hand, one more of alice's, bob's own, and a list of revoked certificates should one be due: never the flood.
    passed = sorted(flooded.passed)
    assert passed and passed[len(passed) // 2] <= 8 and passed[-1] <= IN_HAND, (passed, len(got))


def test_refusals_say_when_to_come_back(flooded):
    refused = flooded.of_status(503)
    assert refused
    for _, _, head, body in refused:
        after = int(re.search(r"\r\nretry-after: (\d+)\r\n", head + "\r\n", re.I).group(1))
        assert 1 <= after <= 30, head  # the time that those need who wait, and up to as much again
        assert json.loads(body)["code"] == "UNAVAILABLE" and (b"wait for the device already" in body or b"its turn" in body), body
    assert len({re.search(r"retry-after: (\d+)", head, re.I).group(1) for _, _, head, _ in refused}) > 1, "they do not all come back at once"


def test_what_is_refused_is_in_no_journal_and_needs_no_abort(slow, flooded):
    assert journalled(slow) == (flooded.before + len(flooded.of_status(201)) + len(flooded.passed), 0)


def test_the_queue_and_the_device_are_measured(slow, flooded):
    leaves = flooded.before + len(flooded.of_status(201)) + len(flooded.passed)
    wait_for("all leaves in /metrics", lambda: metric(slow, "writ_device_queue_seconds_count") == leaves, 10)
    wait_for("all refusals in /metrics", lambda: refusals(slow) == len(flooded.of_status(503)), 10)
    # What the signer told last may count a leaf that the device has and has not signed yet; the device certifies too, and signs lists.
    wait_for("all signatures in /metrics", lambda: metric(slow, "writ_device_signature_seconds_count") > leaves, 10)
    assert metric(slow, 'writ_device_signature_seconds_bucket{le="0.010"}') < metric(slow, "writ_device_signature_seconds_count") / 2
    assert metric(slow, "writ_device_queue_seconds_sum") > 20 * SLOW_MS / 1000
    wait_for("an empty queue in /metrics", lambda: metric(slow, "writ_device_queue") == 0, 10)


def test_a_queue_lost_with_the_signer_needs_no_abort(slow):
    """Killed with a queue: what the device had in hand is aborted, of what waited nothing is known."""
    (begun_before, aborted_before), flood = journalled(slow), Flood(slow)
    slow.order.set(TPM2_SIGN, "delay", 1000, FOREVER)
    flood.start()
    wait_for("a queue", lambda: metric(slow, "writ_device_queue") > 4, 20)
    os.kill(slow.pids("writ-signerd")[0], signal.SIGKILL)
    slow.order.clear()
    flood.join()
    wait_for("a leaf again", lambda: slow.leaf(flood.task, flood.bot).status == 201, 30)
    got = len(flood.of_status(201)) + 1
    begun, aborted = journalled(slow)
    assert {a[1] for a in flood.answers} <= {201, 503}
    assert begun - begun_before - got == aborted - aborted_before <= IN_HAND, (begun, begun_before, got, aborted, aborted_before)


def threads(house):
    return {name: [len(os.listdir(f"/proc/{pid}/task")) for pid in house.pids(name)] for name in ("writ-issuerd", "writ-signerd", "writ-deviced")}


def test_a_device_that_takes_ten_seconds_piles_nothing_up(slow):
    """Over its deadline: the queue stays bounded, who waited 5 s and who is too many hears 503, no thread more waits with them, and the metric tells (F17)."""
    leaf, bot, before = 'writ_device_signature_seconds_bucket{le="%s"}', Agent(slow, "after"), threads(slow)
    task, flood, most = slow.open_task(bot).json["task"], Flood(slow), 0
    beyond = metric(slow, leaf % "+Inf") - metric(slow, leaf % "2.000")
    slow.order.set(TPM2_SIGN, "delay", 10000, FOREVER)
    flood.start()
    while flood.is_alive():
        most = max(most, metric(slow, "writ_device_queue"))
        time.sleep(0.1)
    assert 0 < most <= 2 * 48 + IN_HAND
    assert {a[1] for a in flood.answers} == {503} and max(a[0] for a in flood.answers) < 14, flood.answers[0]
    assert all("\r\nretry-after: " in head.lower() for _, _, head, _ in flood.answers)
    wait_for("a time beyond the bounds", lambda: metric(slow, leaf % "+Inf") - metric(slow, leaf % "2.000") > beyond, 10)
    slow.order.clear()
    wait_for("a leaf again", lambda: slow.leaf(task, bot).status == 201, 20)
    assert threads(slow) == before
