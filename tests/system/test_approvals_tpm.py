"""Keys bound to PCR values that an offline key approved: the ceremony, a kernel update rehearsed, old approvals, a start without one.

PCRs are extended by tpm2_pcrextend over the same socket: the transport connects for each command, so the two take turns.
"""
import json
import os
import re
import shutil
import subprocess
import time
import urllib.error

import pytest

import house as h
from house import Agent, House, wait_for

TOOLS = all(shutil.which(t) for t in ("tpm2_pcrextend", "tpm2_pcrread"))


class BoundHouse(House):
    """A house whose keys are bound to PCRs 7 and 11; the approval key stands for one that is kept elsewhere."""

    def __init__(self, tier):
        super().__init__(tier=tier)
        os.mkdir(self.path("approvals"))
        subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.path("approval.key")], check=True)
        subprocess.run(["openssl", "pkey", "-in", self.path("approval.key"), "-pubout", "-out", self.path("approval.pem")], check=True)

    def configuration(self):
        auth = f"auth_file: {self.path('tpm-auth')}"
        return super().configuration().replace(
            auth, f"{auth}, pcrs: [7, 11], approval_key: {self.path('approval.pem')}, approvals: {self.path('approvals')}")

    def tool(self, *command):
        env = dict(os.environ, TPM2TOOLS_TCTI=f"swtpm:path={self.path('tpm/sock')}", TSS2_LOG="all+NONE")
        return subprocess.run(command, check=True, capture_output=True, text=True, env=env, timeout=30).stdout

    def new_kernel(self):
        self.tool("tpm2_pcrextend", "11:sha256=" + "0b" * 32)

    def pcrs(self):
        return self.run("custody", "pcrs", "--config", self.path("writ.yaml")).stdout

    def approve(self, name, *more, check=True):
        with open(self.path("values"), "w", encoding="ascii") as f:
            f.write(self.pcrs())
        return self.run("custody", "approve", "--values", self.path("values"), "--sign-with", self.path("approval.key"),
                        "--out", self.path(f"approvals/{name}.approval"), *more, check=check)

    def status(self):
        return json.loads(self.run("custody", "status", "--config", self.path("writ.yaml"), "--json").stdout)

    def wait_device(self, state):
        wait_for(f"device {state}", lambda: self.status()["device"] == state, 30)
        return self.status()

    def alarms(self):
        with open(self.path("writd.log"), encoding="utf-8", errors="replace") as f:
            return [json.loads(line) for line in f if '"alarm"' in line and line.startswith("{")]


def value_of(report, pcr):
    return re.search(rf"^pcr {pcr}: ([0-9a-f]{{64}})$", report, re.M).group(1)


@pytest.fixture(scope="module")
def resident():
    house = BoundHouse("resident")
    yield house
    house.close()


def test_the_ceremony_makes_no_key_before_pcrs_are_approved_and_says_what_to_do(resident):
    refused = resident.run("init", "--config", resident.path("writ.yaml"), check=False)
    assert refused.returncode != 0
    assert "policy: PCRs 7=00000000 11=00000000 are not approved (of 0 approvals" in refused.stderr
    assert not os.path.exists(resident.path("state/keys/anchor.ref"))

    report = resident.pcrs()
    assert report.startswith("writ pcr values 1\nfor: writ-ca-agents.corp.example\n")
    read = resident.tool("tpm2_pcrread", "sha256:7,11").lower()
    assert value_of(report, 7) in read and value_of(report, 11) in read
    said = resident.approve("first")
    assert "pcr 11: " + value_of(report, 11) in said.stdout
    resident.init()
    resident.start()
    assert resident.agent_with_leaf("bot").issued["certificate"]


