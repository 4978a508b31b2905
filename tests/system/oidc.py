"""ID tokens as a provider makes them and as somebody who means ill would; JWK sets; a server of them; a real provider and a person who logs in.

Knows OpenID Connect Core and HTML forms, nothing of Writ's code.
"""
import base64
import hashlib
import http.cookiejar
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from grants import b64, raw_signature
from house import ROOT, free_port

PROVIDER = "oidc-provider@8.8.1"
FOLDER = os.path.join(ROOT, "build", "oidc-provider")
SCRIPT = os.path.join(ROOT, "tests", "system", "interop", "provider.mjs")
REDIRECT = "http://127.0.0.1/cb"


def number(n, octets):
    return b64(n.to_bytes(octets, "big"))


def jwk(key, kid, private=False, **more):
    """Of a P-256 or an RSA-2048 key."""
    numbers = key.private_numbers()
    if isinstance(key, rsa.RSAPrivateKey):
        told = {"kty": "RSA", "n": number(numbers.public_numbers.n, 256), "e": number(numbers.public_numbers.e, 3)}
        secret = {"d": number(numbers.d, 256), "p": number(numbers.p, 128), "q": number(numbers.q, 128), "dp": number(numbers.dmp1, 128),
                  "dq": number(numbers.dmq1, 128), "qi": number(numbers.iqmp, 128)}
    else:
        told = {"kty": "EC", "crv": "P-256", "x": number(numbers.public_numbers.x, 32), "y": number(numbers.public_numbers.y, 32)}
        secret = {"d": number(numbers.private_value, 32)}
    return {**told, **(secret if private else {}), "kid": kid, "use": "sig", **more}


def jwks(*keys):
    return json.dumps({"keys": list(keys)}).encode()


def nonce_of(grant_body):
    return b64(hashlib.sha256(base64.urlsafe_b64decode(grant_body + "===")).digest())


def token(key, claims, kid, alg=None, **header):
    """A compact JWS; None takes a header member out."""
    alg = alg or ("RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256")
    whole = {k: v for k, v in {"alg": alg, "kid": kid, "typ": "JWT", **header}.items() if v is not None}
    signed = b64(json.dumps(whole).encode()) + "." + b64(json.dumps(claims).encode())
    if alg == "PS256":
        signature = key.sign(signed.encode(), padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    else:
        signature = raw_signature(key, signed.encode())
    return signed + "." + b64(signature)


class Keys:
    """A server of one document, which a test may change; counts who asks."""

    def __init__(self, document=b"{}"):
        self.document, self.status, self.headers, self.asked = document, 200, {}, 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):  # pylint: disable=invalid-name
                outer.asked += 1
                self.send_response(outer.status)
                for name, value in {"Content-Length": str(len(outer.document)), **outer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(outer.document)

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}/jwks"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


# ---- a real provider ----

def install():
    """None, or why oidc-provider cannot be had."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        return "there is no node, or no npm, on this machine"
    if os.path.exists(os.path.join(FOLDER, "node_modules", "oidc-provider", "lib", "index.js")):
        return None
    os.makedirs(FOLDER, exist_ok=True)
    with open(os.path.join(FOLDER, "package.json"), "w", encoding="ascii") as f:
        f.write('{"private": true}\n')
    command = [npm, "install", "--prefix", FOLDER, "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries", "1", "--fetch-timeout", "20000",
               "--save-exact", PROVIDER]
    try:
        made = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False, timeout=240)
    except (OSError, subprocess.TimeoutExpired) as e:
        return str(e)
    return None if made.returncode == 0 else (made.stderr.strip() or made.stdout.strip()).split("\n")[-1]


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


class Provider:
    """oidc-provider on a port of its own, with the keys and the algorithm of now."""

    def __init__(self, folder):
        self.keys_file, self.log_file = os.path.join(folder, "provider-keys.json"), os.path.join(folder, "provider.log")
        self.port, self.process = free_port(), None

    @property
    def issuer(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self, algorithm, *keys):
        with open(self.keys_file, "wb") as f:
            f.write(jwks(*keys))
        os.chmod(self.keys_file, 0o600)
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen([shutil.which("node"), SCRIPT, FOLDER, str(self.port), self.keys_file, algorithm, REDIRECT],
                                            stdout=subprocess.PIPE, stderr=log)
        if self.process.stdout.readline() != b"ready\n":
            with open(self.log_file, encoding="utf-8", errors="replace") as f:
                raise AssertionError("the provider did not start\n" + f.read()[-2000:])

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(timeout=20)
            self.process.stdout.close()
        self.process = None

    def log_in(self, who, nonce):
        """The code flow with PKCE, as a browser and a native client go through it: the ID token."""
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()), NoRedirect)

        def go(url, form=None):
            """Follows redirects to a page, or to our own redirect URI."""
            for _ in range(10):
                try:
                    answer = opener.open(url, urllib.parse.urlencode(form).encode() if form else None, timeout=20)
                except urllib.error.HTTPError as e:
                    answer = e
                if not answer.headers.get("Location"):
                    return url, answer.read().decode()
                url, form = urllib.parse.urljoin(url, answer.headers["Location"]), None
                if url.startswith(REDIRECT):
                    return url, None
            raise AssertionError("too many redirects")

        verifier = b64(os.urandom(32))
        query = {"client_id": "writ", "response_type": "code", "scope": "openid", "redirect_uri": REDIRECT, "nonce": nonce,
                 "code_challenge": b64(hashlib.sha256(verifier.encode()).digest()), "code_challenge_method": "S256"}
        url, page = go(f"{self.issuer}/auth?" + urllib.parse.urlencode(query))
        while page is not None:  # log in, then consent
            action, prompt = re.search(r'<form[^>]*action="([^"]+)"', page), re.search(r'name="prompt" value="(\w+)"', page)
            assert action and prompt, page[:2000]
            url, page = go(action.group(1), {"prompt": prompt.group(1), "login": who, "password": "any"})
        code = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["code"][0]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT, "client_id": "writ", "code_verifier": verifier}
        with urllib.request.urlopen(f"{self.issuer}/token", urllib.parse.urlencode(form).encode(), timeout=20) as answer:
            return json.loads(answer.read())


def now():
    return int(time.time())
