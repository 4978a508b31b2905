"""A whole Writ for tests: a device (swtpm or SoftHSM), a corporate CA, the ceremony, the processes, and clients of the API.

Knows how to start, kill and restart what it made itself, by process id; knows nothing of what a test claims.
"""
import base64
import datetime
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("WRIT_BUILD", os.path.join(ROOT, "build", "dev"))
TD = "agents.corp.example"
ERP = "https://erp.corp.example"
INVOICES = ERP + "/v2/invoices/**"
DELEGATION_OID = "1.2.840.113556.1.8000.2554.33528.53508.15422.19207.37425.13410731.3484567.1.1"

POLICY = f"""\
version: 1
id: test-policy
roles: {{operator: ["spiffe://{TD}/human/corp/olga"],
  auditor: ["spiffe://{TD}/human/corp/ada"],
  responder: ["spiffe://{TD}/human/corp/responder-1", "spiffe://{TD}/human/corp/responder-2"]}}
rules:
  - name: invoices
    delegator: ["spiffe://{TD}/human/corp/**"]
    kind: human
    agents: ["spiffe://{TD}/agent/invoice-bot"]
    entitlements:
      - actions: ["invoices:*"]
        resources: ["{INVOICES}"]
        delegable: true
    audience: ["{ERP}"]
    max_lifetime: 15m
    max_grant: 2h
    max_depth: 3
  - name: readers
    delegator: ["spiffe://{TD}/agent/**"]
    kind: agent
    agents: ["spiffe://{TD}/agent/pdf-reader", "spiffe://{TD}/agent/invoice-bot"]
    entitlements:
      - actions: ["invoices:*"]
        resources: ["{INVOICES}"]
        delegable: true
    audience: ["{ERP}"]
    max_lifetime: 15m
    max_grant: 2h
    max_depth: 3
"""

# Behind POLICY's rules: what waits for approvals.
PAYMENTS = f"""\
  - name: payments
    delegator: ["spiffe://{TD}/human/corp/**"]
    kind: human
    agents: ["spiffe://{TD}/agent/payer"]
    entitlements:
      - actions: ["payments:create"]
        resources: ["{ERP}/v2/payments"]
    audience: ["{ERP}"]
    max_lifetime: 15m
    approvals: {{of: 2, by: ["spiffe://{TD}/human/corp/**"], within: 30m}}
"""


def program(name):
    return os.path.join(BUILD, "bin", name)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, condition, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds} s")


def pem_key(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def spki(key):
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def new_key(kind="P-256"):
    if kind == "Ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key({"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}[kind])


def csr_der(key):
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else \
        hashes.SHA384() if key.curve.name == "secp384r1" else hashes.SHA256()
    return x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, digest).public_bytes(
        serialization.Encoding.DER)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:400]!r}>"


class Client:
    """One keep-alive connection to the API, as whoever holds the certificate (or nobody)."""

    def __init__(self, house, cert=None, key=None):
        context = ssl.create_default_context(cafile=house.path("corp.pem"))
        if cert:
            context.load_cert_chain(cert, key)
        self.connection = http.client.HTTPSConnection("127.0.0.1", house.api_port, context=context, timeout=20)

    def ask(self, method, path, body=None, headers=None):
        send = dict(headers or {})
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
            send.setdefault("Content-Type", "application/json")
        self.connection.request(method, path, body=body, headers=send)
        answer = self.connection.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer.read())

    def close(self):
        self.connection.close()


class Agent:
    """A key, and the leaf it was given."""

    def __init__(self, house, name, kind="P-256"):
        self.house, self.name, self.key = house, name, new_key(kind)
        self.key_file, self.cert_file = house.path(name + ".key"), house.path(name + ".pem")
        with open(self.key_file, "wb") as f:
            f.write(pem_key(self.key))
        self.issued = None

    @property
    def spki_sha256(self):
        return hashlib.sha256(spki(self.key)).hexdigest()

    def take(self, issued):
        self.issued = issued
        with open(self.cert_file, "w", encoding="ascii") as f:
            f.write(issued["certificate"] + issued["chain"])
        return self

    @property
    def cert(self):
        return x509.load_pem_x509_certificate(self.issued["certificate"].encode())

    @property
    def serial(self):
        return self.issued["serial"]

    def client(self):
        return Client(self.house, self.cert_file, self.key_file)


