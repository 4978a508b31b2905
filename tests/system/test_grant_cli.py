"""writ grant and writ delegate --grant: a grant made offline with a key in a file, in a TPM and in a token, submitted by somebody else."""
import base64
import hashlib
import json
import os
import re
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from grants import ALICE, AUDIENCE, BOT, P256_N, hops
from house import ERP, INVOICES, Agent, House, new_key, pem_key, program
from test_cli import complains, fields, writ

CONFIGURATION = f"""\
grants:
  audience: {AUDIENCE}
  keys:
    - {{kid: file-key, kind: human, principal: "{ALICE}", key: file.pub}}
    - {{kid: ed-key, kind: human, principal: "{ALICE}", key: ed.pub}}
    - {{kid: device-key, kind: human, principal: "{ALICE}", key: device.pub}}
"""
READ = f"invoices:read on {INVOICES}"
ASKED = ["--agent", BOT, "--allow-delegable", READ, "--audience", ERP, "--depth", "1", "--ends", "30m", "--purpose", "May's invoices"]
FAILED, MISUSED, REFUSED = 1, 2, 3


def device(house):
    """Options that reach the house's device, and what names a new key in it."""
    if house.custody == "swtpm":
        return (["--tpm", f"swtpm:path={house.path('tpm/sock')}", "--allow-software-tpm", "--auth-file", house.path("grant-auth")],
                "tpm2:" + house.path("device.tpm"))
    module = next(p for p in ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
                              "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so") if os.path.exists(p))
    return (["--module", module, "--pin-file", house.path("pin"), "--env", f"SOFTHSM2_CONF={house.path('softhsm2.conf')}"],
            "pkcs11:token=writ-test;manufacturer=SoftHSM%20project")


def make_key(house, what, *more):
    return dict(fields(writ(house, "grant", "key", "--make", what, *more)))


@pytest.fixture(scope="module", params=["swtpm", "softhsm"])
def house(request):
    """Keys are made before the issuer starts, since its configuration names their public halves."""
    made = House(request.param, extra=CONFIGURATION)
    try:
        made.sign_with = {}
        made.sign_with["file-key"] = [make_key(made, made.path("file.key"), "--public", made.path("file.pub"))["sign with"]]
        made.sign_with["ed-key"] = [make_key(made, made.path("ed.key"), "--public", made.path("ed.pub"), "--kind", "Ed25519")["sign with"]]
        options, name = device(made)
        name = make_key(made, name, "--public", made.path("device.pub"), *options)["sign with"]
        made.sign_with["device-key"] = [name, "--public", made.path("device.pub"), *options]
        made.init()
        made.start()
        yield made
    finally:
        made.close()


def signed(house, agent, kid, *more, **overrides):
    """The path of a grant that this key signed."""
    path = house.path(f"{agent.name}.jws")
    named = {"--issuer": ALICE, "--for": AUDIENCE, "--kid": kid, **overrides}
    result = writ(house, "grant", *ASKED, "--key-of", agent.key_file, *(x for pair in named.items() for x in pair), "--sign-with",
                  *house.sign_with[kid], "--out", path, *more)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", ""), result
    return path


def payload(path):
    with open(path, encoding="ascii") as f:
        part = f.read().split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


@pytest.mark.parametrize("kid", ["file-key", "ed-key", "device-key"])
def test_a_grant_signed_with_a_key_of_ones_own_opens_a_task(house, kid):
    agent = Agent(house, "with-" + kid)
    path = signed(house, agent, kid)
    told = dict(fields(writ(house, "delegate", "--grant", path)))
    assert told["allowed by"] == "rule invoices" and told["depth"] == "1 more" and told["agent"].startswith(BOT + "/i-"), told
    issued = house.leaf(told["task"], agent)
    (hop,) = hops(x509.load_pem_x509_certificate(issued.json["certificate"].encode()))
    with open(path, encoding="ascii") as f:
        digest = hashlib.sha256(f.read().strip().encode()).digest()
    assert (hop["principal"], hop["method"], hop["digest"], hop["authority"]) == (ALICE, "signedGrant", digest, kid)
    again = writ(house, "delegate", "--grant", path)
    complains(again, FAILED, re.compile(r"writ delegate: .*was redeemed already: a grant opens one task.*\n"))


