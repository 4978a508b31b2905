"""Signed grants as a delegator makes them with somebody else's library, and as somebody who means ill would; and the hops of a leaf.

Knows the JWS of delegation.md 8 and the DER of its 3.2, nothing of Writ's code.
"""
import base64
import json
import secrets
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from house import DELEGATION_OID, ERP, INVOICES, TD, House, new_key

AUDIENCE = "https://writ.corp.example"
ALICE, CI = f"spiffe://{TD}/human/corp/alice", f"spiffe://{TD}/service/ci/build"
BOT = f"spiffe://{TD}/agent/invoice-bot"
P256_N = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551

# two loops: a key is shared by threads, and so is what is reserved
CONFIGURATION = f"""\
threads: 2
grants:
  audience: {AUDIENCE}
  keys:
    - {{kid: alice-1, kind: human, principal: "{ALICE}", key: alice-1.pub}}
    - {{kid: ci-1, kind: service, principal: "{CI}", key: ci-1.pub}}
"""


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def write_public(house, name, key):
    with open(house.path(name), "wb") as f:
        f.write(key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))


def house_with_grants(custody="swtpm", configuration=CONFIGURATION, **more):
    """Not yet started: alice signs with P-256, the build service with Ed25519."""
    house = House(custody, extra=configuration, **more)
    house.grant_keys = {"alice-1": new_key(), "ci-1": new_key("Ed25519")}
    for kid, key in house.grant_keys.items():
        write_public(house, kid + ".pub", key)
    return house


def claims_for(holder, iss=ALICE, **more):
    """A whole grant for this holder's key; None takes a member out."""
    now = int(time.time())
    claims = {"iss": iss, "aud": AUDIENCE, "jti": secrets.token_urlsafe(16), "iat": now, "nbf": now, "exp": now + 600,
              "agent": BOT, "spki_sha256": holder.spki_sha256, "task": {"purpose": "quarter end"},
              "scope": [{"actions": ["invoices:read"], "resources": [INVOICES], "delegable": True}],
              "audience": [ERP], "depth": 1, "grant_end": now + 1800}
    claims.update(more)
    return {k: v for k, v in claims.items() if v is not None}


def raw_signature(key, message, high_s=False):
    """As JWS wants it: r || s; of the two forms of s the smaller, or on request the bigger."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(message)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
    if (s > P256_N // 2) != high_s:
        s = P256_N - s
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def sign(key, claims, kid="alice-1", header=None, signature=None, high_s=False):
    """A compact JWS; `claims` and `header` may be text, to say what no dictionary can."""
    if header is None:
        header = {"alg": "EdDSA" if isinstance(key, ed25519.Ed25519PrivateKey) else "ES256", "kid": kid, "typ": "writ-grant+jwt"}
    parts = [p if isinstance(p, str) else json.dumps(p) for p in (header, claims)]
    signed = ".".join(b64(p.encode()) for p in parts)
    if signature is None:
        signature = raw_signature(key, signed.encode(), high_s)
    return signed + "." + b64(signature)


def submit(house, compact, client=None, **headers):
    return (client or house.nobody()).ask("POST", "/v1/tasks", {"grant": compact}, {k.replace("_", "-"): v for k, v in headers.items()})


# ---- the hops of a leaf ----

def elements(der):
    """(tag, contents) of the elements in these bytes."""
    found = []
    while der:
        tag, length, at = der[0], der[1], 2
        if length & 0x80:
            at += length & 0x7f
            length = int.from_bytes(der[2:at], "big")
        found.append((tag, der[at:at + length]))
        der = der[at + length:]
    return found


METHODS = {0: "mtlsCert", 1: "signedGrant", 2: "oidcIdToken", 3: "writCert"}
KINDS = {0: "human", 1: "service", 2: "agent"}


def hops(cert):
    """What each hop says, root first."""
    value = cert.extensions.get_extension_for_oid(x509.ObjectIdentifier(DELEGATION_OID)).value.value
    delegation = elements(elements(value)[0][1])
    told = []
    for _, hop in elements(delegation[4][1]):
        fields = elements(hop)
        auth = elements(fields[3][1])
        optional = dict(fields[8:])
        told.append({"principal": fields[1][1].decode(), "kind": KINDS[fields[2][1][0]], "method": METHODS[auth[0][1][0]],
                     "digest": auth[1][1], "authority": dict(auth[2:]).get(0x80, b"").decode(), "not_after": fields[5][1].decode(),
                     "grant": optional.get(0x81)})
    return told