def test_after_a_kernel_update_the_device_refuses_until_the_new_values_are_approved(resident):
    agent = Agent(resident, "kernel")
    opened = resident.open_task(agent)
    assert opened.status == 201
    resident.new_kernel()
    refused = resident.leaf(opened.json["task"], agent)
    assert refused.status == 503, refused
    status = resident.wait_device("locked")
    assert "policy: PCRs 7=00000000 11=" in status["device_why"] and "1 are for other values" in status["device_why"]
    assert not status["can_issue"]
    assert [a for a in resident.alarms() if "policy: PCRs" in json.dumps(a)]
    assert resident.leaf(opened.json["task"], agent).status == 503

    resident.approve("second")
    resident.wait_device("up")
    issued = resident.leaf(opened.json["task"], agent)
    assert issued.status == 201, issued


def test_an_operator_s_word_alone_does_not_open_what_is_not_approved(resident):
    resident.new_kernel()
    agent = Agent(resident, "word")
    task = resident.open_task(agent).json["task"]
    assert resident.leaf(task, agent).status == 503
    resident.wait_device("locked")
    resident.run("custody", "resume", "--config", resident.path("writ.yaml"))
    status = resident.wait_device("locked")
    assert "policy: PCRs" in status["device_why"]
    resident.approve("third")
    resident.wait_device("up")


def test_raising_the_counter_ends_older_approvals_and_nobody_locks_himself_out(resident):
    refused = resident.run("custody", "raise", "--config", resident.path("writ.yaml"), check=False)
    assert refused.returncode != 0
    assert "no approval that fits the PCRs would be left: put one of version 2" in refused.stderr

    resident.approve("fourth", "--version", "2")
    raised = resident.run("custody", "raise", "--config", resident.path("writ.yaml"))
    assert raised.stdout == "counter: 2\n"
    agent = Agent(resident, "raised")
    task = resident.open_task(agent).json["task"]
    assert resident.leaf(task, agent).status == 201

    # An approval of the values to come, signed in good time and dead since: good signature, right values, old version.
    resident.new_kernel()
    values = resident.pcrs()
    assert "\ncounter: 2\n" in values
    old = resident.run("custody", "approve", "--trust-domain", h.TD, "--version", "1", "--sign-with", resident.path("approval.key"),
                       *[w for n in (7, 11) for w in ("--pcr", f"{n}={value_of(values, n)}")],
                       "--out", resident.path("approvals/old.approval"))
    assert "version: 1" in old.stdout
    assert resident.leaf(task, agent).status == 503
    wait_for("the old approval looked at", lambda: "of 5 approvals 1 are for other values, 4 below counter 2" in resident.status()["device_why"])
    assert resident.leaf(task, agent).status == 503
    resident.approve("fifth")
    resident.wait_device("up")
    assert resident.leaf(task, agent).status == 201


def test_what_the_offline_command_refuses(resident):
    report = resident.pcrs()
    with open(resident.path("values"), "w", encoding="ascii") as f:
        f.write(report)
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", resident.path("other.key")], check=True)
    subprocess.run(["openssl", "ecparam", "-name", "secp384r1", "-genkey", "-noout", "-out", resident.path("p384.key")], check=True)
    base = ["custody", "approve", "--out", resident.path("no.approval")]
    key, values = ["--sign-with", resident.path("approval.key")], ["--values", resident.path("values")]
    for arguments, exit_code, words in (
            (key, 2, "one of --values and --trust-domain is needed"),
            (key + values + ["--trust-domain", "a"], 2, "one of --values and --trust-domain is needed"),
            (key + ["--trust-domain", "a", "--pcr", "7=" + "00" * 32], 2, "--version is missing"),
            (key + ["--trust-domain", "a", "--version", "1"], 2, "0 PCRs are named"),
            (key + values + ["--version", "1"], 2, "the machine's approval counter is at 2, and what is below is dead"),
            (key + values + ["--pcr", "4=" + "00" * 32], 2, "the machine binds its keys to other PCRs"),
            (key + values + ["--pcr", "11=00"], 2, "NUMBER=64 hex digits is wanted"),
            (key + values + ["--pcr", "11=" + "00" * 32, "--pcr", "11=" + "01" * 32], 2, "--pcr 11 is given twice"),
            (["--sign-with", resident.path("other.key")] + values, 1, "another key than the machine's custody.tpm.approval_key"),
            (["--sign-with", resident.path("p384.key")] + values, 1, "the approval key is a P-384 key")):
        refused = resident.run(*base, *arguments, check=False)
        assert refused.returncode == exit_code, (arguments, refused.stderr)
        assert words in refused.stderr, (arguments, refused.stderr)
    assert not os.path.exists(resident.path("no.approval"))


