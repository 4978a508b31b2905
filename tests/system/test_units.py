"""The systemd units: how little each lets its process do, that systemd reads them, and that what they start works.

No systemd runs a test: what it hands over - user, groups, sockets with names, credentials, limits, umask, no capabilities - is read from the units and
handed over here.  Its own filters, namespaces and mounts are judged by systemd-analyze alone.
"""
import ctypes
import grp
import os
import pwd
import resource
import shutil
import socket
import subprocess

import pytest

import house as houses
from house import ROOT, House, wait_for

UNITS = os.path.join(ROOT, "deploy", "systemd")
ROLES = ("device", "signer", "issuer", "fetch")
# custody.md, robustness.md 9.2; systemd counts in tenths.
THRESHOLDS = {"device": 15, "signer": 10, "issuer": 15, "fetch": 15, "responder": 15}
# Users that every Debian has stand for the units' own, which a machine that runs tests may lack.
STAND_IN = {"writ-device": "sys", "writ-signer": "bin", "writ-issuer": "daemon", "writ-fetch": "games", "writ-log": "adm", "tss": "sys", "root": "root"}

analyze = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not on this machine")


def unit(name):
    """[(section, key, value)] of a unit file, in order."""
    found, section = [], None
    with open(os.path.join(UNITS, name), encoding="utf-8") as f:
        for line in f.read().replace("@BINDIR@", os.path.join(houses.BUILD, "bin")).splitlines():
            if line.startswith("["):
                section = line.strip("[]")
            elif line and not line.startswith("#"):
                key, value = line.split("=", 1)
                found.append((section, key, value))
    return found