def test_the_grant_is_what_was_asked_for_and_somebody_elses_library_verifies_it(house):
    """Ten signatures: half of what a device makes has an s over n / 2, and none of these has."""
    agent = Agent(house, "asked")
    jtis = set()
    with open(house.path("device.pub"), "rb") as f:
        public = serialization.load_pem_public_key(f.read())
    for _ in range(10):
        path = signed(house, agent, "device-key")
        with open(path, encoding="ascii") as f:
            signed_part, signature = f.read().strip().rsplit(".", 1)
        raw = base64.urlsafe_b64decode(signature + "==")
        r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
        assert len(raw) == 64 and s <= P256_N // 2
        public.verify(encode_dss_signature(r, s), signed_part.encode(), ec.ECDSA(hashes.SHA256()))
        claims = payload(path)
        jtis.add(claims["jti"])
    assert len(jtis) == 10 and os.stat(path).st_mode & 0o777 == 0o600
    assert json.loads(base64.urlsafe_b64decode(signed_part.split(".")[0] + "==")) == {"alg": "ES256", "kid": "device-key", "typ": "writ-grant+jwt"}
    assert claims["exp"] - claims["iat"] == 600 and claims["grant_end"] - claims["iat"] == 1800 and claims["nbf"] == claims["iat"]
    assert {k: claims[k] for k in ("iss", "aud", "agent", "spki_sha256", "task", "scope", "audience", "depth")} == {
        "iss": ALICE, "aud": AUDIENCE, "agent": BOT, "spki_sha256": agent.spki_sha256, "task": {"purpose": "May's invoices"},
        "scope": [{"actions": ["invoices:read"], "resources": [INVOICES], "delegable": True}], "audience": [ERP], "depth": 1}
    assert len(claims) == 13


def test_what_the_policy_refuses_is_told_with_rule_value_and_limit(house):
    path = signed(house, Agent(house, "too-deep"), "file-key", "--redeem-within", "5m", "--context-type", "ticket", "--context-digest", "ab" * 32,
                  "--task", "too-deep")
    assert payload(path)["context_type"] == "ticket" and payload(path)["task"]["id"] == "too-deep"
    result = writ(house, "grant", "--agent", BOT, "--allow", "payments:write on https://erp.corp.example/v2/payments/**", "--audience", ERP, "--spki", "ab" * 32,
                  "--issuer", ALICE, "--for", AUDIENCE, "--kid", "file-key", "--sign-with", house.path("file.key"))
    assert result.returncode == 0
    path = house.path("wide.jws")
    with open(path, "w", encoding="ascii") as f:
        f.write(result.stdout)
    complains(writ(house, "delegate", "--grant", path), REFUSED, re.compile(r"writ delegate: refused by invoices: entitlements: .*\n"))


def test_a_key_is_never_replaced_and_its_secret_is_the_owners_alone(house):
    options, name = device(house)
    for path in ("file.key", "ed.key"):
        assert os.stat(house.path(path)).st_mode & 0o777 == 0o600
        complains(writ(house, "grant", "key", "--make", house.path(path), "--public", house.path("new.pub")), FAILED,
                  f"writ grant key: {house.path(path)} is there already: a new key never replaces one")
    complains(writ(house, "grant", "key", "--make", house.path("new.key"), "--public", house.path("file.pub")), FAILED,
              f"writ grant key: {house.path('file.pub')} is there already: a new key never replaces one")
    if house.custody == "swtpm":
        assert os.stat(house.path("grant-auth")).st_mode & 0o777 == 0o600
        complains(writ(house, "grant", "key", "--make", name, "--public", house.path("new.pub"), *options), FAILED,
                  f"writ grant key: {house.path('device.tpm')} is there already: a new key never replaces one")
    assert not os.path.exists(house.path("new.pub")) and not os.path.exists(house.path("new.key"))


def test_a_device_that_has_another_key_than_the_one_named_signs_nothing(house):
    """The public key is pinned: --public of another key, and the device's own is refused."""
    pinned = [house.path("file.pub") if x == house.path("device.pub") else x for x in house.sign_with["device-key"]]
    result = writ(house, "grant", *ASKED, "--spki", "ab" * 32, "--issuer", ALICE, "--for", AUDIENCE, "--kid", "device-key", "--sign-with", *pinned)
    assert (result.returncode, result.stdout) == (FAILED, ""), result
    assert result.stderr.splitlines()[-1] == "writ grant: loading a key: " + (
        "the key file holds another key than the pinned one" if house.custody == "swtpm" else
        "the token's key of that id is another key than the pinned one"), result


