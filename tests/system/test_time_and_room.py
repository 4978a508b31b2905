"""What a wrong clock and an old store must not do: forget live certificates, stop the lists, grow without end; and what a revocation takes back."""
import os
import shutil
import sqlite3
import struct
import subprocess
import time

import pytest

import house as houses
from house import Agent, House, TD, program, wait_for

pytestmark = pytest.mark.waits

SANITIZED = any(word in open(program("writ-issuerd"), "rb").read() for word in (b"__asan_init", b"__tsan_init")) if os.path.exists(program("writ-issuerd")) else False

# The clocks of some of our programs, moved by the seconds that a file holds, the wall's first; mapped at the start, since a sandbox stands before it later.
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

static int (*real)(clockid_t, struct timespec *);
static const volatile long *seconds;

__attribute__((constructor)) static void
start(void)
{
	seconds = mmap(NULL, 2 * sizeof(*seconds), PROT_READ, MAP_SHARED, open(getenv("OFFSET_FILE"), O_RDONLY | O_CLOEXEC), 0);
	if (seconds == MAP_FAILED)
		abort();
	real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
}

int
clock_gettime(clockid_t id, struct timespec *t)
{
	if (!real)
		start();
	const int rc = real(id, t);

	t->tv_sec += seconds[id == CLOCK_REALTIME ? 0 : 1];
	return rc;
}
"""


def sql(house, text, *values):
    with sqlite3.connect(house.path("state/store/writ.db"), timeout=10) as db:
        return db.execute(text, values).fetchall()


class Clock:
    """Programs in a folder of their own, some wrapped; set() moves their wall clock, and the others by what was lived through."""

    def __init__(self, path, wrapped=("writ-issuerd",)):
        self.build, self.file = os.path.join(path, "build"), os.path.join(path, "offset")
        bins = os.path.join(self.build, "bin")
        os.makedirs(bins)
        self.set(0)
        for name in {"writ", "writd", "writ-signerd", "writ-deviced", "writ-issuerd"} - set(wrapped):
            shutil.copy(program(name), bins)
        with open(os.path.join(path, "shim.c"), "w", encoding="ascii") as f:
            f.write(SHIM)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", path + "/shim.so", path + "/shim.c"], check=True)
        for name in wrapped:
            wrapper = os.path.join(bins, name)
            with open(wrapper, "w", encoding="ascii") as f:
                f.write(f"#!/bin/sh\nOFFSET_FILE={self.file} LD_PRELOAD={path}/shim.so exec {program(name)} \"$@\"\n")
            os.chmod(wrapper, 0o755)

    def set(self, seconds, lived=0):
        fd = os.open(self.file, os.O_RDWR | os.O_CREAT, 0o644)
        os.pwrite(fd, struct.pack("@ll", seconds, lived), 0)     # words: no reader sees half of one
        os.close(fd)


@pytest.fixture
def clock(tmp_path, monkeypatch):
    made = Clock(str(tmp_path))
    monkeypatch.setattr(houses, "BUILD", made.build)
    return made


@pytest.mark.skipif(SANITIZED, reason="a sanitizer wants to be loaded before the clock's shim")
def test_a_clock_that_steps_forward_for_a_moment_makes_the_issuer_forget_nothing(clock, fresh):
    house = fresh()
    good, taken, later = house.agent_with_leaf("good"), house.agent_with_leaf("taken"), house.agent_with_leaf("later")
    assert house.person().ask("POST", "/v1/revocations", {"serial": taken.serial}).status == 200
    rows = sql(house, "SELECT count(*) FROM cert")
    clock.set(3 * 86400)
    time.sleep(1)
    assert house.leaf(good.task, good).status in (401, 403, 503)
    revoked = house.person().ask("POST", "/v1/revocations", {"edge": later.edge})
    assert revoked.status == 200 and revoked.json["leaves"] == 1, revoked
    time.sleep(2)
    clock.set(0)
    time.sleep(1)
    assert [house.ocsp(agent) for agent in (good, taken, later)] == ["GOOD", "REVOKED", "REVOKED"]
    assert sql(house, "SELECT count(*) FROM cert") == rows
    renewed = good.client().ask("POST", "/v1/renew", {})
    assert renewed.status == 201, renewed


@pytest.mark.skipif(SANITIZED, reason="a sanitizer wants to be loaded before the clock's shim")
def test_a_clock_that_is_set_back_stops_neither_the_lists_nor_the_writer(clock, fresh):
    house = fresh()
    clock.set(3600)
    time.sleep(1)
    clock.set(0)
    agent = house.agent_with_leaf()
    before = house.crl(agent).last_update
    lists = lambda: house.crl(agent).last_update > before  # noqa: E731
    wait_for("a list of its own accord", lists, 75)


def test_what_has_ended_goes_faster_than_it_can_come(fresh):
    house = fresh()
    house.stop()
    with sqlite3.connect(house.path("state/store/writ.db")) as db:
        db.executemany("INSERT INTO answer (key, body_sha256, status, body, expires) VALUES (?, ?, 201, ?, 1)",
                       ((b"old %d" % n, bytes(32), b"x" * 100) for n in range(20000)))
    house.start()
    wait_for("20,000 old rows gone", lambda: sql(house, "SELECT count(*) FROM answer") == [(0,)], 15)


def test_an_idle_issuer_moves_what_was_written_into_the_database(fresh):
    house = fresh()
    db = house.path("state/store/writ.db")
    alice = house.person()
    before = os.stat(db).st_mtime_ns
    for n in range(60):
        assert house.open_task(Agent(house, f"a{n}"), by=alice).status == 201
    assert os.stat(db + "-wal").st_size > 500 * 4096
    wait_for("a checkpoint", lambda: os.stat(db).st_mtime_ns > before, 5)


def test_a_retry_after_the_revocation_does_not_hand_the_leaf_out(one):
    agent = Agent(one, "late")
    task = one.open_task(agent).json
    body = {"csr": __import__("base64").b64encode(houses.csr_der(agent.key)).decode()}
    key = {"Idempotency-Key": "late-1"}
    path = f"/v1/tasks/{task['task']}/leaves"
    first = one.nobody().ask("POST", path, body, key)
    assert first.status == 201 and one.nobody().ask("POST", path, body, key).body == first.body
    assert one.person().ask("POST", "/v1/revocations", {"edge": task["edge"]}).status == 200
    late = one.nobody().ask("POST", path, body, key)
    assert late.status == 403 and late.json["rule"] == "L4" and b"CERTIFICATE" not in late.body, late
