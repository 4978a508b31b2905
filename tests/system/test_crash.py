"""kill -9 of each process, at every step of an issuance and of a revocation, under load; and state that is older than it should be, or damaged.

One house serves many rounds.  A round orders a fault at one stage of one process (base/fault.h), lets eight clients work until it struck and the house is
well again, then stops them and asks every independent reader.  WRIT_CRASH_ROUNDS says how many rounds a process gets.
"""
import mmap
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import time

import pytest

import journal
import test_key_revoke
import test_rollback
from house import ROOT, House, wait_for
from invariants import Witness
from load import Load

pytestmark = pytest.mark.waits

ROUNDS = int(os.environ.get("WRIT_CRASH_ROUNDS", "11"))
SETTLED_IN_S = 2.3  # writd gives a role up after three crashes each within 2 s of its start,
STRIKES_A_START = 4  # and waits longer each time, up to 5 s, unless the role lived for 10 s: a new writd begins at 0.1 s again

STAGES = {
    "writ-issuerd": ["issue:decided", "issue:signed", "issue:stored", "issue:before-answer", "store:begin", "store:cascade", "store:before-commit", "store:after-commit",
                     "revoke:stored", "revoke:signer", "revoke:before-answer"],
    "writ-signerd": ["signer:gate", "signer:journalled", "signer:signed", "signer:answered", "signer:revoked", "journal:before-sync", "journal:after-sync"],
    "writ-deviced": ["device:sign", "device:signed"],
}
ELSEWHERE = {"rotate:key-made", "rotate:certified", "rotate:switched", "rotate:destroyed",  # tests/contract/signer.c, test_rotation.py
             "snapshot:written", "snapshot:named"}  # test_growth.py


def test_every_fault_point_of_the_tree_is_struck_here():
    found = set()
    for folder in ("base", "hsm", "policy", "issuer"):
        out = subprocess.run(["grep", "-rhoE", "--include=*.c", 'FAULT\\("[^"]+"\\)', os.path.join(ROOT, folder)], capture_output=True, text=True, check=False)
        found |= set(re.findall('"([^"]+)"', out.stdout))
    assert found == {stage for stages in STAGES.values() for stage in stages} | set(test_rollback.STAGES + test_rollback.RESTORE_STAGES) | set(test_key_revoke.STAGES) | ELSEWHERE


class Rig:
    """A house whose processes take orders to die, and the clients' memory of it."""

    def __init__(self, tier):
        self.house = House("swtpm", tier)
        self.order_file = self.house.path("fault")
        with open(self.order_file, "w+b") as f:
            f.write(bytes(64))
            f.flush()
            os.chmod(self.order_file, 0o666)
            self.order = mmap.mmap(f.fileno(), 64)
        self.house.init()
        self.start()
        self.witness, self.leaves, self.wrong, self.asked, self.away = Witness(self.house), [], [], 0, 0

    def start(self):
        self.house.start(env={"WRIT_FAULT": "@" + self.order_file})
        self.settled, self.strikes = time.monotonic(), 0

    def arm(self, stage, n):
        """struct fault_order: the stage, then how many passes are left."""
        self.order[:56] = stage.encode().ljust(56, b"\0")
        struct.pack_into("<Q", self.order, 56, n)

    def left(self):
        return struct.unpack_from("<Q", self.order, 56)[0]

    def pid(self, name):
        pids = self.house.pids(name)
        return pids[0] if len(pids) == 1 else None

    def strike(self, name, how):
        """Ends the process by how(pid), and waits until another one has its place and the house is well."""
        old = wait_for(f"{name} runs", lambda: self.pid(name))
        how(old)
        wait_for(f"{name} {old} has died", lambda: self.pid(name) not in (old, None), 20)
        self.settled = time.monotonic()
        self.house.wait_healthy()
        probe = time.monotonic() + 20
        while True:  # a health answer may be from before: an issuance is from after
            opened = None
            try:
                opened = self.house.agent_with_leaf("probe", lifetime_s=900)
            except (AssertionError, OSError):
                assert time.monotonic() < probe, "healthy, and nothing is issued\n" + self.house.log_tail()
                time.sleep(0.1)
            if opened:
                return

    def round(self, name, how, seed):
        if self.strikes == STRIKES_A_START:
            self.house.stop()
            self.start()
        self.strikes += 1
        time.sleep(max(0, self.settled + SETTLED_IN_S - time.monotonic()))
        with Load(self.house, seed=seed) as load:
            time.sleep(0.3)
            self.strike(name, how)
            time.sleep(0.3)
            wait_for("a leaf that the load received", lambda: load.leaves, 20)  # on a busy machine all of it may have been struck
        self.leaves += load.leaves
        self.asked += sum(worker.asked for worker in load.workers)
        self.away += sum(worker.away for worker in load.workers)
        assert not load.wrong, load.wrong[:5]

    def close(self):
        self.house.close()