def value(name, key, default=None):
    values = [v for _, k, v in unit(name) if k == key]
    return values[-1] if values else default


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All units as they are installed, for this build."""
    made = tmp_path_factory.mktemp("units")
    for name in os.listdir(UNITS):
        with open(os.path.join(UNITS, name), encoding="utf-8") as f:
            (made / name.removesuffix(".in")).write_text(f.read().replace("@BINDIR@", os.path.join(houses.BUILD, "bin")), encoding="utf-8")
    return made


@analyze
@pytest.mark.parametrize("role", THRESHOLDS)
def test_a_unit_exposes_no_more_than_its_threshold(folder, role):
    judged = subprocess.run(["systemd-analyze", "security", "--offline=true", f"--threshold={THRESHOLDS[role]}", str(folder / f"writ-{role}.service")],
                            capture_output=True, text=True, check=False)
    assert judged.returncode == 0 and "Overall exposure level" in judged.stdout, judged.stdout[-2000:] + judged.stderr


@analyze
def test_systemd_reads_every_unit_without_a_complaint(folder):
    names = [str(folder / n) for n in os.listdir(folder) if n.endswith((".service", ".socket", ".target"))]
    read = subprocess.run(["systemd-analyze", "verify", "--man=no", *names], capture_output=True, text=True, check=False)
    ours = [line for line in read.stderr.splitlines() if "writ" in line]
    assert not ours, "\n".join(ours)


def test_every_program_is_started_as_its_own_user_and_holds_no_capability():
    users = [value(f"writ-{role}.service.in", "User") for role in THRESHOLDS]
    assert users == [f"writ-{role}" for role in THRESHOLDS]
    with open(os.path.join(UNITS, "writ.sysusers.conf"), encoding="utf-8") as f:
        made = [line.split()[1] for line in f if line[0] in "ug"]
    assert set(users) | {"writ-log"} == set(made)
    for role in THRESHOLDS:
        assert value(f"writ-{role}.service.in", "CapabilityBoundingSet") == ""
        assert value(f"writ-{role}.service.in", "NoNewPrivileges") == "yes"


# ---- what the units start ----

class Managed(House):
    """A House that is started as the units say."""

    def __init__(self):
        self.root = os.geteuid() == 0
        self.started = {}
        users = {role: self.user(f"writ-{role}") for role in ROLES}
        super().__init__("swtpm", extra="" if not self.root else
                         f"users: {{issuer: {users['issuer']}, signer: {users['signer']}, device: {users['device']}, log_group: {self.user('writ-log')}}}\n")
        self.sockets = {}

    def user(self, name):
        return STAND_IN[name] if self.root else pwd.getpwuid(os.geteuid()).pw_name

    def configuration(self):
        return super().configuration().replace(f"auth_file: {self.path('tpm-auth')}", "auth_file: 'credential:device-secret'")

    def prepare(self):
        """Folders as tmpfiles.d makes them, the credential as LoadCredential= does, the sockets of the .socket units."""
        with open(os.path.join(UNITS, "writ.tmpfiles.conf"), encoding="utf-8") as f:
            lines = [line.split() for line in f if line.startswith("d ")]
        for _, path, mode, user, group in lines:
            path = path.replace("/run/writ", self.path("run")).replace("/var/lib/writ", self.path("state"))
            os.mkdir(path)
            self.give(path, user, group)
            os.chmod(path, int(mode, 8))
        os.mkdir(self.path("credentials"))
        with open(self.path("credentials/device-secret"), "w", encoding="ascii") as f:
            f.write(os.urandom(32).hex() + "\n")
        os.chmod(self.path("credentials/device-secret"), 0o400)
        if self.root:       # a software TPM's socket is the device's user's to reach
            for path in ("tpm", "tpm/sock", "tpm/sock.ctrl"):
                os.chmod(self.path(path), 0o777)
            os.chown(self.path("api.key"), pwd.getpwnam(self.user("writ-issuer")).pw_uid, -1)
        os.environ["CREDENTIALS_DIRECTORY"] = self.path("credentials")
        try:
            self.init()
        finally:
            del os.environ["CREDENTIALS_DIRECTORY"]
        if self.root:       # as systemd gives it to the unit's user
            os.chown(self.path("credentials/device-secret"), pwd.getpwnam(self.user("writ-device")).pw_uid, -1)
        for role in ("device", "signer", "admin"):
            self.sockets[role] = self.listen(f"writ-{role}.socket")

    def give(self, path, user, group):
        if self.root:
            os.chown(path, pwd.getpwnam(self.user(user)).pw_uid, grp.getgrnam(self.group(group)).gr_gid)

    def group(self, name):
        return STAND_IN[name] if STAND_IN[name] == "adm" else grp.getgrgid(pwd.getpwnam(STAND_IN[name]).pw_gid).gr_name

    def listen(self, name):
        path = value(name, "ListenSequentialPacket").replace("/run/writ", self.path("run"))
        if os.path.exists(path):
            os.unlink(path)     # of the ceremony
        made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        made.bind(path)
        made.listen(64)
        self.give(path, value(name, "SocketUser"), value(name, "SocketGroup"))
        os.chmod(path, int(value(name, "SocketMode"), 8))
        return made

    def start_role(self, role, sockets=None, names=None, user=None):
        service = f"writ-{role}.service.in"
        if sockets is None:
            wanted = (value(service, "Sockets") or "").split()
            names = [value(s, "FileDescriptorName") for s in wanted]
            sockets = [self.sockets[n] for n in names]
        command = [word.replace("/etc/writ/writ.yaml", self.path("writ.yaml")) for word in value(service, "ExecStart").split()]
        who = pwd.getpwnam(self.user(user or value(service, "User")))
        groups = [grp.getgrnam(STAND_IN[g]).gr_gid for g in (value(service, "SupplementaryGroups") or "").split()]
        environment = {"PATH": os.environ["PATH"], "LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": ":".join(names)}
        if role == "device":
            environment["CREDENTIALS_DIRECTORY"] = self.path("credentials")
        libc = ctypes.CDLL(None)

        def become():
            kept = [os.dup2(s.fileno(), 100 + i) for i, s in enumerate(sockets)]
            for i, fd in enumerate(kept):
                os.dup2(fd, 3 + i, inheritable=True)
            os.umask(int(value(service, "UMask"), 8))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if self.root:
                for capability in range(64):
                    libc.prctl(24, capability, 0, 0, 0)     # PR_CAPBSET_DROP
                os.setgroups(groups)
                os.setgid(who.pw_gid)
                os.setuid(who.pw_uid)
            libc.prctl(38, 1, 0, 0, 0)                      # PR_SET_NO_NEW_PRIVS

        # LISTEN_PID is the process's own: a shell that becomes the program knows it.
        log = open(self.path(f"{role}.log"), "ab")
        process = subprocess.Popen(["/bin/sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", *command], env=environment, preexec_fn=become, close_fds=False,
                                   stdout=log, stderr=log)
        self.started.setdefault(role, []).append(process)
        return process

    def said(self, role):
        with open(self.path(f"{role}.log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def healthy(self):
        try:
            return self.get("/healthz") is not None
        except OSError:
            return False

    def close(self):
        for role in ("issuer", "signer", "device"):
            for process in self.started.get(role, []):
                process.terminate()
                process.wait(timeout=20)
        if self.root:       # the credential is the device's user's, folders are others'
            os.chmod(self.path("credentials"), 0o700)
        super().close()


@pytest.fixture(scope="module")
def managed():
    made, build = Managed(), houses.BUILD
    try:
        if made.root:       # a build below /root is closed to the units' users
            shutil.copytree(os.path.join(build, "bin"), made.path("programs/bin"))
            houses.BUILD = made.path("programs")
        made.prepare()
        yield made
    finally:
        houses.BUILD = build
        made.close()


def test_a_role_without_its_socket_or_with_another_one_says_so(managed):
    for sockets, names, why in (
            ([], [], "was handed no socket 'signer'"),
            (["signer"], ["signer"], "was handed no socket 'admin'"),
            (["signer", "device"], ["signer", "device"], "'device', is none of writ-signerd"),
            (["signer", "admin", "admin"], ["signer", "admin", "admin"], "'admin', is none of writ-signerd")):
        process = managed.start_role("signer", [managed.sockets[s] for s in sockets], names)
        assert process.wait(timeout=20) == 2, managed.said("signer")
        assert why in managed.said("signer"), managed.said("signer")


def test_a_role_under_another_user_is_refused(managed):
    if not managed.root:
        pytest.skip("only root can start a process as another user")
    assert managed.start_role("signer", user="writ-fetch").wait(timeout=20) == 2
    assert "is not the user of writ-signerd" in managed.said("signer")


def test_what_the_units_hand_over_is_a_whole_writ(managed):
    for role in ("device", "signer", "issuer"):
        managed.start_role(role)
    try:
        wait_for("healthy", managed.healthy, 30)
    except AssertionError as e:
        raise AssertionError(f"{e}\n" + "".join(managed.said(r)[-3000:] for r in ("device", "signer", "issuer"))) from None
    assert managed.ocsp(managed.agent_with_leaf("unit")) == "GOOD"
    told = managed.run("custody", "status", "--config", managed.path("writ.yaml"))
    assert "up" in told.stdout, told.stdout
    for role in ("device", "signer", "issuer"):
        with open(f"/proc/{managed.started[role][-1].pid}/status", encoding="ascii") as f:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        assert status["Name"] == f"writ-{role}d", status["Name"]
        assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1"
        if managed.root:
            assert status["Uid"].split()[0] == str(pwd.getpwnam(managed.user(f"writ-{role}")).pw_uid)
            assert int(status["CapEff"], 16) == 0 == int(status["CapBnd"], 16), role


def test_the_journal_is_readable_by_its_group_and_the_keys_by_the_signer_alone(managed):
    def asked(path, who, groups=()):
        account = pwd.getpwnam(managed.user(who))
        return subprocess.run(["ls", path], capture_output=True, check=False, user=account.pw_uid, group=account.pw_gid,
                              extra_groups=[grp.getgrnam(STAND_IN[g]).gr_gid for g in groups]).returncode == 0
    if not managed.root:
        pytest.skip("only root can ask as other users")
    assert asked(managed.path("state/journal"), "writ-issuer", ["writ-log"]) and not asked(managed.path("state/journal"), "writ-issuer")
    assert asked(managed.path("state/keys"), "writ-signer")
    for who in ("writ-issuer", "writ-device", "writ-fetch"):
        assert not asked(managed.path("state/keys"), who)
