"""What a custody statement proves to somebody who trusts neither the host nor its administrator, and what it does not.

A house with a software TPM whose endorsement keys its maker's CA certified; another tool and another library read what ours wrote; then bundles
in which one thing is wrong, made by a forger who has every key.
"""
import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

import attestation as att
from house import TD, House, program, wait_for


class Certified(House):
    """A TPM as it leaves its maker: endorsement keys, and certificates of them in NV."""

    def start_device(self):
        for folder in ("tpm", "maker"):
            os.makedirs(self.path(folder), exist_ok=True)
        settings = {"statedir": "", "signingkey": "key.pem", "issuercert": "cert.pem", "certserial": "serial"}
        with open(self.path("maker.conf"), "w", encoding="ascii") as f:
            f.writelines(f"{k} = {self.path('maker/' + v)}\n" for k, v in settings.items())
        open(self.path("maker.options"), "w", encoding="ascii").close()
        with open(self.path("setup.conf"), "w", encoding="ascii") as f:
            f.write(f"create_certs_tool = {shutil.which('swtpm_localca')}\ncreate_certs_tool_config = {self.path('maker.conf')}\n"
                    f"create_certs_tool_options = {self.path('maker.options')}\n")
        subprocess.run(["swtpm_setup", "--tpm2", "--tpmstate", self.path("tpm"), "--create-ek-cert", "--config", self.path("setup.conf"),
                        "--overwrite"], check=True, capture_output=True)
        with open(self.path("roots.pem"), "wb") as f:
            for part in ("maker/swtpm-localca-rootca-cert.pem", "maker/cert.pem"):
                f.write(open(self.path(part), "rb").read())
        super().start_device()

    def attest(self, *question):
        out = self.path(f"bundle-{os.urandom(4).hex()}")
        self.run("custody", "attest", "--config", self.path("writ.yaml"), *question, "--out", out)
        return out


@pytest.fixture(scope="module")
def house():
    h = Certified()
    with open(h.path("tpm-auth"), "w", encoding="ascii") as f:
        f.write(os.urandom(32).hex() + "\n")
    os.chmod(h.path("tpm-auth"), 0o600)
    try:
        h.init()
        h.start()
        h.write_anchor()
        yield h
    finally:
        h.close()


@pytest.fixture(scope="module")
def asked(house):
    """One whole exchange: a first bundle, a challenge made of it, the answer."""
    nonce = os.urandom(32).hex()
    first = house.attest("--nonce", nonce)
    house.run("custody", "challenge", first, "--ek-roots", house.path("roots.pem"), "--out", house.path("challenge"), "--secret",
              house.path("secret"))
    return {"nonce": nonce, "first": first, "second": house.attest("--challenge", house.path("challenge")), "secret": house.path("secret")}


def verify(*arguments):
    return subprocess.run([program("writ"), "custody", "verify", *arguments], capture_output=True, text=True, timeout=60)


def proof(house, asked, *more, bundle=None):
    return verify(bundle or asked["second"], "--challenge-secret", asked["secret"], "--ek-roots", house.path("roots.pem"), *more)


def stands(result):
    """Claim by claim: how it stands; the first of a name."""
    found = {}
    for line in result.stdout.splitlines():
        m = re.match(r"(proved|claimed|said|REFUTED) +(\S+): (.*)", line)
        if m:
            found.setdefault(m[2], (m[1], m[3]))
    return found