@pytest.fixture(scope="module")
def sealed():
    rig = Rig("sealed")
    yield rig
    rig.close()


@pytest.fixture(scope="module")
def resident():
    rig = Rig("resident")
    yield rig
    rig.close()


def orders(rig, name):
    """One order a round: stages in turn, at a random pass, each time another."""
    for n in range(ROUNDS):
        stage = STAGES[name][n % len(STAGES[name])]
        passes = random.Random(n).randint(1, 4)

        def how(_, stage=stage, passes=passes):
            rig.arm(stage, passes)
            wait_for(f"a pass of {stage}", lambda: rig.left() == 0, 20)
        yield n, stage, how


def crash_rounds(rig, name):
    for n, stage, how in orders(rig, name):
        try:
            rig.round(name, how, seed=n)
            rig.witness.check(rig.leaves)
        except AssertionError as e:
            raise AssertionError(f"round {n}, {name} killed at {stage}: {e}\n{rig.house.log_tail(3000)}") from e
    told(rig, name, rig.witness.check(rig.leaves, everything=True))


def told(rig, name, seen):
    """What the rounds were worth: pytest -rP shows it."""
    entries, rows = seen
    types = {t: sum(e.type == t for e in entries) for t in ("issue", "abort", "revoke", "recover", "start")}
    fates = {f: sum(leaf.fate == f for leaf in rig.leaves) for f in ("good", "maybe", "revoked")}
    print(f"{name}: {rig.asked} requests, {rig.away} without an answer; leaves received {fates}; entries {types}; rows {len(rows)}")


@pytest.mark.parametrize("name", ["writ-issuerd", "writ-signerd"])
def test_nothing_is_lost_or_released_too_early_whenever_a_process_dies(sealed, name):
    crash_rounds(sealed, name)


def test_nothing_is_lost_or_released_too_early_when_the_device_dies_while_it_signs(resident):
    crash_rounds(resident, "writ-deviced")
    resident.house.stop()
    resident.house.start()
    entries, rows = resident.witness.check(resident.leaves, everything=True)
    unsigned = {e.serial for e in entries if e.type == "abort"}
    assert unsigned and all(rows[serial].state == "ABORTED" for serial in unsigned), "what the device died over has its row after a start"


