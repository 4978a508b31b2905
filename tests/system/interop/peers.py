"""Real handshakes between agents, each stack with every other, both as client and as server; and what each refuses.

A peer is a program of one stack, in this folder:
    PEER server DIR ID     listens on a port of its own, which it prints ("port N"); of each connection it prints "ok ID" or "refused WHY"
    PEER client DIR        reads lines "PORT ID", connects, and prints the same of each
It shows DIR/chain.pem (a leaf and its issuing CA) with DIR/leaf.key, trusts DIR/anchor.pem alone, checks DIR/crls.pem when it is there, and
takes nobody but ID: the only name in a leaf is a SPIFFE ID, so no stack's check of host names is of use.  "ok" is said only when a line was
heard from the other side, which in TLS 1.3 is the first sign for a client that it was taken.

Knows Writ only by house.py.  `./table` writes what a run saw into deploy/spec/interop.md.
"""
import os
import queue
import shutil
import subprocess
import threading

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from house import BUILD, ROOT, wait_for

HERE = os.path.join(ROOT, "tests", "system", "interop")
MADE = os.path.join(BUILD, "interop")
TABLE = os.path.join(ROOT, "deploy", "spec", "interop.md")
PATIENCE_S = 60


class Absent(Exception):
    """This stack is not on this machine, and need not be."""


class Stack:
    def __init__(self, name, command, version, names, lists, source=None, build=None, optional=False):
        self.name, self.command, self.version, self.names, self.lists = name, command, version, names, lists
        self.source, self.build, self.optional = source, build, optional

    def ready(self):
        """Compiles it once for a version of its source."""
        if not self.build:
            return
        source, mark = os.path.join(HERE, self.source), os.path.join(MADE, self.source.replace("/", "-") + ".made")
        if os.path.exists(mark) and os.path.getmtime(mark) > os.path.getmtime(source):
            return
        os.makedirs(MADE, exist_ok=True)
        if self.optional and not shutil.which(self.build[0]):
            raise Absent(f"{self.name}: {self.build[0]} is not here")
        made = subprocess.run(self.build, capture_output=True, text=True, check=False, timeout=900, cwd=os.path.dirname(source), env=dict(
            os.environ, GO111MODULE="off", GOPATH="/usr/share/gocode", GOFLAGS="", GOCACHE=f"/tmp/writ-gocache-{os.getuid()}", CARGO_NET_RETRY="1"))
        if made.returncode != 0 and self.optional:
            raise Absent(f"{self.name} cannot be built: {made.stderr.strip().splitlines()[-1:]}")
        assert made.returncode == 0, made.stderr
        with open(mark, "w", encoding="ascii"):
            pass

    def seen(self):
        """Its version, as it tells it."""
        told = subprocess.run(self.version, capture_output=True, text=True, check=True)
        return (told.stdout + told.stderr).strip().splitlines()[0].split(" (")[0].strip()


def made(name):
    return os.path.join(MADE, name)


STACKS = [
    Stack("OpenSSL", [made("openssl")], ["openssl", "version"], "`X509_get_ext_d2i()` after the handshake",
          "`X509_V_FLAG_CRL_CHECK_ALL`", "peer_openssl.c", ["cc", "-o", made("openssl"), "peer_openssl.c", "-lssl", "-lcrypto"]),
    Stack("Go crypto/tls", [made("go")], ["/usr/bin/go", "version"], "`VerifyConnection`; `InsecureSkipVerify` on a client",
          "`ParseRevocationList` in `VerifyConnection`", "peer.go", ["/usr/bin/go", "build", "-o", made("go"), "peer.go"]),
    Stack("Java JSSE", ["java", "-XX:TieredStopAtLevel=1", "-cp", MADE, "Peer"], ["java", "-version"],
          "`getPeerCertificates()` after the handshake; no endpoint identification",
          "`PKIXRevocationChecker`, `PREFER_CRLS`, `NO_FALLBACK`", "Peer.java", ["javac", "-d", MADE, "Peer.java"]),
    Stack("Node tls", ["node", os.path.join(HERE, "peer.js")], ["node", "--version"],
          "`checkServerIdentity` on a client, `getPeerCertificate()` on a server", "option `crl`"),
    Stack("Python ssl", ["/usr/bin/python3", os.path.join(HERE, "peer.py")], ["/usr/bin/python3", "--version"],
          "`getpeercert()`; `check_hostname = False`", "`VERIFY_CRL_CHECK_CHAIN`"),
    Stack("GnuTLS", [made("gnutls")], ["gnutls-cli", "--version"], "`gnutls_certificate_set_verify_function()`, no host name in it",
          "`gnutls_certificate_set_x509_crl_file()`", "peer_gnutls.c", ["cc", "-o", made("gnutls"), "peer_gnutls.c", "-lgnutls"]),
    Stack("rustls", [made("rustls/debug/peer-rustls")],
          ["sed", "-n", '/^name = "rustls"$/{n;s/version = "\\(.*\\)"/rustls \\1/p}', os.path.join(HERE, "rustls", "Cargo.lock")], "a verifier over `webpki::EndEntityCert`",
          "`RevocationOptionsBuilder`, depth `Chain`", "rustls/src/main.rs",
          ["cargo", "build", "-q", "--locked", "--target-dir", made("rustls")], optional=True),
]
OPENSSL = STACKS[0]


