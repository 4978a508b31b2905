"""A maker's CA and endorsement key, a TPM and a CA that lie as they are told: what an attestation bundle is made of, written anew from the formats.

`Forger` makes whole bundles, good in everything but what its arguments say; nothing of ours is used.  Knows nothing of what a test claims.
"""
import base64
import datetime
import hashlib
import hmac
import json
import os
import struct
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

FIXED_TPM, FIXED_PARENT, ORIGIN, USER, NO_DA = 0x2, 0x10, 0x20, 0x40, 0x400
RESTRICTED, DECRYPT, SIGN = 0x10000, 0x20000, 0x40000
AK = RESTRICTED | SIGN | FIXED_TPM | FIXED_PARENT | ORIGIN | USER | NO_DA
SRK = RESTRICTED | DECRYPT | FIXED_TPM | FIXED_PARENT | ORIGIN | USER | NO_DA
KEY = SIGN | FIXED_TPM | FIXED_PARENT | ORIGIN | NO_DA
OWNER, ENDORSEMENT = 0x40000001, 0x4000000B
AUTH_VALUE = hashlib.sha256(bytes(32) + bytes.fromhex("0000016b")).digest()
SIGNED = b"Writ custody statement, version 1\n"


def sha256(data):
    return hashlib.sha256(data).digest()


def b64(data):
    return base64.b64encode(data).decode()


def sized(data):
    return struct.pack(">H", len(data)) + data


def name(area):
    return b"\x00\x0b" + sha256(area)


def qualified(above, of):
    return b"\x00\x0b" + sha256((above if isinstance(above, bytes) else struct.pack(">I", above)) + of)


def point(key):
    numbers = key.public_key().public_numbers()
    return numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")


def area(key, attributes, policy=b"", storage=False):
    """TPMT_PUBLIC of a P-256 key."""
    x, y = point(key)
    middle = bytes.fromhex("000600800043" "0010") if storage else bytes.fromhex("0010" "0018000b")
    return struct.pack(">HHI", 0x23, 0x0B, attributes) + sized(policy) + middle + bytes.fromhex("00030010") + sized(x) + sized(y)


def attest(kind, signer, extra, body, magic=b"\xffTCG"):
    clock = struct.pack(">QIIB", 77000, 3, 1, 1)
    return magic + struct.pack(">H", kind) + sized(signer) + sized(extra) + clock + struct.pack(">Q", 0x2019102300163636) + body


def tpm_signature(key, data):
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return bytes.fromhex("0018000b") + sized(r.to_bytes(32, "big")) + sized(s.to_bytes(32, "big"))


def certificate(subject, key, issuer=None, issuer_key=None, ca=False, extensions=(), days=30):
    now = datetime.datetime.utcnow()
    builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer or subject).public_key(key.public_key())
               .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
               .not_valid_after(now + datetime.timedelta(days=days)).add_extension(x509.BasicConstraints(ca, None), True)
               .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
               .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key((issuer_key or key).public_key()), False))
    if ca:
        builder = builder.add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), True)
    for extension in extensions:
        builder = builder.add_extension(extension, False)
    return builder.sign(issuer_key or key, hashes.SHA256())


def der(cert):
    return cert.public_bytes(serialization.Encoding.DER)


def pem(cert):
    return cert.public_bytes(serialization.Encoding.PEM)


def common_name(text, organisation=None):
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation)] if organisation else []
    return x509.Name(parts + [x509.NameAttribute(NameOID.COMMON_NAME, text)])


def key_id(key):
    raw = key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    return hashlib.sha1(raw).hexdigest()


def new():
    return ec.generate_private_key(ec.SECP256R1())


