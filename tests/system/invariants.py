"""What must hold of a Writ that was killed, checked by independent readers: journal.py, sqlite3, cryptography.  Asked while no client is at work."""
import hashlib
import http.client
import os
import random
import sqlite3
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp

import bad
import journal
from load import GOOD, REVOKED

STATES = {1: "GOOD", 2: "REVOKED", 3: "ABORTED"}


class Row:
    def __init__(self, fields):
        serial, self.sha256, self.index, self.not_after, state, self.reason = fields
        self.serial, self.state = serial.hex(), STATES[state]


def store_rows(house, thoroughly=False):
    """The certificates of the store as one transaction sees it, by serial."""
    store = sqlite3.connect(f"file:{house.path('state/store/writ.db')}?mode=ro", uri=True, timeout=10)
    try:
        if thoroughly:
            assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = [Row(fields) for fields in store.execute("SELECT serial, sha256, log_index, not_after, state, reason FROM cert")]
    finally:
        store.close()
    found = {row.serial: row for row in rows}
    assert len(found) == len(rows)
    return found


def tbs_of(cert):
    """The TBS as it was journalled: the log reference, which is last, still zero."""
    tbs = cert.tbs_certificate_bytes
    assert tbs[-34:-32] == b"\x04\x20" and tbs[-44:-42] == b"\x04\x08"
    return tbs[:-42] + bytes(8) + b"\x04\x20" + bytes(32), int.from_bytes(tbs[-42:-34], "big"), tbs[-32:]


class Status:
    """OCSP over one connection."""

    def __init__(self, house, issuing):
        self.connection = http.client.HTTPConnection("127.0.0.1", house.status_port, timeout=20)
        self.issuing = issuing

    def of(self, serial):
        self.connection.request("POST", "/ocsp", bad.ocsp_request(self.issuing, int(serial, 16)), {"Content-Type": "application/ocsp-request"})
        answer = self.connection.getresponse()
        response = ocsp.load_der_ocsp_response(answer.read())
        if response.response_status != ocsp.OCSPResponseStatus.SUCCESSFUL:
            return response.response_status.name
        assert response.serial_number == int(serial, 16)
        return response.certificate_status.name