def contents(path):
    bundle = json.load(open(path, encoding="utf-8"))
    text = json.dumps(bundle["statement"], sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return bundle, hashlib.sha256(text).digest(), text


# ---- what is proved ----

def test_with_a_challenge_everything_that_can_be_proved_is(house, asked):
    result = proof(house, asked, "--anchor", house.path("anchor.pem"), "--trust-domain", TD, "--max-age", "5m")
    assert result.returncode == 0, result.stdout + result.stderr
    found = stands(result)
    for claim in ("fresh", "anchor", "issuing", "endorsement", "binding", "attestation-key", "storage-root-key", "anchor-key", "machine", "counter-sealed"):
        assert found[claim][0] == "proved", claim
    assert found["anchor"][1].endswith("the certificate is yours")
    # What no device can speak for is said, and called so.
    assert found["custody"] == ("said", "sealed: issuing keys are sealed by the device at rest and are in the signer's memory while it runs; "
                                        "no device speaks for memory")
    assert found["tier"][0] == "said" and "only as safe as its host" in found["tier"][1]
    assert result.stdout.splitlines()[-1] == "verdict: proved"


def test_without_a_challenge_what_rests_on_the_attestation_key_is_claimed(house, asked):
    result = verify(asked["first"], "--nonce", asked["nonce"], "--ek-roots", house.path("roots.pem"))
    assert result.returncode == 3, "3: nothing is wrong, and not everything is proved"
    found = stands(result)
    assert found["anchor"][0] == found["endorsement"][0] == "proved"
    assert found["binding"][0] == found["attestation-key"][0] == found["anchor-key"][0] == "claimed"
    assert verify(asked["first"], "--nonce", asked["nonce"], "--ek-roots", house.path("roots.pem"), "--accept-claims").returncode == 0


def test_without_the_secret_an_answered_challenge_proves_no_more(house, asked):
    nonce = contents(asked["second"])[0]["statement"]["nonce"]
    result = verify(asked["second"], "--nonce", nonce, "--ek-roots", house.path("roots.pem"))
    assert result.returncode == 3 and "its secret was not given (--challenge-secret)" in stands(result)["binding"][1]


def test_programs_read_the_same_as_json(house, asked):
    result = proof(house, asked, "--json")
    answer = json.loads(result.stdout)
    assert answer["verdict"] == "proved"
    assert {"claim", "stands", "text"} == set(answer["claims"][0])


def test_the_question_is_in_the_journal_and_the_bundle_names_its_entry(house, asked):
    said = contents(asked["second"])[0]["statement"]["journal"]
    entries = subprocess.run([program("writ"), "log", "--api", f"https://127.0.0.1:{house.api_port}", "--ca", house.path("corp.pem"), "--cert",
                              house.path("ada.pem"), "--key", house.path("ada.key"), "--from", str(said["index"]), "--json"],
                             capture_output=True, text=True, timeout=60)
    assert entries.returncode == 0, entries.stderr
    assert '"did"' in entries.stdout and "attest" in entries.stdout
    assert contents(asked["second"])[0]["statement"]["nonce"] in entries.stdout


def test_issuing_goes_on_between_attestations(house):
    house.attest("--nonce", "00" * 16)
    assert house.agent_with_leaf("after-attestation").cert
    house.attest("--nonce", "00" * 16)


# ---- others read it ----

def write_parts(house, bundle):
    """The parts as other tools want them; the attestation key as PEM."""
    ak = base64.b64decode(bundle["statement"]["ak"])
    x, y = ak[-66:-34], ak[-32:]
    public = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1()).public_key()
    with open(house.path("ak.pem"), "wb") as f:
        f.write(public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    for item in bundle["attestations"]:
        for part in ("about", "said", "signature"):
            with open(house.path(f"{item['what']}.{part}"), "wb") as f:
                f.write(base64.b64decode(item[part]))
    return public


def test_tpm2_tools_check_the_quote_with_the_statements_digest_as_nonce(house, asked):
    bundle, digest, _ = contents(asked["second"])
    write_parts(house, bundle)
    command = ["tpm2_checkquote", "-u", house.path("ak.pem"), "-m", house.path("pcrs.said"), "-s", house.path("pcrs.signature"), "-g", "sha256"]
    environment = dict(os.environ, TPM2TOOLS_TCTI="none", TSS2_LOG="all+NONE")
    assert subprocess.run(command + ["-q", digest.hex()], env=environment, capture_output=True).returncode == 0
    wrong = bytes([digest[0] ^ 1]) + digest[1:]
    assert subprocess.run(command + ["-q", wrong.hex()], env=environment, capture_output=True).returncode != 0


def test_tpm2_tools_print_what_was_quoted_and_openssl_verifies_what_was_certified(house, asked):
    bundle, digest, _ = contents(asked["second"])
    write_parts(house, bundle)
    printed = subprocess.run(["tpm2_print", "-t", "TPMS_ATTEST", house.path("pcrs.said")], env=dict(os.environ, TPM2TOOLS_TCTI="none"),
                             capture_output=True, text=True, check=True).stdout
    assert "magic: ff544347" in printed and "type: 8018" in printed and f"extraData: {digest.hex()}" in printed
    assert f"pcrDigest: {hashlib.sha256(open(house.path('pcrs.about'), 'rb').read()).hexdigest()}" in printed
    signature = open(house.path("key.signature"), "rb").read()
    with open(house.path("key.der"), "wb") as f:
        f.write(encode_dss_signature(int.from_bytes(signature[6:38], "big"), int.from_bytes(signature[40:72], "big")))
    subprocess.run(["openssl", "dgst", "-sha256", "-verify", house.path("ak.pem"), "-signature", house.path("key.der"),
                    house.path("key.said")], check=True, capture_output=True)


def test_a_third_reader_finds_the_anchors_key_in_what_was_certified(house, asked):
    bundle, digest, text = contents(asked["second"])
    public = write_parts(house, bundle)
    said = open(house.path("key.said"), "rb").read()
    assert said[:6] == bytes.fromhex("ff5443478017") and att.name(open(house.path("key.about"), "rb").read()) in said
    anchor = x509.load_der_x509_certificate(base64.b64decode(bundle["statement"]["anchor"]))
    assert anchor == house.anchor()
    anchor.public_key().verify(base64.b64decode(bundle["signature"]), att.SIGNED + text, ec.ECDSA(hashes.SHA256()))
    about = open(house.path("key.about"), "rb").read()
    numbers = anchor.public_key().public_numbers()
    assert about[-66:-34] == numbers.x.to_bytes(32, "big") and about[-32:] == numbers.y.to_bytes(32, "big")
    assert int.from_bytes(about[4:8], "big") == att.KEY and about[10:42] == att.AUTH_VALUE
    for item in bundle["attestations"]:
        said, signature = base64.b64decode(item["said"]), base64.b64decode(item["signature"])
        der = encode_dss_signature(int.from_bytes(signature[6:38], "big"), int.from_bytes(signature[40:72], "big"))
        public.verify(der, said, ec.ECDSA(hashes.SHA256()))
        assert digest in said


# ---- what is refused of a true bundle ----

def refuted(result, claim, words):
    found = stands(result)
    assert result.returncode == 1, result.stdout + result.stderr
    assert found[claim][0] == "REFUTED" and words in found[claim][1], found
    assert result.stdout.splitlines()[-1] == "verdict: refuted"


def test_another_nonce_is_refused(house, asked):
    refuted(verify(asked["first"], "--nonce", "ab" * 32, "--ek-roots", house.path("roots.pem")), "fresh", "and not abababab")


def test_a_secret_of_another_challenge_is_refused(house, asked):
    house.run("custody", "challenge", asked["first"], "--ek-roots", house.path("roots.pem"), "--out", house.path("other"), "--secret",
              house.path("other-secret"))
    kept, other = (json.load(open(house.path(f), encoding="ascii")) for f in ("secret", "other-secret"))
    other["nonce"] = kept["nonce"]
    with open(house.path("mixed"), "w", encoding="ascii") as f:
        json.dump(other, f, sort_keys=True, separators=(",", ":"))
    refuted(verify(asked["second"], "--challenge-secret", house.path("mixed"), "--ek-roots", house.path("roots.pem")), "binding",
            "the challenge's secret did not come back for this statement")


def test_a_makers_root_that_is_not_pinned_is_refused(house, asked):
    refuted(verify(asked["second"], "--challenge-secret", asked["secret"], "--ek-roots", house.path("corp.pem")), "endorsement",
            "no path to a pinned root: unable to get local issuer certificate")


def test_no_challenge_is_made_for_a_key_whose_root_is_not_pinned(house, asked):
    result = house.run("custody", "challenge", asked["first"], "--ek-roots", house.path("corp.pem"), "--out", house.path("none"), "--secret",
                       house.path("none-secret"), check=False)
    assert result.returncode == 1 and "no path to a pinned root" in result.stderr
    assert not os.path.exists(house.path("none")) and not os.path.exists(house.path("none-secret"))


def test_another_anchor_or_trust_domain_is_refused(house, asked):
    refuted(proof(house, asked, "--anchor", house.path("corp.pem")), "anchor", "the statement is of another anchor than --anchor")
    refuted(proof(house, asked, "--trust-domain", "other.example"), "issuing", f"it is of trust domain {TD}, not of other.example")


def test_an_old_statement_is_refused_when_an_age_is_asked(house, asked):
    made = contents(asked["second"])[0]["statement"]["time"]
    wait_for("a clock that went on", lambda: time.time() > made + 2.1)
    refuted(proof(house, asked, "--max-age", "1s"), "fresh", "over the 1 of --max-age")


def test_a_quote_of_an_older_bundle_does_not_fit_a_new_statement(house, asked):
    """Stale: the attestations of one, the statement of the other."""
    first, second = (json.load(open(asked[which], encoding="utf-8")) for which in ("first", "second"))
    for kind, claim in (("pcrs", "pcrs"), ("key", "key"), ("parent", "storage-root-key")):
        mixed = dict(second, attestations=[next(i for i in first["attestations"] if i["what"] == kind) if item["what"] == kind else item
                                           for item in second["attestations"]])
        with open(house.path("mixed-bundle"), "w", encoding="utf-8") as f:
            json.dump(mixed, f, sort_keys=True, separators=(",", ":"))
        refuted(proof(house, asked, bundle=house.path("mixed-bundle")), claim,
                "it was made for another statement: an old one, or another's")


def test_no_bit_of_a_bundle_can_be_flipped(house, asked):
    whole = open(asked["second"], "rb").read()
    path = house.path("flipped")
    for at in range(0, len(whole) - 1, 97):
        with open(path, "wb") as f:
            f.write(whole[:at] + bytes([whole[at] ^ (1 << at % 7)]) + whole[at + 1:])
        assert proof(house, asked, bundle=path).returncode == 1, f"bit {at % 7} of byte {at}, {whole[at - 20:at + 20]}"


def test_a_foreign_challenge_is_refused_by_the_tpm_and_nothing_locks(house, asked):
    """Made for another TPM's endorsement key, and this one's attestation key."""
    challenge = json.load(open(house.path("challenge"), encoding="ascii"))
    other = ec.generate_private_key(ec.SECP384R1()).public_key().public_numbers()
    challenge["encrypted"] = att.b64(att.sized(att.sized(other.x.to_bytes(48, "big")) + att.sized(other.y.to_bytes(48, "big"))))
    with open(house.path("foreign"), "w", encoding="ascii") as f:
        json.dump(challenge, f, sort_keys=True, separators=(",", ":"))
    result = house.run("custody", "attest", "--config", house.path("writ.yaml"), "--challenge", house.path("foreign"), check=False)
    assert result.returncode == 1
    assert "the challenge is not for this TPM's endorsement key and attestation key" in result.stderr
    status = house.run("custody", "status", "--config", house.path("writ.yaml")).stdout
    assert "device: up" in status
    house.attest("--nonce", "11" * 32)


@pytest.mark.parametrize("arguments, words", [
    ((), "one of --nonce and --challenge is wanted"),
    (("--nonce", "00" * 15), "16 to 64 bytes in hex"),
    (("--nonce", "00" * 65), "16 to 64 bytes in hex"),
    (("--nonce", "xy" * 16), "16 to 64 bytes in hex"),
    (("--nonce", "00" * 16, "--challenge", "/dev/null"), "a challenge has its own nonce"),
])
def test_a_question_is_one_nonce_or_one_challenge(house, arguments, words):
    result = house.run("custody", "attest", "--config", house.path("writ.yaml"), *arguments, check=False)
    assert result.returncode == 2 and words in result.stderr


# ---- what is refused of a forger who has every key but one fact ----

@pytest.fixture(scope="module")
def forger(tmp_path_factory):
    return att.Forger(str(tmp_path_factory.mktemp("forger")), TD)


def judge(forger, kept=None, **changes):
    return judge_bytes(forger, forger.bundle(**changes), kept)


def judge_bytes(forger, bundle, kept=None, *more):
    return verify(forger.write("bundle", bundle), "--challenge-secret", kept or forger.kept(), "--ek-roots", forger.path("roots.pem"), *more)


def test_the_forgers_bundle_is_proved_when_nothing_in_it_is_wrong(forger):
    result = judge(forger)
    assert result.returncode == 0 and "verdict: proved" in result.stdout, result.stdout + result.stderr
    resident = judge(forger, custody="resident", add=[forger.issuing], counter=0x22060016)
    assert resident.returncode == 0, resident.stdout + resident.stderr
    assert stands(resident)["counter-sealed"] == ("proved", "NV index 0x01805701 is at 5, and only grows")


def changed(**members):
    return lambda statement: statement.update(members)


other = att.new()
CASES = [
    ("an unrestricted attestation key", {"ak_attributes": att.AK & ~att.RESTRICTED}, "attestation-key", "it is not restricted"),
    ("an attestation key that may leave its TPM", {"ak_attributes": att.AK & ~att.FIXED_TPM}, "attestation-key", "attributes 0x50470 are not"),
    ("an attestation key that was made elsewhere", {"ak_attributes": att.AK & ~att.ORIGIN}, "attestation-key", "attributes 0x50452 are not"),
    ("an attestation key that decrypts", {"ak_attributes": att.AK | att.DECRYPT}, "attestation-key", "attributes 0x70472 are not"),
    ("an attestation key that was not challenged", {"ak": other}, "attestation-key", "another key than the one that was challenged"),
    ("statements by a foreign key", {"signer": other}, "storage-root-key", "it is not the attestation key's"),
    ("an attestation key under another hierarchy", {"hierarchy": att.OWNER}, "storage-root-key", "not a primary key of the endorsement"),
    ("a statement that no TPM made", {"magic": b"\xffTCF"}, "storage-root-key", "does not begin as what a TPM made itself"),
    ("a key that may leave its TPM", {"key_attributes": att.KEY & ~att.FIXED_TPM}, "key", "it may leave its TPM, or was not made there"),
    ("a key that may move below its parent", {"key_attributes": att.KEY & ~att.FIXED_PARENT}, "key", "it may leave its TPM"),
    ("a key that was brought in", {"key_attributes": att.KEY & ~att.ORIGIN}, "key", "it may leave its TPM, or was not made there"),
    ("a key that a password opens", {"key_attributes": att.KEY | att.USER}, "key", "not a key that signs by policy alone"),
    ("a key with another policy", {"policy": hashlib.sha256(b"x").digest()}, "key", "is not one that you gave (--policy)"),
    ("a key without a policy", {"policy": b""}, "key", "its policy  is not one that you gave"),
    ("another key than the anchor's", {"key": other}, "key", "neither the anchor's nor that of the CA that issues"),
    ("no word of the anchor's key", {"leave": ("key",)}, "anchor-key", "no attestation is of the anchor's key"),
    ("no word of the issuing key where custody is resident", {"custody": "resident"}, "issuing-key", "no attestation is of the key of the CA that issues"),
    ("no word of the parent", {"leave": ("parent",)}, "key", "what it stands under was not attested"),
    ("a parent that signs", {"srk_attributes": att.SRK | att.SIGN}, "storage-root-key", "not a storage root key's"),
    ("a parent that may leave", {"srk_attributes": att.SRK & ~att.FIXED_TPM}, "storage-root-key", "not a storage root key's"),
    ("a parent in another hierarchy", {"srk_hierarchy": att.ENDORSEMENT}, "storage-root-key", "not a primary key of the owner hierarchy"),
    ("attestations for another statement", {"qualifying": bytes(32)}, "pcrs", "it was made for another statement"),
    ("PCRs that were not quoted", {"quoted": bytes(32)}, "pcrs", "the PCRs' values are not those that were quoted"),
    ("fewer PCRs than were quoted", {"pcrs": bytes(32)}, "pcrs", "32 bytes of values beside a quote of PCRs 0xffff"),
    ("a counter that can be written", {"counter": 0x22060006}, "counter", "is not a counter with a value"),
    ("an anchor whose key did not sign", {"signed_by": other}, "anchor", "signature"),
    ("an issuing CA of another trust domain", {"trust_domain": "other.example"}, "issuing", "is not named for trust domain other.example"),
    ("a challenge's secret that did not come back", {"secret": bytes(32)}, "binding", "the challenge's secret did not come back"),
    ("another nonce", {"nonce": bytes(32)}, "fresh", "it answers nonce 0000"),
]


@pytest.mark.parametrize("changes, claim, words", [c[1:] for c in CASES], ids=[c[0].replace(" ", "-") for c in CASES])
def test_one_thing_wrong_refutes(forger, changes, claim, words):
    refuted(judge(forger, **changes), claim, words)


def test_a_bundle_without_an_answer_to_the_challenge_is_refused(forger):
    bundle = json.loads(forger.bundle())
    del bundle["activation"]
    refuted(judge_bytes(forger, json.dumps(bundle, sort_keys=True, separators=(",", ":")).encode()), "binding", "the challenge was not answered")


def test_endorsement_certificates_are_a_keys_by_a_pinned_root_and_valid_now(forger):
    stranger = att.new()
    forged = att.certificate(att.common_name("EK"), forger.ek, forger.maker_cert.subject, stranger)
    for cert, words in (
            (forged, "no path to a pinned root"),
            (forger.endorse(ca=True), "it is a CA's certificate"),
            (forger.endorse(usage=x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH])), "not an endorsement key's (2.23.133.8.1)"),
            (forger.endorse(days=-0.5), "certificate has expired")):
        refuted(judge(forger, ek_cert=cert), "endorsement", words)


