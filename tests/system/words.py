"""What every part of Writ says of every live certificate, compared while it works.

Five words are heard: the store's (its rows, read-only), the issuer's OCSP (from its cache, mostly), the ledger's (OCSP with a nonce, which the signer answers anew),
each responder's OCSP, and the lists', the issuer's and the responders' copies, of every shard.  The store's word is what the others are held to:

(1) A word that differs is heard again, and the row read again, until they agree.  Heard wrong to a question that was asked more than AGREE_S after the first wrong
    one, it is a disagreement.
(2) No answer, 429, 503 and tryLater are no word: who restarts may say so.  Everything else that is not good or revoked is a wrong one.
(3) Revoked is in the list that the leaf names, fetched `list_s` after a row was first seen so; until then, and for as long after whoever makes lists was away, it may
    be missing.  What a row says is good is not in it.  A list's number never goes back.  A responder's copies may be AGREE_S behind; one that it has not heard of
    yet, or not again after its start, it does not have.

Every signature is verified, with Python's cryptography: OCSP by a delegate that the issuing CA certified, lists by the issuing CA.  Knows nothing of load or faults.
"""
import calendar
import http.client
import os
import sqlite3
import time
import urllib.error
import urllib.parse
import urllib.request

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp

import bad

AGREE_S = 1.0
LIST_S = 1.0 + AGREE_S  # delegation.md R3, sealed: builds of a list are coalesced for 1 s
LEFT_S = 5  # a leaf in its last seconds is not asked about: the answer would come after its end
AGAIN_S = 0.02
STATES = {1: "good", 2: "revoked", 3: "revoked"}  # 3: aborted
NONCE_OID = "1.3.6.1.5.5.7.48.1.2"
AWAY = (OSError, http.client.HTTPException)


class Wrong(Exception):
    """What was said is neither good nor revoked, nor "later"."""


class Row:
    def __init__(self, serial, ca, not_after, state):
        self.serial, self.ca, self.not_after, self.state = serial.hex(), ca.hex(), not_after, STATES[state]


class Store:
    """The rows of what lives."""

    def __init__(self, path):
        self.path = path

    def ask(self, query, *values):
        db = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=10)
        try:
            return db.execute("SELECT serial, issuer_key, not_after, state FROM cert WHERE " + query, values).fetchall()
        finally:
            db.close()

    def live(self):
        return [Row(*fields) for fields in self.ask("not_after > ?", int(time.time()) + LEFT_S)]

    def list_named(self, serial):
        """The path of the CRL that the leaf names; None: the store has no leaf of it."""
        db = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=10)
        try:
            der = db.execute("SELECT d.der FROM leaf c JOIN cert_der d ON d.n = c.n WHERE c.serial = ?", (bytes.fromhex(serial),)).fetchone()
        finally:
            db.close()
        if not der:
            return None
        points = x509.load_der_x509_certificate(der[0]).extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        return urllib.parse.urlsplit(points[0].full_name[0].value).path

    def state(self, serial):
        """None: the row is gone."""
        rows = self.ask("serial = ?", bytes.fromhex(serial))
        return Row(*rows[0]).state if rows else None


class Issuing:
    """The issuing CAs, by key id, fetched once each."""

    def __init__(self, base):
        self.base, self.known = base, {}

    def of(self, key_id):
        if key_id not in self.known:
            with urllib.request.urlopen(f"{self.base}/ca/{key_id}.cer", timeout=5) as answer:
                self.known[key_id] = Ca(x509.load_der_x509_certificate(answer.read()))
        return self.known[key_id]


class Ca:
    """An issuing CA: questions about what it issued, and who may answer for it."""

    def __init__(self, cert):
        self.cert, self.delegates = cert, {}
        self.question = bad.ocsp_request(cert, 0x01 << 120)
        self.at = self.question.index(b"\x02\x10\x01" + bytes(15)) + 2

    def request(self, serial, nonce=None):
        der = self.question[:self.at] + bytes.fromhex(serial) + self.question[self.at + 16:]
        return with_nonce(der, nonce) if nonce else der

    def delegate(self, response):
        """The public key of who signed, once this CA was found to have certified it for that."""
        cert = response.certificates[0]
        der = cert.fingerprint(hashes.SHA256())
        if der not in self.delegates:
            self.cert.public_key().verify(cert.signature, cert.tbs_certificate_bytes, ec.ECDSA(cert.signature_hash_algorithm))
            usage = cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            if x509.oid.ExtendedKeyUsageOID.OCSP_SIGNING not in usage or cert.issuer != self.cert.subject:
                raise Wrong("signed by who may not")
            self.delegates[der] = cert.public_key()
        return self.delegates[der]


