"""Generations of issuing keys: under load, across a restart, with the device away, and to their end - by time lived through, never by a clock.

A few generations here; tests/rotation has a hundred of them, one a second (WRIT_GENERATIONS).
"""
import json
import mmap
import os
import struct
import time
import urllib.error

import pytest

import house as houses
from house import House, wait_for
from rotation import (Load, by_generation, issuing, java_accepts, key_entries, keys, published, revoke, rotate, statuses_hold)
from test_faults import tpm_again, tpm_killed
from test_time_and_room import SANITIZED, Clock

pytestmark = pytest.mark.waits

GENERATIONS = int(os.environ.get("WRIT_GENERATIONS", "8"))


def events(house, name):
    with open(house.path("writd.log"), encoding="utf-8", errors="replace") as f:
        return [json.loads(line) for line in f if line.startswith("{") and f'"{name}"' in line]


def test_without_its_device_issuing_ends_with_the_generation_and_begins_again_with_the_next():
    house = House("swtpm")
    try:
        with open(house.path("writ.yaml"), encoding="utf-8") as f:
            text = f.read()
        with open(house.path("writ.yaml"), "w", encoding="utf-8") as f:
            f.write(text.replace("  anchor: device\n", "  anchor: device\n  rotation_s: 10\n"))
        house.init()
        house.start()
        with Load(house, threads=1, pause_s=0.2) as load:
            first = issuing(house)["number"]
            wait_for("a rotation that comes by itself", lambda: issuing(house)["number"] > first, 30)
        assert not load.all("wrong"), load.all("wrong")[:3]
        bot, other = house.agent_with_leaf("before"), house.agent_with_leaf("other")
        tpm_killed(house)
        last = keys(house)[0]["number"]
        wait_for("the alarm", lambda: events(house, "signer.rotation-late"), 30)
        assert house.leaf(bot.task, bot).status == 201, "the alarm comes before the end"
        refused = wait_for("the end", lambda: (lambda a: a if a.status == 503 else None)(house.leaf(bot.task, bot)), 30)
        assert "ended signing" in refused.json["detail"] and refused.headers["Retry-After"], refused
        assert house.ocsp(bot) == "GOOD"
        assert house.crl(bot).is_signature_valid(house.issuing_of(bot).public_key())
        assert house.person("olga").ask("POST", "/v1/revocations", {"serial": bot.serial}).status == 200
        assert house.ocsp(bot) == "REVOKED"
        tpm_again(house)
        wait_for("a leaf again", lambda: house.leaf(other.task, other).status == 201, 20)
        assert issuing(house)["number"] > last
        assert not events(house, "writd.stays_down")
    finally:
        house.close()


class Rig:
    """A house whose signer can be killed at a stage and whose clocks can be moved, and what its clients received."""

    def __init__(self, path):
        self.patch = pytest.MonkeyPatch()
        self.clocks = None
        if not SANITIZED:  # a sanitizer wants to be loaded before the clocks' shim
            self.clocks = Clock(path, ("writ-signerd",))
            self.patch.setattr(houses, "BUILD", self.clocks.build)
        self.house, self.leaves, self.revoked = House("swtpm"), [], []
        order_file = self.house.path("fault")
        with open(order_file, "w+b") as f:
            f.write(bytes(64))
            f.flush()
            self.order = mmap.mmap(f.fileno(), 64)
        self.environment = {"WRIT_FAULT": "@" + order_file}
        self.house.init()
        self.house.start(env=self.environment)

    def arm(self, stage):
        """struct fault_order (base/fault.h): the stage, then how many passes are left."""
        self.order[:56] = stage.encode().ljust(56, b"\0")
        struct.pack_into("<Q", self.order, 56, 1)

    def close(self):
        self.house.close()
        self.patch.undo()


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    made = Rig(str(tmp_path_factory.mktemp("rotation")))
    yield made
    made.close()