class Peer:
    """One running peer."""

    def __init__(self, stack, *arguments, log):
        self.name, self.log = f"{stack.name} {arguments[0]}", log
        self.process = subprocess.Popen([*stack.command, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        stderr=open(log, "ab"))
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def line(self):
        try:
            got = self.lines.get(timeout=PATIENCE_S)
        except queue.Empty:
            got = None
        if got is None:
            with open(self.log, encoding="utf-8", errors="replace") as f:
                raise AssertionError(f"{self.name} said nothing:\n{f.read()[-3000:]}")
        return got

    def ask(self, questions):
        """Of a client: what came of each (port, id)."""
        self.process.stdin.write("".join(f"{port} {name}\n" for port, name in questions))
        self.process.stdin.close()
        return [self.line() for _ in questions]

    def end(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()


class Server(Peer):
    def __init__(self, stack, folder, name, log):
        super().__init__(stack, "server", folder, name, log=log)
        self.listening = None

    @property
    def port(self):
        if self.listening is None:
            word, number = self.line().split()
            assert word == "port", word
            self.listening = int(number)
        return self.listening


class Run:
    """All handshakes.  Each answer is what the program said: "ok ID" or "refused WHY"."""

    def __init__(self, house):
        self.house, self.absent = house, []
        self.stacks = []
        for stack in STACKS:
            try:
                stack.ready()
                self.stacks.append(stack)
            except Absent as e:
                self.absent.append(str(e))
        self.server, self.client, self.revoked = (house.agent_with_leaf("peer-" + name) for name in ("server", "client", "revoked"))
        done = house.person().ask("POST", f"/v1/tasks/{self.revoked.task}/complete", {})
        assert done.status == 200, done
        wait_for("the CRL lists the revoked leaf",
                 lambda: house.crl(self.server).get_revoked_certificate_by_serial_number(int(self.revoked.serial, 16)))
        self.handshakes, self.accepted = {}, {}                 # (client, server): what the client, what the server said
        self.as_server, self.as_client = {}, {}                 # stack: {case: what it said}
        self.folders()
        try:
            self.go()
        finally:
            for server in self.running:
                server.end()

    def folders(self):
        house, pem = self.house, serialization.Encoding.PEM
        issuing = house.issuing_of(self.server)
        url = issuing.extensions.get_extension_for_class(x509.CRLDistributionPoints).value[0].full_name[0].value
        anchors_crl = x509.load_der_x509_crl(house.get(url[url.index("/crl/"):]))
        crls = house.crl(self.server).public_bytes(pem) + anchors_crl.public_bytes(pem)
        anchor = house.anchor().public_bytes(pem)

        def folder(name, chain, key, lists):
            os.makedirs(house.path("peers/" + name), exist_ok=True)
            for file, contents in (("chain.pem", chain), ("leaf.key", key), ("anchor.pem", anchor), ("crls.pem", lists)):
                if contents:
                    with open(house.path(f"peers/{name}/{file}"), "wb") as f:
                        f.write(contents)

        def read(path):
            with open(path, "rb") as f:
                return f.read()

        for name, agent in (("server", self.server), ("client", self.client), ("revoked", self.revoked)):
            folder(name, read(agent.cert_file), read(agent.key_file), crls)
            folder(name + "-no-crls", read(agent.cert_file), read(agent.key_file), None)
        for name in ("alice", "erp"):                           # below another anchor
            folder(name, read(house.path(name + ".pem")), read(house.path(name + ".key")), crls)

    def start(self, stack, folder, name):
        server = Server(stack, self.house.path("peers/" + folder), name, self.house.path("peers.log"))
        self.running.append(server)
        return server

    def client_of(self, stack, folder, questions):
        client = Peer(stack, "client", self.house.path("peers/" + folder), log=self.house.path("peers.log"))
        try:
            return client.ask(questions)
        finally:
            client.end()

    def go(self):
        server_id, client_id, revoked_id = self.server.id, self.client.id, self.revoked.id
        self.running = []
        servers = {s.name: self.start(s, "server", client_id) for s in self.stacks}
        careless = {s.name: self.start(s, "server-no-crls", revoked_id) for s in self.stacks}
        revoked, other, stranger = (self.start(OPENSSL, folder, client_id) for folder in ("revoked", "server", "erp"))

        for stack in self.stacks:
            answers = self.client_of(stack, "client", [
                *((s.port, server_id) for s in servers.values()), (revoked.port, revoked_id), (other.port, client_id),
                (stranger.port, server_id)])
            for (name, server), answer in zip(servers.items(), answers):
                self.handshakes[stack.name, name], self.accepted[stack.name, name] = answer, server.line()
            said = dict(zip(("revoked", "another name", "another anchor"), answers[len(servers):]))
            said["revoked, no CRL"], = self.client_of(stack, "client-no-crls", [(revoked.port, revoked_id)])
            self.as_client[stack.name] = said

        for stack in self.stacks:
            self.as_server[stack.name] = {}
        for case, folder, asked in (("revoked", "revoked", servers), ("another name", "server", servers), ("another anchor", "alice", servers),
                                    ("revoked, no CRL", "revoked-no-crls", careless)):
            self.client_of(OPENSSL, folder, [(s.port, server_id) for s in asked.values()])
            for name, server in asked.items():
                self.as_server[name][case] = server.line()

    # ---- the table ----

    def is_all_ok(self, name):
        return all(said.startswith("ok") for pair, said in [*self.handshakes.items(), *self.accepted.items()] if name in pair)

    def rows(self):
        """Stack: cells of the table, its version aside."""
        def refused(said, word):
            return "refused" if said.startswith("refused") and word in said.lower() else f"**{said}**"

        def careless(*said):
            return "accepted" if all(s.startswith("ok") for s in said) else "**" + "; ".join(said) + "**"

        return {s.name: [
            "yes" if self.is_all_ok(s.name) else "**no**",
            refused(self.as_server[s.name]["revoked"], "revoked"), refused(self.as_client[s.name]["revoked"], "revoked"),
            careless(self.as_server[s.name]["revoked, no CRL"], self.as_client[s.name]["revoked, no CRL"]),
            s.names, s.lists] for s in self.stacks}

    def markdown(self):
        lines = [
            "# Handshakes with other TLS stacks", "",
            "Written by `tests/system/interop/table`; the tests hold it against what they see. Two agents, each with a leaf of Writ, over TLS 1.3:",
            "every stack below as client with every stack as server, each trusting nothing but Writ's anchor. The programs are in",
            "`tests/system/interop/`: each shows in some hundred lines what that stack needs to be told.", "",
            "A leaf's only name is a SPIFFE ID, so checks of host names are of no use and must be replaced by two: the path ends in the anchor, and",
            "the only subject alternative name is the URI of the agent that is meant. Each program refuses a good leaf of another agent, and a",
            "certificate of another CA, as client and as server.", "",
            "| stack | seen | client and server with all others | revoked client | revoked server | revoked, no CRL given | SPIFFE ID by | CRLs by |",
            "|---|---|---|---|---|---|---|---|"]
        versions = {s.name: s.seen() for s in self.stacks}
        lines += ["| " + " | ".join([name, versions[name], *cells]) + " |" for name, cells in self.rows().items()]
        lines += ["", "No stack asks for a CRL by itself: without one a revoked leaf is taken until it runs out, 15 minutes at most."]
        return "\n".join(lines) + "\n"


def printed():
    """The committed table: stack: cells, its version aside."""
    with open(TABLE, encoding="utf-8") as f:
        rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in f if line.startswith("| ")]
    return {row[0]: row[2:] for row in rows if row[0] != "stack"}
