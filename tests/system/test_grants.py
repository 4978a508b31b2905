"""Signed grants (delegation.md 8): who may sign one, what it must say, that it is redeemed once; and that nothing else is taken for one."""
import base64
import concurrent.futures
import datetime
import hashlib
import hmac
import json
import os
import re
import signal
import sqlite3
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import journal
import test_api
from grants import ALICE, AUDIENCE, BOT, CI, b64, claims_for, hops, house_with_grants, sign, submit, write_public
from house import ERP, INVOICES, POLICY, TD, Agent, new_key, pem_key, spki, wait_for

SERVICE_RULE = f"""\
  - name: builds
    delegator: ["{CI}"]
    kind: service
    agents: ["{BOT}"]
    entitlements:
      - actions: ["invoices:read"]
        resources: ["{INVOICES}"]
        delegable: true
    audience: ["{ERP}"]
    max_lifetime: 15m
    max_grant: 1h
    max_depth: 1
"""
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


@pytest.fixture(scope="module")
def one():
    made = house_with_grants(policy=POLICY + SERVICE_RULE)
    try:
        made.init()
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def rsa_key():
    return rsa.generate_private_key(65537, 2048)


_names = iter(range(10000))


def agent_of(house):
    return Agent(house, f"agent-{next(_names)}")


def grant(house, kid="alice-1", iss=ALICE, holder=None, **more):
    """A signed one for that agent's key, or a new one."""
    return sign(house.grant_keys[kid], claims_for(holder or agent_of(house), iss, **more), kid)


def refused(answer, status, code, detail):
    problem = answer.json
    assert (answer.status, problem["code"]) == (status, code), answer
    if isinstance(detail, re.Pattern):
        assert detail.fullmatch(problem["detail"]), problem["detail"]
    else:
        assert problem["detail"] == detail, problem["detail"]
    return problem


def invalid(answer, detail):
    return refused(answer, 400, "INVALID", detail)


def unauthenticated(answer, detail):
    return refused(answer, 401, "UNAUTHENTICATED", detail)


def rows(house, query, *values):
    with sqlite3.connect(f"file:{house.path('state/store/writ.db')}?mode=ro", uri=True) as db:
        return db.execute(query, values).fetchall()


# ---- what is granted ----

@pytest.mark.parametrize("kid,iss,kind", [("alice-1", ALICE, "human"), ("ci-1", CI, "service")])
def test_a_signed_grant_opens_a_task_without_a_client_certificate_and_the_leaf_says_so(one, kid, iss, kind):
    agent = agent_of(one)
    end = int(time.time()) + 1800
    compact = grant(one, kid, iss, agent, grant_end=end)
    opened = submit(one, compact)
    assert opened.status == 201, opened
    issued = one.leaf(opened.json["task"], agent)
    assert issued.status == 201, issued
    cert = x509.load_pem_x509_certificate(issued.json["certificate"].encode())
    digest = hashlib.sha256(compact.encode()).digest()
    (hop,) = hops(cert)
    assert hop == {"principal": iss, "kind": kind, "method": "signedGrant", "digest": digest, "authority": kid, "grant": digest,
                   "not_after": datetime.datetime.utcfromtimestamp(end).strftime("%Y%m%d%H%M%SZ")}


def test_the_grant_is_kept_as_evidence_and_the_journal_has_its_digest(one):
    compact = grant(one)
    opened = submit(one, compact)
    assert opened.status == 201, opened
    digest = hashlib.sha256(compact.encode()).digest()
    assert rows(one, "SELECT kind, bytes FROM evidence WHERE digest = ?", digest) == [("signed-grant", compact.encode())]
    (entry,) = wait_for("the journal's entry", lambda: [e for e in journal.read(one.path("state/journal"), live=True)
                                                        if e.json.get("said", {}).get("signed_grant") == digest.hex()])
    assert (entry.type, entry.json["said"]["edge"], entry.json["said"]["delegator"]) == ("grant", opened.json["edge"], ALICE)


