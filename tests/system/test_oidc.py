"""ID tokens (delegation.md 8): who logs in at a configured provider authorises one grant, once; and nothing else is taken for that.

The first tests go through a real provider (oidc-provider, from npm into build/oidc-provider; where it cannot be had they are skipped, and say so);
the others make tokens with python3-cryptography.
"""
import base64
import concurrent.futures
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
import oidc
from grants import AUDIENCE, b64, elements, hops, sign, write_public
from house import ERP, INVOICES, PAYMENTS, POLICY, TD, Agent, House, new_key, wait_for

ISSUER = "https://idp.corp.example"
STRICT = "https://strict.corp.example"
POLICY_FOR_ALL = (POLICY + PAYMENTS).replace(f'delegator: ["spiffe://{TD}/human/corp/**"]', f'delegator: ["spiffe://{TD}/human/**"]')


def configuration(real, served, gone):
    return f"""\
grants:
  audience: {AUDIENCE}
  keys:
    - {{kid: alice-1, kind: human, principal: "spiffe://{TD}/human/corp/alice", key: alice-1.pub}}
oidc:
  - {{alias: idp, issuer: "{ISSUER}", client_id: writ, jwks: idp.json}}
  - {{alias: strict, issuer: "{STRICT}", client_id: writ, jwks: idp.json, acr: ["urn:mfa"], max_auth_age: 10m, algorithms: [ES256]}}
  - {{alias: real, issuer: "{real}", client_id: writ, jwks: "{real}/jwks"}}
  - {{alias: served, issuer: "https://served.corp.example", client_id: writ, jwks: "{served}"}}
  - {{alias: gone, issuer: "https://gone.corp.example", client_id: writ, jwks: "{gone}"}}
"""


class Place:
    """A Writ, a provider that is two keys of ours, and one that may be real."""

    def __init__(self):
        self.ec, self.rsa, self.grant_key = new_key(), rsa.generate_private_key(65537, 2048), new_key()
        self.served = oidc.Keys(oidc.jwks(oidc.jwk(self.ec, "s1")))
        self.gone_port = oidc.free_port()
        self.real = None
        self.house = House("swtpm", policy=POLICY_FOR_ALL)
        self.real = oidc.Provider(self.house.dir)
        with open(self.house.path("writ.yaml"), "a", encoding="utf-8") as f:
            f.write(configuration(self.real.issuer, self.served.url, f"http://127.0.0.1:{self.gone_port}/jwks"))
        with open(self.house.path("idp.json"), "wb") as f:
            f.write(oidc.jwks(oidc.jwk(self.ec, "e1", x5t="ignored"), oidc.jwk(self.rsa, "r1"), {"kty": "RSA", "use": "enc", "kid": "x"}))
        write_public(self.house, "alice-1.pub", self.grant_key)

    def close(self):
        self.real.stop()
        self.served.close()
        self.house.close()


@pytest.fixture(scope="module")
def place():
    made = Place()
    try:
        made.house.init()
        made.house.start()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def real(place):
    why = oidc.install()
    if why:
        pytest.skip(f"{oidc.PROVIDER} cannot be installed: {why}")
    place.real.start("RS256", oidc.jwk(rsa.generate_private_key(65537, 2048), "first", True))
    return place.real


_names = iter(range(10000))


def agent_of(place):
    return Agent(place.house, f"agent-{next(_names)}")


def asked(agent, cls="invoice-bot", **more):
    body = {"agent": {"class": f"spiffe://{TD}/agent/{cls}", "spki_sha256": agent.spki_sha256},
            "scope": [{"actions": ["invoices:read"], "resources": [INVOICES], "delegable": True}], "audience": [ERP], "depth": 1,
            "ends_in_s": 1800}
    body.update(more)
    return body


def prepare(place, idp="idp", agent=None, **more):
    answer = place.house.nobody().ask("POST", "/v1/grants/prepare", {"idp": idp, "task": asked(agent or agent_of(place), **more)})
    assert answer.status == 200, answer
    return answer.json


