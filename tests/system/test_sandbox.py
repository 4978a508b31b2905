"""Each process gives up what its role does not need: a call outside its list ends it and is told, a file outside its folders is not opened.

A test build can be asked (WRIT_FAULT=sandbox:WHAT:1) to try a breach as soon as a process has entered its sandbox.
"""
import ctypes
import json
import os
import signal
import subprocess

import pytest

from house import BUILD, TD, House, program, wait_for
from oidc import Keys

ROLES = ("writ-deviced", "writ-signerd", "writ-issuerd", "writ-fetchd")
SIGSYS = signal.SIGSYS.value
# What lets root, without users of their own for the roles, open the files it is given: nothing else is kept.
CAP_DAC = 1 << 1 | 1 << 2


def sanitized():
    with open(os.path.join(BUILD, "CMakeCache.txt"), encoding="utf-8") as f:
        return any(line.startswith("WRIT_SANITIZE:") and line.strip().split("=", 1)[1] for line in f)


def landlock():
    """The kernel's Landlock ABI, 0 where it has none."""
    return max(0, ctypes.CDLL(None, use_errno=True).syscall(444, None, ctypes.c_size_t(0), 1))


def status(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def events(house, name, since=0):
    with open(house.path("writd.log"), "rb") as f:
        f.seek(since)
        lines = f.read().decode(errors="replace").splitlines()
    return [e for e in (json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")) if e["event"] == name]


@pytest.fixture(scope="module")
def still():
    """All four processes, not started."""
    keys = Keys()
    made = House("swtpm", extra=f"""\
grants: {{audience: "https://writ.corp.example"}}
oidc:
  - {{alias: idp, issuer: "https://idp.corp.example", client_id: writ, jwks: "{keys.url}"}}
""")
    try:
        made.init()
        yield made
    finally:
        made.close()
        keys.close()


@pytest.fixture
def trying(still):
    """Starts all four with a breach to try; says what writd's log holds of it, and stops them."""
    def start(what):
        since = os.path.getsize(still.path("writd.log")) if os.path.exists(still.path("writd.log")) else 0
        still.start(env={"WRIT_FAULT": f"sandbox:{what}:1"}, wait=False)
        return lambda name: events(still, name, since)
    yield start
    still.stop()


def test_every_process_is_filtered_and_has_no_privilege_to_gain(still):
    still.start()
    for role in ROLES:
        pid, = wait_for(role, lambda role=role: still.pids(role))
        wait_for(f"{role} in its sandbox", lambda pid=pid: status(pid)["Seccomp"].strip() == "2")
        said = status(pid)
        assert said["NoNewPrivs"].strip() == "1", role
        assert int(said["CapEff"], 16) & ~CAP_DAC == 0 or sanitized(), f"{role} has capabilities {said['CapEff']}"
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/status", encoding="ascii") as f:
                assert "Seccomp:\t2" in f.read(), f"thread {thread} of {role} is not filtered"
    told = {e["role"]: e for e in events(still, "sandbox.entered")}
    assert set(told) >= set(ROLES)
    for role in ROLES:
        assert told[role]["landlock"] == landlock() and told[role]["files"] == (landlock() > 0), told[role]
    still.stop()


@pytest.mark.parametrize("what, killed", [
    ("exec", ROLES),
    ("fork", ROLES),
    ("ptrace", ROLES),
    ("code", ROLES),                            # memory to be written and run
    ("inet", ("writ-deviced", "writ-signerd")),     # the device is a software TPM on a unix socket
])
def test_a_call_outside_its_list_ends_the_process_and_is_told(trying, what, killed):
    if sanitized() and what in ("fork", "ptrace", "code"):
        pytest.skip("the run-time library of a sanitizer needs this call")
    said = trying(what)
    wait_for(f"all of {killed} are killed", lambda: {e["program"] for e in said("writd.sandbox")} >= set(killed))
    wait_for("all have tried", lambda: {e["role"] for e in said("sandbox.entered")} >= set(ROLES))
    ended = {e["program"]: e["signal"] for e in said("writd.ended")}
    for role in killed:
        assert ended[role] == SIGSYS, f"{role} ended by signal {ended[role]}"
    assert {e["program"] for e in said("writd.sandbox")} == set(killed), "more were killed than may not do it"
    assert all(e["level"] == "alarm" for e in said("writd.sandbox"))


def test_files_outside_its_folders_are_not_opened(trying):
    if not landlock():
        pytest.skip("this kernel has no Landlock")
    said = trying("file")
    tried = wait_for("all have tried", lambda: len(said("sandbox.tried")) >= len(ROLES) and said("sandbox.tried"))
    for e in tried:
        if e["role"] == "writ-fetchd":      # looks names up, so it reads /etc
            assert e["opened"]
        else:
            assert not e["opened"] and e["errno"] == 13, e


@pytest.mark.parametrize("what", ["exec", "inet"])
def test_writ_authz_is_confined_too(still, tmp_path, what):
    (tmp_path / "lists").mkdir()
    certificate = os.path.join(still.path("state"), "certs", "anchor.der")
    (tmp_path / "authz.yaml").write_text(f"""\
version: 1
listen: unix:{tmp_path}/authz.sock
anchors:
  - {{certificate: {certificate}, trust_domain: {TD}}}
identities: ["https://erp.corp.example"]
lists: {tmp_path}/lists
prefix: "https://erp.corp.example"
routes:
  - {{methods: [GET], path: /v2/**, action: "invoices:read"}}
""", encoding="utf-8")
    ended = subprocess.run([program("writ-authz"), "--config", str(tmp_path / "authz.yaml")], capture_output=True, text=True, timeout=30,
                           env=dict(os.environ, WRIT_FAULT=f"sandbox:{what}:1"), check=False)
    assert ended.returncode == -SIGSYS, ended.stderr