def test_an_agent_delegates_on_below_a_signed_grant(one):
    agent = agent_of(one)
    opened = submit(one, grant(one, holder=agent))
    agent.take(one.leaf(opened.json["task"], agent).json)
    child = agent_of(one)
    delegated = one.delegate(agent, child)
    assert delegated.status == 201, delegated
    issued = one.leaf(delegated.json["task"], child, lifetime_s=60)
    assert [h["method"] for h in hops(x509.load_pem_x509_certificate(issued.json["certificate"].encode()))] == ["signedGrant", "writCert"]


def test_whoever_carries_a_grant_is_not_asked_who_he_is(one):
    """An agent opens no task with its own leaf (K1); with a person's grant the person does."""
    carrier = one.agent_with_leaf("carrier")
    opened = submit(one, grant(one), carrier.client())
    assert opened.status == 201, opened
    assert one.person("alice").ask("GET", f"/v1/tasks/{opened.json['task']}").json["opener"] == ALICE
    assert submit(one, grant(one, "ci-1", CI), one.person("bob")).status == 201


def test_constraints_and_context_of_a_grant_are_in_the_leaf(one):
    agent = agent_of(one)
    opened = submit(one, grant(one, holder=agent, constraints=[{"paramMax": {"name": "limit", "max": 100}}], context_type="ticket",
                               context_digest="ab" * 32, task={"id": "with-context"}))
    assert (opened.status, opened.json["task"]) == (201, "with-context"), opened
    issued = one.leaf("with-context", agent)
    path = one.path("with-context.pem")
    with open(path, "w", encoding="ascii") as f:
        f.write(issued.json["certificate"])
    told = one.run("inspect", path).stdout
    assert "limit" in told and "ab" * 32 in told and "ticket" in told, told


def test_the_policy_decides_about_a_grant_as_about_a_certificate(one):
    for more, rule in (({"audience": ["https://evil.example"]}, "invoices: audience"), ({"depth": 4}, "invoices: max_depth"),
                       ({"agent": f"spiffe://{TD}/agent/stranger"}, "default-deny"), ({"grant_end": int(time.time()) + 3 * 3600}, "invoices: max_grant"),
                       ({"grant_end": int(time.time()) + 9 * 3600}, "L3"), ({"grant_end": int(time.time()) - 5}, "L2"),
                       ({"scope": [{"actions": ["pay:all"], "resources": [INVOICES]}]}, "invoices: entitlements")):
        answer = submit(one, grant(one, **more))
        assert (answer.status, answer.json["rule"]) == (403, rule), answer
    answer = submit(one, grant(one, "ci-1", CI, depth=2))
    assert (answer.status, answer.json["rule"]) == (403, "builds: max_depth"), answer


def test_a_refused_grant_is_not_used_up(one):
    """What a policy refused may be asked again once the policy has changed: no task was opened by it."""
    compact = grant(one, audience=["https://evil.example"])
    assert [submit(one, compact).status for _ in range(2)] == [403, 403]


def test_the_interface_description_describes_what_is_accepted(one):
    claims = claims_for(agent_of(one), constraints=[{"paramMax": {"name": "limit", "max": 100}}], context_type="ticket", context_digest="ab" * 32)
    body = {"grant": sign(one.grant_keys["alice-1"], claims)}
    assert one.nobody().ask("POST", "/v1/tasks", body).status == 201
    post = test_api.API["paths"]["/v1/tasks"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert test_api.faults(test_api.API["components"]["schemas"]["GrantClaims"], claims) == [] and test_api.faults(post, body) == []
    assert set(test_api.API["components"]["schemas"]["GrantClaims"]["properties"]) == set(claims)


# ---- whose signature ----

def test_alg_none_is_refused(one):
    for alg in ("none", "None", "NONE"):
        compact = sign(one.grant_keys["alice-1"], claims_for(agent_of(one)), header={"alg": alg, "kid": "alice-1", "typ": "writ-grant+jwt"}, signature=b"")
        invalid(submit(one, compact), f"JWS header: 'alg' is '{alg}', and must be ES256 or EdDSA")


def test_hs256_with_the_public_key_as_secret_is_refused(one):
    header = {"alg": "HS256", "kid": "alice-1", "typ": "writ-grant+jwt"}
    signed = b64(json.dumps(header).encode()) + "." + b64(json.dumps(claims_for(agent_of(one))).encode())
    for form in (spki(one.grant_keys["alice-1"]),
                 one.grant_keys["alice-1"].public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)):
        compact = signed + "." + b64(hmac.new(form, signed.encode(), hashlib.sha256).digest())
        invalid(submit(one, compact), "JWS header: 'alg' is 'HS256', and must be ES256 or EdDSA")