def claims_for(prepared, **more):
    """What a provider would say of somebody who logged in for this grant; None takes a claim out."""
    claims = {"iss": prepared["issuer"], "sub": "00u1abcd", "aud": "writ", "iat": oidc.now(), "exp": oidc.now() + 300, "nonce": prepared["nonce"],
              "email": "alice@corp.example"}
    claims.update(more)
    return {k: v for k, v in claims.items() if v is not None}


def id_token(place, prepared, key=None, kid="e1", alg=None, header=None, **more):
    return oidc.token(key or place.ec, claims_for(prepared, **more), kid, alg, **(header or {}))


def submit(place, token, prepared, client=None, **headers):
    body = prepared if isinstance(prepared, str) else prepared["grant_body"]
    return (client or place.house.nobody()).ask("POST", "/v1/tasks", {"id_token": token, "grant_body": body},
                                                {k.replace("_", "-"): v for k, v in headers.items()})


def refused(answer, status, code, detail):
    problem = answer.json
    assert (answer.status, problem["code"]) == (status, code), answer
    if isinstance(detail, re.Pattern):
        assert detail.fullmatch(problem["detail"]), problem["detail"]
    else:
        assert problem["detail"] == detail, problem["detail"]


def invalid(answer, detail):
    refused(answer, 400, "INVALID", detail)


def unauthenticated(answer, detail):
    refused(answer, 401, "UNAUTHENTICATED", detail)


def hop_of(place, agent, task):
    issued = place.house.leaf(task, agent)
    assert issued.status == 201, issued
    cert = x509.load_pem_x509_certificate(issued.json["certificate"].encode())
    (hop,) = hops(cert)
    return cert, hop


def auth_of(cert):
    """Of the first hop: authTime and acr, as the DER has them."""
    from house import DELEGATION_OID
    value = cert.extensions.get_extension_for_oid(x509.ObjectIdentifier(DELEGATION_OID)).value.value
    hop = elements(elements(elements(value)[0][1])[4][1])[0][1]
    optional = dict(elements(elements(hop)[3][1])[2:])
    return optional.get(0x81, b"").decode(), optional.get(0x82, b"").decode()


def rows(place, query, *values):
    with sqlite3.connect(f"file:{place.house.path('state/store/writ.db')}?mode=ro", uri=True) as db:
        return db.execute(query, values).fetchall()


def until_fetched(place, ask):
    """What a client does with 503: it tries again.  The last answer that was not `fetched anew` or `not fetched yet`."""
    last = []

    def settled():
        last[:] = [ask()]
        return last[0].status != 503
    wait_for("the keys", settled, 40)
    return last[0]


# ---- a real provider ----

def test_who_logs_in_at_a_real_provider_opens_the_task_that_the_nonce_names(place, real):
    agent = agent_of(place)
    prepared = prepare(place, "real", agent)
    assert (prepared["issuer"], prepared["client_id"]) == (real.issuer, "writ")
    tokens = real.log_in("alice", prepared["nonce"])
    opened = until_fetched(place, lambda: submit(place, tokens["id_token"], prepared))
    assert opened.status == 201, opened
    cert, hop = hop_of(place, agent, opened.json["task"])
    body = base64.urlsafe_b64decode(prepared["grant_body"] + "===")
    assert (hop["principal"], hop["kind"], hop["method"], hop["authority"]) == (f"spiffe://{TD}/human/real/alice", "human", "oidcIdToken", real.issuer)
    assert hop["digest"] == hashlib.sha256(tokens["id_token"].encode()).digest() and hop["grant"] == hashlib.sha256(body).digest()
    auth_time, acr = auth_of(cert)
    said = json.loads(base64.urlsafe_b64decode(tokens["id_token"].split(".")[1] + "==="))
    assert auth_time == time.strftime("%Y%m%d%H%M%SZ", time.gmtime(said["auth_time"])) and acr == ""
    # the same log-in for anything else, or again
    unauthenticated(submit(place, tokens["id_token"], prepare(place, "real")),
                    "the ID token was made for another grant: its 'nonce' is not the digest of grant_body")
    refused(submit(place, tokens["id_token"], prepared), 409, "CONFLICT", re.compile(r"grant: jti '[\w-]{22}' was redeemed already: .*"))
    invalid(submit(place, tokens["access_token"], prepared), re.compile("ID token: JWS: 1 parts divided by dots, and a compact one has 3"))


