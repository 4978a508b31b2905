"""A state directory, or a device, that is older than the other: refused at the start, with a message that says why. A crash at any point is not.

The newest state directory goes with the device's counter; what is copied and restored here is what an operator, or somebody else, would copy.
"""
import json
import mmap
import os
import re
import shutil
import struct
import subprocess

import pytest
from cryptography import x509

import journal
from house import House, program, wait_for

pytestmark = pytest.mark.waits

RESTORE_STAGES = ["restore:revoked", "restore:listed"]
STAGES = ["state:meant", "state:raised", "device:raise"]


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


def deviced(house):
    """writ-deviced alone, as writd starts it."""
    if house.custody == "swtpm":
        device = ["--tpm", f"swtpm:path={house.path('tpm/sock')}", "--allow-software-tpm", "--auth-file", house.path("tpm-auth")]
    else:
        module = re.search(r"module: ([^,]+),", house.configuration()).group(1)
        device = ["--pkcs11", module, "--uri", "pkcs11:token=writ-test;manufacturer=SoftHSM%20project", "--pin-file", house.path("pin"), "--env",
                  f"SOFTHSM2_CONF={house.path('softhsm2.conf')}"]
    os.makedirs(house.path("run"), exist_ok=True)
    return subprocess.Popen([program("writ-deviced"), "--socket", house.path("run/device.sock"), "--peer-uid", str(os.geteuid()), "--log-level", "alarm", *device])


def files(house):
    return {os.path.join(folder, name) for folder, _, names in os.walk(house.path("state")) for name in names}


def refused(house, *words):
    """A start of the signer, and what it says; nothing is written or removed."""
    before, there = len(journal.read(house.path("state/journal"))), files(house)
    device = deviced(house)
    try:
        wait_for("writ-deviced", lambda: os.path.exists(house.path("run/device.sock")))
        ended = subprocess.run([program("writ-signerd"), "--config", house.path("writ.yaml")], capture_output=True, text=True, timeout=30, check=False)
    finally:
        device.terminate()
        device.wait()
    [error] = [e for e in map(json.loads, filter(lambda line: line.startswith("{"), ended.stderr.split("\n"))) if e["event"] == "signer.ended"]
    assert ended.returncode == 1, ended.stderr
    for word in words:
        assert word in error["error"], error
    assert error["code"] in ("LOCKED", "INVALID"), error
    assert len(journal.read(house.path("state/journal"))) == before and files(house) == there
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
            "Bring the newest state back", "writ restore --accept-loss")
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


def wrapped(house):
    folder = house.path("state/keys")
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(".wrapped")]


# magic, version, key id, notAfter, number: 48 bytes; the device's blob with its length; 48 of the key
@pytest.mark.parametrize("where, at", [("the header", 12), ("the number", 47), ("the device's blob", 400), ("the wrapped key", -1)])
def test_a_damaged_key_file_is_refused(house, where, at):
    if house.custody == "softhsm":
        pytest.skip("the same reader, once")
    [path] = wrapped(house)
    good = open(path, "rb").read()
    bad = bytearray(good)
    bad[at] ^= 1
    write(path, bad)
    error = refused(house, path)
    assert "PRIVATE" not in error
    write(path, good)


def write(path, data):
    with open(path, "r+b") as f:
        f.truncate(0)
        f.write(data)


def test_a_cut_key_file_and_one_of_nothing_are_refused(house):
    if house.custody == "softhsm":
        pytest.skip("the same reader, once")
    [path] = wrapped(house)
    good = open(path, "rb").read()
    for length in (0, 60, len(good) - 1):
        write(path, good[:length])
        refused(house, path)
    write(path, good)


def test_key_files_that_changed_places_are_refused(house):
    """Whole, or one's sealed object in the other's file, with the header that belongs there."""
    if house.custody == "softhsm":
        pytest.skip("the same reader, once")
    house.start()
    house.run("key", "rotate", "--config", house.path("writ.yaml"))
    house.stop()
    one, two = wrapped(house)
    a, b = (open(path, "rb").read() for path in (one, two))
    write(one, b)
    write(two, a)
    refused(house, "is not the key of that certificate")
    write(one, a[:48] + b[48:])
    write(two, b)
    refused(house, one)
    write(one, a)