def test_rsa_signs_no_grant(one, rsa_key):
    compact = sign(rsa_key, claims_for(agent_of(one)), header={"alg": "RS256", "kid": "alice-1", "typ": "writ-grant+jwt"})
    invalid(submit(one, compact), "JWS header: 'alg' is 'RS256', and must be ES256 or EdDSA")


def test_alg_that_is_not_of_the_keys_kind_is_refused(one):
    compact = sign(one.grant_keys["ci-1"], claims_for(agent_of(one)), header={"alg": "EdDSA", "kid": "alice-1", "typ": "writ-grant+jwt"})
    unauthenticated(submit(one, compact), "grant: kid 'alice-1': the key is of another kind than EdDSA signs with")


def test_an_id_token_offered_as_a_grant_is_refused(one, rsa_key):
    token = {"iss": "https://idp.corp.example", "aud": "writ", "sub": "alice", "iat": int(time.time()), "exp": int(time.time()) + 300}
    invalid(submit(one, sign(rsa_key, token, header={"alg": "RS256", "kid": "idp", "typ": "JWT"})), "JWS header: 'alg' is 'RS256', and must be ES256 or EdDSA")
    for typ, named in (("JWT", "JWT"), ("writ-grant+JWT", "writ-grant+JWT"), ("application/writ-grant+jwt", "application/writ-grant+jwt"), (None, "")):
        header = {"alg": "ES256", "kid": "alice-1", "typ": typ}
        if typ is None:
            del header["typ"]
        invalid(submit(one, sign(one.grant_keys["alice-1"], claims_for(agent_of(one)), header=header)),
                f"grant: typ is '{named}', and must be 'writ-grant+jwt'")


def test_a_kid_that_no_configuration_names_is_refused(one):
    for kid in ("alice-2", "ALICE-1", "alice-1.pub", "../alice-1", "../../../dev/null", "/etc/passwd", "file:///dev/null", "alice-1|ls", "'OR'1'='1"):
        unauthenticated(submit(one, sign(one.grant_keys["alice-1"], claims_for(agent_of(one)), kid)), f"grant: no key of the name '{kid}' is configured")
    header = {"alg": "ES256", "typ": "writ-grant+jwt"}
    invalid(submit(one, sign(one.grant_keys["alice-1"], claims_for(agent_of(one)), header=header)), "grant: its header names no kid")


def test_a_key_that_the_header_brings_along_is_refused(one):
    mallory = new_key()
    numbers = mallory.public_key().public_numbers()
    jwk = {"kty": "EC", "crv": "P-256", "x": b64(numbers.x.to_bytes(32, "big")), "y": b64(numbers.y.to_bytes(32, "big"))}
    for name, value in (("jwk", jwk), ("jku", "https://evil.example/keys"), ("x5u", "https://evil.example/cert"), ("x5c", ["MIIB"]), ("x5t", "AAAA"),
                        ("x5t#S256", "AAAA")):
        header = {"alg": "ES256", "kid": "alice-1", "typ": "writ-grant+jwt", name: value}
        invalid(submit(one, sign(mallory, claims_for(agent_of(one)), header=header)),
                f"JWS header: '{name}' is not accepted: the key is named by the configuration, never by the message")
    header = {"alg": "ES256", "kid": "alice-1", "typ": "writ-grant+jwt", "crit": ["b64"], "b64": False}
    invalid(submit(one, sign(one.grant_keys["alice-1"], claims_for(agent_of(one)), header=header)),
            "JWS header: 'crit' is not accepted: no extension is known here")