def test_the_command_line_prepares_a_grant_and_redeems_it(place, real):
    house, agent = place.house, agent_of(place)
    api = ["--api", f"https://127.0.0.1:{house.api_port}", "--ca", house.path("corp.pem")]
    body, nonce = house.path("grant.json"), None
    told = house.run("grant", "prepare", *api, "--idp", "real", "--agent", f"spiffe://{TD}/agent/invoice-bot", "--key-of", agent.key_file,
                     "--allow", f"invoices:read on {INVOICES}", "--audience", ERP, "--purpose", "quarter end", "--out", body).stdout
    nonce = re.search(r"nonce: +(\S+)", told).group(1)
    with open(body, "rb") as f:
        assert nonce == b64(hashlib.sha256(f.read()).digest())
    path = house.path("token")
    with open(path, "w", encoding="ascii") as f:
        f.write(real.log_in("bob", nonce)["id_token"] + "\n")
    delegate = ["delegate", *api, "--id-token", path, "--grant-body", body]
    wait_for("the keys", lambda: house.run(*delegate, check=False).returncode == 0, 40)
    again = house.run(*delegate, check=False)
    assert again.returncode == 1 and "was redeemed already" in again.stderr, again


def test_a_provider_that_rotates_its_keys_is_followed(place, real):
    """The token names a key that our copy of the set lacks: it is fetched anew, and the try after that succeeds."""
    real.stop()
    real.start("ES256", oidc.jwk(new_key(), "second", True))
    agent = agent_of(place)
    prepared = prepare(place, "real", agent)
    token = real.log_in("alice", prepared["nonce"])["id_token"]
    first = submit(place, token, prepared)
    refused(first, 503, "UNAVAILABLE", "key 'second' is not among those of OpenID provider 'real', which were fetched before this token was made: "
                                       "they are fetched anew")
    assert int(first.headers["Retry-After"]) >= 1
    opened = until_fetched(place, lambda: submit(place, token, prepared))
    assert opened.status == 201, opened


# ---- what a token does ----

def test_tokens_of_each_algorithm_open_a_task_and_the_hop_says_who_how_and_when(place):
    for alg, key, kid in (("ES256", place.ec, "e1"), ("RS256", place.rsa, "r1"), ("PS256", place.rsa, "r1")):
        agent = agent_of(place)
        prepared = prepare(place, "idp", agent)
        token = id_token(place, prepared, key, kid, alg, acr="urn:any", auth_time=1700000000)
        opened = submit(place, token, prepared)
        assert opened.status == 201, opened
        cert, hop = hop_of(place, agent, opened.json["task"])
        assert hop["principal"] == f"spiffe://{TD}/human/idp/00u1abcd" and hop["authority"] == ISSUER and hop["method"] == "oidcIdToken"
        assert auth_of(cert) == ("20231114221320Z", "urn:any")


def test_a_subject_that_is_no_segment_is_encoded(place):
    agent = agent_of(place)
    prepared = prepare(place, "idp", agent)
    opened = submit(place, id_token(place, prepared, sub="auth0|5f"), prepared)
    assert hop_of(place, agent, opened.json["task"])[1]["principal"] == f"spiffe://{TD}/human/idp/b64." + b64(b"auth0|5f")


def test_token_and_grant_are_kept_as_evidence_and_the_journal_has_their_digests(place):
    prepared = prepare(place)
    token = id_token(place, prepared)
    body = base64.urlsafe_b64decode(prepared["grant_body"] + "===")
    opened = submit(place, token, prepared)
    digests = [hashlib.sha256(x).digest() for x in (token.encode(), body)]
    assert [rows(place, "SELECT kind, bytes FROM evidence WHERE digest = ?", d) for d in digests] == [
        [("id-token", token.encode())], [("grant-body", body)]]
    (entry,) = wait_for("the journal's entry", lambda: [e for e in journal.read(place.house.path("state/journal"), live=True)
                                                        if e.json.get("said", {}).get("id_token") == digests[0].hex()])
    said = entry.json["said"]
    assert (entry.type, said["edge"], said["grant_body"], said["delegator"]) == (
        "grant", opened.json["edge"], digests[1].hex(), f"spiffe://{TD}/human/idp/00u1abcd")
    assert "cert" not in said and "signed_grant" not in said