def test_an_anchor_certificate_of_another_key_is_refused(forger):
    """The certified key is the TPM's; the certificate says another."""
    cert = att.certificate(forger.anchor_cert.subject, other, ca=True)
    result = judge(forger, anchor_cert=cert, signed_by=other)
    found = stands(result)
    assert result.returncode == 1
    assert found["key"] == ("REFUTED", "its public key is neither the anchor's nor that of the CA that issues")


def test_a_policy_that_the_verifier_gave_is_taken(forger):
    policy = hashlib.sha256(b"approved").digest()
    bundle = forger.bundle(policy=policy)
    assert judge_bytes(forger, bundle, None, "--policy", "ab" * 32).returncode == 1
    result = judge_bytes(forger, bundle, None, "--policy", "ab" * 32, "--policy", policy.hex())
    assert result.returncode == 0 and stands(result)["anchor-key"][1].endswith("signs by the policy that you gave")


def test_a_host_that_hides_its_attestation_key_proves_nothing(forger):
    def hide(statement):
        del statement["ak"], statement["ek"]
    bundle = forger.bundle(statement=hide, leave=("key", "parent", "pcrs"))
    refuted(judge_bytes(forger, bundle), "binding", "no attestation key is named")
    result = verify(forger.write("bundle", bundle), "--nonce", forger.nonce.hex(), "--ek-roots", forger.path("roots.pem"))
    assert result.returncode == 3 and stands(result)["anchor-key"][0] == "claimed"