class House:
    def __init__(self, custody="swtpm", tier="sealed", policy=POLICY, faults=None, extra=""):
        self.dir = tempfile.mkdtemp(prefix="writ-", dir="/tmp")
        os.chmod(self.dir, 0o755)
        self.custody, self.tier = custody, tier
        self.api_port, self.status_port = free_port(), free_port()
        self.device = None
        self.writd = None
        self.faults = faults or {}
        self.corporate_ca()
        self.start_device()
        with open(self.path("policy.yaml"), "w", encoding="utf-8") as f:
            f.write(policy)
        with open(self.path("writ.yaml"), "w", encoding="utf-8") as f:
            f.write(self.configuration() + extra)

    def path(self, name):
        return os.path.join(self.dir, name)

    # ---- what is around Writ ----

    def corporate_ca(self):
        self.ca_key = new_key()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Corp Example CA")])
        now = datetime.datetime.utcnow()
        self.ca = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self.ca_key.public_key())
                   .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
                   .not_valid_after(now + datetime.timedelta(days=30))
                   .add_extension(x509.BasicConstraints(True, None), True)
                   .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), True)
                   .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.ca_key.public_key()), False)
                   .sign(self.ca_key, hashes.SHA256()))
        with open(self.path("corp.pem"), "wb") as f:
            f.write(self.ca.public_bytes(serialization.Encoding.PEM))
        for person in ("alice", "bob", "olga", "ada"):
            self.certify(person)
        self.certify("api", server=True)
        self.certify("erp", server=True)

    def certify(self, name, server=False, days=7, key=None):
        key = key or new_key()
        now = datetime.datetime.utcnow()
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (x509.CertificateBuilder()
                   .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])).issuer_name(self.ca.subject)
                   .public_key(key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(now - datetime.timedelta(minutes=5)).not_valid_after(now + datetime.timedelta(days=days))
                   .add_extension(x509.BasicConstraints(False, None), True)
                   .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.ca_key.public_key()), False)
                   .add_extension(x509.ExtendedKeyUsage([usage]), False))
        if server:
            import ipaddress
            builder = builder.add_extension(x509.SubjectAlternativeName(
                [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        cert = builder.sign(self.ca_key, hashes.SHA256())
        with open(self.path(name + ".pem"), "wb") as f:
            f.write(cert.public_bytes(serialization.Encoding.PEM))
        with open(self.path(name + ".key"), "wb") as f:
            f.write(pem_key(key))
        os.chmod(self.path(name + ".key"), 0o600)
        return cert

    def start_device(self):
        if self.custody == "swtpm":
            os.makedirs(self.path("tpm"), exist_ok=True)
            self.device = subprocess.Popen(
                ["swtpm", "socket", "--tpm2", "--tpmstate", "dir=" + self.path("tpm"),
                 "--server", "type=unixio,path=" + self.path("tpm/sock"), "--ctrl", "type=unixio,path=" + self.path("tpm/sock.ctrl"),
                 "--flags", "startup-clear"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            wait_for("swtpm's socket", lambda: os.path.exists(self.path("tpm/sock")))
        else:
            os.makedirs(self.path("tokens"), exist_ok=True)
            with open(self.path("softhsm2.conf"), "w", encoding="ascii") as f:
                f.write(f"directories.tokendir = {self.path('tokens')}\nobjectstore.backend = file\nlog.level = ERROR\n")
            with open(self.path("pin"), "w", encoding="ascii") as f:
                f.write("482913-demo-pin\n")
            os.chmod(self.path("pin"), 0o600)
            subprocess.run(["softhsm2-util", "--init-token", "--free", "--label", "writ-test", "--so-pin", "so-482913",
                            "--pin", "482913-demo-pin"], check=True, capture_output=True,
                           env=dict(os.environ, SOFTHSM2_CONF=self.path("softhsm2.conf")))

    def configuration(self):
        if self.custody == "swtpm":
            device = f"tpm: {{tcti: 'swtpm:path={self.path('tpm/sock')}', allow_software_tpm: true, auth_file: {self.path('tpm-auth')}}}"
        else:
            module = next(p for p in ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
                                      "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so") if os.path.exists(p))
            device = (f"pkcs11: {{module: {module}, uri: 'pkcs11:token=writ-test;manufacturer=SoftHSM%20project', pin_file: {self.path('pin')}, "
                      f"environment: ['SOFTHSM2_CONF={self.path('softhsm2.conf')}']}}")
        return f"""\
version: 1
trust_domain: {TD}
state: {self.path('state')}
run: {self.path('run')}
api: {{listen: "127.0.0.1:{self.api_port}", certificate: {self.path('api.pem')}, key: {self.path('api.key')}}}
status: {{listen: "127.0.0.1:{self.status_port}", url: "http://127.0.0.1:{self.status_port}"}}
custody:
  tier: {self.tier}
  anchor: device
  {device}
delegators:
  - {{anchors: {self.path('corp.pem')}, kind: human, principal: "spiffe://{TD}/human/corp/{{CN}}", revocation: none}}
policy: {self.path('policy.yaml')}
"""

    def shard_lists(self, entries):
        """status.crl_shard_entries, from the next start on."""
        with open(self.path("writ.yaml"), encoding="utf-8") as f:
            text = f.read()
        url = f'url: "http://127.0.0.1:{self.status_port}"'
        assert url in text
        with open(self.path("writ.yaml"), "w", encoding="utf-8") as f:
            f.write(text.replace(url, f"{url}, crl_shard_entries: {entries}"))

    # ---- Writ itself ----

    def run(self, *arguments, check=True, **kwargs):
        """`writ` with these arguments; its result."""
        result = subprocess.run([program("writ"), *arguments], capture_output=True, text=True, timeout=120, **kwargs)
        if check and result.returncode != 0:
            raise AssertionError(f"writ {' '.join(arguments)}: exit {result.returncode}\n{result.stdout}{result.stderr}")
        return result

    def init(self):
        return self.run("init", "--config", self.path("writ.yaml"))

    def start(self, env=None, wait=True):
        self.log = open(self.path("writd.log"), "ab")
        self.writd = subprocess.Popen([program("writd"), "--config", self.path("writ.yaml")], stdout=self.log, stderr=self.log,
                                      env=dict(os.environ, **(env or {})))
        if wait:
            self.wait_healthy()
        return self

    def healthy(self):
        if self.writd.poll() is not None:
            raise AssertionError("writd ended\n" + self.log_tail())
        try:
            with urllib.request.urlopen(self.status_url("/healthz"), timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def wait_healthy(self, seconds=30):
        try:
            wait_for("healthy", self.healthy, seconds)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.log_tail()}") from None

    def log_tail(self, n=6000):
        with open(self.path("writd.log"), "rb") as f:
            return f.read()[-n:].decode(errors="replace")

    def pids(self, name):
        """Ids of our own processes of that name: children of this writd only."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat", encoding="ascii") as f:
                    fields = f.read().rsplit(")", 1)
                if int(fields[1].split()[1]) == self.writd.pid and fields[0].split("(", 1)[1] == name:
                    found.append(int(pid))
            except (OSError, IndexError):
                continue
        return found

    def stop(self):
        if self.writd and self.writd.poll() is None:
            self.writd.terminate()
            self.writd.wait(timeout=30)
        self.writd = None

    def close(self):
        if self.writd and self.writd.poll() is None:
            self.writd.terminate()
            try:
                self.writd.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.writd.kill()
        if self.device:
            self.device.send_signal(signal.SIGKILL)
            self.device.wait()
        if not os.environ.get("WRIT_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)

    # ---- asking ----

    def status_url(self, path):
        return f"http://127.0.0.1:{self.status_port}{path}"

    def get(self, path):
        with urllib.request.urlopen(self.status_url(path), timeout=10) as answer:
            return answer.read()

    def person(self, name="alice"):
        return Client(self, self.path(name + ".pem"), self.path(name + ".key"))

    def nobody(self):
        return Client(self)

    def anchor(self):
        return x509.load_der_x509_certificate(self.get("/ca/anchor.cer"))

    def write_anchor(self):
        with open(self.path("anchor.pem"), "wb") as f:
            f.write(self.anchor().public_bytes(serialization.Encoding.PEM))
        return self.path("anchor.pem")

    def open_task(self, agent, by=None, **more):
        body = {"agent": {"class": f"spiffe://{TD}/agent/invoice-bot", "spki_sha256": agent.spki_sha256},
                "scope": [{"actions": ["invoices:read"], "resources": [INVOICES], "delegable": True}],
                "audience": [ERP], "depth": 2, "ends_in_s": 3600}
        body.update(more)
        return (by or self.person()).ask("POST", "/v1/tasks", body)

    def delegate(self, parent, agent, **more):
        body = {"agent": {"class": f"spiffe://{TD}/agent/pdf-reader", "spki_sha256": agent.spki_sha256},
                "scope": [{"actions": ["invoices:read"], "resources": [ERP + "/v2/invoices/2026/*"]}], "audience": [ERP]}
        body.update(more)
        return parent.client().ask("POST", "/v1/delegations", body)

    def leaf(self, task, agent, lifetime_s=300, client=None, **more):
        body = {"csr": base64.b64encode(csr_der(agent.key)).decode(), "lifetime_s": lifetime_s}
        body.update(more)
        return (client or self.nobody()).ask("POST", f"/v1/tasks/{task}/leaves", body)

    def agent_with_leaf(self, name="bot", kind="P-256", lifetime_s=300, **more):
        """A task by alice, its agent, and the agent's leaf."""
        agent = Agent(self, name, kind)
        opened = self.open_task(agent, **more)
        assert opened.status == 201, opened
        agent.task, agent.edge, agent.id = opened.json["task"], opened.json["edge"], opened.json["agent"]
        issued = self.leaf(agent.task, agent, lifetime_s)
        assert issued.status == 201, issued
        return agent.take(issued.json)

    def child_with_leaf(self, parent, name="reader", lifetime_s=120, **more):
        agent = Agent(self, name)
        delegated = self.delegate(parent, agent, **more)
        assert delegated.status == 201, delegated
        agent.task, agent.edge, agent.id = delegated.json["task"], delegated.json["edge"], delegated.json["agent"]
        issued = self.leaf(agent.task, agent, lifetime_s)
        assert issued.status == 201, issued
        return agent.take(issued.json)

    def issuing_of(self, agent):
        return x509.load_pem_x509_certificate(agent.issued["chain"].encode())

    def ocsp(self, agent, algorithm=None):
        """'GOOD', 'REVOKED', or the name of an unsigned answer, as Python's cryptography reads it."""
        from cryptography.x509 import ocsp
        request = ocsp.OCSPRequestBuilder().add_certificate(agent.cert, self.issuing_of(agent), algorithm or hashes.SHA256()).build()
        asked = urllib.request.Request(self.status_url("/ocsp"), data=request.public_bytes(serialization.Encoding.DER),
                                       headers={"Content-Type": "application/ocsp-request"})
        with urllib.request.urlopen(asked, timeout=10) as answer:
            response = ocsp.load_der_ocsp_response(answer.read())
        if response.response_status != ocsp.OCSPResponseStatus.SUCCESSFUL:
            return response.response_status.name
        return response.certificate_status.name

    def crl(self, agent):
        url = agent.cert.extensions.get_extension_for_class(x509.CRLDistributionPoints).value[0].full_name[0].value
        with urllib.request.urlopen(url, timeout=10) as answer:
            return x509.load_der_x509_crl(answer.read())