def test_the_policy_decides_about_a_token_as_about_a_certificate(place):
    prepared = prepare(place, scope=[{"actions": ["pay:all"], "resources": [INVOICES]}])
    answer = submit(place, id_token(place, prepared), prepared)
    assert (answer.status, answer.json["rule"]) == (403, "invoices: entitlements"), answer


def test_what_a_token_asks_waits_for_approvals_where_the_rule_wants_them_and_stays_bound_to_its_grant(place):
    agent = agent_of(place)
    prepared = prepare(place, "idp", agent, depth=0, cls="payer", scope=[{"actions": ["payments:create"], "resources": [ERP + "/v2/payments"]}])
    token = id_token(place, prepared, acr="urn:mfa", auth_time=1700000000)
    waits = submit(place, token, prepared)
    assert waits.status == 202, waits
    refused(submit(place, token, prepared), 409, "CONFLICT", re.compile(r"grant: jti '.*' was redeemed already: a grant opens one task"))
    for name, state in (("olga", "pending"), ("ada", "open")):
        said = place.house.person(name).ask("POST", f"/v1/tasks/{waits.json['task']}/approvals", {"decision": "approve", "digest": waits.json["digest"]})
        assert (said.status, said.json["state"]) == (200, state), said
    cert, hop = hop_of(place, agent, waits.json["task"])
    body = base64.urlsafe_b64decode(prepared["grant_body"] + "===")
    assert (hop["method"], hop["digest"], hop["grant"]) == ("oidcIdToken", hashlib.sha256(token.encode()).digest(), hashlib.sha256(body).digest())
    assert auth_of(cert) == ("20231114221320Z", "urn:mfa")
    wait_for("the journal's entry", lambda: [e for e in journal.read(place.house.path("state/journal"), live=True)
                                             if e.type == "grant" and e.json["said"].get("id_token") == hop["digest"].hex()])


def test_whoever_carries_a_token_is_not_asked_who_he_is(place):
    carrier = place.house.agent_with_leaf("carrier")
    prepared = prepare(place)
    opened = submit(place, id_token(place, prepared), prepared, carrier.client())
    assert opened.status == 201, opened


# ---- a stolen, forged or borrowed token ----

def test_a_token_is_worth_nothing_for_another_grant(place):
    """The thief of a log-in has a grant of his own, for his own key."""
    mine, his = prepare(place), prepare(place)
    token = id_token(place, mine)
    unauthenticated(submit(place, token, his), "the ID token was made for another grant: its 'nonce' is not the digest of grant_body")
    body = base64.urlsafe_b64decode(mine["grant_body"] + "===")
    for changed in (body.replace(b'"depth":1', b'"depth":2'), body + b" ", body.replace(b'","', b'", "', 1)):
        assert changed != body
        unauthenticated(submit(place, token, b64(changed)), "the ID token was made for another grant: its 'nonce' is not the digest of grant_body")
    assert submit(place, token, mine).status == 201


def test_a_token_without_a_nonce_is_refused(place):
    """As the device flow gives it."""
    prepared = prepare(place)
    unauthenticated(submit(place, id_token(place, prepared, nonce=None), prepared),
                    "the ID token has no 'nonce', so it authorises no grant: log in with the code flow and the nonce that POST /v1/grants/prepare gave")


