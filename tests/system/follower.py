"""A responder beside a house: it follows the issuer's feed, is killed and started again.  Knows nothing of what a test claims."""
import os
import subprocess
import urllib.request

from house import free_port, program, wait_for

LAG_S = 1  # what it knows is spoken of for so long, and then tryLater: so it is never wrong for longer


class Follower:
    """The house's policy must give the role to `name`, and the house must have certified it before."""

    def __init__(self, house, name, lag_s=LAG_S):
        self.house, self.name, self.port, self.process = house, name, free_port(), None
        with open(house.path(name + ".yaml"), "w", encoding="utf-8") as f:
            f.write(f"""\
version: 1
status: {{listen: "127.0.0.1:{self.port}"}}
responder: {{issuer: "https://127.0.0.1:{house.api_port}", status: "http://127.0.0.1:{house.status_port}", ca: corp.pem, certificate: {name}.pem, key: {name}.key, lag_max_s: {lag_s}}}
""")

    def start(self, wait=True):
        with open(self.house.path(self.name + ".log"), "ab") as log:
            self.process = subprocess.Popen([program("writd"), "--config", self.house.path(self.name + ".yaml"), "--role", "responder"], stdout=log, stderr=log)
        if wait:
            wait_for(f"{self.name} is ready", self.healthy, 30)
        return self

    def healthy(self):
        if self.process.poll() is not None:
            with open(self.house.path(self.name + ".log"), encoding="utf-8", errors="replace") as log:
                raise AssertionError(f"{self.name} ended\n{log.read()[-3000:]}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def pids(self):
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as f:
            return [self.process.pid, *map(int, f.read().split())]

    def kill(self):
        for pid in self.pids():
            os.kill(pid, 9)
        self.process.wait(timeout=10)

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=30)
