"""The resident tier: every signature of a CA is made in the device, lists of revoked certificates included, and none elsewhere when it is slow."""
import base64
import json
import os
import signal
import threading
import time

import pytest

from burst import ask_all_at_once
from house import Agent, House, csr_der, wait_for


@pytest.fixture(scope="module", params=["swtpm", "softhsm"])
def resident(request):
    made = House(request.param, tier="resident")
    try:
        made.init()
        made.start()
        yield made
    finally:
        made.close()


def listed(house, agent, serials, seconds=30):
    """The list of the agent's CA, once it has all of these."""
    def there():
        crl = house.crl(agent)
        have = {entry.serial_number for entry in crl}
        return crl if serials <= have else None
    crl = wait_for(f"a list with {len(serials)} serials", there, seconds)
    assert crl.is_signature_valid(house.issuing_of(agent).public_key())
    return crl


def leaves(house, n, threads=4):
    """`n` leaves of one agent each 15, revoked by completing their tasks: (an agent, serials)."""
    each, serials, agents, wrong = 15, [], [], []

    def work(number, count):
        person, client = house.person(), house.nobody()
        agent = Agent(house, f"many-{n}-{number}")
        body = json.dumps({"csr": base64.b64encode(csr_der(agent.key)).decode(), "lifetime_s": 900})
        while count > 0:
            opened = house.open_task(agent, by=person)
            if opened.status != 201:
                wrong.append(opened)
                return
            for _ in range(min(each, count)):
                answer = client.ask("POST", f"/v1/tasks/{opened.json['task']}/leaves", body, {"Content-Type": "application/json"})
                if answer.status != 201:
                    wrong.append(answer)
                    return
                serials.append(int(answer.json["serial"], 16))
                agent.take(answer.json)
            count -= each
            ended = person.ask("POST", f"/v1/tasks/{opened.json['task']}/complete")
            if ended.status != 200:
                wrong.append(ended)
        agents.append(agent)

    workers = [threading.Thread(target=work, args=(i, n // threads)) for i in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong, wrong[:3]
    assert len(set(serials)) == n
    return agents[0], set(serials)


def test_no_issuing_key_is_in_a_file(resident):
    resident.agent_with_leaf("first")
    names = os.listdir(resident.path("state/keys"))
    assert any(name.endswith(".ref") and name != "anchor.ref" for name in names), names
    assert not any(name.endswith(".wrapped") for name in names), names


def test_a_leaf_is_issued_is_good_is_revoked_and_is_listed(resident):
    bot = resident.agent_with_leaf("walker")
    assert resident.ocsp(bot) == "GOOD"
    assert int(bot.serial, 16) not in {entry.serial_number for entry in resident.crl(bot)}
    revoked = resident.person("olga").ask("POST", "/v1/revocations", {"serial": bot.serial, "reason": "superseded"})
    assert revoked.status in (200, 201), revoked
    assert resident.ocsp(bot) == "REVOKED"
    listed(resident, bot, {int(bot.serial, 16)})


def test_a_list_of_600_is_longer_than_a_frame_and_is_signed_in_the_device(resident):
    agent, serials = leaves(resident, 600)
    crl = listed(resident, agent, serials)
    assert len(crl.tbs_certlist_bytes) > 16 * 1024
    assert resident.ocsp(agent) == "REVOKED"


def test_a_list_of_2000_is_signed_in_the_device(resident):
    if resident.custody == "swtpm":
        pytest.skip("a software TPM needs half a minute for 2,000 leaves; the token shows it")
    agent, serials = leaves(resident, 2000)
    crl = listed(resident, agent, serials)
    assert len(list(crl)) >= 2000 and len(crl.tbs_certlist_bytes) > 64 * 1024
    assert resident.ocsp(resident.agent_with_leaf("afterwards")) == "GOOD"


def test_beyond_its_bound_the_queue_for_the_device_is_answered_503_and_retry_after(fresh):
    """The device stands still, so nothing drains: 256 leaves at most wait for it, and no longer than 5 s; the others hear at once that they must try again."""
    house = fresh("swtpm", "resident", extra="threads: 6\n")
    bot = Agent(house, "busy")
    opened = house.open_task(bot)
    assert opened.status == 201, opened
    body = json.dumps({"csr": base64.b64encode(csr_der(bot.key)).decode(), "lifetime_s": 300}).encode()
    try:  # it stands still from when all are connected on, since that takes a busy machine longer than a device may be silent
        answers = ask_all_at_once(house, [body] * 330, [f"/v1/tasks/{opened.json['task']}/leaves"] * 330, lambda: house.device.send_signal(signal.SIGSTOP))
    finally:
        house.device.send_signal(signal.SIGCONT)
    assert {status for _, status, _, _ in answers} == {503}, answers[0]
    for _, _, head, text in answers:
        assert "\r\nretry-after: " in head.lower(), head
        assert json.loads(text)["code"] == "UNAVAILABLE"
    beyond = [seconds for seconds, _, _, text in answers if b"wait for the device already" in text or b"its turn did not come" in text or b"its turn would not come" in text]
    assert beyond and min(beyond) < 4, "the refusal of what is beyond the bound does not wait for the device"
    late = [text for _, _, _, text in answers if b"did not get round to this leaf within 5000 ms" in text]
    assert len(late) >= 50, (len(beyond), len(late), [text for _, _, _, text in answers if text not in late and b"already" not in text][:3])
    wait_for("a leaf again", lambda: house.leaf(opened.json["task"], bot).status == 201, 10)
    names = os.listdir(house.path("state/keys"))
    assert not any(name.endswith(".wrapped") for name in names), "a tier never falls back (I12)"


class Slow:
    """A TPM that works 5 ms in 300: as slow as many that are bought."""

    def __init__(self, device):
        self.device, self.stop = device, threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.stop.wait(0.005):
            self.device.send_signal(signal.SIGSTOP)
            self.stop.wait(0.3)
            self.device.send_signal(signal.SIGCONT)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        self.device.send_signal(signal.SIGCONT)


def test_a_slow_device_has_a_shorter_queue(fresh):
    """Nobody waits longer than 5 s for the device: who would wait for long is told at once to come again, and whoever did, then."""
    house = fresh("swtpm", "resident", extra="threads: 6\n")
    bots = [Agent(house, f"slow-{i}") for i in range(12)]
    tasks = [house.open_task(bot).json["task"] for bot in bots]
    bodies = [json.dumps({"csr": base64.b64encode(csr_der(bot.key)).decode(), "lifetime_s": 300}).encode() for bot in bots]
    with Slow(house.device):
        for _ in range(8):
            assert house.leaf(tasks[0], bots[0]).status == 201
        answers = ask_all_at_once(house, [bodies[1 + i % 11] for i in range(132)],
                                  [f"/v1/tasks/{tasks[1 + i % 11]}/leaves" for i in range(132)])
    refused = [a for a in answers if a[1] == 503]
    at_once = [a for a in refused if b"leaves wait for the device already" in a[3]]
    later = [a for a in refused if a not in at_once]
    assert all(b"did not get round to this leaf within 5000 ms" in a[3] or b"who asked less" in a[3] for a in later), later[:2]
    assert len(at_once) > 10 * len(later), (len(at_once), later[:2])
    assert any(b"over 4000 ms, try again" in a[3] for a in at_once)
    assert all("\r\nretry-after: " in a[2].lower() for a in refused) and all(a[0] < 3 for a in at_once)
    issued = [a for a in answers if a[1] == 201]
    assert len(issued) >= 8 and len(issued) + len(refused) == len(answers), {a[1] for a in answers}
    assert max(a[0] for a in issued) < 12


def test_the_key_that_issues_is_attested_with_the_anchor(resident):
    out = resident.path("statement")
    resident.run("custody", "attest", "--config", resident.path("writ.yaml"), "--nonce", "3c" * 32, "--out", out)
    result = resident.run("custody", "verify", out, "--nonce", "3c" * 32, check=False)
    assert result.returncode == 3, result.stdout + result.stderr
    if resident.custody == "swtpm":
        assert "claimed  anchor-key: made in the TPM" in result.stdout and "claimed  issuing-key: made in the TPM" in result.stdout
        assert "claimed  endorsement: the TPM's maker left no certificate of an endorsement key in it" in result.stdout
    else:
        assert "claimed  token: key 2: CKA_NEVER_EXTRACTABLE true" in result.stdout
    assert "said     custody: resident: every CA signature is made in the device" in result.stdout