WRONG = [
    ({"aud": "other"}, 401, "the ID token is for another client: 'aud' is not 'writ'"),
    ({"aud": ["writ", "other"]}, 401, "the ID token is for 2 audiences and has no 'azp' that says which one asked for it"),
    ({"aud": ["writ", "other"], "azp": "other"}, 401, "another client asked for the ID token: 'azp' is not 'writ'"),
    ({"azp": "other"}, 401, "another client asked for the ID token: 'azp' is not 'writ'"),
    ({"iss": STRICT}, 401, f"the ID token is of issuer '{STRICT}', the grant names '{ISSUER}'"),
    ({"iss": ISSUER + "/"}, 401, f"the ID token is of issuer '{ISSUER}/', the grant names '{ISSUER}'"),
    ({"exp": 1700000000}, 401, re.compile(r"the ID token expired \d+ s ago")),
    ({"exp": 1.5}, 400, "ID token: claim 'exp' must be an integer, seconds since 1970"),
    ({"exp": None}, 400, "ID token: claim 'exp' must be an integer, seconds since 1970"),
    ({"iat": 1700000000}, 401, re.compile(r"the ID token is \d+ s old, over the 120 s of max_age: log in again")),
    ({"iat": 2000000000}, 401, re.compile(r"the ID token is from the future: 'iat' or 'nbf' is \d+ s ahead")),
    ({"nbf": 2000000000}, 401, re.compile(r"the ID token is from the future: 'iat' or 'nbf' is \d+ s ahead")),
    ({"sub": None}, 400, "ID token: claim 'sub' must be a text"),
    ({"sub": "x" * 256}, 400, "ID token: claim 'sub' has over 255 octets, or control characters"),
    ({"nonce": "n-0S6_WzA2Mj"}, 401, "the ID token was made for another grant: its 'nonce' is not the digest of grant_body"),
]


@pytest.mark.parametrize("more,status,detail", WRONG, ids=[f"{i}-{next(iter(m))}" for i, (m, _, _) in enumerate(WRONG)])
def test_a_token_with_one_claim_wrong_is_refused_for_that_claim(place, more, status, detail):
    prepared = prepare(place)
    refused(submit(place, id_token(place, prepared, **more), prepared), status, "INVALID" if status == 400 else "UNAUTHENTICATED", detail)


def test_only_the_providers_own_keys_sign(place):
    prepared = prepare(place)
    for key, kid, alg, detail in (
            (new_key(), "e1", None, "the signature is not this key's over these bytes"),
            (place.ec, "e2", None, "OpenID provider 'idp' has no key 'e2'"),
            (place.ec, "../idp", None, "OpenID provider 'idp' has no key '../idp'"),
            (place.ec, None, None, "the token names no key, and OpenID provider 'idp' has 2"),
            (place.ec, "r1", None, "key 'r1' of OpenID provider 'idp' does not sign with ES256"),
            (place.rsa, "e1", None, "key 'e1' of OpenID provider 'idp' does not sign with RS256"),
            (place.rsa, "x", None, "OpenID provider 'idp' has no key 'x'")):
        unauthenticated(submit(place, id_token(place, prepared, key, kid, alg), prepared), detail)


def test_alg_none_and_hs256_with_the_public_key_are_refused(place):
    prepared = prepare(place)
    for alg in ("none", "None", "HS256"):
        signed = b64(json.dumps({"alg": alg, "kid": "r1"}).encode()) + "." + b64(json.dumps(claims_for(prepared)).encode())
        public = place.rsa.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        mac = b64(hmac.new(public, signed.encode(), hashlib.sha256).digest()) if alg == "HS256" else ""
        invalid(submit(place, signed + "." + mac, prepared),
                f"ID token: JWS header: 'alg' is '{alg}', and must be ES256 or RS256 or PS256")


def test_an_algorithm_that_the_configuration_leaves_out_is_refused(place):
    prepared = prepare(place, "strict")
    invalid(submit(place, id_token(place, prepared, place.rsa, "r1"), prepared), "ID token: JWS header: 'alg' is 'RS256', and must be ES256")