def test_a_header_with_a_member_twice_is_refused(one):
    header = '{"alg":"ES256","kid":"mallory","typ":"writ-grant+jwt","kid":"alice-1"}'
    invalid(submit(one, sign(new_key(), claims_for(agent_of(one)), header=header)), "JWS header: not JSON: a member stands there twice")


def test_a_signature_by_another_key_is_refused(one):
    unauthenticated(submit(one, sign(new_key(), claims_for(agent_of(one)))), "grant: kid 'alice-1': the signature is not this key's over these bytes")


def test_a_grant_that_was_changed_after_it_was_signed_is_refused(one):
    claims = claims_for(agent_of(one), depth=0)
    header, _, signature = grant(one).split(".")
    unauthenticated(submit(one, ".".join((header, b64(json.dumps(claims).encode()), signature))),
                    "grant: kid 'alice-1': the signature is not this key's over these bytes")


def test_one_principals_key_signs_for_no_other(one):
    unauthenticated(submit(one, grant(one, "ci-1", ALICE)), f"grant: iss is '{ALICE}', and kid 'ci-1' is not its key")
    unauthenticated(submit(one, grant(one, "alice-1", f"spiffe://{TD}/human/corp/olga")),
                    f"grant: iss is 'spiffe://{TD}/human/corp/olga', and kid 'alice-1' is not its key")


def test_the_other_form_of_a_signature_is_refused(one):
    """(r, n - s) signs as well as (r, s): with both a grant would have two digests."""
    invalid(submit(one, sign(one.grant_keys["alice-1"], claims_for(agent_of(one)), high_s=True)),
            "JWS: s of the ES256 signature is over n / 2: its one accepted form has n - s")


def test_r_or_s_of_zero_is_refused(one):
    for name, signature in (("r", bytes(32) + b"\1" * 32), ("s", b"\1" * 32 + bytes(32))):
        invalid(submit(one, sign(None, claims_for(agent_of(one)), signature=signature)), f"JWS: {name} of the ES256 signature is not from 1 to n - 1")


def test_text_around_a_grant_or_not_in_its_one_form_is_refused(one):
    compact = grant(one)
    header, payload, signature = compact.split(".")
    for mangled, detail in (
            (compact + "=", "JWS: the signature: base64url: byte 0x3d at offset 86 is not of the alphabet"),
            (compact + "\n", "JWS: the signature: base64url: byte 0x0a at offset 86 is not of the alphabet"),
            (" " + compact, re.compile("JWS: the header: base64url: .*")),
            (compact + ".", "JWS: 4 parts divided by dots, and a compact one has 3"),
            (header + "." + payload, "JWS: 2 parts divided by dots, and a compact one has 3"),
            (header + "..", "JWS: the payload is empty"),
            (compact[:-1] + chr(ord(compact[-1]) + 1), re.compile(r"JWS: the signature: base64url: (the last character has bits that belong to no byte|.*alphabet)")),
            (signature, "JWS: 1 parts divided by dots, and a compact one has 3")):
        invalid(submit(one, mangled), detail)
    assert submit(one, compact).status == 201


def test_the_body_of_a_grant_has_no_other_member(one):
    compact = grant(one)
    invalid(one.nobody().ask("POST", "/v1/tasks", {"grant": compact, "depth": 3}), "member 'depth' is unknown")
    invalid(one.nobody().ask("POST", "/v1/tasks", f'{{"grant":"{compact}","grant":"{compact}"}}', {"Content-Type": "application/json"}),
            re.compile("the body has a member twice: line 1, column .*"))
    invalid(one.nobody().ask("POST", "/v1/tasks", {"grant": 7}), "member 'grant' must be a text that is not empty")
    invalid(one.nobody().ask("POST", "/v1/tasks", '{"grant":"x"} trailing', {"Content-Type": "application/json"}), re.compile("the body is not JSON: .*"))
    # whose first member is another needs a certificate, as ever
    for body in ({"depth": 1, "grant": compact}, {"Grant": compact}, '{"\\u0067rant":"x"}', "{}", "[]", " "):
        answer = one.nobody().ask("POST", "/v1/tasks", body, {"Content-Type": "application/json"})
        unauthenticated(answer, "this needs a client certificate of a configured delegator or an agent")


