"""What tests/bench/run measures with: CPU of processes, rows of figures, and the loads.  Knows nothing of who is measured.

A row is one subject at one job, with a figure a round.  What is compared is CPU microseconds a request, summed over the
server's processes: it moves less with what else the machine does than requests a second, and a server that waits for
its load does not look slow.  How busy server and load kept their cores is printed beside the rate.
"""
import contextlib
import http.client
import os
import resource
import socket
import statistics
import struct
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.path.join(ROOT, "build", "bench")
SERVER_CORE, LOAD_CORE = 0, 1
TICK = os.sysconf("SC_CLK_TCK")
COLUMNS = ("job", "subject", "rounds", "per_s_min", "per_s_median", "per_s_max", "cpu_us_min", "cpu_us_median", "cpu_us_max", "per_core_s",
           "server_busy", "load_busy", "others_busy", "p50_ms", "p99_ms", "ratio_min", "ratio_median", "note", "command")


def sh(*command, **more):
    return subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **more)


@contextlib.contextmanager
def on_core(core):
    """Processes started inside stay on that core."""
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, {LOAD_CORE})


def cpu_s(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def core_busy_s(core):
    """All that a core did but idling, since the machine started."""
    with open("/proc/stat", encoding="ascii") as f:
        fields = next(line for line in f if line.startswith(f"cpu{core} ")).split()[1:9]
    return (sum(map(int, fields)) - int(fields[3]) - int(fields[4])) / TICK


class Row:
    """What one subject did in one job: a value a round."""

    def __init__(self, job, subject, command):
        self.job, self.subject, self.command = job, subject, command
        self.rate, self.cpu_us, self.latency_ms, self.busy, self.note, self.ratio = [], [], [], [], "", None

    @staticmethod
    def spread(values, digits):
        if not values:
            return "-"
        low, middle, high = min(values), statistics.median(values), max(values)
        return f"{middle:.{digits}f}" if len(values) == 1 else f"{low:.{digits}f} / {middle:.{digits}f} / {high:.{digits}f}"

    def latency(self):
        """p50 and p99 in ms of the round in the middle; a mean has no p99."""
        return sorted(self.latency_ms, key=lambda x: x[0])[len(self.latency_ms) // 2] if self.latency_ms else (None, None)

    def busy_of(self, which):
        """Share of its core: 0 the server's processes, 1 the load, 2 whatever else ran on the server's core."""
        return statistics.median(b[which] for b in self.busy) if self.busy else None

    def table(self):
        line = f"  {self.subject:<30}"
        if self.rate:
            a_core = f"{1e6 / min(self.cpu_us):.0f}" if min(self.cpu_us) > 0 else "-"
            line += f" {self.spread(self.cpu_us, 2):>26} us CPU {a_core:>8} /s a core; {self.spread(self.rate, 0)} /s"
        if self.busy:
            line += f"  busy {self.busy_of(0):.0%}, load {self.busy_of(1):.0%}" + (f", others {self.busy_of(2):.0%}" if self.busy_of(2) > 0.02 else "")
        p50, p99 = self.latency()
        if p99 is not None:
            line += f"  p50 {p50:.2f} ms, p99 {p99:.2f} ms"
        elif p50 is not None:
            line += f"  mean {p50:.2f} ms"
        compared = f"writ {self.ratio[0]:.2f} x by CPU, minima; {self.ratio[1]:.2f} x medians" if self.ratio else ""
        return "\n".join([line, *[f"  {'':<30} {more}" for more in (compared, self.note, self.command) if more]])

    def tsv(self):
        three = lambda v: [f"{x:.2f}" for x in (min(v), statistics.median(v), max(v))] if v else ["", "", ""]  # noqa: E731
        return "\t".join([self.job, self.subject, str(max(len(self.rate), len(self.latency_ms))), *three(self.rate), *three(self.cpu_us),
                          f"{1e6 / min(self.cpu_us):.0f}" if self.cpu_us and min(self.cpu_us) > 0 else "",
                          *[f"{self.busy_of(i):.2f}" if self.busy else "" for i in range(3)],
                          *[f"{x:.3f}" if x is not None else "" for x in self.latency()],
                          *[f"{x:.2f}" if x is not None else "" for x in self.ratio or (None, None)], self.note, self.command])


class Refused(Exception):
    """A subject did not do the job: nothing it measured would mean anything."""


class Bench:
    def __init__(self, seconds):
        self.seconds, self.rows = seconds, []

    def row(self, job, subject, command):
        """The row of that job and subject; a job's rows stand together."""
        for row in self.rows:
            if (row.job, row.subject) == (job, subject):
                return row
        at = max((i + 1 for i, row in enumerate(self.rows) if row.job == job), default=len(self.rows))
        self.rows.insert(at, Row(job, subject, command))
        return self.rows[at]

    @contextlib.contextmanager
    def watched(self, row, pids):
        """The loads run inside are this round's; gives a function of how many answers there were."""
        cpu, core, load, at = cpu_s(pids), core_busy_s(SERVER_CORE), resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        answers = []
        yield answers.append
        took, used = time.monotonic() - at, cpu_s(pids) - cpu
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        loads = after.ru_utime + after.ru_stime - load.ru_utime - load.ru_stime
        row.cpu_us.append(used * 1e6 / sum(answers))
        row.busy.append((min(1.0, used / took), min(1.0, loads / took), min(1.0, max(0.0, core_busy_s(SERVER_CORE) - core - used) / took)))

    def http(self, job, subject, pids, port, requests, connections, *more, seconds=None):
        """One round of httpload; `requests` is a list of requests in a file."""
        options = ["-c", str(connections), "-s", str(seconds or self.seconds), *more, "-l", "127.0.0.1", str(port)]
        row = self.row(job, subject, "httpload " + " ".join(options) + " " + os.path.basename(requests))
        with self.watched(row, pids) as answered:
            done = subprocess.run([os.path.join(OUT, "httpload"), *options, requests], capture_output=True, text=True, check=False, timeout=60)
            if done.returncode != 0:
                raise Refused(f"{job}, {subject}: {done.stderr}")
            words = done.stdout.replace(",", "").split()
            answers, bad = int(words[2]), int(words[4])
            if bad:
                raise Refused(f"{job}, {subject}: {bad} of {answers} answers were refusals; {done.stderr.strip()}")
            answered(answers)
        row.rate.append(float(words[0]))
        if connections == 1:
            row.latency_ms.append((1e3 / float(words[0]), None))

    def issue(self, job, subject, side, mode, connections, agents, *more, seconds=None, pids=None, port=None):
        """One round of issueload: agents of `side`, and whoever listens at `port` when it is not its API."""
        options = ["--mode", mode, "--connections", str(connections), "--agents", str(agents), "--seconds", str(seconds or self.seconds), *more]
        row = self.row(job, subject, "issueload " + " ".join(options))
        took, rate, cpu, p50, p99, own = issueload(side.house, options, pids or side.pids(), port, f"{job}, {subject}")
        row.rate.append(rate)
        row.cpu_us.append(cpu)
        row.latency_ms.append((p50, p99))
        row.busy.append((min(1.0, cpu * rate / 1e6), min(1.0, own / took), 0.0))


def issueload(house, options, pids=(), port=None, job="setting up"):
    """Seconds, requests a second, CPU microseconds each, p50 and p99 in ms, the load's own CPU seconds."""
    done = subprocess.run([os.path.join(OUT, "issueload"), "--port", str(port or house.api_port), "--api-port", str(house.api_port),
                           "--ca", house.path("corp.pem"), "--cert", house.path("alice.pem"), "--key", house.path("alice.key"), *options,
                           *[w for pid in pids for w in ("--pid", str(pid))]], capture_output=True, text=True, check=False, timeout=180)
    fields = done.stdout.split("\t")
    if done.returncode != 0 or fields[7] != "0":
        raise Refused(f"{job}: issueload {' '.join(options)}: {done.stdout}{done.stderr}")
    return [float(fields[i]) for i in (2, 3, 4, 5, 6, 8)]


# ---- requests, prepared ----

def request_list(folder, name, requests):
    """A file of whole HTTP requests, as httpload -l reads them."""
    path = os.path.join(folder, name)
    with open(path, "wb") as f:
        for request in requests:
            f.write(struct.pack("<I", len(request)) + request)
    return path


def post(path, kind, body, close=False):
    return (f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
            f"{'Connection: close' + chr(13) + chr(10) if close else ''}\r\n").encode() + body


def get(path, close=False, etag=None):
    return (f"GET {path} HTTP/1.1\r\nHost: bench\r\n{'Connection: close' + chr(13) + chr(10) if close else ''}"
            f"{'If-None-Match: ' + etag + chr(13) + chr(10) if etag else ''}\r\n").encode()


def answer_to(port, request):
    """(status, headers, body) of one whole request."""
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(request)
        answer = http.client.HTTPResponse(sock, method=request.split()[0].decode())
        answer.begin()
        return answer.status, dict(answer.getheaders()), answer.read()