def test_a_token_of_one_kind_is_not_taken_for_another(place):
    prepared = prepare(place)
    for typ in ("at+jwt", "writ-grant+jwt", "logout+jwt"):
        invalid(submit(place, id_token(place, prepared, header={"typ": typ}), prepared),
                f"'{typ}' is no ID token: its typ is 'JWT' or absent; access tokens and signed grants are not accepted in its place")
    # an ID token as a signed grant, and a signed grant as an ID token
    token = id_token(place, prepared)
    invalid(place.house.nobody().ask("POST", "/v1/tasks", {"grant": token}), "grant: typ is 'JWT', and must be 'writ-grant+jwt'")
    body = json.loads(base64.urlsafe_b64decode(prepared["grant_body"] + "==="))
    grant = sign(place.grant_key, {**body, "iss": f"spiffe://{TD}/human/corp/alice"})
    invalid(submit(place, grant, prepared),
            "'writ-grant+jwt' is no ID token: its typ is 'JWT' or absent; access tokens and signed grants are not accepted in its place")
    assert place.house.nobody().ask("POST", "/v1/tasks", {"grant": grant}).status == 201


def test_how_and_when_its_owner_logged_in_is_asked_where_it_is_configured(place):
    prepared = prepare(place, "strict")
    assert (prepared["acr_values"], prepared["max_age_s"]) == (["urn:mfa"], 600)
    for more, status, detail in (
            ({"acr": "0", "auth_time": oidc.now()}, 401, "the login was of acr '0', which is none of those that the configuration wants"),
            ({"auth_time": oidc.now()}, 401, "the ID token does not say how its owner logged in: it has no 'acr'"),
            ({"acr": "urn:mfa"}, 400, "ID token: claim 'auth_time' must be an integer, seconds since 1970"),
            ({"acr": "urn:mfa", "auth_time": oidc.now() - 700}, 401,
             re.compile(r"the login was 70\d s ago, over the 600 s of max_auth_age: log in again, with max_age=0"))):
        refused(submit(place, id_token(place, prepared, **more), prepared), status, "INVALID" if status == 400 else "UNAUTHENTICATED", detail)
    opened = submit(place, id_token(place, prepared, acr="urn:mfa", auth_time=oidc.now() - 60), prepared)
    assert opened.status == 201, opened


# ---- the grant beside it ----

def body_with(prepared, **more):
    body = json.loads(base64.urlsafe_b64decode(prepared["grant_body"] + "==="))
    body.update(more)
    body = b64(json.dumps({k: v for k, v in body.items() if v is not None}).encode())
    return {**prepared, "grant_body": body, "nonce": oidc.nonce_of(body)}


def test_a_grant_that_a_client_wrote_itself_is_checked_as_one_that_was_prepared(place):
    """The bytes need no seal of ours: all that is checked is in them."""
    prepared, now = prepare(place), oidc.now()
    for more, status, detail in (
            ({"iss": "https://evil.example"}, 401, "'https://evil.example' is no configured OpenID provider"),
            ({"iss": f"spiffe://{TD}/human/idp/00u1abcd"}, 401, f"'spiffe://{TD}/human/idp/00u1abcd' is no configured OpenID provider"),
            ({"aud": "https://other.example"}, 401, f"grant: aud is 'https://other.example', and this issuer is '{AUDIENCE}'"),
            ({"iat": now - 2000, "exp": now - 1100}, 401, re.compile(r"grant: expired at .*")),
            ({"exp": now + 5000}, 401, re.compile(r"grant: exp is \d+ s after iat, over the 900 s within which a grant is redeemed")),
            ({"jti": "short"}, 400, "grant: member 'jti' must be 22 to 64 of A-Z a-z 0-9 . _ -, 128 random bits"),
            ({"sub": "root"}, 400, "grant: member 'sub' is unknown"),
            ({"principal": "root"}, 400, "grant: member 'principal' is unknown"),
            ({"spki_sha256": None}, 400, "grant: member 'spki_sha256' is missing")):
        changed = body_with(prepared, **more)
        refused(submit(place, id_token(place, changed), changed), status, "INVALID" if status == 400 else "UNAUTHENTICATED", detail)
    own = body_with(prepared, jti="a-jti-of-the-clients-own")
    assert submit(place, id_token(place, own), own).status == 201