# ---- what it says ----

NOW = int(time.time())
WRONG = [
    ({"colour": "red"}, "grant: member 'colour' is unknown"),
    ({"kind": "human"}, "grant: member 'kind' is unknown"),
    ({"sub": ALICE}, "grant: member 'sub' is unknown"),
    ({"hops": []}, "grant: member 'hops' is unknown"),
    ({"iss": None}, "grant: member 'iss' is missing"),
    ({"aud": None}, "grant: member 'aud' is missing"),
    ({"aud": [AUDIENCE]}, "grant: member 'aud' must be a text that is not empty"),
    ({"jti": None}, "grant: member 'jti' is missing"),
    ({"jti": "short"}, "grant: member 'jti' must be 22 to 64 of A-Z a-z 0-9 . _ -, 128 random bits"),
    ({"jti": "x" * 65}, "grant: member 'jti' has 65 octets, over 64"),
    ({"jti": "../../../../../../../../etc"}, "grant: member 'jti' must be 22 to 64 of A-Z a-z 0-9 . _ -, 128 random bits"),
    ({"iat": None}, "grant: member 'iat' is missing"),
    ({"nbf": None}, "grant: member 'nbf' is missing"),
    ({"exp": None}, "grant: member 'exp' is missing"),
    ({"exp": NOW + 600.5}, "grant: member 'exp' must be an integer from 0 to 9007199254740991"),
    ({"exp": float(NOW + 600)}, "grant: member 'exp' must be an integer from 0 to 9007199254740991"),
    ({"iat": "now"}, "grant: member 'iat' must be an integer from 0 to 9007199254740991"),
    ({"iat": -1}, "grant: member 'iat' must be an integer from 0 to 9007199254740991"),
    ({"grant_end": 2 ** 53}, "grant: member 'grant_end' must be an integer from 0 to 9007199254740991"),
    ({"grant_end": None}, "grant: member 'grant_end' is missing"),
    ({"spki_sha256": None}, "grant: member 'spki_sha256' is missing"),
    ({"spki_sha256": "AB" * 32}, "grant: member 'spki_sha256' must be 64 lower-case hex digits"),
    ({"agent": None}, "grant: member 'agent' is missing"),
    ({"agent": ALICE}, "grant: member 'agent' must be a class, spiffe://TRUST-DOMAIN/agent/CLASS: the instance is named by the issuer"),
    ({"agent": BOT + "/mine"}, "grant: member 'agent' must be a class, spiffe://TRUST-DOMAIN/agent/CLASS: the instance is named by the issuer"),
    ({"task": None}, "grant: member 'task' is missing"),
    ({"task": {"parent": "x"}}, "grant: member 'task.parent' is unknown"),
    ({"task": {"purpose": "red \x1b[31m"}}, "grant: member 'task.purpose' must be UTF-8 without control characters"),
    ({"scope": []}, "grant: member 'scope' must be a list of 1 to 32 entitlements"),
    ({"scope": None}, "grant: member 'scope' is missing"),
    ({"audience": None}, "grant: member 'audience' is missing"),
    ({"depth": None}, "grant: member 'depth' is missing"),
    ({"depth": 1.0}, "grant: member 'depth' must be an integer from 0 to 7"),
    ({"depth": 8}, "grant: member 'depth' must be an integer from 0 to 7"),
    ({"context_digest": "ab" * 32}, "grant: member 'context_type' is missing"),
    ({"context_type": "ticket"}, "grant: member 'context_digest' is missing"),
    ({"constraints": [{"budget": 1}]}, "grant: member 'constraints[0].budget' is unknown"),
]


@pytest.mark.parametrize("more,detail", WRONG, ids=[f"{i}-{next(iter(m))}" for i, (m, _) in enumerate(WRONG)])
def test_a_grant_with_one_claim_wrong_is_refused_for_that_claim(one, more, detail):
    invalid(submit(one, grant(one, **more)), detail)


