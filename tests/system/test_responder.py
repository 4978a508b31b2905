"""The responder role: a process without a key, which follows an issuer's feed of status and answers for it.

What the feed says and to whom is read here by a reader of its own; what responders answer, by OpenSSL and Python.
"""
import calendar
import hashlib
import struct
import threading
import time

import pytest

from house import House

RECORD, END = 21, 1 << 52
NO_EPOCH = "00" * 16


class Page:
    """deploy/api/v1.yaml, /v1/status/changes."""

    def __init__(self, body):
        magic, self.kind, zero, self.epoch, self.start, self.next, self.newest, self.documents, self.time_ms, n = struct.unpack(">4sB3s16sQQQQqI", body[:68])
        assert magic == b"WRF1" and zero == bytes(3) and len(body) == 68 + n * RECORD
        self.epoch = self.epoch.hex()
        self.records = []
        for i in range(n):
            serial, state, life = struct.unpack(">16sBI", body[68 + i * RECORD:68 + (i + 1) * RECORD])
            self.records.append((serial.hex(), {1: "good", 2: "revoked"}[state], int.from_bytes(serial[:4], "big") * 60 + life))


@pytest.fixture(scope="module")
def scene():
    house = House("swtpm")
    try:
        house.certify("responder-1")
        house.certify("responder-2")
        house.init()
        house.start()
        yield house
    finally:
        house.close()


def changes(client, epoch, start, wait_ms=0):
    answer = client.ask("GET", f"/v1/status/changes?epoch={epoch}&from={start}&wait_ms={wait_ms}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/octet-stream"), answer
    return Page(answer.body)


def table(client, epoch):
    """Everything in it, page by page."""
    at, found = 0, {}
    while at != END:
        page = Page(client.ask("GET", f"/v1/status/table?epoch={epoch}&at={at}").body)
        assert page.kind == 3 and page.start == at and page.next > at
        at = page.next
        found.update({serial: (state, until) for serial, state, until in page.records})
    return found


# ---- the feed, as an issuer gives it ----

def ends(agent):
    return calendar.timegm(agent.cert.not_valid_after.timetuple())


def test_who_follows_reads_the_table_and_then_each_change_in_order(scene):
    client = scene.person("responder-1")
    before = scene.agent_with_leaf("before")
    begin = changes(client, NO_EPOCH, 0)
    assert begin.kind == 2 and begin.next == begin.newest and not begin.records
    assert abs(begin.time_ms / 1000 - time.time()) < 5
    assert table(client, begin.epoch)[before.serial] == ("good", ends(before))
    after = scene.agent_with_leaf("after")
    assert scene.person("olga").ask("POST", "/v1/revocations", {"serial": before.serial}).status == 200
    page = changes(client, begin.epoch, begin.next)
    assert page.kind == 1 and page.next == page.newest == begin.next + 2
    assert page.records == [(after.serial, "good", ends(after)), (before.serial, "revoked", ends(before))]
    assert table(client, begin.epoch)[before.serial] == ("revoked", ends(before))
    assert changes(client, begin.epoch, page.next).records == []
    for epoch, start in ((NO_EPOCH, page.next), (begin.epoch, page.next + 1)):  # another life's numbers, and the future's
        assert changes(client, epoch, start).kind == 2


def test_a_question_waits_for_a_change_and_is_answered_when_there_is_one(scene):
    client = scene.person("responder-1")
    begin = changes(client, NO_EPOCH, 0)
    asked = time.monotonic()
    quiet = changes(client, begin.epoch, begin.next, 300)
    assert quiet.kind == 1 and not quiet.records and quiet.next == begin.next and time.monotonic() - asked >= 0.3
    agent = scene.agent_with_leaf("waited-for")
    start = changes(client, begin.epoch, begin.next).next
    found = []
    waits = threading.Thread(target=lambda: found.append(changes(client, begin.epoch, start, 2000)))
    waits.start()
    assert scene.person("olga").ask("POST", "/v1/revocations", {"serial": agent.serial}).status == 200
    waits.join(30)
    assert [(serial, state) for serial, state, _ in found[0].records] == [(agent.serial, "revoked")]


def test_the_documents_are_listed_as_they_are_served(scene):
    answer = scene.person("responder-2").ask("GET", "/v1/status/documents")
    listed = {line.split(" ")[6]: line.split(" ") for line in answer.body.decode().splitlines()}
    assert {"/ca/anchor.cer", "/ca/issuing.pem"} < set(listed) and any(path.startswith("/crl/") for path in listed)
    for path in ("/ca/anchor.cer", "/ca/issuing.pem"):
        body = scene.get(path)
        assert listed[path][:2] == [hashlib.sha256(body).hexdigest(), str(len(body))]


@pytest.mark.parametrize("who, status", [("nobody", 401), ("alice", 403), ("olga", 403), ("ada", 403), ("an agent", 403)])
def test_the_feed_is_for_responders_alone(scene, who, status):
    client = scene.nobody() if who == "nobody" else scene.agent_with_leaf("curious").client() if who == "an agent" else scene.person(who)
    for path in ("/v1/status/changes?epoch=" + NO_EPOCH + "&from=0", "/v1/status/table?epoch=" + NO_EPOCH + "&at=0", "/v1/status/documents"):
        answer = client.ask("GET", path)
        assert answer.status == status, answer
        assert status == 401 or (answer.json["rule"], answer.json["limit"]) == ("responder", "principals with the responder role"), answer


def test_a_responder_may_do_nothing_else(scene):
    client = scene.person("responder-1")
    for method, path in (("GET", "/v1/log/entries"), ("GET", "/v1/freezes"), ("GET", "/v1/policy"), ("POST", "/v1/policy/reload")):
        assert client.ask(method, path).status == 403, (method, path)
