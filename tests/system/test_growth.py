"""What grows with use, and what must not: a start reads what is live and not what ever was; a cascade; prune.

The ordinary run grows a state of ten thousand.  tests/growth goes to a million and prints the table: WRIT_GROWTH_LIVE, WRIT_GROWTH_GONE, WRIT_GROWTH_TREE.
"""
import glob
import http.client
import os
import random
import shutil
import socket
import struct
import time

import pytest
from cryptography import x509

import journal
from growth import ROOMY, began_at, forget_snapshots, grown, rows, snapshots
from house import House, wait_for
from invariants import Status

pytestmark = pytest.mark.waits

LIVE = int(os.environ.get("WRIT_GROWTH_LIVE", "10000"))
TREE = int(os.environ.get("WRIT_GROWTH_TREE", "2000"))


def since(house, size):
    with open(house.path("writd.log"), "rb") as f:
        f.seek(size)
        return f.read().decode(errors="replace")


# ---- snapshots ----

class Past:
    """A house with something of everything behind it, and what each of its leaves must say for ever."""

    def __init__(self):
        self.house = House("swtpm", extra=ROOMY)
        try:
            self.live(self.house)
        except BaseException:
            self.house.close()
            raise

    def live(self, house):
        house.init()
        house.start()
        self.good = [house.agent_with_leaf(f"good-{i}", lifetime_s=900) for i in range(3)]
        taken = [house.agent_with_leaf(f"taken-{i}", lifetime_s=900) for i in range(2)]
        below = house.child_with_leaf(taken[0], "below")
        for agent in taken:
            assert house.person().ask("POST", "/v1/revocations", {"edge": agent.edge, "reason": "superseded"}).status == 200
        self.revoked = [*taken, below]
        house.stop()

    def check(self):
        """As before, by responder and list; and it issues."""
        assert [self.house.ocsp(agent) for agent in self.good + self.revoked] == ["GOOD"] * 3 + ["REVOKED"] * 3
        crl = wait_for("a list", lambda: self.house.crl(self.good[0]))
        assert {entry.serial_number for entry in crl} == {int(agent.serial, 16) for agent in self.revoked}
        self.number, before = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number, getattr(self, "number", 0)
        assert self.number >= before, "the number of a list never goes back"
        assert self.good[0].client().ask("POST", "/v1/renew").status == 201


@pytest.fixture(scope="module")
def past():
    made = Past()
    yield made
    made.house.close()


def test_an_orderly_end_leaves_a_snapshot_and_a_start_from_it_is_the_start_from_all_entries(past):
    house = past.house
    ends = int(os.path.basename(snapshots(house)[-1])[:16], 16)
    assert ends == len(journal.read(house.path("state/journal"))), "it speaks of all entries"
    house.start()
    assert began_at(house) == [ends, ends]
    past.check()
    house.stop()
    forget_snapshots(house)
    house.start()
    assert began_at(house) == [0, 0]
    past.check()
    house.stop()


