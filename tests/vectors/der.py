"""Strict DER (X.690 10, 11), read: one encoding for each value, or it is refused.

Written from deploy/spec/delegation.md and X.690 alone; it shares nothing with the reader in C but the rules, so that the two can be held against
each other.  Knows nothing of certificates.
"""
import calendar
import re

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL, OID, ENUMERATED, UTF8 = 1, 2, 3, 4, 5, 6, 10, 12
SEQUENCE, SET, PRINTABLE, IA5, UTC_TIME, GENERALIZED_TIME = 0x30, 0x31, 19, 22, 23, 24


class NotDer(Exception):
    """The bytes are no DER, or not the element that was asked for."""


def context(n):
    return 0x80 | n


def constructed(n):
    return 0xa0 | n


def header(data, at, end):
    """Tag, and where the contents of the element at `at` begin and end."""
    if end - at < 2:
        raise NotDer("cut short")
    tag, length = data[at], data[at + 1]
    if tag & 0x1f == 0x1f or tag & 0xdf == 0:
        raise NotDer("a tag number over 30, or end-of-contents")
    at += 2
    if length >= 0x80:
        n = length & 0x7f
        if not 1 <= n <= 4 or end - at < n:
            raise NotDer("an indefinite, giant or cut length")
        length = int.from_bytes(data[at:at + n], "big")
        if length < 0x80 or length >> 8 * (n - 1) == 0:
            raise NotDer("a length longer than it need be")
        at += n
    if length > end - at:
        raise NotDer("longer than what holds it")
    return tag, at, at + length


class Reader:
    """What is left of the contents of one element."""

    def __init__(self, data, at=0, end=None):
        self.data, self.at, self.end = data, at, len(data) if end is None else end

    def done(self):
        return self.at == self.end

    def rest(self):
        return self.data[self.at:self.end]

    def next_is(self, tag):
        return self.at < self.end and self.data[self.at] == tag

    def any(self):
        """Tag and whole of the next element."""
        start = self.at
        tag, _, end = header(self.data, start, self.end)
        self.at = end
        return tag, self.data[start:end]

    def open(self, tag):
        found, begin, end = header(self.data, self.at, self.end)
        if found != tag:
            raise NotDer(f"tag {found:#04x} where {tag:#04x} is wanted")
        self.at = end
        return Reader(self.data, begin, end)

    def whole(self, tag):
        """The next element: its contents, and all of its bytes."""
        start = self.at
        inner = self.open(tag)
        return inner, self.data[start:self.at]

    def bytes(self, tag):
        return self.open(tag).rest()

    def close(self):
        if not self.done():
            raise NotDer("more than the format has")

    def boolean(self, tag=BOOLEAN):
        value = self.bytes(tag)
        if value not in (b"\x00", b"\xff"):
            raise NotDer("a BOOLEAN is 00 or FF")
        return value == b"\xff"

    def integer(self, tag=INTEGER):
        value = self.bytes(tag)
        if not minimal(value):
            raise NotDer("an INTEGER that is empty or not minimal")
        return int.from_bytes(value, "big", signed=True)

    def number(self, most, tag=INTEGER):
        value = self.integer(tag)
        if not 0 <= value <= most:
            raise NotDer(f"not in 0..{most}")
        return value

    def oid(self):
        value = self.bytes(OID)
        if not good_oid(value):
            raise NotDer("not an OBJECT IDENTIFIER")
        return value

    def bits(self):
        """A BIT STRING of whole octets."""
        value = self.bytes(BIT_STRING)
        if value[:1] != b"\x00":
            raise NotDer("a BIT STRING that is empty or has unused bits")
        return value[1:]

    def generalized(self, tag=GENERALIZED_TIME):
        return generalized_time(self.bytes(tag))

    def time(self):
        """UTCTime to 2049, GeneralizedTime from 2050 (RFC 5280 4.1.2.5)."""
        if self.next_is(UTC_TIME):
            return utc_time(self.bytes(UTC_TIME))
        t = self.generalized()
        if t < 2524608000:
            raise NotDer("before 2050 a time is UTCTime")
        return t


