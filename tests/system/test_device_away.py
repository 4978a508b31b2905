"""The device dies or hangs under a running Writ, and comes back: what goes on meanwhile, what does not, and that nobody restarts anything."""
import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from house import program, wait_for

pytestmark = pytest.mark.waits

SPY = "/usr/lib/x86_64-linux-gnu/pkcs11-spy.so"


def deviced_stopped(house):
    os.kill(house.pids("writ-deviced")[0], signal.SIGSTOP)


def deviced_resumed(house):
    for pid in house.pids("writ-deviced"):
        os.kill(pid, signal.SIGCONT)


def deviced_killed(house):
    os.kill(house.pids("writ-deviced")[0], signal.SIGKILL)


def tpm_killed(house):
    house.device.kill()
    house.device.wait()


def tpm_again(house):
    for name in ("tpm/sock", "tpm/sock.ctrl"):
        if os.path.exists(house.path(name)):
            os.unlink(house.path(name))
    house.start_device()


def tpm_stopped(house):
    house.device.send_signal(signal.SIGSTOP)


def tpm_resumed(house):
    house.device.send_signal(signal.SIGCONT)


def nothing(house):
    del house


MISHAPS = {
    "writ-deviced killed": (deviced_killed, nothing),
    "writ-deviced stopped": (deviced_stopped, deviced_resumed),
    "the TPM killed": (tpm_killed, tpm_again),
    "the TPM stopped": (tpm_stopped, tpm_resumed),
}


@pytest.fixture(params=MISHAPS)
def mishap(request):
    return MISHAPS[request.param]


def events(house, name):
    with open(house.path("writd.log"), encoding="utf-8", errors="replace") as f:
        return [json.loads(line) for line in f if line.startswith("{") and f'"{name}"' in line]


def timed(ask):
    began = time.monotonic()
    return ask(), time.monotonic() - began


def test_the_sealed_tier_does_not_notice(fresh, mishap):
    away, back = mishap
    house = fresh("swtpm")
    bot = house.agent_with_leaf("before")
    writd = house.writd.pid
    away(house)
    until, n = time.monotonic() + 9, 0
    while time.monotonic() < until:
        n += 1
        leaf, took = timed(lambda: house.agent_with_leaf(f"during-{n}"))  # pylint: disable=cell-var-from-loop
        assert took < 2, f"a leaf took {took:.1f} s: the signer waits for the device"
        status, took = timed(lambda: house.ocsp(leaf))  # pylint: disable=cell-var-from-loop
        assert status == "GOOD" and took < 2
        time.sleep(0.3)
    assert house.person("olga").ask("POST", "/v1/revocations", {"serial": bot.serial, "reason": "superseded"}).status in (200, 201)
    assert house.ocsp(bot) == "REVOKED"
    wait_for("the list", lambda: house.crl(bot).get_revoked_certificate_by_serial_number(int(bot.serial, 16)), 10)
    back(house)
    house.agent_with_leaf("after")
    assert house.writd.poll() is None and house.writd.pid == writd
    assert not events(house, "writd.stays_down")


def test_the_resident_tier_says_so_and_recovers_by_itself(fresh, mishap):
    away, back = mishap
    house = fresh("swtpm", "resident")
    bot, other = house.agent_with_leaf("before"), house.agent_with_leaf("other")
    signers = house.pids("writ-signerd")
    away(house)
    if away is not deviced_killed:  # that one may be back at once
        for _ in range(3):
            refused, took = timed(lambda: house.leaf(bot.task, bot))
            assert refused.status == 503 and took < 8, (refused, took)
            assert refused.json["code"] == "UNAVAILABLE" and re.search("device|TPM", refused.json["detail"]), refused
            assert refused.headers["Retry-After"]
        assert house.ocsp(bot) == "GOOD"
        assert house.person("olga").ask("POST", "/v1/revocations", {"serial": other.serial, "reason": "superseded"}).status in (200, 201)
        assert house.ocsp(other) == "REVOKED"
        assert house.crl(bot).is_signature_valid(house.issuing_of(bot).public_key()), "the list made before stays"
    back(house)
    _, took = timed(lambda: wait_for("a leaf again", lambda: house.leaf(bot.task, bot).status == 201, 20))
    assert took < 5, f"{took:.1f} s"
    # A list is made each minute and after each revocation: the next one has what the device was away for.
    assert house.person("olga").ask("POST", "/v1/revocations", {"serial": bot.serial, "reason": "superseded"}).status in (200, 201)
    for leaf in (bot, other) if away is not deviced_killed else (bot,):
        wait_for("the list", lambda: house.crl(bot).get_revoked_certificate_by_serial_number(int(leaf.serial, 16)), 15)  # pylint: disable=cell-var-from-loop
    assert house.pids("writ-signerd") == signers, "the signer was not restarted"
    assert not events(house, "writd.stays_down")


