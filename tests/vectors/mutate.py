"""Leaves that are almost right: bits, lengths, elements and times changed, some signed again so that the signature is not what refuses them.

Everything comes from one seed, so a run can be made again.
"""
import random

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

import mint

OCTET_STRING, BIT_STRING = 0x04, 0x03
TIMES = [b"20270115120000Z", b"20270229000000Z", b"20280229000000Z", b"20270115115959.5Z", b"20270115120000+0000", b"19691231235959Z", b"19700101000000Z",
         b"99991231235959Z", b"20270115240000Z", b"20270115235960Z", b"270115120000Z", b"270229000000Z", b"491231235959Z", b"500101000000Z"]
TEXTS = [b"", b"*", b"a", b"a:*", b"https://h/..", b"https://erp.corp.example/**", b"https://erp.corp.example/*", b"https://h:443", b"https://[::1]/x", b"https://0x7f.1",
         b"https://h/%2A", b"https://h/%2e", b"https://H/x", b"spiffe://agents.corp.example/agent/a/b", b"spiffe://agents.corp.example/human/a/b",
         b"spiffe://other/agent/a/b", b"spiffe://agents.corp.example/agent/a", b"task:x", b"a b", b"\xc3\xa9", b"\xff", b"a\0b", "‮".encode(), b"x" * 59, b"x" * 60,
         b"x" * 128, b"x" * 129, b"x" * 513]
INTEGERS = [b"", b"\0", b"\1", b"\2", b"\7", b"\x08", b"\x7f", b"\x80", b"\0\x80", b"\0\1", b"\xff", b"\xff\xff", b"\x1f" + b"\xff" * 6, b"\x20" + bytes(6),
            b"\xe0" + bytes(5) + b"\1", b"\xe0" + bytes(6), b"\x7f" + b"\xff" * 7, b"\1" * 9, b"\1" * 20, b"\1" * 21]


class Node:
    """One element: its tag, and its contents as octets or as elements.  What stands in an OCTET STRING is opened too, where it is DER."""

    def __init__(self, tag, contents, length=None):
        self.tag, self.contents, self.length = tag, contents, length

    def encode(self):
        if self.tag is None:
            return self.contents            # as they are
        inner = self.contents if isinstance(self.contents, bytes) else b"".join(child.encode() for child in self.contents)
        return bytes([self.tag]) + (self.length(len(inner)) if self.length else mint.length(len(inner))) + inner

    def copy(self):
        return Node(self.tag, self.contents if isinstance(self.contents, bytes) else [child.copy() for child in self.contents], self.length)

    def walk(self):
        yield self
        if not isinstance(self.contents, bytes):
            for child in self.contents:
                yield from child.walk()


def parse(data):
    """The elements of some contents, or None when they are none."""
    nodes, at = [], 0
    while at < len(data):
        if len(data) - at < 2:
            return None
        tag, n = data[at], data[at + 1]
        at += 2
        if n >= 0x80:
            count, n = n - 0x80, int.from_bytes(data[at:at + n - 0x80], "big")
            at += count
            if not count:
                return None
        if tag & 0x1f == 0x1f or tag == 0 or len(data) - at < n:
            return None
        inner = data[at:at + n]
        opened = parse(inner) if tag & 0x20 or tag == OCTET_STRING and n not in (8, 16, 20, 32) else None
        if tag & 0x20 and opened is None:
            return None
        nodes.append(Node(tag, opened if opened else [] if tag & 0x20 else inner))
        at += n
    return nodes


def is_signed(node):
    """SEQUENCE of contents, our AlgorithmIdentifier and a BIT STRING: a certificate, a list, the inside of a response."""
    return not isinstance(node.contents, bytes) and len(node.contents) >= 3 and node.contents[1].tag == 0x30 and \
        node.contents[1].encode() == mint.ECDSA_SHA256