def test_another_ca_s_anchor_key_is_refused(house):
    """Its reference instead of ours: it names another device; in the same one the pinned public key would say so (tests/contract/custody.c)."""
    if house.custody == "softhsm":
        pytest.skip("the same reader, once")
    other = House(house.custody)
    try:
        other.init()
        ours = open(house.path("state/keys/anchor.ref"), "rb").read()
        write(house.path("state/keys/anchor.ref"), open(other.path("state/keys/anchor.ref"), "rb").read())
        refused(house, "it was made under another storage root key")
        write(house.path("state/keys/anchor.ref"), ours)
    finally:
        other.close()


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


def test_what_no_newer_copy_knows_is_given_up_deliberately(house):
    """Its CAs are revoked, what was sealed for them and after them is destroyed; then it starts, and issues below the same anchor."""
    if house.custody == "softhsm":
        pytest.skip("the same code, once")
    copies = Copies(house)
    refusal = house.run("restore", "--accept-loss", "--config", house.path("writ.yaml"), check=False)
    assert refusal.returncode != 0 and "this state is no older than the device, there is nothing to give up" in refusal.stderr, refusal.stderr
    house.start()
    lost = house.agent_with_leaf("lost")
    running = house.run("restore", "--accept-loss", "--config", house.path("writ.yaml"), check=False)
    assert running.returncode != 0 and "is running: stop it first" in running.stderr, running.stderr
    assert house.healthy()
    house.stop()
    shutil.rmtree(house.path("state-of-now"), ignore_errors=True)
    copies.take("state", "state-of-now")
    copies.bring("state", "state-of-init")
    old_keys = wrapped(house)
    kept = {path: open(path, "rb").read() for path in old_keys}
    said = ""
    for stage in RESTORE_STAGES:  # killed half-way it is given again
        cut = house.run("restore", "--accept-loss", "--config", house.path("writ.yaml"), check=False, env=dict(os.environ, WRIT_FAULT=stage + ":1"))
        assert "was ended by signal 9" in cut.stderr, cut.stderr
        said += cut.stdout
    refused(house, "is not the newest")
    said += house.run("restore", "--accept-loss", "--config", house.path("writ.yaml")).stdout
    for line in ("revoked: 1 issuing CAs of this state", "destroyed: what the device sealed under numbers up to", "accepted: what was issued after this copy"):
        assert line in said, said
    assert not wrapped(house), "files of destroyed keys are gone"
    for path, data in kept.items():  # and a copy of one that is brought back is worth nothing
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as f:
            f.write(data)
        shutil.copy(house.path("state-of-init/certs/" + os.path.basename(path)[:40] + ".der"), house.path("state/certs"))
    house.start()
    assert not any(map(os.path.exists, kept))
    new = house.agent_with_leaf("new")
    assert house.ocsp(new) == "GOOD"
    ca = house.issuing_of(new)
    listed = x509.load_der_x509_crl(house.get("/crl/" + os.path.basename(
        ca.extensions.get_extension_for_class(x509.CRLDistributionPoints).value[0].full_name[0].value)))
    old = x509.load_der_x509_certificate(open(house.path("state-of-init/certs/" + os.path.basename(old_keys[0])[:40] + ".der"), "rb").read())
    assert [e.serial_number for e in listed] == [old.serial_number]
    assert house.ocsp(lost) == "UNAUTHORIZED", "what is unknown is not answered"
    house.stop()
    entries = journal.read(house.path("state/journal"))
    asked = [e for e in entries if e.type == "admin" and e.json["did"] == "accept-loss"]
    assert len(asked) == 3 and {e.json["by_uid"] for e in asked} == {os.geteuid()}