def test_a_hung_device_ends_writ_deviced_at_its_deadline_and_that_is_no_crash(fresh):
    house = fresh("swtpm", "resident")
    bot = house.agent_with_leaf("before")
    tpm_stopped(house)
    try:
        assert house.leaf(bot.task, bot).status == 503
        ended = wait_for("writ-deviced's end", lambda: events(house, "writd.ended"), 10)
        assert ended[0]["role"] == "writ-deviced" or ended[0].get("program") == "writ-deviced", ended
        assert ended[0]["exit"] == 4 and ended[0]["deadline"] is True, ended
    finally:
        tpm_resumed(house)
    wait_for("a leaf again", lambda: house.leaf(bot.task, bot).status == 201, 5)


def supervised(house, exits):
    """writd over a writ-deviced that only ends with that status, and roles that only sleep; its log after 5 s."""
    folder = house.path(f"bin-{exits}")
    os.mkdir(folder)
    shutil.copy(program("writd"), folder)
    for name, text in (("writ-deviced", f"exit {exits}"), ("writ-signerd", "exec sleep 60"), ("writ-issuerd", "exec sleep 60")):
        with open(os.path.join(folder, name), "w", encoding="ascii") as f:
            f.write("#!/bin/sh\n" + text + "\n")
        os.chmod(os.path.join(folder, name), 0o755)
    writd = subprocess.Popen([os.path.join(folder, "writd"), "--config", house.path("writ.yaml")], stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE, text=True)
    time.sleep(3)
    writd.terminate()
    return writd.communicate(timeout=20)[1]


def test_a_device_that_ends_at_its_deadline_is_started_again_and_one_that_crashes_is_not(fresh):
    house = fresh("swtpm", start=False)
    deadlines, crashes = supervised(house, 4), supervised(house, 5)
    assert deadlines.count('"writd.ended"') > 5 and "writd.stays_down" not in deadlines
    assert crashes.count('"writd.ended"') == 3 and crashes.count("writd.stays_down") == 1


def test_a_wrong_pin_is_tried_once_and_not_again_by_a_restart(fresh):
    if not os.path.exists(SPY):
        pytest.skip("opensc's pkcs11-spy counts the logins")
    house = fresh("softhsm", start=False)
    with open(house.path("writ.yaml"), encoding="utf-8") as f:
        text = f.read()
    module = re.search(r"module: ([^,]+),", text).group(1)
    with open(house.path("writ.yaml"), "w", encoding="utf-8") as f:
        f.write(text.replace("module: " + module, "module: " + SPY).replace(
            "environment: [", f"environment: ['PKCS11SPY={module}', 'PKCS11SPY_OUTPUT={house.path('spy')}', "))
    with open(house.path("pin"), "w", encoding="ascii") as f:
        f.write("000000-wrong-pin\n")
    house.start(wait=False)
    try:
        wait_for("the alarm", lambda: "CKR_PIN_INCORRECT" in house.log_tail(100000), 20)
        deviced = house.pids("writ-deviced")
        time.sleep(8)  # time enough for a supervisor, a signer, or a back-off to try again
        with open(house.path("spy"), encoding="utf-8", errors="replace") as f:
            assert len(re.findall(r"^\d+: C_Login$", f.read(), re.M)) == 1
        assert house.pids("writ-deviced") == deviced and deviced, "it stays, so that no restart tries the PIN again (I12)"
        log = house.log_tail(100000)
        assert "LOCKED" in log and "000000-wrong-pin" not in log
    finally:
        house.stop()
