"""The servers that tests/bench/run puts beside ours: nginx, `openssl ocsp`, cfssl's sign API and cfssl's OCSP responder;
and the least that a server with epoll does, which serves nobody (bare.c).

Knows how each is started so that it does what ours does, as fast as it can; knows nothing of what is measured.
"""
import base64
import contextlib
import datetime
import json
import os
import socket
import subprocess
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from measure import OUT, SERVER_CORE, on_core, sh


def new_key():
    return ec.generate_private_key(ec.SECP256R1())


class Peers:
    """Each with all its processes on the servers' core, and with a CA of their own; started when first asked for."""

    def __init__(self, folder, free_port):
        self.dir, self.started, self.running = folder, [], {}
        self.nginx_port, self.tls_port, self.openssl_port, self.cfssl_port, self.ocspserve_port, self.bare_port = (free_port() for _ in range(6))
        os.makedirs(self.path("www"))
        os.chmod(self.dir, 0o755)
        self.write("www/file", "x" * 400)
        self.ca()

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="ascii") as f:
            f.write(text)
        return self.path(name)

    def once(self, name, start):
        """Process ids of a server that stays."""
        if name not in self.running:
            self.running[name] = start()
        return self.running[name]

    def start(self, name, command, ready, **env):
        with open(self.path(name + ".log"), "wb") as log, on_core(SERVER_CORE):
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.dir, env=dict(os.environ, **env))
        self.started.append(process)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if ready(self.path(name + ".log")):
                return process.pid
            time.sleep(0.05)
        with open(self.path(name + ".log"), encoding="utf-8", errors="replace") as log:
            raise SystemExit(f"bench: {name} did not start:\n{log.read()}")

    @staticmethod
    def answers(port):
        def ready(_):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return True
            return False
        return ready

    def bare(self, answer):
        """Sends `answer` to whatever it receives."""
        def start():
            with open(self.path("answer"), "wb") as f:
                f.write(answer)
            return [self.start("bare", [os.path.join(OUT, "bare"), "127.0.0.1", str(self.bare_port), self.path("answer")], self.answers(self.bare_port))]
        return self.once("bare", start)

    # ---- nginx ----

    def nginx_conf(self, server):
        return f"""\
user root;
worker_processes 1;
daemon off;
pid {self.path('nginx.pid')};
error_log {self.path('nginx-error.log')};
events {{ worker_connections 4096; multi_accept on; }}
http {{
	access_log off;
	open_file_cache max=100 inactive=600s;
	open_file_cache_valid 600s;
	keepalive_requests 1000000000;
	tcp_nodelay on;
	client_body_temp_path {self.path('t1')}; proxy_temp_path {self.path('t2')}; fastcgi_temp_path {self.path('t3')};
	uwsgi_temp_path {self.path('t4')}; scgi_temp_path {self.path('t5')};
	server {{ {server} }}
}}
"""

    def with_children(self, master):
        with open(f"/proc/{master}/task/{master}/children", encoding="ascii") as f:
            return [master, *map(int, f.read().split())]

    def nginx(self):
        """Files of www/ over plain HTTP."""
        def start():
            conf = self.write("nginx.conf", self.nginx_conf(f"listen 127.0.0.1:{self.nginx_port} backlog=4096; root {self.path('www')};"))
            return self.with_children(self.start("nginx", ["nginx", "-e", self.path("nginx-error.log"), "-c", conf], self.answers(self.nginx_port)))
        return self.once("nginx", start)

    def nginx_tls(self, house):
        """TLS 1.3 that demands a client certificate below Writ's anchor, no tickets, and 201 to POST /v1/renew: a handshake and next to nothing else."""
        def start():
            conf = self.write("nginx-tls.conf", self.nginx_conf(
                f"listen 127.0.0.1:{self.tls_port} ssl backlog=4096; ssl_protocols TLSv1.3; ssl_session_tickets off; ssl_session_cache off; "
                f"ssl_certificate {house.path('api.pem')}; ssl_certificate_key {house.path('api.key')}; "
                f"ssl_client_certificate {house.write_anchor()}; ssl_verify_client on; ssl_verify_depth 3; "
                "location = /v1/renew { return 201 \"nothing\"; }").replace(self.path("nginx.pid"), self.path("nginx-tls.pid")))
            return self.with_children(self.start("nginx-tls", ["nginx", "-e", self.path("nginx-error.log"), "-c", conf], self.answers(self.tls_port)))
        return self.once("nginx-tls", start)

    # ---- the CA of the others ----

    def ca(self):
        sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.path("ca.key"), "-out",
           self.path("ca.pem"), "-days", "2", "-subj", "/CN=peers", "-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature",
           stderr=subprocess.DEVNULL)
        with open(self.path("ca.key"), "rb") as f:
            self.ca_key = serialization.load_pem_private_key(f.read(), None)
        with open(self.path("ca.pem"), "rb") as f:
            self.ca_cert = x509.load_pem_x509_certificate(f.read())

    def certify(self, name, serial, key, *extensions):
        now = datetime.datetime.utcnow()
        builder = (x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])).issuer_name(self.ca_cert.subject)
                   .serial_number(serial).public_key(key.public_key()).not_valid_before(now - datetime.timedelta(hours=1))
                   .not_valid_after(now + datetime.timedelta(days=1)))
        for extension in extensions:
            builder = builder.add_extension(extension, False)
        return builder.sign(self.ca_key, hashes.SHA256())

    def ocsp_request(self, serial):
        cert = self.certify("asked", serial, self.ca_key)
        return ocsp.OCSPRequestBuilder().add_certificate(cert, self.ca_cert, hashes.SHA1()).build().public_bytes(serialization.Encoding.DER)

    @contextlib.contextmanager
    def openssl(self):
        """For one round: when a client hangs up before it asked, this responder spins for ever after.  It knows serial 1."""
        self.write("index.txt", "V\t491231235959Z\t\t01\tunknown\t/CN=one\n")

        def ready(path):
            with open(path, encoding="utf-8", errors="replace") as log:
                return "waiting for OCSP client connections" in log.read()
        yield [self.start("openssl", ["openssl", "ocsp", "-port", str(self.openssl_port), "-index", "index.txt", "-CA", "ca.pem", "-rkey", "ca.key",
                                      "-rsigner", "ca.pem", "-nmin", "60"], ready)]
        process = self.started.pop()
        process.kill()
        process.wait()

    # ---- cfssl ----

    def cfssl(self):
        """Its sign API: plain HTTP, nobody is asked who he is, nothing is stored."""
        def start():
            config = self.write("cfssl.json", json.dumps({"signing": {"default": {"expiry": "1h", "usages": ["digital signature", "client auth"]}}}))
            return [self.start("cfssl", ["cfssl", "serve", "-address", "127.0.0.1", "-port", str(self.cfssl_port), "-ca", "ca.pem", "-ca-key", "ca.key",
                                         "-config", config, "-loglevel", "4"], self.answers(self.cfssl_port), GOMAXPROCS="1")]
        return self.once("cfssl", start)

    def ocspserve(self, serials):
        """Its responder, over a file of responses signed before: one for each of `serials`, delegated, as ours are."""
        def start():
            key, now = new_key(), datetime.datetime.utcnow()
            responder = self.certify("responder", 2, key, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), x509.OCSPNoCheck())
            with open(self.path("responses"), "w", encoding="ascii") as f:
                for serial in serials:
                    response = (ocsp.OCSPResponseBuilder().add_response(
                        self.certify("asked", serial, key), self.ca_cert, hashes.SHA1(), ocsp.OCSPCertStatus.GOOD, now - datetime.timedelta(seconds=30),
                        now + datetime.timedelta(hours=2), None, None).responder_id(ocsp.OCSPResponderEncoding.HASH, responder)
                                .certificates([responder]).sign(key, hashes.SHA256()))
                    f.write(base64.b64encode(response.public_bytes(serialization.Encoding.DER)).decode() + "\n")
            return [self.start("ocspserve", ["cfssl", "ocspserve", "-address", "127.0.0.1", "-port", str(self.ocspserve_port), "-responses",
                                             self.path("responses"), "-loglevel", "4"], self.answers(self.ocspserve_port), GOMAXPROCS="1")]
        return self.once("ocspserve", start)

    def stop(self):
        for process in self.started:
            if process.poll() is None:
                process.terminate()
        for process in self.started:
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def cfssl_bodies(n):
    """Requests for its sign API."""
    for i in range(n):
        csr = (x509.CertificateSigningRequestBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"agent-{i}")]))
               .sign(new_key(), hashes.SHA256()))
        yield json.dumps({"certificate_request": csr.public_bytes(serialization.Encoding.PEM).decode()}).encode()
