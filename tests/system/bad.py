"""Requests that no honest client sends: HTTP as bytes, and certification requests of every wrong kind.

Knows how to make them and to read what comes back; knows nothing of what the answer should be.
"""
import hashlib
import socket
import ssl
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from house import Answer, new_key


def tls(house, person=None, timeout=20):
    """A TLS connection to the API as a person, or as nobody."""
    context = ssl.create_default_context(cafile=house.path("corp.pem"))
    if person:
        context.load_cert_chain(house.path(person + ".pem"), house.path(person + ".key"))
    return context.wrap_socket(socket.create_connection(("127.0.0.1", house.api_port), timeout=timeout), server_hostname="localhost")


def read_answer(sock):
    """One answer, or None when the other side closed without a byte."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            return None if not data else Answer(0, {}, data)
        data += more
    head, body = data.split(b"\r\n\r\n", 1)
    lines = head.decode("ascii").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    length = int(headers.get("Content-Length", 0))
    while len(body) < length:
        more = sock.recv(65536)
        if not more:
            break
        body += more
    return Answer(int(lines[0].split(" ")[1]), headers, body)


def send(house, data, person=None):
    """The answer to these bytes, and whether the connection was closed after it."""
    with tls(house, person) as sock:
        try:
            sock.sendall(data)
        except OSError:
            pass  # refused before its end: the answer is there
        answer = read_answer(sock)
        sock.settimeout(3)
        try:
            closed = sock.recv(1) == b""
        except (socket.timeout, TimeoutError):
            closed = False
        except OSError:
            closed = True
        return answer, closed


def drip(house, begin, piece, every_s, limit_s, person=None):
    """Sends `begin` and then one piece after another; the answer that came, and after how many seconds."""
    with tls(house, person) as sock:
        sock.sendall(begin)
        began = time.monotonic()
        sock.settimeout(every_s)
        while time.monotonic() - began < limit_s:
            try:
                return read_answer(sock), time.monotonic() - began
            except (socket.timeout, TimeoutError):
                sock.sendall(piece)
        return None, time.monotonic() - began


def csr(key=None, *extensions, digest=None, name=()):
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(list(name)))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(key or new_key(), digest or hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def csr_spki(der):
    return x509.load_der_x509_csr(der).public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def csr_off_the_curve(key):
    """A P-256 request whose point has another y: (DER, its SubjectPublicKeyInfo)."""
    der = csr(key)
    point = key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    bent = point[:-1] + bytes([point[-1] ^ 1])
    assert der.count(point) == 1
    return der.replace(point, bent), csr_spki(der).replace(point, bent)


def foreign_csrs():
    """(name, DER) of keys that no leaf may have."""
    return [("P-224", csr(ec.generate_private_key(ec.SECP224R1()))), ("secp256k1", csr(ec.generate_private_key(ec.SECP256K1()))),
            ("P-521", csr(ec.generate_private_key(ec.SECP521R1()))), ("brainpool", csr(ec.generate_private_key(ec.BrainpoolP256R1()))),
            ("RSA", csr(rsa.generate_private_key(public_exponent=65537, key_size=2048)))]


WANTED_EXTENSIONS = [
    ("basicConstraints", (x509.BasicConstraints(ca=True, path_length=None), True)),
    ("extKeyUsage", (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)),
    ("subjectAltName", (x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://agents.corp.example/agent/admin/1")]), False)),
    ("keyUsage", (x509.KeyUsage(False, False, False, False, False, True, True, False, False), True)),
]


def ocsp_request(issuing, serial):
    """An OCSP request for any serial, in DER by hand: our cryptography asks only for certificates that it holds."""
    def tlv(tag, *parts):
        content = b"".join(parts)
        size = bytes([len(content)]) if len(content) < 128 else b"\x81" + bytes([len(content)])
        return bytes([tag]) + size + content
    sha256 = bytes.fromhex("0609608648016503040201") + b"\x05\x00"
    point = issuing.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    cert_id = tlv(0x30, tlv(0x30, sha256), tlv(4, hashlib.sha256(issuing.subject.public_bytes()).digest()), tlv(4, hashlib.sha256(point).digest()),
                  tlv(2, serial.to_bytes(serial.bit_length() // 8 + 1, "big")))
    return tlv(0x30, tlv(0x30, tlv(0x30, tlv(0x30, cert_id))))