class Witness:
    """Keeps what it saw of a house, so that each check adds to the last; with `everything` it begins anew."""

    def __init__(self, house):
        self.house, self.asked, self.entries, self.compared, self.unsigned = house, {}, [], set(), set()

    def check(self, leaves, everything=False):
        if everything:
            self.entries, self.compared = [], set()
        # Numbered without gaps, hashes and chain: the reader sees to it.
        self.entries = journal.read(self.house.path("state/journal"), live=True, after=self.entries)
        rows = store_rows(self.house, everything)
        now = time.time()
        self.entries_agree(self.entries)
        self.rows_have_entries(self.entries, rows, now)
        self.clients_have_both(rows, leaves)
        self.unsigned = {e.serial for e in self.entries if e.type == "abort" and e.serial not in rows}
        self.status_agrees(rows, leaves, now, everything)
        self.crl_agrees(leaves)
        return self.entries, rows

    @staticmethod
    def entries_agree(entries):
        issued, numbers, settled = {}, {}, 0
        for entry in entries:
            if entry.type == "issue":
                assert entry.serial not in issued, f"entry {entry.index} uses a serial again (I4)"
                issued[entry.serial] = entry
                assert entry.json["serial"] == entry.serial
            elif entry.type == "abort" or entry.type == "revoke" and not entry.names_an_edge:
                assert entry.serial in issued, f"entry {entry.index} ends what was never issued"
            elif entry.type == "crl":
                assert entry.number > numbers.get(entry.key, 0), f"entry {entry.index}: CRL numbers grow"
                numbers[entry.key] = entry.number
            elif entry.type == "settled":
                assert settled <= entry.number <= entry.index, f"entry {entry.index}: settled grows, and speaks of the past"
                settled = entry.number
            assert entry.json["t"] == entry.type

    @staticmethod
    def rows_have_entries(entries, rows, now):
        issued = {e.serial: e for e in entries if e.type == "issue"}
        aborted = {e.serial for e in entries if e.type == "abort"}
        revoked = {e.serial: e.reason for e in entries if e.type == "revoke" and not e.names_an_edge}
        for row in rows.values():
            assert row.serial in issued, f"{row.serial} has a row and no entry (I2)"
            assert row.index == issued[row.serial].index and row.not_after == issued[row.serial].not_after
            ended = {"GOOD": row.serial not in aborted and row.serial not in revoked, "ABORTED": row.serial in aborted,
                     "REVOKED": row.serial in revoked or row.serial in aborted}[row.state]
            assert ended, f"{row.serial} is {row.state} in the store; in the journal aborted: {row.serial in aborted}, revoked: {row.serial in revoked} (I10)"
            if row.state == "REVOKED" and row.serial in revoked:
                assert revoked[row.serial] == row.reason, f"{row.serial}: reasons differ"
        for entry in issued.values():
            # What could not be signed the signer aborts by itself; the row follows at the next start.
            assert entry.serial in rows or entry.serial in aborted or entry.not_after < now, f"{entry} has no row, neither good nor aborted"

    def compare(self, leaf, rows):
        """What was signed is what was journalled and stored, byte by byte."""
        tbs, index, leaf_hash = tbs_of(leaf.cert)
        entry = self.entries[leaf.index]
        assert (entry.type, entry.serial, entry.index) == ("issue", leaf.serial, index), f"{leaf.serial}: {entry} (I3)"
        assert entry.leaf_hash == leaf_hash and entry.tbs == tbs, f"{leaf.serial}: what was signed is not what was journalled (I2)"
        assert hashlib.sha256(tbs).hexdigest() == entry.json["tbs"], f"{leaf.serial}: the entry names another TBS"
        assert rows[leaf.serial].sha256 == leaf.cert.fingerprint(hashes.SHA256()), f"{leaf.serial}: the row is of another certificate"
        self.compared.add(leaf.serial)

    def clients_have_both(self, rows, leaves):
        for leaf in leaves:
            assert leaf.serial in rows, f"{leaf.serial} was released and has no row (I3)"
            if leaf.serial not in self.compared:
                self.compare(leaf, rows)
            state = rows[leaf.serial].state
            assert state != "ABORTED", f"{leaf.serial} was released and aborted"
            assert leaf.fate != GOOD or state == "GOOD", f"{leaf.serial} was never revoked and is {state}"
            assert leaf.fate != REVOKED or state == "REVOKED", f"{leaf.serial}: the revocation by {leaf.by} was acknowledged and is gone"

    def status_agrees(self, rows, leaves, now, everything):
        """New rows, changed ones, and some of the others: or everything."""
        live = [row for row in rows.values() if row.not_after > now + 5]
        ask = [row for row in live if everything or self.asked.get(row.serial) != row.state]
        ask += random.sample(live, min(200, len(live)))
        if not leaves:
            return
        issuing = [x509.load_pem_x509_certificate(chain.encode()) for chain in {leaf.issued["chain"] for leaf in leaves}]
        by_key = {ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest[:8]: Status(self.house, ca) for ca in issuing}
        keys = {e.serial: e.key for e in self.entries if e.type == "issue"}
        status = next(iter(by_key.values()))
        for row in ask:
            # Asking thousands takes a while: what is about to expire has no answer that would still hold.
            left_s = row.not_after - time.time()
            if left_s < 5:
                continue
            if keys[row.serial] not in by_key:
                continue  # a generation of which no client holds a leaf
            said = by_key[keys[row.serial]].of(row.serial)
            assert said == ("GOOD" if row.state == "GOOD" else "REVOKED"), f"{row.serial} is {row.state} in the store, {left_s:.1f} s before its end, and OCSP says {said} (I9, I10)"
            self.asked[row.serial] = row.state
        for serial in self.unsigned - set(rows):
            assert status.of(serial) != "GOOD", f"{serial} was never signed, and OCSP says GOOD (I9)"
        unknown = os.urandom(16)
        assert status.of((bytes([unknown[0] & 0x7f]) + unknown[1:]).hex()) == "UNAUTHORIZED"

    def crl_agrees(self, leaves, seconds=8):
        """Every list says what the store says, at the latest when its published interval is over."""
        chains = {leaf.issued["chain"]: leaf for leaf in leaves}
        for leaf in chains.values():
            end = time.monotonic() + seconds
            while True:
                crl = self.house.crl(_Held(leaf.cert))
                rows, now = store_rows(self.house), time.time()
                listed = {entry.serial_number for entry in crl}
                wanted = {int(row.serial, 16) for row in rows.values() if row.state != "GOOD" and row.not_after > now}
                known = {int(row.serial, 16): row.state for row in rows.values()}
                wrong = [f"{serial:032x}" for serial in listed if known.get(serial) == "GOOD"]
                assert not wrong, f"the CRL lists what is good: {wrong}"
                if wanted <= listed or len(chains) > 1:
                    break
                assert time.monotonic() < end, f"the CRL lacks {[f'{s:032x}' for s in wanted - listed]}"
                time.sleep(0.3)


class _Held:  # what House.crl() asks of an agent
    def __init__(self, cert):
        self.cert = cert
