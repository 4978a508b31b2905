"""RUN/admin.sock: what an operator on the machine may ask of the running signer, who may not, and what it leaves in the journal."""
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import time

import pytest

import journal
from house import TD, House, program, wait_for
from test_time_and_room import SANITIZED, Clock

STATUS, KEY_LIST, RESUME, CLOCK, ERROR = 1, 2, 3, 4, 0xff
INVALID = 1


def admin_entries(house):
    return [e.json for e in journal.read(house.path("state/journal"), live=True) if e.type == "admin"]


def writ(house, *arguments):
    return subprocess.run([program("writ"), *arguments, "--config", house.path("writ.yaml")], capture_output=True, text=True, timeout=60, check=False)


def frame(kind, body=b"", number=7, version=1):
    return struct.pack(">HHIQ", version, kind, len(body), number) + body


def connect(house):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.settimeout(20)
    sock.connect(house.path("run/admin.sock"))
    return sock


def ask(house, packet):
    """(type, id, body), or None when the connection was ended without an answer."""
    with connect(house) as sock:
        sock.send(packet)
        try:
            answer = sock.recv(65536)
        except ConnectionResetError:
            return None
    if not answer:
        return None
    _, kind, _, number = struct.unpack(">HHIQ", answer[:16])
    return kind, number, answer[16:]


def refusal(answer):
    kind, number, body = answer
    assert (kind, number) == (ERROR, 7)
    return body[5:].decode()


def test_status_says_how_the_signer_its_keys_and_its_device_are(one):
    one.agent_with_leaf("watched")
    told = json.loads(writ(one, "custody", "status", "--json").stdout)
    assert told["device"] == "up" and told["can_issue"] is True and told["why"] == ""
    assert told["trust_domain"] == TD and told["tier"] == "software" and told["custody"] == "sealed"
    assert told["issued_live"] >= 1 and told["issuing_cas"] == 1
    assert "device: up" in writ(one, "custody", "status").stdout


def test_the_list_of_keys_is_that_of_the_certificates(one):
    bot = one.agent_with_leaf("listed")
    keys = json.loads(writ(one, "key", "list", "--json").stdout)["keys"]
    assert [key["role"] for key in keys] == ["anchor", "issuing"]
    assert int(keys[1]["serial"], 16) == one.issuing_of(bot).serial_number
    assert int(keys[0]["serial"], 16) == one.anchor().serial_number
    assert re.search(r"^keys: .*role issuing", writ(one, "key", "list").stdout, re.M)


def test_nothing_locked_is_nothing_to_resume(one):
    before = admin_entries(one)
    told = writ(one, "custody", "resume")
    assert told.returncode == 0 and "was_locked: no" in told.stdout
    assert admin_entries(one) == before, "what changes nothing leaves nothing"


def test_a_right_clock_is_not_accepted_again(one):
    told = writ(one, "clock", "accept", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    assert told.returncode == 1 and "the clock is right: there is nothing to accept" in told.stderr
    told = writ(one, "clock", "accept", "today")
    assert told.returncode == 2 and "is not a time as in 2026-11-23T20:51:37Z" in told.stderr


@pytest.mark.parametrize("kind", [0, 5 + 40, 0x81, 0xfffe])
def test_a_message_that_is_none_of_ours_is_refused(one, kind):
    assert "none of ours" in refusal(ask(one, frame(kind)))


def test_a_body_where_none_belongs_is_refused(one):
    assert "STATUS has no body, and 1 bytes came" in refusal(ask(one, frame(STATUS, b"x")))
    assert "wanted is a time of 8" in refusal(ask(one, frame(CLOCK, b"1234567")))


def test_what_is_no_frame_ends_the_connection_and_nothing_else(one):
    for packet in (b"x", frame(STATUS, version=2), frame(STATUS)[:-1] + b"\0\0", b"\0" * 16, os.urandom(200)):
        assert ask(one, packet) is None
    assert ask(one, frame(STATUS))[0] == STATUS | 0x80


def test_one_operator_at_a_time_and_the_next_one_waits(one):
    with connect(one) as first:
        first.send(frame(STATUS))
        assert first.recv(65536)
        with connect(one) as second:
            second.send(frame(STATUS))
            second.settimeout(0.3)
            with pytest.raises(TimeoutError):
                second.recv(65536)
            first.close()
            second.settimeout(20)
            assert second.recv(65536)[2:4] == struct.pack(">H", STATUS | 0x80)


def test_the_socket_is_for_root_and_the_operator_alone(one):
    mode = os.stat(one.path("run/admin.sock")).st_mode & 0o777
    assert mode == 0o600
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("only root can be somebody else")
    # The descriptor is handed on already connected: it is the uid that is refused, not the path.
    os.chmod(one.path("run/admin.sock"), 0o666)
    try:
        told = subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", "/usr/bin/python3", "-c", f"""
import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.settimeout(20)
s.connect({one.path('run/admin.sock')!r})
try:
    s.send({frame(STATUS)!r})
    print(len(s.recv(65536)))
except (ConnectionResetError, BrokenPipeError):
    print(0)
"""], capture_output=True, text=True, check=False)
    finally:
        os.chmod(one.path("run/admin.sock"), mode)
    if "Permission denied" in told.stderr:
        pytest.skip("the test's folder is closed to others")
    assert told.stdout.strip() == "0", told
    wait_for("the event", lambda: "signer.admin-refused" in one.log_tail(20000), 5)


@pytest.mark.skipif(SANITIZED, reason="a sanitizer wants to be loaded before the clock's shim")
def test_a_clock_that_stepped_is_accepted_by_the_operators_word_and_journalled(tmp_path, monkeypatch):
    import house as houses  # pylint: disable=import-outside-toplevel
    clock = Clock(str(tmp_path), wrapped=("writ-issuerd", "writ-signerd"))
    monkeypatch.setattr(houses, "BUILD", clock.build)
    made = House("swtpm")
    try:
        made.init()
        made.start()
        bot = made.agent_with_leaf("before")
        clock.set(-7)
        wait_for("the refusal", lambda: made.leaf(bot.task, bot).status == 503, 10)
        now = time.time() - 7
        told = writ(made, "clock", "accept", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + 3600)))
        assert told.returncode == 1 and "more than 60 s from what was said" in told.stderr
        told = writ(made, "clock", "accept", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)))
        assert told.returncode == 0 and "step_s: -7" in told.stdout, told
        wait_for("a leaf again", lambda: made.leaf(bot.task, bot).status == 201, 10)
        assert [e["did"] for e in admin_entries(made)] == ["clock"]
    finally:
        made.close()
