"""An hour of load, or seconds of it, in which every word about every certificate is compared while processes are killed and keys change.

tests/hour runs it for as long as one likes, test_hour.py for seconds.  Knows how to work, to disturb and to report; what must hold is words.py's.
"""
import json
import os
import signal
import subprocess
import threading
import time

import journal
from house import ERP, TD, program
from invariants import Witness, store_rows
from rotation import rotate
from words import LIST_S, Words

WORK_S, LIFETIME_S, RENEW_S = 60, 60, 20
LISTS_EVERY_S = 3
WHOLE_AGAIN_S = 60
DRAIN_S = 180  # after the load's time, for what is still out
SETTLED_S = 15


class Loads:
    """`writ load`, one for each way in which a task ends."""

    def __init__(self, house, responders, seconds, rate):
        self.running = {}
        for end, person in (("complete", "alice"), ("revoke", "bob")):
            command = [program("writ"), "load", "--api", f"https://127.0.0.1:{house.api_port}", "--ca", house.path("corp.pem"),
                       "--cert", house.path(person + ".pem"), "--key", house.path(person + ".key"), "--status", f"http://127.0.0.1:{house.status_port}",
                       *[word for _, port in responders for word in ("--responder", f"http://127.0.0.1:{port}")],
                       "--agent", f"spiffe://{TD}/agent/invoice-bot", "--allow", f"invoices:read on {ERP}/v2/invoices/**", "--audience", ERP,
                       "--agents", str(rate * (WORK_S + 30)), "--rate", str(max(1, rate // 2)), "--for", f"{seconds}s", "--work", f"{min(WORK_S, seconds)}s",
                       "--lifetime", f"{LIFETIME_S}s", "--renew", f"{RENEW_S}s", "--end", end, "--json"]
            self.running[end] = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def done(self):
        return all(process.poll() is not None for process in self.running.values())

    def stop(self):
        for process in self.running.values():
            if process.poll() is None:
                process.terminate()

    def told(self):
        """What each found, and its exit status."""
        found = {}
        for end, process in self.running.items():
            out, complaint = process.communicate(timeout=120)
            found[end] = {**(json.loads(out) if out.startswith("{") else {"complaint": complaint}), "exit": process.returncode}
        return found


class Watch(threading.Thread):
    """Looks and compares, once a second; an error of its own is a failure, too."""

    def __init__(self, words, asks):
        super().__init__(daemon=True)
        self.words, self.asks, self.stopped, self.error, self.next_lists = words, asks, False, None, 0.0
        self.overslept_s = 0.0  # what this machine makes of a sleep of 50 ms: no claim can be finer

    def once(self):
        self.words.look(self.asks)
        if time.monotonic() >= self.next_lists:
            self.words.look_at_lists()
            self.next_lists = time.monotonic() + LISTS_EVERY_S

    def run(self):
        try:
            while not self.stopped:
                at = time.monotonic()
                self.once()
                while not self.stopped and (left := at + 1 - time.monotonic()) > 0:
                    slept, now = min(0.05, left), time.monotonic()
                    time.sleep(slept)
                    self.overslept_s = max(self.overslept_s, time.monotonic() - now - slept)
        except Exception as error:  # pylint: disable=broad-except
            self.error = repr(error)


# ---- what happens meanwhile ----

class Disturbances:
    def __init__(self, house, words, responders):
        self.house, self.words, self.responders, self.done, self.turn = house, words, responders, [], 0
        self.kinds = [self.rotation, self.issuer, self.signer, *([self.responder] if responders else []), self.service]

    def kill(self, role):
        for pid in self.house.pids(role):
            os.kill(pid, signal.SIGKILL)

    def issuer(self):
        self.kill("writ-issuerd")

    def signer(self):
        self.kill("writ-signerd")

    def responder(self):
        one = self.responders[self.turn // len(self.kinds) % len(self.responders)]
        one.kill()
        one.start()

    def rotation(self):
        rotate(self.house)

    def service(self):
        self.house.stop()
        self.house.start(wait=False)

    def whole(self):
        return self.house.healthy() and all(self.house.pids(role) for role in ("writ-issuerd", "writ-signerd")) and all(r.healthy() for r in self.responders)

    def next(self):
        """The next in turn, and how long until everything answered again."""
        kind, at = self.kinds[self.turn % len(self.kinds)], time.monotonic()
        self.turn += 1
        self.words.away()
        kind()
        while not self.whole():
            self.words.away()
            if time.monotonic() - at > 60:
                raise AssertionError(f"a minute after {kind.__name__} not everything answers\n{self.house.log_tail(3000)}")
            time.sleep(0.05)
        self.words.away()
        self.done.append((kind.__name__, time.monotonic() - at))


# ---- the end ----

def memory_mib(pids):
    def one(pid):
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:")) / 1024
    return round(sum(one(pid) for pid in pids), 1)


def roles(house, responders):
    found = {role: memory_mib(house.pids(role)) for role in ("writ-issuerd", "writ-signerd", "writ-deviced")}
    return {**found, **{responder.name: memory_mib(responder.pids()) for responder in responders}}


def journal_agrees(house):
    """None, or where journal and store differ, though nobody works any more."""
    end = time.monotonic() + SETTLED_S
    while True:
        try:
            entries, rows = journal.read(house.path("state/journal"), live=True), store_rows(house, True)
            Witness.entries_agree(entries)
            Witness.rows_have_entries(entries, rows, time.time())
            return None
        except AssertionError as error:  # a request that its client did not wait for may still have been under way
            if time.monotonic() > end:
                return str(error)
        time.sleep(0.5)


def report(words, loads, disturbances, memory, journal_fault, seconds, overslept_s):
    faults = list(words.disagreements)
    print(f"\n{seconds:.0f} s; {len(words.serials)} certificates compared, in {words.looks} looks at the store; a sleep was late by at most {overslept_s * 1e3:.0f} ms")
    for source in (*words.sources, *words.lists):
        print(f"  {source.name:<14} {source.heard:>9} words, {source.away} times none; wrong for as long as {source.longest_s * 1e3:.0f} ms {source.worst}")
    for end, told in loads.items():
        if told["exit"] != 0:
            faults.append(f"writ load, --end {end}: exit {told['exit']}, {told.get('first_disagreement') or told.get('complaint') or told.get('first_refusal')}")
        if "jobs" not in told:
            continue
        jobs = ", ".join(f"{job} {n['n']}" + (f" ({n['later']} later, {n['refused']} refused, {n['failed']} failed)" if n["later"] + n["refused"] + n["failed"] else "")
                         for job, n in told["jobs"].items() if n["n"])
        print(f"  writ load, --end {end}: {jobs}; {told['compared']} statuses, {told['disagreed']} disagreed")
        for who, said in [("issuer", told), *[(responder["url"], responder) for responder in told["responders"]]]:
            print(f"    ends seen at {who}: p50 {said['end_seen']['p50_ms']:.1f}, p99 {said['end_seen']['p99_ms']:.1f}, max {said['end_seen']['max_ms']:.1f} ms")
    for name in sorted({name for name, _ in disturbances}):
        times = [took for kind, took in disturbances if kind == name]
        print(f"  {name}: {len(times)} times, whole again after {min(times):.2f} to {max(times):.2f} s")
    print(f"  memory, MiB, early and at the end: {memory}")
    faults += [f"{source.name} was never heard" for source in (*words.sources, *words.lists) if source.heard == 0]
    faults += [f"the journal: {journal_fault}"] if journal_fault else []
    for fault in faults[:20]:
        print(f"DISAGREES: {fault}")
    outcome = {
        "seconds": round(seconds), "certificates": len(words.serials), "words": words.words, "lists": len(words.lists[0].numbers),
        "longest_ms": {source.name: round(source.longest_s * 1e3) for source in (*words.sources, *words.lists)},
        "load": {end: {"compared": told.get("compared"), "disagreed": told.get("disagreed"), "exit": told["exit"]} for end, told in loads.items()},
        "disturbances": len(disturbances), "overslept_ms": round(overslept_s * 1e3), "memory_mib": memory, "disagreements": len(faults)}
    print("hour: " + json.dumps(outcome))
    return faults, outcome


def run(house, responders, seconds, rate=4, asks=120, rest_s=None, list_s=LIST_S, at_least=0):
    """Faults, in words; and the outcome for machines.  `rest_s` between disturbances, of which there are `at_least` so many; None: nothing is disturbed."""
    addresses = [(responder.name, responder.port) for responder in responders]
    words, began = Words(house, addresses, list_s), time.monotonic()
    loads, watch = Loads(house, addresses, seconds, rate), Watch(words, asks)
    disturbances, early, next_at, told_at = Disturbances(house, words, responders), None, began + (rest_s or 0), began + 60
    watch.start()
    try:
        while not loads.done():
            time.sleep(0.1)
            now = time.monotonic()
            if watch.error or now - began > seconds + DRAIN_S:
                break
            if not early and now - began > min(120, seconds / 4):
                early = roles(house, responders)
            if rest_s and next_at <= now < began + seconds - rest_s / 2:
                disturbances.next()
                next_at = time.monotonic() + rest_s
            if now >= told_at:
                print(f"{now - began:.0f} s: {len(words.serials)} certificates, {sum(words.words.values())} words, {len(words.disagreements)} disagreements, "
                      f"{len(disturbances.done)} disturbances", flush=True)
                told_at += 60
        while len(disturbances.done) < at_least and not watch.error:
            disturbances.next()
    finally:
        loads.stop()
        watch.stopped = True
        watch.join(60)
    if watch.error:
        words.disagreements.append(f"the comparison ended: {watch.error}")
    else:
        time.sleep(LIST_S)
        words.look(100000)
        words.look_at_lists()
    return report(words, loads.told(), disturbances.done, {"early": early, "end": roles(house, responders)}, journal_agrees(house), time.monotonic() - began,
                  watch.overslept_s)