def test_a_kill_at_any_moment_of_any_process_loses_nothing(sealed):
    for n in range(max(3, ROUNDS // 5)):
        for name in STAGES:
            def how(pid, n=n):
                time.sleep(random.Random(n).random() / 2)
                os.kill(pid, signal.SIGKILL)
            sealed.round(name, how, seed=1000 + n)
            sealed.witness.check(sealed.leaves)
    told(sealed, "all three", sealed.witness.check(sealed.leaves, everything=True))


def test_a_restart_of_everything_keeps_every_status(sealed):
    sealed.house.stop()
    sealed.house.start()
    entries, rows = sealed.witness.check(sealed.leaves, everything=True)
    missing = [e for e in entries if e.type == "issue" and e.serial not in rows and e.not_after > time.time()]
    assert not missing, f"after a start every live entry has its row: {missing}"


# ---- state from another time ----

def issue_some(house, name, n=3):
    return [house.agent_with_leaf(f"{name}-{i}", lifetime_s=900) for i in range(n)]


def copy_of(house, what):
    shutil.rmtree(house.path("copy"), ignore_errors=True)
    shutil.copytree(house.path("state/" + what), house.path("copy"))


def restore(house, what):
    shutil.rmtree(house.path("state/" + what))
    shutil.copytree(house.path("copy"), house.path("state/" + what))


def refuses_to_start(house, pattern):
    """It does not become healthy, and says why; stopped again afterwards."""
    size = os.path.getsize(house.path("writd.log"))
    house.start(wait=False)

    def said():
        with open(house.path("writd.log"), "rb") as f:
            f.seek(size)
            return re.search(pattern, f.read().decode(errors="replace"))
    try:
        found = wait_for(f"the log says {pattern}", said, 20)
        time.sleep(1)
        try:
            assert not house.healthy()
        except AssertionError as e:
            assert "writd ended" in str(e), e
    finally:
        if house.writd.poll() is None:
            house.stop()
    return found


def test_an_older_copy_of_the_store_refuses_to_start(fresh):
    house = fresh()
    issue_some(house, "before")
    house.stop()
    copy_of(house, "store")
    house.start()
    after = issue_some(house, "after")
    house.stop()
    newest = house.path("newest")
    shutil.copytree(house.path("state/store"), newest)
    restore(house, "store")
    first = min(agent.issued["log"]["index"] for agent in after)
    found = refuses_to_start(house, r"the store is older than the journal: entry (\d+), certificate ([0-9a-f]{32}); restore the newest store")
    assert (found.group(2), int(found.group(1))) in {(a.serial, a.issued["log"]["index"]) for a in after} and int(found.group(1)) >= first
    shutil.rmtree(house.path("state/store"))
    shutil.copytree(newest, house.path("state/store"))
    house.start()
    assert {house.ocsp(agent) for agent in after} == {"GOOD"}, "the newest store serves again"


def test_a_store_from_before_a_revocation_refuses_to_start(fresh):
    house = fresh()
    agent, = issue_some(house, "taken", 1)
    house.stop()
    copy_of(house, "store")
    house.start()
    assert house.person("olga").ask("POST", "/v1/revocations", {"serial": agent.serial}).json["leaves"] == 1
    house.stop()
    restore(house, "store")
    found = refuses_to_start(house, r"the store is older than the journal: entry \d+, certificate ([0-9a-f]{32}); restore the newest store")
    assert found.group(1) == agent.serial


def test_an_older_copy_of_the_journal_refuses_to_start(fresh):
    house = fresh()
    issue_some(house, "before")
    house.stop()
    copy_of(house, "journal")
    house.start()
    issue_some(house, "after")
    house.stop()
    restore(house, "journal")
    refuses_to_start(house, "the state .* is not the newest: its journal ends at")


def test_a_journal_older_than_the_store_refuses_to_start_where_the_device_has_counted_nothing_since(fresh):
    house = fresh()
    issue_some(house, "before")
    copy_of(house, "journal")
    issue_some(house, "after")
    house.stop()
    restore(house, "journal")
    refuses_to_start(house, "certificate [0-9a-f]{32} is in the store and not in the journal: the journal is an older copy; restore the newest of both")


@pytest.mark.parametrize("where", ["length", "check", "text", "tbs"])
def test_a_flipped_byte_in_the_middle_of_the_journal_refuses_to_start(fresh, where):
    house = fresh()
    issue_some(house, "kept", 4)
    house.stop()
    folder = house.path("state/journal")
    entry = [e for e in journal.read(folder) if e.type == "issue"][1]
    at = entry.offset + {"length": 1, "check": 4 + 32, "text": 4 + journal.FIXED.size + 5, "tbs": 4 + journal.FIXED.size + len(entry.text) + 9}[where]
    path = os.path.join(folder, entry.segment)
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 0x10]))
    with pytest.raises(journal.Damaged):
        journal.read(folder)
    refuses_to_start(house, re.escape(f"{entry.segment}, offset {entry.offset} (entry {entry.index})"))
    with open(path, "r+b") as f:
        f.seek(at)
        f.write(bytes([byte]))
    house.start()
    issue_some(house, "mended", 1)


def test_a_torn_tail_is_cut_and_said_so(fresh):
    house = fresh()
    kept = issue_some(house, "kept")
    house.stop()
    folder = house.path("state/journal")
    last = journal.read(folder)[-1]
    length = len(last.text) + len(last.tbs) + journal.FIXED.size + 4
    with open(os.path.join(folder, last.segment), "r+b") as f:
        f.seek(last.offset + length // 2)
        f.write(bytes(length - length // 2))
    house.start()
    assert re.search(r'"signer.torn-tail-cut".*"entry":%d,' % last.index, house.log_tail(20000)), house.log_tail()
    entries = journal.read(folder, live=True)
    recover = [e for e in entries if e.type == "recover"]
    assert [(e.index, e.json["index"]) for e in recover] == [(last.index, last.index)] and 0 < recover[0].json["bytes"] <= length
    assert {house.ocsp(agent) for agent in kept} == {"GOOD"}
    issue_some(house, "next", 1)