def with_nonce(der, nonce):
    """The request with RFC 9654's extension."""
    def tlv(tag, body):
        return bytes([tag, len(body)]) + body if len(body) < 128 else bytes([tag, 0x81, len(body)]) + body
    oid = b"\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x02"
    lists = der[4:] if der[1] < 128 else der[6:]  # of the TBSRequest, whose length fits the one before
    return tlv(0x30, tlv(0x30, lists + tlv(0xa2, tlv(0x30, tlv(0x30, oid + tlv(4, tlv(4, nonce)))))))


class Responder:
    """OCSP at one address, over one connection; with `nonces`, an answer that lacks ours is no word of the signer's."""

    def __init__(self, name, port, nonces=False):
        self.name, self.port, self.nonces, self.connection = name, port, nonces, None
        self.heard = self.away = self.without_nonce = 0
        self.longest_s, self.worst = 0.0, ""

    def ask(self, ca, serial):
        """"good", "revoked", or None: no word."""
        nonce = os.urandom(32) if self.nonces else None
        try:
            if not self.connection:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            self.connection.request("POST", "/ocsp", ca.request(serial, nonce), {"Content-Type": "application/ocsp-request"})
            answer = self.connection.getresponse()
            status, body = answer.status, answer.read()
        except AWAY:
            if self.connection:
                self.connection.close()
            self.connection = None
            self.away += 1
            return None
        if status in (429, 503):
            self.away += 1
            return None
        return self.word(ca, serial, nonce, status, body)

    def word(self, ca, serial, nonce, status, body):
        if status != 200:
            raise Wrong(f"status {status}")
        response = ocsp.load_der_ocsp_response(body)
        if response.response_status == ocsp.OCSPResponseStatus.TRY_LATER:
            self.away += 1
            return None
        if response.response_status != ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise Wrong(response.response_status.name)
        try:
            ca.delegate(response).verify(response.signature, response.tbs_response_bytes, ec.ECDSA(response.signature_hash_algorithm))
        except InvalidSignature:
            raise Wrong("badly signed") from None
        now = time.time()
        if response.serial_number != int(serial, 16) or utc(response.this_update) > now + 5 or utc(response.next_update) < now:
            raise Wrong("about another serial, or stale")
        if nonce:
            echoed = [e.value.value if hasattr(e.value, "value") else e.value.nonce for e in response.extensions if e.oid.dotted_string == NONCE_OID]
            if not echoed or nonce not in echoed[0]:
                self.without_nonce += 1
                return None
        self.heard += 1
        return {"GOOD": "good", "REVOKED": "revoked"}.get(response.certificate_status.name)


def utc(naive):
    return calendar.timegm(naive.timetuple())


class Lists:
    """The CRLs of the issuing CAs, at one address; `lag_s` behind those of who makes them."""

    def __init__(self, name, port, lag_s=0.0):
        self.base, self.numbers, self.heard, self.away, self.longest_s, self.worst, self.name = f"http://127.0.0.1:{port}", {}, 0, 0, 0.0, "", name
        self.lag_s = lag_s

    def fetch(self, path, ca, may_lack):
        """Serials, or None: no word."""
        try:
            with urllib.request.urlopen(self.base + path, timeout=10) as answer:
                crl = x509.load_der_x509_crl(answer.read())
        except urllib.error.HTTPError as refused:
            self.away += 1
            if refused.code in (429, 503) or (refused.code == 404 and may_lack):
                return None
            raise Wrong(f"status {refused.code}") from None
        except AWAY:
            self.away += 1
            return None
        if not crl.is_signature_valid(ca.cert.public_key()) or crl.issuer != ca.cert.subject or utc(crl.next_update) < time.time():
            raise Wrong("badly signed, or stale")
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        if number < self.numbers.get(path, 0):
            raise Wrong(f"number {number} after {self.numbers[path]}")
        self.numbers[path] = number
        return {f"{entry.serial_number:032x}" for entry in crl}