def test_a_snapshot_that_is_not_whole_is_said_so_and_not_used(past):
    house = past.house
    for path in snapshots(house):
        with open(path, "r+b") as f:
            f.seek(os.path.getsize(path) // 2)
            byte = f.read(1)
            f.seek(-1, os.SEEK_CUR)
            f.write(bytes([byte[0] ^ 1]))
    size = os.path.getsize(house.path("writd.log"))
    house.start()
    assert began_at(house) == [0, 0]
    log = since(house, size)
    for event in ("signer.snapshot-not-used", "recovery.snapshot_not_used"):
        assert f'"{event}","code":"BROKEN","error":"a snapshot of the journal is not whole: its hash does not fit it"' in log, log
    past.check()
    house.stop()


@pytest.mark.parametrize("stage", ["snapshot:written", "snapshot:named"])
def test_a_signer_killed_while_it_takes_one_starts_as_ever(past, stage):
    house = past.house
    house.start(env={"WRIT_FAULT": stage + ":1"})
    past.check()
    for _ in range(8):
        assert past.good[1].client().ask("POST", "/v1/renew").status == 201
    before = snapshots(house)
    house.stop()
    assert (snapshots(house) != before) == (stage == "snapshot:named"), "it died where it was told to"
    house.start()
    past.check()
    house.stop()
    assert not os.path.exists(house.path("state/journal/snapshot.new"))


def test_a_snapshot_ahead_of_its_journal_helps_no_older_copy(past):
    house, newest = past.house, past.house.path("newest")
    shutil.copytree(house.path("state"), newest)
    old = {path: open(path, "rb").read() for path in glob.glob(house.path("state/journal/*.wj"))}
    house.start()
    for _ in range(8):
        assert past.good[1].client().ask("POST", "/v1/renew").status == 201
    house.stop()
    for path in old:
        with open(path, "wb") as f:
            f.write(old[path])
    size = os.path.getsize(house.path("writd.log"))
    house.start(wait=False)
    log = wait_for("it refuses", lambda: (text := since(house, size)) and "is not the newest" in text and text, 20)
    house.stop()
    assert '"signer.snapshot-not-used","code":"INVALID","error":"the journal ends at entry' in log, log


# ---- a state that was grown ----

@pytest.fixture(scope="module")
def big():
    house = grown(LIVE, tree=TREE)
    yield house
    house.close()


def shape(house, table, which):
    """Of each column of that row: its type, and the length of what is no number."""
    return [(type(value).__name__, len(value) if isinstance(value, (bytes, str)) else None) for value in rows(house, f"SELECT * FROM {table} WHERE {which}")[0]]


def test_what_was_grown_looks_like_what_came_in_by_the_front_door(big):
    """The pattern came in by the front door: its rows are each table's first."""
    for table, only in (("cert", "1"), ("cert_der", "1"), ("edge", "parent IS NULL"), ("edge_text", "1"), ("evidence", "kind = 'hop-grant'"), ("task", "1")):
        first, last = (shape(big, table, f"n = (SELECT {end}(n) FROM {table} WHERE {only})") for end in ("min", "max"))
        assert first == last, table
    entries = [e for e in journal.read(big.path("state/journal")) if e.type == "issue"]
    first, last = entries[0], entries[-1]
    assert len(entries) == len({e.serial for e in entries}) > LIVE and {e.serial for e in entries} == {row[0].hex() for row in rows(big, "SELECT serial FROM cert")}
    assert list(first.json) == list(last.json) and list(first.json["said"]) == list(last.json["said"])
    assert (len(first.tbs), first.key) == (len(last.tbs), last.key)


def test_a_grown_state_starts_and_answers(big):
    big.fault = big.path("fault")
    with open(big.fault, "wb") as f:
        f.write(bytes(64))
    os.chmod(big.fault, 0o666)
    big.start(env={"WRIT_FAULT": "@" + big.fault})
    agent = big.agent_with_leaf("asks", lifetime_s=900)
    status = Status(big, big.issuing_of(agent))
    sample = [row[0].hex() for row in rows(big, "SELECT serial FROM cert WHERE n > 1 AND state = 1")]
    assert {status.of(serial) for serial in random.Random(1).sample(sample, 200)} == {"GOOD"}


def struck(house, role, stage, passes):
    """Revokes the tree, and has that process killed on the way; the answer, or None."""
    old = house.pids(role)
    with open(house.fault, "r+b") as f:
        f.write(stage.encode().ljust(56, b"\0") + struct.pack("<Q", passes))
    try:
        alice = house.person()
        alice.connection.timeout = 60
        return alice.ask("POST", "/v1/revocations", {"edge": house.pattern.edge})
    except (OSError, http.client.HTTPException):
        return None
    finally:
        wait_for(f"{role} was killed at {stage} and lives again", lambda: house.pids(role) not in ([], old), 30)
        house.wait_healthy(60)


def states(house):
    return dict(rows(house, "SELECT cert.state, count(*) FROM cert JOIN edge ON edge.n = cert.edge JOIN task ON task.n = edge.task WHERE task.id = ? AND cert.not_after > ? GROUP BY 1",
                     house.pattern.task, int(time.time()) + 60))


def test_a_tree_of_it_is_revoked_whole_or_not_at_all_when_a_process_is_killed(big):
    assert struck(big, "writ-issuerd", "store:cascade", TREE // 2) is None
    was = states(big)
    assert list(was) == [1], f"killed half way through the transaction: untouched, and not {was}"
    struck(big, "writ-signerd", "signer:revoked", 1)
    is_now = states(big)
    assert is_now == {2: was[1]}, f"killed when it had the first of them: {is_now}, of {was}"
    agent = big.agent_with_leaf("looks", lifetime_s=900)
    status = Status(big, big.issuing_of(agent))
    taken = [row[0].hex() for row in rows(big, "SELECT serial FROM cert WHERE state = 2")]
    assert len(taken) > TREE
    assert {status.of(serial) for serial in random.Random(2).sample(taken, 200)} == {"REVOKED"}
    wait_for("the list has all of them", lambda: {f"{entry.serial_number:032x}" for entry in big.crl(agent)} >= set(taken), 30)
    journalled = [e.serial for e in journal.read(big.path("state/journal"), live=True) if e.type == "revoke" and not e.names_an_edge]
    assert sorted(journalled) == sorted(taken), "each once"


def test_who_reads_a_long_list_slowly_takes_nobody_down(big):
    """The issuer asks the kernel what such a reader has taken: it may."""
    before = big.pids("writ-issuerd")
    agent = big.agent_with_leaf("slow", lifetime_s=900)
    path = agent.cert.extensions.get_extension_for_class(x509.CRLDistributionPoints).value[0].full_name[0].value.split("/", 3)[3]
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        slow.connect(("127.0.0.1", big.status_port))
        slow.sendall(f"GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 99 + f"GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        time.sleep(1)
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)  # it has been slow for long enough
        got = b""
        while piece := slow.recv(65536):
            got += piece
    assert got.count(b"HTTP/1.1 200 OK\r\n") == 100 and len(got) > 100 * TREE * 35
    assert big.pids("writ-issuerd") == before, "it lives"