def test_what_is_prepared_is_checked_before_anybody_logs_in(place):
    def ask(body):
        return place.house.nobody().ask("POST", "/v1/grants/prepare", body, {"Content-Type": "application/json"})
    agent = agent_of(place)
    refused(ask({"idp": "nobody", "task": asked(agent)}), 404, "NOT_FOUND", "member 'idp': no OpenID provider 'nobody' is configured")
    for body, detail in (
            ({"task": asked(agent)}, "member 'idp' is missing"),
            ({"idp": "idp"}, "member 'task' is missing"),
            ({"idp": "idp", "task": []}, "member 'task' must be an object: what POST /v1/tasks takes"),
            ({"idp": "idp", "task": asked(agent), "principal": "x"}, "member 'principal' is unknown"),
            ({"idp": "idp", "task": asked(agent, kind="human")}, "task: member 'kind' is unknown"),
            ({"idp": "idp", "task": asked(agent, scope=[])}, "task: member 'scope' must be a list of 1 to 32 entitlements"),
            ({"idp": "idp", "task": asked(agent, ends_in_s=5)}, "task: member 'ends_in_s' must be an integer from 60 to 28800"),
            ("[]", "the body is not a JSON object")):
        invalid(ask(body), detail)


def test_all_that_is_asked_is_in_the_grant(place):
    agent = agent_of(place)
    prepared = prepare(place, agent=agent, id="named-task", purpose="quarter end", constraints=[{"paramMax": {"name": "limit", "max": 100}}],
                       context={"type": "ticket", "digest": "ab" * 32})
    body = json.loads(base64.urlsafe_b64decode(prepared["grant_body"] + "==="))
    assert prepared["nonce"] == oidc.nonce_of(prepared["grant_body"])
    assert body["task"] == {"id": "named-task", "purpose": "quarter end"} and body["constraints"] == [{"paramMax": {"name": "limit", "max": 100}}]
    assert (body["context_type"], body["context_digest"], body["spki_sha256"]) == ("ticket", "ab" * 32, agent.spki_sha256)
    assert (body["iss"], body["aud"], body["exp"] - body["iat"], body["grant_end"] - body["iat"]) == (ISSUER, AUDIENCE, 900, 1800)
    assert submit(place, id_token(place, prepared), prepared).json["task"] == "named-task"


def test_the_body_has_no_other_member(place):
    prepared = prepare(place)
    token = id_token(place, prepared)
    ask = place.house.nobody().ask
    invalid(ask("POST", "/v1/tasks", {"id_token": token}), "member 'grant_body' is missing")
    invalid(ask("POST", "/v1/tasks", {"grant_body": prepared["grant_body"]}), "member 'id_token' is missing")
    invalid(ask("POST", "/v1/tasks", {"id_token": token, "grant_body": prepared["grant_body"], "access_token": "x"}), "member 'access_token' is unknown")
    invalid(ask("POST", "/v1/tasks", {"id_token": token, "grant_body": prepared["grant_body"] + "="}), re.compile("member 'grant_body' is not base64url: .*"))
    unauthenticated(ask("POST", "/v1/tasks", {"access_token": token, "grant_body": prepared["grant_body"]}),
                    "this needs a client certificate of a configured delegator or an agent")
    assert ask("POST", "/v1/tasks", {"grant_body": prepared["grant_body"], "id_token": token}).status == 201


# ---- once ----

def test_a_grant_is_redeemed_once_whatever_token_comes_with_it(place):
    prepared = prepare(place)
    first, second = id_token(place, prepared), id_token(place, prepared, sub="mallory")
    assert submit(place, first, prepared).status == 201
    for token in (first, second):
        refused(submit(place, token, prepared), 409, "CONFLICT", re.compile(r"grant: jti '[\w-]{22}' was redeemed already: a grant opens one task"))


def test_of_a_hundred_concurrent_tries_exactly_one_succeeds(place):
    prepared = prepare(place)
    token = id_token(place, prepared)
    clients = [place.house.nobody() for _ in range(100)]
    for client in clients:
        client.connection.connect()
    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda client: submit(place, token, prepared, client), clients))
    assert sorted(a.status for a in answers) == [201] + [409] * 99, [a for a in answers if a.status not in (201, 409)]