def test_a_grant_with_a_claim_twice_is_refused(one):
    text = json.dumps(claims_for(agent_of(one)))
    invalid(submit(one, sign(one.grant_keys["alice-1"], text[:-1] + ', "depth": 0}')), re.compile("grant: the payload has a member twice: line 1, column .*"))
    invalid(submit(one, sign(one.grant_keys["alice-1"], text + text)), re.compile("grant: the payload is not JSON: .*"))
    invalid(submit(one, sign(one.grant_keys["alice-1"], "[" * 100 + "]" * 100)), "grant: the payload nests deeper than 16")


def test_a_grant_for_another_issuer_is_refused(one):
    for aud in ("https://writ.other.example", AUDIENCE + "/", AUDIENCE.upper(), "https://writ.corp.example.evil.example"):
        unauthenticated(submit(one, grant(one, aud=aud)), f"grant: aud is '{aud}', and this issuer is '{AUDIENCE}'")


def test_a_grant_outside_its_times_is_refused(one):
    now = int(time.time())
    unauthenticated(submit(one, grant(one, iat=now - 700, nbf=now - 700, exp=now - 100)), re.compile(f"grant: expired at {TIME}, and here it is {TIME}"))
    unauthenticated(submit(one, grant(one, nbf=now + 300)), re.compile(f"grant: not to be used before {TIME}, and here it is {TIME}"))
    unauthenticated(submit(one, grant(one, iat=now + 300, exp=now + 600)), re.compile(f"grant: issued at {TIME}, and here it is {TIME}"))
    unauthenticated(submit(one, grant(one, iat=now, exp=now)), "grant: exp is not after iat")


def test_a_grant_that_may_be_redeemed_for_too_long_is_refused(one):
    now = int(time.time())
    for seconds in (901, 24 * 3600):
        unauthenticated(submit(one, grant(one, iat=now, exp=now + seconds)),
                        f"grant: exp is {seconds} s after iat, over the 900 s within which a grant is redeemed")
    assert submit(one, grant(one, iat=now, exp=now + 900)).status == 201


def test_the_leaf_goes_to_the_key_that_the_grant_names_and_to_no_other(one):
    agent = agent_of(one)
    task = submit(one, grant(one, holder=agent)).json["task"]
    refused(one.leaf(task, agent_of(one)), 404, "NOT_FOUND", f"no delegation of task '{task}' names this key: task {task} has no edge for this key")
    assert one.leaf(task, agent).status == 201


# ---- once ----

def test_a_grant_is_redeemed_once(one):
    compact = grant(one)
    assert submit(one, compact).status == 201
    jti = json.loads(base64.urlsafe_b64decode(compact.split(".")[1] + "==="))["jti"]
    for client in (one.nobody(), one.person("alice")):
        refused(submit(one, compact, client), 409, "CONFLICT", f"grant: jti '{jti}' was redeemed already: a grant opens one task")


def test_the_same_jti_signed_again_is_refused(one):
    """ES256 signatures are random: the same claims have another digest each time, and the jti still blocks."""
    claims = claims_for(agent_of(one))
    first, second = (sign(one.grant_keys["alice-1"], claims) for _ in range(2))
    assert first != second and submit(one, first).status == 201
    refused(submit(one, second), 409, "CONFLICT", f"grant: jti '{claims['jti']}' was redeemed already: a grant opens one task")
    refused(submit(one, sign(one.grant_keys["alice-1"], {**claims, "depth": 0, "spki_sha256": "ab" * 32})), 409, "CONFLICT",
            f"grant: jti '{claims['jti']}' was redeemed already: a grant opens one task")


def test_a_jti_is_its_issuers_own(one):
    jti = "shared-by-two-principals"
    assert submit(one, grant(one, jti=jti)).status == 201
    assert submit(one, grant(one, "ci-1", CI, jti=jti)).status == 201