def long_form(n):
    octets = n.to_bytes(max(1, (n.bit_length() + 7) // 8), "big")
    return bytes([0x81 + len(octets)]) + b"\0" + octets if n >= 0x80 else b"\x81" + bytes([n])


class Mutator:
    def __init__(self, seed, originals, key):
        """`originals`: certificates, lists or responses to begin with, all signed by `key` (mint.Key)."""
        self.random = random.Random(seed)
        self.originals = originals
        self.trees = [parse(data)[0] for data in originals]
        self.signer = ec.derive_private_key(key.scalar, ec.SECP256R1())

    def sign(self, tree, signed, tbs):
        """The original with other octets to be signed, signed anew."""
        signed.contents[0] = Node(None, tbs)
        signed.contents[2] = Node(BIT_STRING, b"\0" + self.signer.sign(tbs, ec.ECDSA(hashes.SHA256())))
        return tree.encode()

    def next(self):
        """One mutant, and how it was made."""
        i = self.random.randrange(len(self.originals))
        if self.random.random() < 0.15:
            data, how = self.octets(self.originals[i])
            return data, "unsigned " + how
        tree = self.trees[i].copy()
        signed = next(n for n in tree.walk() if is_signed(n))
        if self.random.random() < 0.15:
            data, how = self.octets(signed.contents[0].encode())
            return self.sign(tree, signed, data), "signed " + how
        tbs, how = signed.contents[0], []
        for _ in range(self.random.choice((1, 1, 1, 1, 2, 3))):
            how.append(self.element(tbs))
        return self.sign(tree, signed, tbs.encode()), "signed " + ", ".join(how)

    def octets(self, data):
        """Bits and runs of octets, wherever they stand."""
        r, at = self.random, self.random.randrange(len(data))
        how = r.choice(("bit", "bit", "octet", "cut", "drop", "insert", "repeat"))
        if how == "bit":
            return data[:at] + bytes([data[at] ^ 1 << r.randrange(8)]) + data[at + 1:], how
        if how == "octet":
            return data[:at] + bytes([r.choice((0, 1, 0x7f, 0x80, 0xff, r.randrange(256)))]) + data[at + 1:], how
        if how == "cut":
            return data[:at], how
        n = r.choice((1, 2, r.randrange(1, 64)))
        if how == "drop":
            return data[:at] + data[at + n:], how
        return data[:at] + (r.randbytes(n) if how == "insert" else data[at:at + n]) + data[at:], how

    def element(self, tbs):
        """One change to the tree, most often inside TaskDelegation."""
        r, root = self.random, tbs
        if r.random() < 0.7:
            root = next((n for n in tbs.walk() if not isinstance(n.contents, bytes) and len(n.contents) == 2 and n.contents[0].tag == 6 and
                         n.contents[0].encode() == mint.oid(mint.ARC + ".1.1")), tbs)
        nodes = list(root.walk())
        parents = [n for n in nodes if not isinstance(n.contents, bytes) and n.contents]
        leaves = [n for n in nodes if isinstance(n.contents, bytes)]
        how = r.choice(("bit", "bit", "value", "value", "value", "tag", "delete", "repeat", "swap", "move", "length", "insert", "number"))
        if how in ("delete", "repeat", "swap", "move", "insert") and parents:
            self.children(how, r.choice(parents).contents, nodes)
        elif how in ("tag", "length"):
            node = r.choice(nodes)
            if how == "length":
                node.length = r.choice((long_form, lambda n: b"\x80", lambda n: mint.length(n + 1), lambda n: mint.length(max(n - 1, 0)),
                                        lambda n: b"\x84\x7f\xff\xff\xff"))
            else:
                node.tag = r.choice((node.tag ^ 1 << r.randrange(8), 1, 2, 4, 5, 6, 10, 12, 19, 22, 23, 24, 0x30, 0x31, 0x80, 0x81, 0x82, 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5))
        elif leaves:
            self.value(how, r.choice(leaves))
        return how

    def children(self, how, siblings, nodes):
        r, i = self.random, self.random.randrange(len(siblings))
        if how == "delete":
            del siblings[i]
        elif how == "repeat":
            siblings.insert(i, siblings[i].copy())
        elif how == "swap":
            j = r.randrange(len(siblings))
            siblings[i], siblings[j] = siblings[j], siblings[i]
        elif how == "move":
            siblings.insert(r.randrange(len(siblings) + 1), r.choice(nodes).copy())
        else:
            siblings.insert(i, Node(r.choice((2, 4, 5, 12, 22, 24, 0x80, 0x81, 0x82)), r.choice(TEXTS[:8] + INTEGERS)))

    def value(self, how, node):
        r, old = self.random, node.contents
        if how == "bit" and old:
            at = r.randrange(len(old))
            node.contents = old[:at] + bytes([old[at] ^ 1 << r.randrange(8)]) + old[at + 1:]
        elif how == "number" and old:
            step = r.choice((-1, 1))
            node.contents = old[:-1] + bytes([(old[-1] + step) % 256])
        elif node.tag in (23, 24) or len(old) in (13, 15) and old[-1:] == b"Z":
            node.contents = r.choice(TIMES + [old[:-2] + b"%dZ" % r.randrange(10)])
        elif node.tag in (2, 10):
            node.contents = r.choice(INTEGERS)
        elif node.tag in (12, 22, 0x80, 0x81, 0x82, 0x86):
            node.contents = r.choice(TEXTS + [old + r.choice((b"x", b"/x", b"/*", b"/**", b":x", b":*", b".", b" ")), old[:-1], old.upper()])
        else:
            node.contents = r.choice((b"", b"\0", b"\xff", old[:-1], old + b"\0", bytes(len(old)), r.randbytes(len(old))))