def test_an_idempotency_key_returns_the_first_answer(place):
    prepared = prepare(place)
    token = id_token(place, prepared)
    answers = [submit(place, token, prepared, Idempotency_Key="retry-1") for _ in range(2)]
    assert [a.status for a in answers] == [201, 201] and answers[0].body == answers[1].body


def test_a_replay_is_refused_after_a_kill_and_a_restart(place):
    prepared = prepare(place)
    token = id_token(place, prepared)
    assert submit(place, token, prepared).status == 201
    (pid,) = place.house.pids("writ-issuerd")
    os.kill(pid, signal.SIGKILL)
    wait_for("a new issuer", lambda: place.house.pids("writ-issuerd") not in ([], [pid]))
    place.house.wait_healthy()
    refused(submit(place, token, prepared), 409, "CONFLICT", re.compile(r"grant: jti '.*' was redeemed already: a grant opens one task"))


# ---- keys that are fetched ----

def test_keys_that_cannot_be_fetched_make_tokens_wait(place):
    prepared = prepare(place, "gone")
    answer = submit(place, id_token(place, prepared), prepared)
    refused(answer, 503, "UNAVAILABLE", "the keys of OpenID provider 'gone' cannot be had: they were not fetched yet")
    assert int(answer.headers["Retry-After"]) >= 1
    assert '"fetch.failed"' in place.house.log_tail(100000) and '"alias":"gone"' in place.house.log_tail(100000)


def test_fetched_keys_are_used_after_a_restart_and_asked_for_with_restraint(place):
    """However many tokens name a key that is not there, the provider is asked once in ten seconds at most."""
    prepared = prepare(place, "served")
    opened = until_fetched(place, lambda: submit(place, id_token(place, prepared, kid="s1"), prepared))
    assert opened.status == 201, opened
    begun, before = time.monotonic(), place.served.asked
    prepared = prepare(place, "served")
    for _ in range(50):
        answer = submit(place, id_token(place, prepared, kid="unknown"), prepared)
        assert answer.status in (401, 503), answer
    assert place.served.asked - before <= 1 + (time.monotonic() - begun) / 10
    # a set that cannot be read, a redirect, or more than 256 KiB changes nothing
    good = place.served.document
    for document, status, headers in ((b'{"keys":[]}', 200, {}), (b"not json", 200, {}), (b"", 302, {"Location": place.served.url + "/elsewhere"}),
                                      (b"{" + b" " * 300000, 200, {}), (b"{}", 500, {})):
        place.served.document, place.served.status, place.served.headers = document, status, headers
        before = place.served.asked
        (pid,) = place.house.pids("writ-fetchd")
        os.kill(pid, signal.SIGHUP)
        wait_for("another fetch", lambda n=before: place.served.asked > n)
        prepared = prepare(place, "served")
        assert submit(place, id_token(place, prepared, kid="s1"), prepared).status == 201
    place.served.document, place.served.status, place.served.headers = good, 200, {}


def test_the_fetcher_is_restarted_and_holds_neither_keys_nor_store_nor_journal(place):
    (pid,) = place.house.pids("writ-fetchd")
    held = []
    for n in os.listdir(f"/proc/{pid}/fd") if os.geteuid() == 0 else ():  # who cannot be dumped shows them to root alone
        try:
            held.append(os.readlink(f"/proc/{pid}/fd/{n}"))
        except FileNotFoundError:
            continue  # closed meanwhile
    assert not [path for path in held if path.startswith(place.house.path("state")) and not path.startswith(place.house.path("state/fetched"))], held
    os.kill(pid, signal.SIGKILL)
    wait_for("a new fetcher", lambda: place.house.pids("writ-fetchd") not in ([], [pid]))

    def fetched():
        with open(place.house.path("state/fetched/served.jwks"), "rb") as f:
            return f.read() == place.served.document
    wait_for("what it fetches at its start", fetched)
