"""States of any size, made in seconds by tests/bench/grow.c, and what a process takes of the machine."""
import glob
import os
import re
import sqlite3
import subprocess
import time

from house import BUILD, House

ROOMY = "limits: {requests_per_principal_s: 1000000, leaves_per_edge: 1000, children_per_edge: 1000, handshakes_s: 10000}\n"
PATTERN_LIVES_S = 60


def grown(live, ready_in_s=0, extra=ROOMY, **more):
    """A house, initialised, grown and not started; ready when `house.ready_at` has come."""
    house = House("swtpm", extra=extra)
    house.init()
    house.start()
    pattern = house.agent_with_leaf("pattern", lifetime_s=PATTERN_LIVES_S)
    house.stop()
    house.pattern, house.ready_at, began = pattern, time.time() + ready_in_s, time.monotonic()
    options = {"live": live, "ready-in": ready_in_s, **{name.replace("_", "-"): n for name, n in more.items()}}
    try:
        subprocess.run([os.path.join(BUILD, "tests", "grow"), "--config", house.path("writ.yaml"), *[word for name, n in options.items() for word in (f"--{name}", str(n))]],
                       check=True, stdout=subprocess.DEVNULL)
    except BaseException:
        house.close()
        raise
    house.grown_s = time.monotonic() - began
    return house


def rows(house, query, *values):
    with sqlite3.connect(f"file:{house.path('state/store/writ.db')}?mode=ro", uri=True, timeout=20) as db:
        return db.execute(query, values).fetchall()


def snapshots(house):
    return sorted(glob.glob(house.path("state/journal/*.snapshot")))


def forget_snapshots(house):
    for path in snapshots(house):
        os.unlink(path)


def memory(pid):
    """Resident bytes: now, and the most so far."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        fields = dict(line.split(":", 1) for line in f)
    return int(fields["VmRSS"].split()[0]) * 1024, int(fields["VmHWM"].split()[0]) * 1024


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def started(house, **options):
    """Starts it; the seconds until it serves, of all processes."""
    began = time.monotonic()
    house.start(**options)
    return time.monotonic() - began


def began_at(house):
    """From which entry on the signer, and the issuer, read the journal at the last start."""
    log = house.log_tail(40000)
    return [int(re.findall(rf'"{event}".*?"from":(\d+)', log)[-1]) for event in ("signer.journal", "recovery.done")]
