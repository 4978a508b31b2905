"""A state directory, or a device, that is older than the other: refused at the start, with a message that says why. A crash at any point is not.

The newest state directory goes with the device's counter; what is copied and restored here is what an operator, or somebody else, would copy.
"""
import json
import mmap
import os
import shutil
import signal
import struct
import subprocess

import pytest

import journal
from house import House, wait_for

pytestmark = pytest.mark.waits

STAGES = ["state:meant", "state:raised", "device:raise"]


def events(house, name):
    with open(house.path("writd.log"), encoding="utf-8", errors="replace") as f:
        return [json.loads(line) for line in f if line.startswith("{") and f'"{name}"' in line]


def device_stopped(house):
    if house.device:
        house.device.kill()
        house.device.wait()
    for name in ("tpm/sock", "tpm/sock.ctrl"):
        if os.path.exists(house.path(name)):
            os.unlink(house.path(name))


def memory(house):
    """Where the device keeps what it remembers."""
    return "tpm" if house.custody == "swtpm" else "tokens"


def copied(folder, name):
    subprocess.run(["cp", "-a", "--sparse=always", folder, name], check=True)  # the journal is preallocated: most of it is zeros


class Copies:
    """Of folders of a house that is stopped."""

    def __init__(self, house):
        self.house = house

    def take(self, folder, name):
        copied(self.house.path(folder), self.house.path(name))

    def bring(self, folder, name):
        house = self.house
        if folder == "tpm":
            device_stopped(house)
        shutil.rmtree(house.path(folder))
        copied(house.path(name), house.path(folder))
        if folder == "tpm":
            house.start_device()

    def device_take(self, name):
        if self.house.custody == "swtpm":
            device_stopped(self.house)
        self.take(memory(self.house), name)
        if self.house.custody == "swtpm":
            self.house.start_device()


def counted(house):
    return [(e.number, e.reason == 1) for e in journal.read(house.path("state/journal")) if e.type == "state"]


def refused(house, *words):
    """A start, and what the signer says of it; nothing is served, and nothing is written."""
    before = len(journal.read(house.path("state/journal")))
    told = len(events(house, "signer.ended"))
    house.start(wait=False)
    wait_for("the signer refuses to start", lambda: len(events(house, "signer.ended")) > told)
    house.stop()
    error = events(house, "signer.ended")[-1]
    for word in words:
        assert word in error["error"], error
    assert error["code"] == "LOCKED"
    assert len(journal.read(house.path("state/journal"))) == before
    return error["error"]


@pytest.fixture(scope="module", params=["swtpm", "softhsm"])
def house(request):
    h = House(request.param)
    h.init()
    yield h
    h.close()


def test_each_start_and_each_generation_is_counted(house):
    Copies(house).take("state", "state-of-init")
    Copies(house).device_take("device-of-init")
    assert [reached for _, reached in counted(house)] == [False, True], "the first generation"
    house.start()
    house.agent_with_leaf("counted")
    house.stop()
    values = counted(house)
    assert [v for v, _ in values] == [values[0][0]] * 2 + [values[0][0] + 1] * 2
    assert values[-1][1]


def test_an_older_state_directory_is_refused(house):
    copies, values = Copies(house), counted(house)
    copies.take("state", "state-of-now")
    copies.bring("state", "state-of-init")
    refused(house, "is not the newest", f"its journal ends at {values[0][0]}, and the device's counter 'state' is at {values[-1][0]}",
            "Bring the newest state back")
    copies.bring("state", "state-of-now")


def test_an_older_device_is_refused(house):
    copies, values = Copies(house), counted(house)
    copies.device_take("device-of-now")
    copies.bring(memory(house), "device-of-init")
    refused(house, f"the device's counter 'state' is at {values[0][0]}", f"has reached {values[-1][0]}", "in an old copy destroyed keys live again")
    copies.bring(memory(house), "device-of-now")
    shutil.rmtree(house.path("device-of-now"))


def test_another_device_is_refused(house):
    if house.custody == "softhsm":
        pytest.skip("a token is found by its serial, or not at all")
    Copies(house).device_take("device-of-now")
    device_stopped(house)
    shutil.rmtree(house.path("tpm"))
    house.start_device()
    refused(house, "it was made under another storage root key: it belongs to another TPM, or this one was cleared")
    Copies(house).bring("tpm", "device-of-now")


def test_a_crash_between_journal_and_counter_locks_nobody_out(house):
    """The process dies before and after the raise, or writ-deviced before it: the next start makes it good."""
    if house.custody == "softhsm":
        pytest.skip("the same code, once")
    with open(house.path("fault"), "w+b") as f:
        f.write(bytes(64))
        f.flush()
        os.chmod(house.path("fault"), 0o666)
        order = mmap.mmap(f.fileno(), 64)
    first = counted(house)[-1][0]
    for stage in STAGES:
        order[:56] = stage.encode().ljust(56, b"\0")
        struct.pack_into("<Q", order, 56, 1)
        house.start(env={"WRIT_FAULT": "@" + house.path("fault")})
        assert struct.unpack_from("<Q", order, 56)[0] == 0, f"nobody passed {stage}"
        house.stop()
    values = counted(house)
    assert values[-1][1] and values[-1][0] >= first + len(STAGES)
    meant = [v for v, reached in values if not reached]
    assert meant == list(range(meant[0], values[-1][0] + 1)), "each value is meant once, without gaps"
    reached = [v for v, was in values if was]
    assert reached == sorted(set(reached)), "and reached once"
