"""What is refused, and in which words: bad bytes, bad requests, bad certification requests, people who may not, files that must not be trusted.

Every refusal is asked of the running system; the message is part of the claim.
"""
import base64
import hashlib
import json
import os
import re
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from cryptography.hazmat.primitives import hashes

import bad
import journal
from house import ERP, INVOICES, POLICY, TD, Agent, csr_der, new_key, program, spki, wait_for

GRANT = {"scope": [{"actions": ["invoices:read"], "resources": [INVOICES]}], "audience": [ERP]}
BOT = f"spiffe://{TD}/agent/invoice-bot"


def refused(answer, status, code, detail):
    """A problem, whole, of exactly these words (or a pattern, when compiled)."""
    assert answer.status == status, answer
    assert answer.headers["Content-Type"] == "application/problem+json", answer.headers
    problem = answer.json
    assert (problem["code"], problem["status"], problem["type"]) == (code, status, "about:blank"), answer
    if isinstance(detail, re.Pattern):
        assert detail.fullmatch(problem["detail"]), problem["detail"]
    else:
        assert problem["detail"] == detail, problem["detail"]
    return problem


def denied(answer, rule, value, limit):
    problem = answer.json
    assert (answer.status, problem["code"]) == (403, "DENIED"), answer
    assert (problem["rule"], problem["value"], problem["limit"]) == (rule, value, limit), problem
    return problem


@pytest.fixture(scope="module")
def early(one):
    """A task of the shortest length, opened first so that it has ended by the last test."""
    agent = one.agent_with_leaf("early", lifetime_s=60, ends_in_s=60)
    agent.began = time.monotonic()
    return agent


@pytest.fixture(scope="module")
def task(one, early):  # pylint: disable=unused-argument
    agent = Agent(one, "named")
    agent.task = one.open_task(agent).json["task"]
    return agent


# ---- certification requests ----

def ask_leaf(house, task, der):
    return house.nobody().ask("POST", f"/v1/tasks/{task}/leaves", der, {"Content-Type": "application/pkcs10"})


def named(house, key_spki, name):
    """A task whose agent has a key of this SubjectPublicKeyInfo."""
    opened = open_for(house, {"class": BOT, "spki_sha256": hashlib.sha256(key_spki).hexdigest()}, id=name)
    assert opened.status == 201, opened
    return opened.json["task"]


def open_for(house, agent, **more):
    """A task for what is said to be an agent."""
    return house.person().ask("POST", "/v1/tasks", {"agent": agent, **GRANT, **more})


def test_a_certification_request_of_8193_bytes_is_refused(one, task):
    der = csr_der(task.key)
    refused(ask_leaf(one, task.task, der + bytes(8193 - len(der))), 400, "INVALID", "CSR: 8193 bytes, the limit is 8192")
    refused(one.leaf(task.task, task, csr=base64.b64encode(bytes(8193)).decode()), 400, "INVALID",
            re.compile("member 'csr' has more than 8192 bytes.*"))


def test_a_malformed_certification_request_is_refused(one, task):
    der = csr_der(task.key)
    cut = "CSR: not one whole DER element: cut short, or BER"
    for mangled, detail in (
            (der[:-1], cut), (b"", "CSR: not one whole DER element: cut short, or BER"), (b"0\x80" + der[2:], cut),
            (der + b"\0", "CSR: 1 bytes follow its end"), (der + der, f"CSR: {len(der)} bytes follow its end"),
            (b"\x04\x02ab", "CSR: not a SEQUENCE of contents, AlgorithmIdentifier and signature in DER")):
        refused(ask_leaf(one, task.task, mangled), 400, "INVALID", detail)
    refused(one.leaf(task.task, task, csr="not base64!"), 400, "INVALID", re.compile("member 'csr' is neither base64 of DER nor PEM.*"))
    refused(one.leaf(task.task, task, csr=base64.b64encode(der).decode() + "\n"), 400, "INVALID", re.compile("member 'csr' is neither .*"))


def test_a_certification_request_that_was_tampered_with_proves_nothing(one, task):
    der = bytearray(csr_der(task.key))
    der[-1] ^= 1
    refused(ask_leaf(one, task.task, bytes(der)), 400, "INVALID",
            re.compile("CSR: no proof that the asker has the key: the signature is not this P-256 key's over these bytes"))


def test_keys_of_foreign_curves_and_of_rsa_are_refused(one, task):
    wanted = {"P-224": "curve P-224", "secp256k1": "curve secp256k1", "P-521": "curve P-521", "brainpool": "curve brainpoolP256r1"}
    for name, der in bad.foreign_csrs():
        what = wanted[name] + " is" if name in wanted else "RSA keys are"
        refused(ask_leaf(one, task.task, der), 400, "INVALID", f"CSR: {what} not accepted: use P-256, P-384 or Ed25519")