def test_an_approval_signed_by_openssl_over_digests_of_tpm2_tools_is_the_same_bytes_but_the_signature(resident):
    """Nothing of the format needs our own command."""
    values = resident.pcrs()
    with open(resident.path("mine.approval"), "w", encoding="ascii") as f:
        f.write(resident.run("custody", "approve", "--values", resident.path("values"), "--sign-with", resident.path("approval.key"),
                             "--out", "-").stdout)
    with open(resident.path("mine.approval"), encoding="ascii") as f:
        mine = f.read()
    policy = re.search(r"^policy: ([0-9a-f]{64})$", mine, re.M).group(1)
    signature = re.search(r"^signature: ([0-9a-f]+)$", mine, re.M).group(1)
    reference = subprocess.run(["openssl", "dgst", "-sha256", "-binary"], input=b"writ-ca-agents.corp.example", capture_output=True,
                               check=True).stdout
    with open(resident.path("message"), "wb") as f:
        f.write(bytes.fromhex(policy) + reference)
    with open(resident.path("signature"), "wb") as f:
        f.write(bytes.fromhex(signature))
    subprocess.run(["openssl", "dgst", "-sha256", "-verify", resident.path("approval.pem"), "-signature", resident.path("signature"),
                    resident.path("message")], check=True, capture_output=True)
    assert value_of(mine, 11) == value_of(values, 11)


@pytest.fixture(scope="module")
def sealed():
    house = BoundHouse("sealed")
    house.run("init", "--config", house.path("writ.yaml"), check=False)
    house.approve("first")
    house.init()
    house.start()
    yield house
    house.close()


def test_sealed_issuing_and_status_go_on_while_nothing_is_approved_and_the_alarm_comes_at_once(sealed):
    agent = sealed.agent_with_leaf("bot")
    before = len(sealed.alarms())
    sealed.new_kernel()
    status = sealed.wait_device("locked")  # nothing is signed by the device just then: it is asked after its health
    assert status["can_issue"]
    told = [a for a in sealed.alarms()[before:] if "policy: PCRs" in json.dumps(a) and a["role"] == "writ-deviced"]
    assert len(told) == 1
    other = sealed.agent_with_leaf("second")
    assert sealed.ocsp(agent) == "GOOD" and sealed.ocsp(other) == "GOOD"
    assert sealed.crl(other).is_signature_valid(sealed.issuing_of(other).public_key())
    refused = sealed.run("key", "rotate", "--config", sealed.path("writ.yaml"), check=False)
    assert refused.returncode != 0 and "policy: PCRs" in refused.stderr


def test_a_start_without_an_approval_waits_says_so_and_goes_on_when_one_comes(sealed):
    sealed.stop()
    sealed.start(wait=False)
    wait_for("the operators' socket", lambda: sealed.run("custody", "status", "--config", sealed.path("writ.yaml"), check=False).returncode == 0)
    status = sealed.wait_device("locked")
    assert not status["can_issue"] and "policy: PCRs" in status["device_why"]
    assert "has just started, and waits for its device: policy: PCRs" in status["why"]
    signer = sealed.pids("writ-signerd")
    refused = sealed.run("key", "rotate", "--config", sealed.path("writ.yaml"), check=False)
    assert refused.returncode == 4 and "waits for its device" in refused.stderr
    sealed.approve("second")
    sealed.wait_healthy()
    assert sealed.pids("writ-signerd") == signer and len(signer) == 1
    assert sealed.agent_with_leaf("third").issued["certificate"]