class Words:
    """`look()` again and again; `disagreements` says what was wrong for too long."""

    def __init__(self, house, responders=(), list_s=LIST_S):
        base = f"http://127.0.0.1:{house.status_port}"
        self.store, self.issuing = Store(house.path("state/store/writ.db")), Issuing(base)
        self.lists = [Lists("CRL", house.status_port), *[Lists(f"CRL at {name}", port, AGREE_S) for name, port in responders]]
        self.named, self.named_since = {}, {}  # serial: the path of its list; path: when first seen
        self.sources = [Responder("issuer", house.status_port), Responder("ledger", house.status_port, nonces=True),
                        *[Responder(name, port) for name, port in responders]]
        self.seen, self.asked, self.suspected = {}, {}, {}  # serial: (state, since when); serial: when asked; (who, serial): wrong since
        self.disagreements, self.serials, self.looks = [], set(), 0
        self.list_s, self.lists_may_lag_until, self.away_at = list_s, 0.0, time.monotonic()

    def away(self):
        """Whoever makes lists is, or was until now."""
        self.away_at = time.monotonic()
        self.lists_may_lag_until = self.away_at + self.list_s

    @property
    def words(self):
        return {source.name: source.heard for source in (*self.sources, *self.lists)}

    def disagree(self, source, text):
        self.disagreements.append(f"{source.name}: {text}; {time.monotonic() - self.away_at:.1f} s after the last disturbance")

    def look(self, at_most=400):
        """Once at the store, and at all that changed there since, and at some of the rest, as the turn comes."""
        rows, now = self.store.live(), time.monotonic()
        fresh, rest = [], []
        for row in rows:
            (rest if self.seen.get(row.serial, ("", 0))[0] == row.state else fresh).append(row)
        for row in fresh:
            self.seen[row.serial] = (row.state, now)
        doubtful = {serial for _, serial in self.suspected}
        rest.sort(key=lambda row: (row.serial not in doubtful, self.asked.get(row.serial, 0)))
        suspects = []
        for row in fresh + rest[:max(0, at_most - len(fresh))]:
            self.asked[row.serial] = now
            self.serials.add(row.serial)
            suspects += [(source, row) for source in self.sources if self.hear(source, row)]
        while suspects:  # (1)
            time.sleep(AGAIN_S)
            suspects = [(source, row) for source, row in suspects if self.hear(source, row)]
        self.looks += 1
        alive = {row.serial for row in rows}
        for memory in (self.seen, self.asked, self.named):
            for serial in memory.keys() - alive:
                del memory[serial]
        self.suspected = {(name, serial): at for (name, serial), at in self.suspected.items() if serial in alive}

    def hear(self, source, row):
        """Is what it says wrong, and to be heard again?"""
        if row.not_after < time.time() + LEFT_S:
            return False
        at, which = time.monotonic(), (source.name, row.serial)
        try:
            said = source.ask(self.issuing.of(row.ca), row.serial)
        except AWAY:  # the certificate of its CA
            return False
        except Wrong as wrong:
            said = str(wrong)
        if said is None:
            return False  # (2); what was wrong before is remembered
        if said != row.state:
            row.state = self.store.state(row.serial) or said
        if said == row.state:
            self.suspected.pop(which, None)
            return False
        since = at - self.suspected.setdefault(which, at)
        if since > source.longest_s:
            source.longest_s, source.worst = since, row.serial
        if since <= AGREE_S:
            return True
        self.disagree(source, f"{said} of {row.serial}, which is {row.state} in the store, for {since:.2f} s")
        del self.suspected[which]
        return False

    def lists_named(self, rows):
        """{(CA, path): rows}.  An abort has no leaf that names a list: as long as its CA has but one, it is in that."""
        for row in rows:
            if row.serial not in self.named:
                path = self.named[row.serial] = self.store.list_named(row.serial)
                self.named_since.setdefault(path, time.monotonic())
        sharded, by_list = {row.ca for row in rows if "-" in (self.named[row.serial] or "")}, {}
        for row in rows:
            path = self.named[row.serial] or (None if row.ca in sharded else f"/crl/{row.ca}.crl")
            if path:
                by_list.setdefault((row.ca, path), []).append(row)
        return by_list

    def look_at_lists(self):
        """(3)"""
        for source in self.lists:
            for key_id, path in self.lists_named(self.store.live()):
                self.look_at_list(source, key_id, path)

    def look_at_list(self, source, key_id, path):
        try:
            ca = self.issuing.of(key_id)
        except AWAY:
            return
        before, asked = self.lists_named(self.store.live()).get((key_id, path), []), time.monotonic()
        lag_until = max(self.lists_may_lag_until, self.named_since.get(path, asked) + self.list_s)
        try:
            listed = source.fetch(path, ca, source.lag_s > 0 and asked < lag_until + source.lag_s)
        except Wrong as wrong:
            self.disagree(source, f"{path}: {wrong}")
            return
        if listed is None:
            return
        after = {row.serial: row for row in self.store.live()}
        for row in before:
            if row.not_after < time.time() + LEFT_S:
                continue
            source.heard += 1
            state, since = self.seen.get(row.serial, ("", asked))
            due = max(since + self.list_s, self.lists_may_lag_until) + source.lag_s
            missing = row.serial not in listed and row.state == state == "revoked"
            if missing and asked - since > source.longest_s:
                source.longest_s, source.worst = asked - since, row.serial
            if missing and asked > due:
                self.disagree(source, f"{row.serial} is revoked in the store since {asked - since:.2f} s, and not in {path}")
            if row.serial in listed and row.serial in after and after[row.serial].state == "good":
                self.disagree(source, f"{row.serial} is in {path}, and good in the store")