@pytest.mark.parametrize("change, words", [
    (lambda b: dict(b, extra=1), "there is no member 'extra' in version 1"),
    (lambda b: dict(b, version=2), "its version is not 1"),
    (lambda b: dict(b, attestations=b["attestations"] * 4), "'attestations' is no list of up to 8"),
    (lambda b: dict(b, statement=dict(b["statement"], certificates=b["statement"]["certificates"] * 17)), "'certificates' is no list of up to 16"),
    (lambda b: dict(b, statement=dict(b["statement"], nonce="00")), "'nonce' is not 16 to 64 bytes in hex"),
    (lambda b: dict(b, statement=dict(b["statement"], time=-1)), "'time' is no number from 0 up"),
    (lambda b: dict(b, signature="?"), "'signature'"),
    (lambda b: dict(b, attestations=[dict(b["attestations"][0], what="all")]), "'what' is none of key, parent, pcrs, counter, claim"),
    (lambda b: dict(b, statement=dict(b["statement"], device=1)), "'device' is no object"),
])
def test_a_file_that_is_no_bundle_is_told(forger, change, words):
    bundle = json.dumps(change(json.loads(forger.bundle())), sort_keys=True, separators=(",", ":")).encode()
    result = judge_bytes(forger, bundle)
    assert result.returncode == 1 and words in result.stderr, result.stderr


def test_only_canonical_json_is_a_bundle(forger):
    bundle = json.loads(forger.bundle())
    for text in (json.dumps(bundle, sort_keys=True), json.dumps(bundle, sort_keys=True, separators=(",", ":"))[:-1],
                 json.dumps(dict(reversed(bundle.items())), separators=(",", ":")), "[]", "", "{" * 5000):
        result = judge_bytes(forger, text.encode())
        assert result.returncode == 1 and result.stderr.startswith("writ custody verify: "), text[:80]