def test_no_request_fails_under_load_while_generations_rotate(rig):
    """The issuer issues with each of them: the next rotation waits until it has followed."""
    house, began = rig.house, time.monotonic()
    with Load(house) as load:
        wait_for("leaves of the first one", lambda: load.all("leaves"), 20)
        for _ in range(GENERATIONS):
            rotate(house)
            key = issuing(house)["key"]
            wait_for("the issuer follows", lambda: key in {leaf.generation for leaf in load.all("leaves")[-20:]}, 20)  # pylint: disable=cell-var-from-loop
    assert not load.all("wrong"), load.all("wrong")[:5]
    rig.leaves = load.all("leaves")
    generations = by_generation(rig.leaves)
    assert len(generations) == GENERATIONS + 1
    for event in ("serve.signer_lost", "signer.issuer-gone"):
        assert not events(house, event), "no connection is cut"
    listed = keys(house)
    assert [key["number"] for key in listed] == list(range(GENERATIONS + 1, 0, -1)) and listed[0]["role"] == "issuing"
    assert published(house) == [key["key"] for key in listed]
    assert [entry["number"] for entry in key_entries(house, "switched")] == list(range(1, GENERATIONS + 2))
    names = {some[0].issuing.subject.public_bytes() for some in generations.values()}
    assert len(names) == len(generations), "each has a name of its own"
    print(f"{GENERATIONS} rotations in {time.monotonic() - began:.1f} s: {load.asked} requests, {len(load.all('wrong'))} failed, "
          f"{len(rig.leaves)} leaves, the slowest request {1000 * load.worst_s:.0f} ms")

    # A revocation comes late: for generations that were replaced long ago too.
    order = [key["key"] for key in listed]
    for at in (-1, len(order) // 2, 0):
        rig.revoked += revoke(house, generations[order[at]][0], rig.leaves)
    statuses_hold(house, rig.leaves, rig.revoked)
    print("%d chains accepted by Java in both ways, %d refused as revoked" % java_accepts(house, rig.leaves, rig.revoked))


def test_a_restart_finds_every_generation_and_the_one_that_issued(rig):
    house, before = rig.house, keys(rig.house)
    house.stop()
    house.start(env=rig.environment)
    assert keys(house) == before
    wait_for("certificates of the OCSP key", lambda: house.ocsp(house.agent_with_leaf("again")) == "GOOD")
    statuses_hold(house, rig.leaves, rig.revoked)


def test_a_clock_set_forward_destroys_nothing_and_time_lived_through_does(rig):
    if not rig.clocks:
        pytest.skip("a sanitizer wants to be loaded before the clocks' shim")
    house, before = rig.house, keys(rig.house)
    folder = os.listdir(house.path("state/keys"))
    signer = house.pids("writ-signerd")
    rig.clocks.set(3 * 86400)
    wait_for("the alarm", lambda: [e for e in events(house, "signer.clock") if not e["right"]])
    time.sleep(2.5)
    assert keys(house) == before and os.listdir(house.path("state/keys")) == folder
    rig.clocks.set(0)
    wait_for("a right clock", lambda: events(house, "signer.clock")[-1]["right"])
    assert keys(house) == before

    tpm_killed(house)
    wait_for("a device that is away", lambda: events(house, "device.down"))
    rig.clocks.set(1300, 1300)
    time.sleep(2.5)
    assert keys(house) == before, "destruction waits for the device"
    if len(before) > 1:  # the last of a run of kills: between what the device forgets and what the journal says
        rig.arm("rotate:destroyed")
    tpm_again(house)
    wait_for("the kill", lambda: house.pids("writ-signerd") not in ([], signer), 20)
    wait_for("the signer again", lambda: house.run("key", "list", "--config", house.path("writ.yaml"), check=False).returncode == 0, 20)
    assert [key["key"] for key in keys(house)] == [before[0]["key"]]
    assert sorted(e["number"] for e in key_entries(house, "destroyed")) == sorted(key["number"] for key in before[1:])
    left = [name for name in os.listdir(house.path("state/keys")) if name.endswith(".wrapped")]
    assert left == [before[0]["key"] + ".wrapped"] and len(os.listdir(house.path("state/certs"))) <= 3
    wait_for("the published certificates", lambda: published(house) == [before[0]["key"]])
    for path in (f"/ca/{before[1]['key']}.cer", f"/crl/{before[1]['key']}.crl"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            house.get(path)
        assert refused.value.code == 404
    assert house.get(f"/ca/{before[0]['key']}.cer")