class Forger:
    """Everybody's keys.  What an argument of bundle() does not change is as it should be."""

    def __init__(self, folder, trust_domain):
        self.folder, self.trust_domain = folder, trust_domain
        self.maker, self.ek, self.ak, self.srk, self.anchor, self.issuing = (new() for _ in range(6))
        self.maker_cert = certificate(common_name("Maker"), self.maker, ca=True)
        self.usage = x509.ExtendedKeyUsage([x509.ObjectIdentifier("2.23.133.8.1")])
        self.ek_cert = self.endorse()
        name_ = common_name(f"Writ anchor {key_id(self.anchor)[:8]}", trust_domain)
        self.anchor_cert = certificate(name_, self.anchor, ca=True)
        self.issuing_cert = self.certify_issuing(trust_domain)
        self.secret = os.urandom(32)
        self.nonce = os.urandom(32)
        self.write("roots.pem", pem(self.maker_cert))
        self.write("anchor.pem", pem(self.anchor_cert))

    def path(self, name_):
        return os.path.join(self.folder, name_)

    def write(self, name_, data):
        with open(self.path(name_), "wb") as f:
            f.write(data)
        return self.path(name_)

    def endorse(self, key=None, usage=None, ca=False, days=30):
        return certificate(common_name("EK"), key or self.ek, self.maker_cert.subject, self.maker, ca=ca, days=days,
                           extensions=[usage or self.usage])

    def certify_issuing(self, trust_domain, key=None):
        key = key or self.issuing
        return certificate(common_name(f"Writ issuing {key_id(key)[:8]}", trust_domain), key, self.anchor_cert.subject, self.anchor,
                           ca=True)

    def said(self, what, about, body, kind, qualifying, by):
        made = attest(kind, by["signer"], qualifying, body, by["magic"])
        return {"about": b64(about), "said": b64(made), "signature": b64(tpm_signature(by["key"], made)), "what": what}

    def bundle(self, ak_attributes=AK, key_attributes=KEY, srk_attributes=SRK, policy=AUTH_VALUE, ak=None, signer=None, named_ak=None, key=None,
               anchor_cert=None, signed_by=None, issuing_cert=None, ek_cert=None, trust_domain=None, nonce=None, qualifying=None, secret=None,
               magic=b"\xffTCG", hierarchy=ENDORSEMENT, srk_hierarchy=OWNER, pcrs=None, quoted=None, custody="sealed", statement=None, leave=(),
               add=(), counter=None):
        """`statement`: a function that changes the statement before it is signed; `leave`: kinds of attestations to leave away."""
        ak = ak or self.ak
        ak_area = area(ak, ak_attributes)
        stated = {
            "ak": b64(named_ak if named_ak is not None else ak_area), "anchor": b64(der(anchor_cert or self.anchor_cert)),
            "certificates": [b64(der(issuing_cert or self.issuing_cert))], "custody": custody,
            "device": {"firmware": "2019102300163636", "maker": "IBM", "model": "SW TPM", "scheme": "tpm2", "serial": "0", "software": True},
            "ek": b64(der(ek_cert or self.ek_cert)), "journal": {"hash": "00" * 32, "index": 9, "origin": "o"},
            "nonce": (nonce or self.nonce).hex(), "tier": "software", "time": int(time.time()),
            "trust_domain": trust_domain or self.trust_domain}
        if statement:
            statement(stated)
        text = json.dumps(stated, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        digest = qualifying or sha256(text)
        by = {"key": signer or ak, "signer": qualified(hierarchy, name(ak_area)), "magic": magic}
        srk_area = area(self.srk, srk_attributes, storage=True)
        srk_name = qualified(srk_hierarchy, name(srk_area))
        items = []
        for holder in [key or self.anchor, *add]:
            key_area = area(holder, key_attributes, policy)
            items.append(self.said("key", key_area, sized(name(key_area)) + sized(qualified(srk_name, name(key_area))), 0x8017, digest, by))
        items.append(self.said("parent", srk_area, sized(name(srk_area)) + sized(srk_name), 0x8017, digest, by))
        values = pcrs if pcrs is not None else bytes(31) + b"\x01" + bytes(32 * 15)
        quote = bytes.fromhex("00000001" "000b" "03" "ffff00") + sized(quoted or sha256(values))
        items.append(self.said("pcrs", values, quote, 0x8018, digest, by))
        if counter is not None:
            index = struct.pack(">IHI", 0x01805701, 0x0B, counter) + sized(b"") + struct.pack(">H", 8)
            items.append(self.said("counter", index, sized(name(index)) + struct.pack(">H", 0) + sized(struct.pack(">Q", 5)), 0x8014, digest,
                                   by))
        whole = {"activation": hmac.new(secret or self.secret, sha256(text), hashlib.sha256).hexdigest(),
                 "attestations": [i for i in items if i["what"] not in leave],
                 "signature": b64((signed_by or self.anchor).sign(SIGNED + text, ec.ECDSA(hashes.SHA256()))), "statement": stated, "version": 1}
        return json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"

    def kept(self, ak=None):
        """The file that an auditor keeps of a challenge."""
        kept = {"ak": name(ak if ak is not None else area(self.ak, AK)).hex(), "nonce": self.nonce.hex(), "secret": self.secret.hex(),
                "version": 1}
        return self.write("kept.json", json.dumps(kept, sort_keys=True, separators=(",", ":")).encode() + b"\n")
