"""Makes certificates, lists and responses of any shape, wrong ones too: the writer of the test vectors.

A DER writer of its own that builds whatever it is told, and keys and signatures that come out the same each time (scalars by hash, RFC 6979), so
that making the vectors again gives the same bytes.  Shares nothing with Writ's encoder, and nothing with the verifier beside it.
"""
import calendar
import hashlib
import hmac
import time as clock

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

# ---- DER ----


def length(n):
    if n < 0x80:
        return bytes([n])
    octets = n.to_bytes((n.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets


def tlv(tag, *parts):
    contents = b"".join(parts)
    return bytes([tag]) + length(len(contents)) + contents


def seq(*parts):
    return tlv(0x30, *parts)


def integer(n, tag=2):
    return tlv(tag, n.to_bytes(n.bit_length() // 8 + 1, "big", signed=True))


def octets(value, tag=4):
    return tlv(tag, value)


def ia5(text, tag=22):
    return tlv(tag, text.encode("ascii"))


def utf8(text, tag=12):
    return tlv(tag, text.encode() if isinstance(text, str) else text)


def bits(value):
    return tlv(3, b"\0", value)


def oid(dotted):
    first, second, *rest = map(int, dotted.split("."))
    out = bytearray()
    for arc in [first * 40 + second] + rest:
        chunk = [arc % 128]
        while arc >= 128:
            arc //= 128
            chunk.insert(0, arc % 128 + 128)
        out += bytes(chunk)
    return tlv(6, bytes(out))


def stamp(t):
    return clock.strftime("%Y%m%d%H%M%SZ", clock.gmtime(t))


def generalized(t, tag=24):
    """A number, or the text of a wrong one."""
    return tlv(tag, (t if isinstance(t, str) else stamp(t)).encode())


def utc(t):
    return tlv(23, stamp(t)[2:].encode())


def at(text):
    return calendar.timegm(clock.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))


# ---- keys ----

ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551
P256, P384 = ec.SECP256R1(), ec.SECP384R1()
ECDSA_SHA256 = seq(oid("1.2.840.10045.4.3.2"))


def label(text, n=32):
    """Octets that are this text's alone."""
    return hashlib.shake_256(b"writ test vectors: " + text.encode()).digest(n)


class Key:
    def __init__(self, name, kind="P-256"):
        self.name, self.kind = name, kind
        if kind == "Ed25519":
            raw = ed25519.Ed25519PrivateKey.from_private_bytes(label(name)).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            self.spki = seq(seq(oid("1.3.101.112")), bits(raw))
            self.raw = raw
            return
        self.scalar = int.from_bytes(label(name), "big") % (ORDER - 1) + 1
        public = ec.derive_private_key(self.scalar, P256 if kind == "P-256" else P384).public_key()
        self.raw = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        curve = oid("1.2.840.10045.3.1.7" if kind == "P-256" else "1.3.132.0.34")
        self.spki = seq(seq(oid("1.2.840.10045.2.1"), curve), bits(self.raw))

    @property
    def id(self):
        return hashlib.sha1(self.raw).digest()

    def sign(self, message):
        """ECDSA with SHA-256 by RFC 6979: one key, one message, one signature."""
        digest = hashlib.sha256(message).digest()
        seed = self.scalar.to_bytes(32, "big") + (int.from_bytes(digest, "big") % ORDER).to_bytes(32, "big")
        k, v = bytes(32), b"\1" * 32
        for octet in (b"\0", b"\1"):
            k = hmac.digest(k, v + octet + seed, "sha256")
            v = hmac.digest(k, v, "sha256")
        while True:
            v = hmac.digest(k, v, "sha256")
            nonce = int.from_bytes(v, "big")
            if 0 < nonce < ORDER:
                r = ec.derive_private_key(nonce, P256).public_key().public_numbers().x % ORDER
                s = pow(nonce, -1, ORDER) * (int.from_bytes(digest, "big") + r * self.scalar) % ORDER
                if r and s:
                    return seq(integer(r), integer(s))
            k = hmac.digest(k, v + b"\0", "sha256")
            v = hmac.digest(k, v, "sha256")


def signed(tbs, key):
    return seq(tbs, ECDSA_SHA256, bits(key.sign(tbs)))


# ---- pieces of certificates ----

ARC = "1.2.840.113556.1.8000.2554.33528.53508.15422.19207.37425.13410731.3484567"
TIER = {"resident": ARC + ".3.2", "sealed": ARC + ".3.3", "software": ARC + ".3.4"}
TD = "agents.corp.example"


def ext(dotted, value, critical=False):
    return seq(oid(dotted), tlv(1, b"\xff") if critical else b"", octets(value))


def name(organization, cn):
    return seq(*(tlv(0x31, seq(oid(kind), utf8(text))) for kind, text in (("2.5.4.10", organization), ("2.5.4.3", cn))))


def policies(*dotted):
    return seq(*(seq(oid(d)) for d in dotted))


def aki(key_id):
    return seq(octets(key_id, 0x80))


def crldp(url):
    return seq(seq(tlv(0xa0, tlv(0xa0, ia5(url, 0x86)))))


def aia(url, method="1.3.6.1.5.5.7.48.1"):
    return seq(seq(oid(method), ia5(url, 0x86)))


def tbs(serial, issuer, begin, end, subject, spki, extensions):
    return seq(b"\xa0\x03\x02\x01\x02", serial, ECDSA_SHA256, issuer, seq(utc(begin), utc(end)), subject, spki, tlv(0xa3, seq(*extensions)))


class Ca:
    """An anchor (no issuer), an issuing CA, or an OCSP responder, with its certificate."""

    def __init__(self, what, key, issuer=None, begin=0, end=0, tiers=(), path_len=1, crl_url=None, responder=False, domain=TD):
        self.key, self.subject = key, name(domain, f"Writ {what} {key.id.hex()[:8]}")
        self.serial = int.from_bytes(b"\1" + label("serial of " + key.name, 15), "big")
        extensions = [ext("2.5.29.19", seq(tlv(1, b"\xff"), integer(path_len)), True), ext("2.5.29.15", b"\x03\x02\x01\x06", True)]
        if responder:
            extensions = [ext("2.5.29.15", b"\x03\x02\x07\x80", True), ext("2.5.29.37", seq(oid("1.3.6.1.5.5.7.3.9"))), ext("1.3.6.1.5.5.7.48.1.5", b"\x05\x00")]
        extensions.append(ext("2.5.29.14", octets(key.id)))
        if issuer:
            extensions.append(ext("2.5.29.35", aki(issuer.key.id)))
        if not responder:
            extensions.append(ext("2.5.29.32", policies(ARC + ".3.1", *(TIER[t] for t in tiers))))
        if crl_url:
            extensions.append(ext("2.5.29.31", crldp(crl_url)))
        signer = issuer or self
        self.der = signed(tbs(integer(self.serial), signer.subject, begin, end, self.subject, key.spki, extensions), signer.key)


def crl(ca, number, this_update, next_update, serials=(), edges=(), url=None):
    entries = [seq(integer(serial), utc(this_update), seq(ext("2.5.29.21", b"\x0a\x01\x09"))) for serial in serials]
    extensions = [ext("2.5.29.35", aki(ca.key.id)), ext("2.5.29.20", integer(number))]
    if url:
        extensions.append(ext("2.5.29.28", seq(tlv(0xa0, tlv(0xa0, ia5(url, 0x86)))), True))
    if edges:
        extensions.append(ext(ARC + ".5.1", seq(*(octets(e) for e in sorted(edges)))))
    return signed(seq(integer(1), ECDSA_SHA256, ca.subject, utc(this_update), utc(next_update), seq(*entries) if entries else b"",
                      tlv(0xa0, seq(*extensions))), ca.key)


def ocsp(ca, responder, serial, this_update, next_update, revoked=False):
    sha1 = seq(oid("1.3.14.3.2.26"), b"\x05\x00")
    cert_id = seq(sha1, octets(hashlib.sha1(ca.subject).digest()), octets(ca.key.id), integer(serial))
    status = tlv(0xa1, generalized(this_update), tlv(0xa0, b"\x0a\x01\x09")) if revoked else b"\x80\x00"
    single = seq(cert_id, status, generalized(this_update), tlv(0xa0, generalized(next_update)))
    data = seq(tlv(0xa2, octets(responder.key.id)), generalized(this_update), seq(single))
    basic = seq(data, ECDSA_SHA256, bits(responder.key.sign(data)), tlv(0xa0, seq(responder.der)))
    return seq(b"\x0a\x01\x00", tlv(0xa0, seq(oid("1.3.6.1.5.5.7.48.1.1"), octets(basic))))


# ---- TaskDelegation ----

def texts(values, tag=0x30, one=ia5):
    return tlv(tag, *(one(v) for v in values))


def source_net(*networks):
    """"10.0.0.0/8", or octets for a wrong one."""
    import ipaddress

    def one(text):
        if isinstance(text, bytes):
            return text
        net = ipaddress.ip_network(text)
        return net.network_address.packed + net.netmask.packed
    return tlv(0xa0, *(octets(v) for v in sorted(one(n) for n in networks)))


def window(begin, end):
    return tlv(0xa1, generalized(begin), generalized(end))


def param_in(parameter, *values):
    return tlv(0xa3, ia5(parameter), texts(sorted(v.encode() for v in values), one=utf8))


def param_max(parameter, most):
    return tlv(0xa4, ia5(parameter), integer(most))


def entitlement(actions, resources, delegable=False, constraints=()):
    """Lists are space-separated, in the order given."""
    return seq(texts(actions.split()), texts(resources.split()), tlv(0x80, b"\xff") if delegable else b"",
               tlv(0xa1, *constraints) if constraints else b"")


def hop(principal, kind, method, granted_at, not_after, depth, cert=None, ident=None, grant=None, authority=None, auth_time=None, acr=None):
    auth = seq(integer(method, 10), octets(label("evidence of " + principal)), ia5(authority, 0x80) if authority else b"",
               generalized(auth_time, 0x81) if auth_time else b"", ia5(acr, 0x82) if acr else b"")
    return seq(octets(ident or label("edge of " + principal, 16)), ia5(principal), integer(kind, 10), auth, generalized(granted_at), generalized(not_after),
               depth if isinstance(depth, bytes) else integer(depth), octets(label("scope of " + principal)),
               tlv(0xa0, octets(cert[0]), integer(cert[1]), octets(cert[2])) if cert else b"", octets(grant, 0x81) if grant else b"")


POLICY_DIGEST = label("policy finance-agents")


def task_delegation(task, scope, audience, hops, version=1, purpose=None, parent=None, constraints=(), context=None, attestation=None, behind=b""):
    info = seq(ia5(task), utf8(purpose, 0x80) if purpose else b"", ia5(parent, 0x81) if parent else b"")
    return seq(integer(version), info, seq(*scope), texts(audience), seq(*hops), seq(ia5("finance-agents"), octets(POLICY_DIGEST)),
               tlv(0xa0, *constraints) if constraints else b"", tlv(0xa1, ia5(context[0]), octets(context[1])) if context else b"",
               tlv(0xa2, ia5(attestation[0]), octets(attestation[1]), generalized(attestation[2])) if attestation else b"", behind)


def hop_grant(scope, audience, constraints=()):
    return seq(seq(*scope), texts(audience), tlv(0xa0, *constraints) if constraints else b"")
