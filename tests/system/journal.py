"""The journal read by other hands: the format as issuer/log/journal.h tells it, none of its code.

A reader for tests: it reads all segments of a folder, refuses whatever the format does not allow, and knows no meaning of an entry but its header.
"""
import hashlib
import json
import os
import re
import struct

TYPES = ["", "issue", "abort", "deny", "revoke", "task", "grant", "policy", "key", "crl", "settled", "admin", "start", "stop", "recover", "clock", "freeze", "state"]
SEGMENT_HEADER = 64
FIXED = struct.Struct("<32s8sBBBBI16sq8sqI")  # leaf hash, check, type, reason, flags, its high byte, entry length, serial, notAfter, key, time, milliseconds
GROUP_FIRST = 1


class Damaged(Exception):
    pass


class Entry:
    def __init__(self, index, segment, offset, fields, text, tbs):
        self.index, self.segment, self.offset, self.text, self.tbs = index, segment, offset, text, tbs
        self.leaf_hash, self.check, kind, reason, self.flags, high, _, serial, self.not_after, self.key, self.time, self.time_ms = fields
        self.reason = reason | high << 8
        self.type, self.serial = TYPES[kind], serial.hex()
        self.json = json.loads(text, object_pairs_hook=self.canonical)
        if self.type in ("revoke", "abort") and self.json["edge" if self.names_an_edge else "serial"] != self.serial:
            raise Damaged(f"an entry of {self.serial} whose text names another: {text}")

    @staticmethod
    def canonical(pairs):
        names = [name for name, _ in pairs]
        if names != sorted(set(names)):
            raise Damaged(f"members {names} are not in order, or stand twice")
        return dict(pairs)

    @property
    def end(self):
        return self.offset + 4 + FIXED.size + len(self.text) + len(self.tbs)

    @property
    def names_an_edge(self):
        """A revoke entry with an edge id in the serial's place."""
        return self.type == "revoke" and self.key == bytes(8)

    @property
    def number(self):
        """A CRL's number, or what is settled."""
        return int(self.serial[16:], 16)

    def __repr__(self):
        return f"<{self.index} {self.type} {self.serial}>"


def record(data, offset):
    """The fields, text, TBS and length of the record at an offset; None at the end mark."""
    if offset + 4 > len(data):
        return None
    length = int.from_bytes(data[offset:offset + 4], "little")
    if length == 0:
        return None
    body = data[offset + 4:offset + 4 + length]
    if len(body) < length or length <= FIXED.size:
        raise Damaged(f"offset {offset}: a record of {length} bytes goes past the end, or is too short")
    fields = FIXED.unpack_from(body)
    text_len = fields[6]
    text, tbs = body[FIXED.size:FIXED.size + text_len], body[FIXED.size + text_len:]
    if len(text) < text_len or not 1 <= fields[2] < len(TYPES) or fields[4] & ~GROUP_FIRST or (fields[5] and TYPES[fields[2]] not in ("issue", "crl")):
        raise Damaged(f"offset {offset}: a header that no record has")
    if hashlib.sha256(b"\0" + text).digest() != fields[0]:
        raise Damaged(f"offset {offset}: the leaf hash is not the entry's")
    if hashlib.sha256(fields[0] + body[40:FIXED.size] + tbs).digest()[:8] != fields[1]:
        raise Damaged(f"offset {offset}: the check is not the record's")
    return fields, text, tbs, 4 + length


def segments(folder):
    return sorted(name for name in os.listdir(folder) if re.fullmatch("[0-9a-f]{16}\\.wj", name))


def read(folder, live=False, after=()):
    """
    Every entry, in order.  `live`: a writer is at work, so the last segment may end in a record that is only partly there.  `after` is what an earlier
    call returned: it is taken over, and reading goes on behind it.
    """
    entries, log_id = list(after), None
    before = entries[-1].leaf_hash if entries else bytes(32)
    names = segments(folder)
    for name in names[names.index(entries[-1].segment) if entries else 0:]:
        with open(os.path.join(folder, name), "rb") as f:
            data = f.read()
        magic, version, zero, first, this_id, hash_before = struct.unpack_from("<8sIIQ8s32s", data)
        offset = SEGMENT_HEADER
        if entries and name == entries[-1].segment:
            offset = entries[-1].end
        elif first != len(entries) or hash_before != before:
            raise Damaged(f"{name}: does not follow the segment before it: entry {len(entries)} is next")
        if (magic, version, zero) != (b"WRITJRNL", 1, 0) or first != int(name[:16], 16) or log_id not in (None, this_id):
            raise Damaged(f"{name}: not a segment of this log")
        log_id = this_id
        while True:
            try:
                found = record(data, offset)
            except Damaged as e:
                if live and name == names[-1]:
                    return entries
                raise Damaged(f"{name}: {e}") from None
            if found is None:
                break
            fields, text, tbs, length = found
            entries.append(Entry(len(entries), name, offset, fields, text, tbs))
            before, offset = fields[0], offset + length
        if data[offset:].strip(b"\0") and not (live and name == names[-1]):
            raise Damaged(f"{name}: something stands behind the end mark at {offset}")
    return entries
