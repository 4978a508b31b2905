"""Secrets are where they must be and nowhere else: every process's memory is searched from outside, and what a crash leaves behind.

As the owner of the TPM would, the test has the device unseal the issuing key's wrapping key (hsm/wire.h) and unwraps the key
(issuer/signer/generation.c) with someone else's AES-GCM; then it knows what to look for.
"""
import glob
import os
import re
import signal
import socket
import struct

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from house import BUILD, House, wait_for

HEADER = 48         # magic, version, key id, notAfter, number
WRAPPED = 12 + 32 + 16
UNSEAL, ANSWER = 6, 0x80
ROLES = ("writ-deviced", "writ-signerd", "writ-issuerd")


def sanitized():
    with open(os.path.join(BUILD, "CMakeCache.txt"), encoding="utf-8") as f:
        return any(line.startswith("WRIT_SANITIZE:") and line.strip().split("=", 1)[1] for line in f)


pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="only root may read the memory of processes that cannot be traced"),
              pytest.mark.skipif(sanitized(), reason="a sanitizer keeps copies of its own, and maps terabytes")]


def unseal(house, blob):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.connect(house.path("run/device.sock"))
        body = struct.pack(">I", len(blob)) + blob
        s.send(struct.pack(">HHIQ", 1, UNSEAL, len(body), 7) + body)
        answer = s.recv(65536)
    _, kind, length, _ = struct.unpack(">HHIQ", answer[:16])
    assert kind == UNSEAL | ANSWER and length == 32, answer
    return answer[16:]


def unwrapped(house):
    """(the issuing key's scalar, the key that wraps it), as an owner of the device finds them."""
    path, = glob.glob(house.path("state/keys/*.wrapped"))
    with open(path, "rb") as f:
        whole = f.read()
    blob_len, = struct.unpack(">I", whole[HEADER:HEADER + 4])
    assert HEADER + 4 + blob_len + WRAPPED == len(whole)
    wrapping = unseal(house, whole[HEADER + 4:HEADER + 4 + blob_len])
    sealed = whole[-WRAPPED:]
    return AESGCM(wrapping).decrypt(sealed[:12], sealed[12:], whole[:HEADER]), wrapping


def mappings(pid):
    """(first, end, VmFlags, locked kB) of what can be read."""
    with open(f"/proc/{pid}/smaps", encoding="ascii") as f:
        at = None
        for line in f:
            if m := re.match(r"([0-9a-f]+)-([0-9a-f]+) (r\S+) .*?(\[v\w+\])?$", line):
                at = [int(m[1], 16), int(m[2], 16), set(), 0] if not m[4] else None
            elif re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                at = None
            elif at and line.startswith("Locked:"):
                at[3] = int(line.split()[1])
            elif at and line.startswith("VmFlags:"):
                at[2] = set(line.split()[1:])
                yield tuple(at)


def found(pid, what):
    """Where in the process: the flags of each mapping, once for each copy."""
    copies = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for first, end, flags, locked in mappings(pid):
            try:
                memory.seek(first)
                text = memory.read(end - first)
            except (OSError, ValueError):
                continue
            copies += [(flags, locked)] * text.count(what)
    return copies


@pytest.fixture(scope="module")
def searched():
    made = House("swtpm")
    try:
        made.init()
        made.start()
        for i in range(3):
            made.agent_with_leaf(f"bot{i}")
        made.pid = {name: made.pids(name)[0] for name in ROLES}
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def secrets(searched):
    """Names and bytes.  Unsealing for us puts nothing into the signer: the device is asked over a connection of our own."""
    scalar, wrapping = unwrapped(searched)
    key = ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP256R1())
    issuing = searched.issuing_of(searched.agent_with_leaf("asked"))
    assert key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo) == \
        issuing.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo), "this is not the issuing key"
    with open(searched.path("tpm-auth"), encoding="ascii") as f:
        auth = f.read().strip()
    return {"scalar": scalar, "scalar as a number in memory": scalar[::-1], "wrapping key": wrapping, "auth value": bytes.fromhex(auth),
            "auth value in hex": auth.encode()}


def test_the_issuing_key_is_once_in_the_signers_locked_heap_and_nowhere_else(searched, secrets):
    for name, pid in searched.pid.items():
        copies = found(pid, secrets["scalar as a number in memory"]) + found(pid, secrets["scalar"])
        if name != "writ-signerd":
            assert not copies, f"{name} has {len(copies)} copies of the issuing key"
            continue
        assert len(copies) == 1, f"the signer has {len(copies)} copies of the issuing key"
        flags, locked = copies[0]
        assert locked > 0 and "lo" in flags, "the issuing key may go to swap"
        assert "dd" in flags, "the issuing key would be in a core"


def test_the_key_that_wraps_it_is_in_neither_signer_nor_issuer(searched, secrets):
    for name in ("writ-signerd", "writ-issuerd"):
        assert not found(searched.pid[name], secrets["wrapping key"]), name


def test_the_devices_auth_value_is_in_the_device_process_alone(searched, secrets):
    for name, pid in searched.pid.items():
        copies = found(pid, secrets["auth value"]) + found(pid, secrets["auth value in hex"])
        if name != "writ-deviced":
            assert not copies, f"{name} has {len(copies)} copies of the auth value"
            continue
        assert any("lo" in flags and "dd" in flags for flags, _ in copies), "where is the auth value kept?"
        print("copies of the auth value in writ-deviced:", len(copies), "of them not locked:", sum("lo" not in f for f, _ in copies))


def test_no_secret_is_in_arguments_environment_state_journal_or_log(searched, secrets):
    for name, pid in searched.pid.items():
        for file in ("cmdline", "environ"):
            with open(f"/proc/{pid}/{file}", "rb") as f:
                text = f.read()
            assert not [k for k, v in secrets.items() if v in text], f"{file} of {name}"
    for base, _, files in os.walk(searched.dir):
        if base.startswith(searched.path("tpm")):       # the TPM's own memory
            continue
        for path in (os.path.join(base, f) for f in files):
            if os.path.isfile(path) and path != searched.path("tpm-auth"):
                with open(path, "rb") as f:
                    text = f.read()
                assert not [k for k, v in secrets.items() if v in text], path


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_crash_leaves_no_core(searched, secrets, number):
    """kernel.core_pattern may name a file or a program: a process that is not dumpable has neither."""
    folders = {os.readlink(f"/proc/{searched.writd.pid}/cwd"), searched.dir, "/var/crash", "/var/lib/systemd/coredump"}
    before = {f: set(os.listdir(f)) for f in folders if os.path.isdir(f)}
    for name in ROLES:
        pid = wait_for(name, lambda name=name: searched.pids(name))[0]
        with open(f"/proc/{pid}/limits", encoding="ascii") as f:
            assert re.search(r"Max core file size\s+0\s+0", f.read()), name
        os.kill(pid, number)
        wait_for(f"{name} started anew", lambda name=name, pid=pid: [p for p in searched.pids(name) if p != pid])
    searched.wait_healthy(40)
    for folder, names in before.items():
        new = [n for n in set(os.listdir(folder)) - names if "core" in n]
        assert not new, f"{folder}: {new}"
    log = searched.log_tail(20000)
    assert log.count(f'"signal":{int(number)}') >= len(ROLES)
    assert not [k for k, v in secrets.items() if v in log.encode()]