def test_of_a_hundred_concurrent_tries_of_one_grant_exactly_one_succeeds(one):
    compact = grant(one)
    clients = [one.nobody() for _ in range(100)]
    for client in clients:
        client.connection.connect()
    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda client: submit(one, compact, client), clients))
    assert sorted(a.status for a in answers) == [201] + [409] * 99, [a for a in answers if a.status not in (201, 409)]
    assert {a.json["detail"].split("'")[2] for a in answers if a.status == 409} <= {
        " is being redeemed by another request", " was redeemed already: a grant opens one task"}
    assert rows(one, "SELECT count(*) FROM evidence WHERE digest = ?", hashlib.sha256(compact.encode()).digest()) == [(1,)]


def test_an_idempotency_key_returns_the_first_answer_and_opens_no_second_task(one):
    compact = grant(one)
    answers = [submit(one, compact, Idempotency_Key="retry-7") for _ in range(2)]
    assert [a.status for a in answers] == [201, 201] and answers[0].body == answers[1].body
    refused(submit(one, compact, Idempotency_Key="another"), 409, "CONFLICT", re.compile(r"used already: grant spiffe://.*"))


def test_while_the_store_cannot_write_a_grant_is_refused_and_not_used_up(one):
    compact = grant(one)
    with sqlite3.connect(one.path("state/store/writ.db"), isolation_level=None) as db:
        db.execute("BEGIN IMMEDIATE")
        refused(submit(one, compact), 503, "UNAVAILABLE", re.compile("the store cannot be written now: store: .*"))
        db.execute("ROLLBACK")
    wait_for("the store again", lambda: submit(one, compact).status == 201)


def test_a_replay_is_refused_after_a_kill_and_a_restart(one):
    compact = grant(one)
    assert submit(one, compact).status == 201
    (pid,) = one.pids("writ-issuerd")
    os.kill(pid, signal.SIGKILL)
    wait_for("a new issuer", lambda: one.pids("writ-issuerd") not in ([], [pid]))
    one.wait_healthy()
    refused(submit(one, compact), 409, "CONFLICT", re.compile(r"grant: jti '.*' was redeemed already: a grant opens one task"))


# ---- the configuration ----

def test_a_reload_takes_keys_in_and_out_and_changes_how_long_a_grant_may_wait(one):
    fresh = new_key()
    write_public(one, "alice-2.pub", fresh)
    one.grant_keys["alice-2"] = fresh
    path = one.path("writ.yaml")
    with open(path, encoding="utf-8") as f:
        before = f.read()
    now = int(time.time())
    day_long = {"iat": now, "exp": now + 24 * 3600}
    with open(path, "w", encoding="utf-8") as f:
        f.write(before.replace("kid: alice-1,", "kid: alice-2,").replace("alice-1.pub", "alice-2.pub").replace("  keys:", "  redeem_within: 24h\n  keys:"))
    try:
        (pid,) = one.pids("writ-issuerd")
        os.kill(pid, signal.SIGHUP)
        wait_for("the new key", lambda: submit(one, grant(one, "alice-2", **day_long)).status == 201)
        unauthenticated(submit(one, grant(one)), "grant: no key of the name 'alice-1' is configured")
    finally:
        with open(path, "w", encoding="utf-8") as f:
            f.write(before)
        os.kill(pid, signal.SIGHUP)
    wait_for("the old key", lambda: submit(one, grant(one)).status == 201)
    unauthenticated(submit(one, grant(one, "alice-2")), "grant: no key of the name 'alice-2' is configured")


def test_a_reload_that_cannot_read_a_key_changes_nothing(one):
    """Whole or not at all: the keys that were in force stay in force."""
    path = one.path("ci-1.pub")
    with open(path, "rb") as f:
        before = f.read()
    with open(path, "wb") as f:
        f.write(pem_key(one.grant_keys["alice-1"]))
    try:
        (pid,) = one.pids("writ-issuerd")
        os.kill(pid, signal.SIGHUP)
        wait_for("the complaint", lambda: "it holds a private key: give the public one, and keep the other away" in one.log_tail())
        assert submit(one, grant(one)).status == 201 and submit(one, grant(one, "ci-1", CI)).status == 201
    finally:
        with open(path, "wb") as f:
            f.write(before)