def test_a_point_off_the_curve_is_refused(one):
    der, bent = bad.csr_off_the_curve(new_key())
    refused(ask_leaf(one, named(one, bent, "bent"), der), 400, "INVALID", "CSR: public key: the point is not on the curve P-256")


def test_a_signature_by_another_hash_is_refused(one, task):
    refused(ask_leaf(one, task.task, bad.csr(task.key, digest=hashes.SHA384())), 400, "INVALID",
            re.compile("CSR: signature algorithm 1.2.840.10045.4.3.3 is not that of P-256 keys: sign with ecdsa-with-SHA256, without parameters"))


@pytest.mark.parametrize("name,extension,oid", [(n, e, o) for (n, e), o in zip(bad.WANTED_EXTENSIONS, ("2.5.29.19", "2.5.29.37", "2.5.29.17", "2.5.29.15"))])
def test_a_certification_request_for_extensions_is_refused_and_never_copied(one, task, name, extension, oid):
    answer = ask_leaf(one, task.task, bad.csr(task.key, extension))
    refused(answer, 400, "INVALID", f"CSR: asks for extension {oid}: extensions come from the grant, ask without any")


def test_the_subject_of_a_certification_request_is_never_copied(one):
    from cryptography import x509
    from cryptography.x509.oid import NameOID
    agent = Agent(one, "vain")
    task = one.open_task(agent).json["task"]
    name = [x509.NameAttribute(NameOID.COMMON_NAME, "root"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Other")]
    answer = ask_leaf(one, task, bad.csr(agent.key, name=name))
    assert answer.status == 201, answer
    assert x509.load_pem_x509_certificate(answer.json["certificate"].encode()).subject.rfc4514_string() == f"CN=task:{task},O={TD}"


def test_a_key_that_the_task_does_not_name_gets_nothing(one, task):
    refused(one.leaf(task.task, Agent(one, "other")), 404, "NOT_FOUND", f"no delegation of task '{task.task}' names this key: task {task.task} has no edge for this key")
    refused(one.leaf("no-such-task", task), 404, "NOT_FOUND", "no delegation of task 'no-such-task' names this key: task no-such-task has no edge for this key")


def test_a_lifetime_outside_60_to_900_seconds_is_refused(one, task):
    for lifetime in (59, 901, 0, -1):
        refused(one.leaf(task.task, task, lifetime), 400, "INVALID", "member 'lifetime_s' must be an integer from 60 to 900")
    for query in ("lifetime_s=59", "lifetime_s=901", "lifetime_s=060", "lifetime_s=60&lifetime_s=60", "life=60", "", "lifetime_s=60&"):
        answer = one.nobody().ask("POST", f"/v1/tasks/{task.task}/leaves?{query}", csr_der(task.key), {"Content-Type": "application/pkcs10"})
        if query:
            refused(answer, 400, "INVALID", "the query must be lifetime_s=N, N from 60 to 900")
    for lifetime in (60, 900):
        assert one.leaf(task.task, task, lifetime).status == 201


# ---- JSON ----

def body(task, **more):
    text = {"agent": {"class": BOT, "spki_sha256": task.spki_sha256}, **GRANT}
    text.update(more)
    return text


WRONG_TASKS = [
    ({"colour": "red"}, "member 'colour' is unknown"),
    ({"kind": "human"}, "member 'kind' is unknown"),
    ({"principal": f"spiffe://{TD}/human/corp/olga"}, "member 'principal' is unknown"),
    ({"hops": []}, "member 'hops' is unknown"),
    ({"agent": None}, "member 'agent' must be an object"),
    ({"agent": {"class": BOT}}, "member 'agent.spki_sha256' is missing"),
    ({"agent": {"class": BOT, "spki_sha256": "AB" * 32}}, "member 'agent.spki_sha256' must be 64 lower-case hex digits"),
    ({"agent": {"class": BOT, "spki_sha256": "ab" * 31}}, "member 'agent.spki_sha256' must be 64 lower-case hex digits"),
    ({"agent": {"class": BOT, "spki_sha256": "ab" * 32, "san": "x"}}, "member 'agent.san' is unknown"),
    ({"agent": {"class": BOT + "/me", "spki_sha256": "ab" * 32}},
     "member 'agent.class' must be a class, spiffe://TRUST-DOMAIN/agent/CLASS: the instance is named by the issuer"),
    ({"agent": {"class": "spiffe://other.example/agent/invoice-bot", "spki_sha256": "ab" * 32}},
     f"member 'agent.class' is of trust domain other.example; ours is {TD}"),
    ({"scope": []}, "member 'scope' must be a list of 1 to 32 entitlements"),
    ({"scope": GRANT["scope"] * 33}, "member 'scope' must be a list of 1 to 32 entitlements"),
    ({"scope": "all"}, "member 'scope' must be a list of 1 to 32 entitlements"),
    ({"scope": ["all"]}, "member 'scope[0]' must be an object"),
    ({"scope": [{"actions": [], "resources": [INVOICES]}]}, "member 'scope[0].actions' must be a list of 1 to 16 texts"),
    ({"scope": [{"actions": [1], "resources": [INVOICES]}]}, "member 'scope[0].actions' must be a list of 1 to 16 texts"),
    ({"scope": [{"actions": ["invoices:read"], "resources": [INVOICES], "delegable": "yes"}]}, "member 'scope[0].delegable' must be true or false"),
    ({"scope": [{"actions": ["invoices:read"], "resources": [INVOICES], "constraints": [{"budget": 1}]}]},
     "member 'scope[0].constraints[0].budget' is unknown"),
    ({"constraints": [{"sourceNet": ["10.0.0.1/8"]}]}, "member 'constraints[0].sourceNet': '10.0.0.1/8' has bits set below its prefix"),
    ({"constraints": [{}]}, "member 'constraints[0]' must have exactly one of sourceNet, window, paramIn, paramMax"),
    ({"constraints": [{"paramMax": {"name": "n", "max": 2 ** 53}}]},
     "member 'constraints[0].paramMax.max' must be an integer from -9007199254740991 to 9007199254740991"),
    ({"audience": []}, "member 'audience' must be a list of 1 to 16 texts"),
    ({"depth": 8}, "member 'depth' must be an integer from 0 to 7"),
    ({"depth": -1}, "member 'depth' must be an integer from 0 to 7"),
    ({"depth": 1.0}, "member 'depth' must be an integer from 0 to 7"),
    ({"depth": True}, "member 'depth' must be an integer from 0 to 7"),
    ({"depth": "1"}, "member 'depth' must be an integer from 0 to 7"),
    ({"depth": 2 ** 53}, "member 'depth' must be an integer from 0 to 7"),
    ({"ends_in_s": 59}, "member 'ends_in_s' must be an integer from 60 to 28800"),
    ({"ends_in_s": 28801}, "member 'ends_in_s' must be an integer from 60 to 28800"),
    ({"ends_in_s": 3600.5}, "member 'ends_in_s' must be an integer from 60 to 28800"),
    ({"purpose": "x" * 257}, "member 'purpose' has 257 octets, over 256"),
    ({"purpose": "\u001b[31mred"}, "member 'purpose' must be UTF-8 without control characters"),
    ({"purpose": "gpj.\u202eexe"}, "member 'purpose' must be UTF-8 without control characters"),
    ({"purpose": ""}, "member 'purpose' must be a text that is not empty"),
    ({"context": {"type": "prompt", "digest": "00"}}, "member 'context.digest' must be 64 lower-case hex digits"),
    ({"context": {"type": "a b", "digest": "00" * 32}}, "member 'context.type' must be printable ASCII without blanks"),
]


@pytest.mark.parametrize("change,detail", WRONG_TASKS, ids=[d[:60] for _, d in WRONG_TASKS])
def test_a_wrong_member_is_refused_by_name(one, task, change, detail):
    refused(one.person().ask("POST", "/v1/tasks", body(task, **change)), 400, "INVALID", detail)


@pytest.mark.parametrize("text,detail", [
    (b"", re.compile("the body is not JSON: .*")),
    (b"{", re.compile("the body is not JSON: line 1, column 1: .*")),
    (b"[]", "the body is not a JSON object"),
    (b'"task"', re.compile("the body is not (a JSON object|JSON: .*)")),
    (b"{} {}", re.compile("the body is not JSON: line 1, column 4: .*")),
    (b"\xef\xbb\xbf{}", re.compile("the body is not JSON: .*")),
    (b'{"purpose": "\xff"}', re.compile("the body is not JSON: .*")),
    (b'{"purpose": "a\\u0000b"}', re.compile("the body is not JSON: .*")),
    (b'{"depth": 1, "depth": 1}', re.compile("the body has a member twice: line 1, column [0-9]+")),
    (b'{"agent": {"class": "a", "class": "b"}}', re.compile("the body has a member twice: line 1, column [0-9]+")),
    (b'{"purpose": "a", "purpo\\u0073e": "b"}', re.compile("the body has a member twice: line 1, column [0-9]+")),
    (b'{"scope": ' + b"[" * 1000 + b"]" * 1000 + b"}", "the body nests deeper than 16"),
    (b'{"a":' * 1000 + b"1" + b"}" * 1000, "the body nests deeper than 16"),
    (b'{"depth": 123456789012345678901234567890}', re.compile("the body is not JSON: .*")),
    (b'{"depth": NaN}', re.compile("the body is not JSON: .*")),
], ids=range(15))
def test_what_is_not_one_strict_json_object_is_refused(one, text, detail):
    answer = one.person().ask("POST", "/v1/tasks", text, {"Content-Type": "application/json"})
    refused(answer, 400, "INVALID", detail)


def test_names_that_are_not_canonical_are_refused_not_normalised(one, task):
    for change, word in (({"scope": [{"actions": ["Invoices:read"], "resources": [INVOICES]}]}, "Invoices:read"),
                         ({"scope": [{"actions": ["*"], "resources": [INVOICES]}]}, "*"),
                         ({"scope": [{"actions": ["invoices:read"], "resources": [ERP + "/v2/../admin"]}]}, "/v2/../admin"),
                         ({"scope": [{"actions": ["invoices:read"], "resources": ["https://ERP.corp.example/v2"]}]}, "ERP"),
                         ({"scope": [{"actions": ["invoices:read"], "resources": [ERP + ":443/v2"]}]}, ":443"),
                         ({"scope": [{"actions": ["invoices:read"], "resources": [ERP + "//v2"]}]}, "//v2"),
                         ({"audience": [ERP + "/?a=b"]}, "?"), ({"id": "a/b"}, "a/b"), ({"id": "x" * 60}, "60")):
        answer = one.person().ask("POST", "/v1/tasks", body(task, **change))
        assert (answer.status, answer.json["code"]) == (400, "INVALID") and word in answer.json["detail"], answer


def test_a_content_type_that_is_not_ours_is_refused(one, task):
    answer = one.person().ask("POST", "/v1/tasks", json.dumps(body(task)), {"Content-Type": "text/plain"})
    refused(answer, 415, "INVALID", "content type 'text/plain' is not application/json")
    answer = one.nobody().ask("POST", f"/v1/tasks/{task.task}/leaves", csr_der(task.key), {"Content-Type": "application/x-pem-file"})
    refused(answer, 415, "INVALID", "content type 'application/x-pem-file' is not application/json or application/pkcs10")


def test_an_idempotency_key_has_a_grammar_and_one_request(one, task):
    ask = lambda key, **more: one.person().ask("POST", "/v1/tasks", body(Agent(one, "idem"), **more), {"Idempotency-Key": key})  # noqa: E731
    refused(ask("a b"), 400, "INVALID", "Idempotency-Key may have [A-Za-z0-9._-] only")
    refused(ask("a/b"), 400, "INVALID", "Idempotency-Key may have [A-Za-z0-9._-] only")
    refused(ask("k" * 129), 400, "INVALID", "Idempotency-Key has 129 characters, over 128")
    assert ask("k" * 128).status == 201
    refused(ask("k" * 128), 409, "CONFLICT", re.compile("Idempotency-Key 'k+(\\.\\.\\.)?': it was used for another request"))
    assert one.person("bob").ask("POST", "/v1/tasks", body(Agent(one, "idem-bob")), {"Idempotency-Key": "k" * 128}).status == 201, "a key is its principal's"
    revoke = {"serial": one.agent_with_leaf("idem-leaf").serial}
    olga = one.person("olga")
    first = olga.ask("POST", "/v1/revocations", revoke, {"Idempotency-Key": "r-1"})
    again = olga.ask("POST", "/v1/revocations", revoke, {"Idempotency-Key": "r-1"})
    assert first.status == again.status == 200 and first.json == again.json and first.json["leaves"] == 1
    refused(olga.ask("POST", "/v1/revocations", {"edge": "00" * 16}, {"Idempotency-Key": "r-1"}), 409, "CONFLICT",
            "Idempotency-Key 'r-1': it was used for another request")


# ---- HTTP ----

HEAD = b"GET /v1/tasks/x HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("data,status,text", [
    (HEAD + b"A: " + b"a" * 65536 + b"\r\n\r\n", 431, "request line and headers are longer than 8192 bytes"),
    (b"".join([HEAD] + [b"A%d: b\r\n" % n for n in range(10000)]) + b"\r\n", 431, "request line and headers are longer than 8192 bytes"),
    (b"GET /" + b"a" * 65536 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414, "the request line is longer than 8192 bytes"),
    (POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400, "header Content-Length stands twice"),
    (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400, "header Content-Length stands twice"),
    (POST + b"Content-Length: 2, 2\r\n\r\n{}", 400, "Content-Length '2, 2' is not a number"),
    (POST + b"Content-Length: +2\r\n\r\n{}", 400, "Content-Length '+2' is not a number"),
    (POST + b"Content-Length: 0x2\r\n\r\n{}", 400, "Content-Length '0x2' is not a number"),
    (POST + b"Content-Length: 99999999999999999999\r\n\r\n", 413, "Content-Length 99999999999999999999 is larger than any body accepted here"),
    (POST + b"Content-Length: 65537\r\n\r\n", 413, None),
    (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411, "Transfer-Encoding is not accepted: send Content-Length"),
    (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}", 400, "Transfer-Encoding beside Content-Length: one of them lies"),
    (POST + b"Content-Length: 2\r\nTransfer-Encoding: identity\r\n\r\n{}", 400, "Transfer-Encoding beside Content-Length: one of them lies"),
    (POST + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", 415, "Content-Encoding 'gzip' is not decoded here: send the body as it is"),
    (HEAD.replace(b"\r\n", b"\n") + b"\n", 400, "a line ends in a bare LF: lines end in CR LF"),
    (HEAD + b"A: b\n\r\n", 400, "a line ends in a bare LF: lines end in CR LF"),
    (HEAD + b"A: b\rc\r\n\r\n", 400, "byte 0x0D in the head of the request: only printable ASCII is accepted"),
    (HEAD + b"A: b\0c\r\n\r\n", 400, "byte 0x00 in the head of the request: only printable ASCII is accepted"),
    (b"GET /v1/tasks/\0 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "byte 0x00 in the head of the request: only printable ASCII is accepted"),
    (HEAD + b"Idempotency-Key: \xc3\xbc\r\n\r\n", 400, "byte 0xC3 in the head of the request: only printable ASCII is accepted"),
    (HEAD + b"Idempotency-Key: a\r\nIdempotency-Key: a\r\n\r\n", 400, "header Idempotency-Key stands twice"),
    (HEAD + b"Idempotency-Key: \r\n\r\n", 400, "Idempotency-Key is empty: give it a value, or leave it out"),
    (HEAD + b" folded: b\r\n\r\n", 400, None),
    (HEAD + b"A : b\r\n\r\n", 400, None),
    (HEAD + b"no colon\r\n\r\n", 400, None),
    (HEAD + b"Host: other\r\n\r\n", 400, "header Host stands twice"),
    (b"GET /v1/tasks/x HTTP/1.1\r\n\r\n", 400, "HTTP/1.1 without a Host header"),
    (b"GET https://localhost/v1/tasks/x HTTP/1.1\r\nHost: localhost\r\n\r\n", 400,
     "the target does not begin with '/': only the origin form is accepted"),
    (b"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "the target does not begin with '/': only the origin form is accepted"),
    (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "the target does not begin with '/': only the origin form is accepted"),
    (b"GET /v1/tasks/x HTTP/2.0\r\nHost: localhost\r\n\r\n", 505, "version HTTP/2.0 is not spoken here: use HTTP/1.1"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version HTTP/2.0 is not spoken here: use HTTP/1.1"),
    (b"GET  /v1/tasks/x HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "the request line is not 'METHOD /path HTTP/1.1'"),
    (b"GET /v1/tasks/<x> HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "the target holds what no path or query may: /v1/tasks/<x>"),
    (b"GET /v1/tasks/%zz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "the target holds what no path or query may: /v1/tasks/%zz"),
    (HEAD + b"Content-Length: 2\r\n\r\n{}", 400, "a GET or HEAD request with a body of 2 bytes"),
    (POST + b"Expect: a miracle\r\nContent-Length: 2\r\n\r\n{}", 417, "expectation 'a miracle' cannot be met: only 100-continue"),
    (b"\r\n" + HEAD + b"\r\n", 400, None),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, None),
], ids=lambda v: v[:40].hex() if isinstance(v, bytes) else None)
def test_http_that_two_parsers_could_read_in_two_ways_is_refused_and_the_connection_closed(one, early, data, status, text):
    answer, closed = bad.send(one, data, "alice")
    assert answer is not None and answer.status == status and closed, (answer, closed)
    assert text is None or answer.body.decode() == text + "\n", answer


def test_a_client_that_sends_a_header_byte_a_second_is_closed_at_the_deadline(one):
    answer, after = bad.drip(one, b"GET /v1/tasks/x HTTP/1.1\r\nA: ", b"a", 1.0, 12)
    assert answer is not None and answer.status == 408 and 4.5 < after < 7, (answer, after)
    assert answer.body == b"the headers did not arrive within 5000 ms\n"


def test_a_client_that_sends_its_body_a_byte_a_second_is_closed_at_the_deadline(one):
    answer, after = bad.drip(one, POST + b"Content-Length: 100\r\n\r\n", b" ", 1.0, 12, "alice")
    assert answer is not None and answer.status == 408 and 4.5 < after < 7, (answer, after)
    assert answer.body == b"the body did not arrive within 5000 ms\n"


def test_what_is_pipelined_behind_a_refused_request_is_never_read(one, early):
    smuggled = b"POST /v1/revocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    revoke = json.dumps({"serial": early.serial}).encode()
    with bad.tls(one, "olga") as sock:
        sock.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled % len(revoke) + revoke)
        assert bad.read_answer(sock).status == 411
        assert bad.read_answer(sock) is None
    assert one.ocsp(early) == "GOOD"


# ---- who may ----

def test_an_agent_opens_no_task_and_a_human_delegates_no_leaf(one):
    agent = one.agent_with_leaf("opening")
    denied(agent.client().ask("POST", "/v1/tasks", body(Agent(one, "opened"))), "K1", agent.id, "a human or a service opens a task")
    alice = f"spiffe://{TD}/human/corp/alice"
    denied(one.person().ask("POST", "/v1/delegations", body(Agent(one, "opened"))), "K1", alice, "an agent does this, with its leaf")
    denied(one.person().ask("POST", "/v1/renew"), "K1", alice, "an agent does this, with its leaf")
    refused(one.nobody().ask("POST", "/v1/tasks", body(Agent(one, "opened"))), 401, "UNAUTHENTICATED",
            "this needs a client certificate of a configured delegator or an agent")
    refused(one.nobody().ask("POST", "/v1/renew"), 401, "UNAUTHENTICATED", "this needs a client certificate of an agent: a leaf of this issuer")


def test_a_task_id_is_used_once(one):
    assert one.open_task(Agent(one, "first"), id="only.once").status == 201
    refused(one.open_task(Agent(one, "second"), id="only.once"), 409, "CONFLICT", re.compile(".*only\\.once.*"))
    refused(one.open_task(Agent(one, "second"), one.person("bob"), id="only.once"), 409, "CONFLICT", re.compile(".*only\\.once.*"))


def test_depth_is_spent_and_not_exceeded(one):
    denied(one.open_task(Agent(one, "deep"), depth=4), "invoices: max_depth", "depth 4", "depth 3")
    flat = one.agent_with_leaf("flat", depth=0, scope=GRANT["scope"])
    denied(one.delegate(flat, Agent(one, "below")), "D1", "a delegation below depth 0", "the parent may not delegate")
    two = one.agent_with_leaf("two")
    problem = denied(one.delegate(two, Agent(one, "below"), depth=2), "D1", "depth 2", "depth 1, one less than the parent has")
    assert problem["hint"] == "ask for less depth"


def test_what_is_not_delegable_is_not_handed_on(one):
    closed = one.agent_with_leaf("closed", scope=GRANT["scope"])
    problem = one.delegate(closed, Agent(one, "below")).json
    assert (problem["code"], problem["rule"]) == ("DENIED", "S1"), problem


def test_a_key_never_delegates_to_itself_at_any_distance(one):
    first = one.agent_with_leaf("self")
    denied(one.delegate(first, first), "E7", "agent.spki_sha256", "the key of an ancestor")
    below = one.child_with_leaf(first, "self-child", depth=1, scope=[{"actions": ["invoices:read"], "resources": [INVOICES], "delegable": True}])
    denied(one.delegate(below, first), "E7", "agent.spki_sha256", "the key of an ancestor")
    denied(one.delegate(below, below), "E7", "agent.spki_sha256", "the key of an ancestor")
    again = one.delegate(first, below)
    refused(again, 409, "CONFLICT", re.compile(".*key.*"))


def test_what_no_rule_speaks_of_is_denied(one):
    answer = open_for(one, {"class": f"spiffe://{TD}/agent/unknown-bot", "spki_sha256": "ab" * 32})
    problem = answer.json
    assert (answer.status, problem["code"]) == (403, "DENIED") and problem["value"] and problem["limit"] and problem["hint"], answer
    answer = one.open_task(Agent(one, "long"), ends_in_s=7201)
    denied(answer, "invoices: max_grant", "7201 s", "7200 s")


def test_a_stranger_sees_no_task_and_no_log(one):
    agent = one.agent_with_leaf("private")
    bob = one.person("bob")
    refused(bob.ask("GET", "/v1/tasks/" + agent.task), 404, "NOT_FOUND", f"task '{agent.task}' is not known, or not yours to see")
    refused(bob.ask("GET", "/v1/tasks/no-such-task"), 404, "NOT_FOUND", "task 'no-such-task' is not known, or not yours to see")
    denied(bob.ask("GET", "/v1/log/entries"), "auditor", f"spiffe://{TD}/human/corp/bob", "principals with the auditor role")
    for who in (one.person(), agent.client(), one.person("olga"), one.person("ada")):
        assert who.ask("GET", "/v1/tasks/" + agent.task).status == 200


def test_a_certificate_of_another_ca_is_refused_in_the_handshake(one):
    import ssl
    key_file, cert_file = one.path("foreign.key"), one.path("foreign.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key_file, "-out", cert_file,
                    "-subj", "/CN=olga", "-days", "2"], check=True, capture_output=True)
    from house import Client
    with pytest.raises((ssl.SSLError, ConnectionError)):
        Client(one, cert_file, key_file).ask("POST", "/v1/revocations", {"task": "x"})


def test_a_leaf_that_is_not_the_one_issued_under_its_serial_is_refused(one):
    # As whoever took an issuing key would make one: a serial of ours that is good, in other words.
    agent = one.agent_with_leaf("forged")
    with sqlite3.connect(one.path("state/store/writ.db"), timeout=10) as db:
        changed = db.execute("UPDATE leaf SET sha256 = ? WHERE serial = ?", (hashlib.sha256(b"another").digest(), bytes.fromhex(agent.serial)))
        assert changed.rowcount == 1
    refused(agent.client().ask("POST", "/v1/renew", {}), 401, "UNAUTHENTICATED", "leaf is not one of this issuer")


def test_a_server_certificate_of_the_corporate_ca_is_no_client(one):
    import ssl
    from house import Client
    try:
        answer = Client(one, one.path("erp.pem"), one.path("erp.key")).ask("GET", "/v1/tasks/x")
    except (ssl.SSLError, ConnectionError):
        return
    assert answer.status == 401, answer


# ---- revocation: what is asked; who may is test_revoke_matrix.py ----

@pytest.mark.parametrize("asked,detail", [
    ({"reason": "superseded"}, "exactly one of edge, serial, task, principal, all says what is revoked"),
    ({"edge": "00" * 16, "task": "x"}, "exactly one of edge, serial, task, principal, all says what is revoked"),
    ({"edge": "00"}, "member 'edge' must be 32 lower-case hex digits"),
    ({"serial": "AB" * 16}, "member 'serial' must be 32 lower-case hex digits"),
    ({"serial": 5}, "member 'serial' must be 32 lower-case hex digits"),
    ({"edge": "00" * 16, "undo": True}, "member 'undo' is unknown"),
    ({"all": True, "task": "x"}, "exactly one of edge, serial, task, principal, all says what is revoked"),
    ({"all": False}, "member 'all' must be true"),
    ({"all": True, "freeze": False}, "member 'freeze' must be true with 'all'"),
    ({"edge": "00" * 16, "freeze": True}, "member 'freeze' goes with a principal or with all"),
    ({"all": True, "reason": "keyCompromise"}, "everything has no key to compromise: revoke the edge, the leaf or the principal"),
    ({"task": "x", "reason": "keyCompromise"}, "a task has no key to compromise: revoke the edge, the leaf or the principal"),
    *[({"edge": "00" * 16, "reason": reason}, "member 'reason' must be one of unspecified, keyCompromise, affiliationChanged, superseded, "
       "cessationOfOperation, privilegeWithdrawn") for reason in ("certificateHold", "removeFromCRL", "cACompromise", "aACompromise", "", 5, None)],
], ids=range(19))
def test_a_revocation_says_one_thing_for_one_reason(one, asked, detail):
    refused(one.person("olga").ask("POST", "/v1/revocations", asked), 400, "INVALID", detail)


def test_what_does_not_exist_is_not_found(one):
    olga = one.person("olga")
    for asked in ({"edge": "00" * 16}, {"serial": "00" * 16}, {"task": "no.such.task"}):
        answer = olga.ask("POST", "/v1/revocations", asked)
        assert (answer.status, answer.json["code"]) == (404, "NOT_FOUND"), answer
    assert olga.ask("POST", "/v1/tasks/no.such.task/complete").status == 404
    assert olga.ask("GET", "/v1/tasks/no.such.task").status == 404


def test_ocsp_says_nothing_good_of_what_was_never_issued(one, early):
    from cryptography.x509 import ocsp
    issuing = one.issuing_of(early)
    for serial in (1, int(early.serial, 16) ^ 1, 2 ** 127 - 1):
        asked = urllib.request.Request(one.status_url("/ocsp"), data=bad.ocsp_request(issuing, serial), headers={"Content-Type": "application/ocsp-request"})
        with urllib.request.urlopen(asked, timeout=10) as answer:
            body_der = answer.read()
        response = ocsp.load_der_ocsp_response(body_der)
        assert response.response_status == ocsp.OCSPResponseStatus.UNAUTHORIZED and len(body_der) == 5, "unsigned"


# ---- policy files ----

POLICIES = [
    ("a tab that indents", POLICY.replace("    kind: human", "\tkind: human"), ":9:1: a tab: indent and separate with spaces"),
    ("a tab that separates", POLICY.replace("kind: human", "kind:\thuman", 1), ":9:10: a tab: indent and separate with spaces"),
    ("an alias", POLICY.replace("kind: human", "kind: *human", 1), ":9:11: aliases (*name) are not accepted: write the value out"),
    ("an anchor", POLICY.replace("kind: human", "kind: &h human", 1), ":9:11: anchors (&name) are not accepted: write the value out"),
    ("a tag", POLICY.replace("kind: human", "kind: !!str human", 1), ":9:11: tags (!name) are not accepted"),
    ("a duplicate key", POLICY.replace("    kind: human", "    kind: human\n    kind: service"), ':10:5: key "kind" is there already, in line 9: keep one'),
    ("an unknown key", POLICY.replace("    kind: human", "    kind: human\n    colour: red"),
     ':10:5: unknown key "colour"; known here: name, delegator, kind, agents, entitlements, audience, wildcard_audience, max_lifetime, max_grant, max_depth, no_rev_avail, approvals'),
    ("a megabyte", POLICY + "#" * 1048576, " is over the limit of 262144 bytes"),
    ("a depth of 100", POLICY + "x: " + "[" * 100 + "]" * 100 + "\n", ":31:35: nested deeper than 32"),
    ("a second document", POLICY + "---\nversion: 1\n", ":31:1: a second document: one file holds one"),
    ("a lifetime over the ceiling", POLICY.replace("15m", "16m", 1), ':16:5: max_lifetime: found "16m", wanted a time from 60s to 900s, such as 90s, 5m or 8h'),
    ("a yes", POLICY.replace("version: 1", "version: 1\nembed_purpose: yes"), ':2:1: embed_purpose: found "yes", wanted true or false, without quotes'),
    ("a NUL", POLICY.replace("kind: human", "kind: hu\0man", 1), ":9:13: a NUL byte"),
    ("nothing", "", ": is empty: version, id and rules are needed"),
]


@pytest.mark.parametrize("text,words", [p[1:] for p in POLICIES], ids=[p[0] for p in POLICIES])
def test_a_policy_is_refused_at_its_line_and_column(tmp_path, text, words):
    path = tmp_path / "policy.yaml"
    path.write_text(text, encoding="utf-8")
    result = subprocess.run([program("writ"), "policy", "check", "policy.yaml"], capture_output=True, text=True, check=False, timeout=20, cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (1, "", f"writ policy check: policy.yaml{words}\n")


def test_the_policy_that_these_were_made_of_is_well_formed(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY, encoding="utf-8")
    result = subprocess.run([program("writ"), "policy", "check", str(path)], capture_output=True, text=True, check=False, timeout=20)
    assert result.returncode == 0, result


# ---- files that must not be trusted ----

@pytest.fixture(scope="module")
def stopped():
    """A house with its state made and nothing running."""
    from house import House
    made = House("swtpm")
    try:
        made.init()
        yield made
    finally:
        made.close()


PROGRAMS = [["writd"], ["writ-issuerd"], ["writ-signerd"], ["writ", "init"]]


def run_with(house, command, path):
    return subprocess.run([program(command[0]), *command[1:], "--config", path], capture_output=True, text=True, timeout=20, check=False)


@pytest.mark.parametrize("command", PROGRAMS, ids=" ".join)
def test_a_configuration_that_others_may_write_is_refused_by_each_program(stopped, command):
    path = stopped.path("writ.yaml")
    for mode in (0o666, 0o602, 0o664):
        os.chmod(path, mode)
        try:
            result = run_with(stopped, command, path)
        finally:
            os.chmod(path, 0o644)
        assert result.returncode == 2, result
        assert f"configuration: {path} has mode {mode:04o}: others than its owner may write it: chmod go-w" in result.stderr + result.stdout, result


@pytest.mark.parametrize("command", PROGRAMS, ids=" ".join)
def test_a_configuration_behind_a_symbolic_link_is_refused_by_each_program(stopped, command):
    link = stopped.path("link.yaml")
    if not os.path.islink(link):
        os.symlink(stopped.path("writ.yaml"), link)
    result = run_with(stopped, command, link)
    assert result.returncode == 2, result
    assert f"configuration: {link} is a symbolic link: name the file itself" in result.stderr + result.stdout, result


@pytest.mark.parametrize("command", PROGRAMS, ids=" ".join)
def test_a_configuration_with_an_unknown_key_is_refused_by_each_program(stopped, command):
    path = stopped.path("unknown.yaml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(stopped.configuration() + "colour: red\n")
    result = run_with(stopped, command, path)
    assert result.returncode == 2 and f'{path}:14:1: unknown key "colour"; known here: version, trust_domain' in (result.stderr + result.stdout).replace("\\", ""), result


# ---- last: the task opened first has ended ----

@pytest.mark.waits
def test_a_task_that_has_ended_closes_itself_and_issues_and_renews_nothing(one, early):
    time.sleep(max(0, early.began + 33 - time.monotonic()))
    answer = one.leaf(early.task, early, 60)
    if time.monotonic() - early.began < 60:
        assert (answer.status, answer.json["rule"]) == (403, "L2") and "30 s at least; the task ends then" in answer.json["limit"], answer
    alice = one.person()
    shown = wait_for("the task closes itself", lambda: (t := alice.ask("GET", "/v1/tasks/" + early.task).json)["state"] != "open" and t, 60)
    assert time.monotonic() - early.began >= 60 and shown["state"] == "expired" and shown["ended"] == shown["ends"], shown
    denied(one.leaf(early.task, early, 60), "L4", early.task, "the task's end has come")
    entry = wait_for("the journal says so", lambda: [e for e in journal.read(one.path("state/journal"), live=True)
                                                     if e.type == "task" and e.json["said"].get("task") == early.task and "ended" in e.json["said"]])
    assert [e.json["said"]["state"] for e in entry] == ["expired"]
    assert int(re.search(r"^writ_tasks_expired_total (\d+)$", one.get("/metrics").decode(), re.M).group(1)) >= 1
    import ssl
    try:
        answer = early.client().ask("POST", "/v1/renew")
    except (ssl.SSLError, ConnectionError):
        return  # an expired certificate may as well fail the handshake
    refused(answer, 401, "UNAUTHENTICATED", re.compile("leaf expired at .*"))