def test_a_device_that_is_not_there_is_said(house):
    if house.custody == "swtpm":
        gone = ["tpm2:" + house.path("device.tpm"), "--public", house.path("device.pub"), "--tpm", f"swtpm:path={house.path('no-sock')}",
                "--auth-file", house.path("grant-auth")]
    else:
        gone = [house.sign_with["device-key"][0], "--public", house.path("device.pub"), "--module", "/usr/lib/no-such-module.so",
                "--pin-file", house.path("pin")]
    result = writ(house, "grant", *ASKED, "--spki", "ab" * 32, "--issuer", ALICE, "--for", AUDIENCE, "--kid", "device-key", "--sign-with", *gone)
    assert result.returncode in (1, 4) and result.stdout == "" and "writ grant: the device: " in result.stderr, result


NEEDED = ["--spki", "ab" * 32, "--issuer", ALICE, "--for", AUDIENCE, "--kid", "k"]
MISUSES = [
    (["grant"], "writ grant: --agent is missing"),
    (["grant", *ASKED, "--spki", "ab" * 32], "writ grant: --issuer is missing"),
    (["grant", *ASKED, *NEEDED], "writ grant: --sign-with is missing"),
    (["grant", *ASKED, *NEEDED, "--sign-with", "k.pem", "--context-type", "x"], "writ grant: --context-type and --context-digest go together"),
    (["grant", *ASKED, *NEEDED, "--sign-with", "k.pem", "--redeem-within", "25h"], re.compile("writ grant: --redeem-within.*\n")),
    (["grant", "key"], "writ grant key: --make is missing"),
    (["grant", "key", "--make", "x", "--kind", "P-384"], "writ grant key: --kind: 'P-384' is neither P-256 nor Ed25519"),
    (["delegate", "--grant", "x", "--agent", BOT], "writ delegate: no option --agent: man writ lists them"),
    (["delegate", "--grant", "x"], "writ delegate: --api is missing; it may also come from WRIT_API"),
]


@pytest.mark.parametrize("arguments,words", MISUSES, ids=[str(i) for i in range(len(MISUSES))])
def test_a_misuse_is_named(arguments, words):
    result = subprocess.run([program("writ"), *arguments], capture_output=True, text=True, timeout=20, check=False,
                            env={"PATH": os.environ["PATH"]}, stdin=subprocess.DEVNULL)
    complains(result, MISUSED, words)


FAULTS = [
    (["--sign-with", "/none.pem"], "writ grant: /none.pem does not exist"),
    (["--sign-with", "k.pem", "--tpm", "x"], "writ grant: --tpm does not go with a key in a file"),
    (["--sign-with", "k.pem", "--public", "x"], "writ grant: --public does not go with a key in a file"),
    (["--sign-with", "tpm2:k"], "writ grant: --public is missing: a key in a TPM 'tpm2:k' needs it"),
    (["--sign-with", "tpm2:k", "--public", "p", "--auth-file", "a"], "writ grant: --tpm is missing: a key in a TPM 'tpm2:k' needs it"),
    (["--sign-with", "tpm2:k", "--public", "p", "--auth-file", "a", "--tpm", "t", "--module", "m"], "writ grant: --module does not go with a key in a TPM"),
    (["--sign-with", "pkcs11:k", "--public", "p"], "writ grant: --module is missing: a key in a token 'pkcs11:k' needs it"),
    (["--sign-with", "pkcs11:k", "--public", "p", "--module", "m"], "writ grant: --pin-file is missing: a key in a token 'pkcs11:k' needs it"),
]


@pytest.mark.parametrize("arguments,words", FAULTS, ids=[str(i) for i in range(len(FAULTS))])
def test_a_key_that_cannot_be_used_is_named(arguments, words):
    result = subprocess.run([program("writ"), "grant", *ASKED, *NEEDED, *arguments], capture_output=True, text=True, timeout=20, check=False,
                            env={"PATH": os.environ["PATH"]}, stdin=subprocess.DEVNULL)
    complains(result, FAILED, words)


def test_a_key_that_signs_no_grant_is_refused(tmp_path):
    path = tmp_path / "k.pem"
    path.write_bytes(pem_key(new_key("P-384")))
    result = subprocess.run([program("writ"), "grant", *ASKED, *NEEDED, "--sign-with", str(path)], capture_output=True, text=True, timeout=20, check=False,
                            stdin=subprocess.DEVNULL)
    complains(result, FAILED, "writ grant: P-384 signs no grant: use P-256 or Ed25519")