def minimal(value):
    if len(value) < 2:
        return len(value) == 1
    return not (value[0] == 0 and value[1] < 0x80 or value[0] == 0xff and value[1] >= 0x80)


def good_oid(value):
    if not 1 <= len(value) <= 64 or value[-1] & 0x80:
        return False
    first = True
    for octet in value:
        if first and octet == 0x80:
            return False
        first = octet < 0x80
    return True


def date(year, month, day, hour, minute, second):
    if not (1 <= month <= 12 and hour < 24 and minute < 60 and second < 60):
        raise NotDer("no time of day, or no month")
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not 1 <= day <= (calendar.mdays[month] + (month == 2 and leap)):
        raise NotDer("no day of that month")
    return calendar.timegm((year, month, day, hour, minute, second))


def generalized_time(value):
    m = re.fullmatch(rb"([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})Z", value)
    if not m or int(m[1]) < 1970:
        raise NotDer("not YYYYMMDDHHMMSSZ from 1970 on")
    return date(*(int(part) for part in m.groups()))


def utc_time(value):
    m = re.fullmatch(rb"([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})Z", value)
    if not m:
        raise NotDer("not YYMMDDHHMMSSZ")
    year, *rest = (int(part) for part in m.groups())
    return date(year + (1900 if year >= 50 else 2000), *rest)


def utf8(value):
    try:
        return value.decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        raise NotDer("not UTF-8") from error


def only(pattern):
    def check(value):
        if not re.fullmatch(pattern, value, re.DOTALL):
            raise NotDer("a character that the type has not")
    return check


def expect(condition, why):
    if not condition:
        raise NotDer(why)


PRIMITIVES = {
    BOOLEAN: lambda v: expect(v in (b"\x00", b"\xff"), "BOOLEAN"),
    INTEGER: lambda v: expect(minimal(v), "INTEGER"),
    ENUMERATED: lambda v: expect(minimal(v), "ENUMERATED"),
    BIT_STRING: lambda v: expect(v and v[0] < 8 and (v[0] == 0 if len(v) == 1 else v[-1] & (1 << v[0]) - 1 == 0), "BIT STRING"),
    NULL: lambda v: expect(not v, "NULL"),
    OID: lambda v: expect(good_oid(v), "OBJECT IDENTIFIER"),
    UTF8: utf8,
    PRINTABLE: only(rb"[A-Za-z0-9 '()+,\-./:=?]*"),
    IA5: only(rb"[\x00-\x7f]*"),
    0x1a: only(rb"[\x20-\x7e]*"),
    UTC_TIME: utc_time,
    GENERALIZED_TIME: generalized_time,
    0x1c: lambda v: expect(len(v) % 4 == 0, "UniversalString"),
    0x1e: lambda v: expect(len(v) % 2 == 0, "BMPString"),
    OCTET_STRING: lambda v: None, 0x12: lambda v: None, 0x14: lambda v: None,
}


def strict(data, depth):
    """One element of strict DER and not a byte more, nested at most `depth` deep."""
    if walk(data, 0, len(data), depth) != len(data):
        raise NotDer("bytes follow the element")


def walk(data, at, end, depth):
    if depth == 0:
        raise NotDer("nested too deep")
    tag, begin, stop = header(data, at, end)
    if not tag & 0x20:
        if tag & 0xc0 == 0:
            if tag not in PRIMITIVES:
                raise NotDer(f"type {tag} is in no certificate")
            PRIMITIVES[tag](data[begin:stop])
        return stop
    if tag & 0xc0 == 0 and tag not in (SEQUENCE, SET):
        raise NotDer("a string in pieces")
    last = b""
    while begin < stop:
        after = walk(data, begin, stop, depth - 1)
        if tag == SET:
            expect(last <= data[begin:after], "a SET OF out of order")
            last = data[begin:after]
        begin = after
    return stop
