"""The ceremony and what comes of it: its transcript, signed and checked by others too; the trust bundle, read by others."""
import base64
import hashlib
import json
import os
import shutil
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import journal
from house import TD, House, program

DONE, FAILED, MISUSED = 0, 1, 2


@pytest.fixture
def house():
    """A house before its ceremony."""
    made = House()
    yield made
    made.close()


@pytest.fixture(scope="module")
def made():
    """One after its ceremony, for those who only look; `told` is what the ceremony printed."""
    house = House()
    try:
        house.told = house.init().stdout
        yield house
    finally:
        house.close()


def writ(house, *arguments):
    return house.run(*arguments, check=False)


def openssl(*arguments, check=True):
    return subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=check, timeout=30)


def key_id(cert):
    return x509.SubjectKeyIdentifier.from_public_key(cert.public_key()).digest.hex()


def spiffe_anchors(text):
    """A SPIFFE bundle as its standard says to read one: each key with its one certificate, both the same."""
    bundle, anchors = json.loads(text), []
    assert isinstance(bundle["spiffe_sequence"], int) and bundle["spiffe_refresh_hint"] > 0
    for jwk in bundle["keys"]:
        assert jwk["use"] == "x509-svid" and jwk["kty"] == "EC" and len(jwk["x5c"]) == 1
        cert = x509.load_der_x509_certificate(base64.b64decode(jwk["x5c"][0], validate=True))
        number = lambda name: int.from_bytes(base64.urlsafe_b64decode(jwk[name] + "=" * (-len(jwk[name]) % 4)), "big")  # noqa: B023,E731
        curve = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}[jwk["crv"]]
        assert ec.EllipticCurvePublicNumbers(number("x"), number("y"), curve) == cert.public_key().public_numbers()
        anchors.append(cert)
    return anchors


def pem_certificates(text):
    return [x509.load_pem_x509_certificate((part + "-----END CERTIFICATE-----\n").encode()) for part in text.split("-----END CERTIFICATE-----\n")[:-1]]


# ---- the transcript ----

def new_witness(house, name, kind="prime256v1"):
    key, public = house.path(name + ".key"), house.path(name + ".pub")
    if kind == "ed25519":
        openssl("genpkey", "-algorithm", kind, "-out", key)
    else:
        openssl("ecparam", "-name", kind, "-genkey", "-noout", "-out", key)
    os.chmod(key, 0o600)
    openssl("pkey", "-in", key, "-pubout", "-out", public)
    return f"{name}={public}"


def anchor_files(house):
    house.run("bundle", "--config", house.path("writ.yaml"), "--out", house.path("anchor.pem"))
    with open(house.path("anchor.pub"), "w", encoding="ascii") as f:
        f.write(openssl("x509", "-in", house.path("anchor.pem"), "-noout", "-pubkey").stdout)
    return house.path("anchor.pem"), house.path("anchor.pub")


def test_the_ceremony_is_written_down_and_the_anchor_signs_it_as_text(made):
    house, told = made, made.told
    folder = house.path("state/ceremony")
    with open(folder + "/transcript.txt", encoding="ascii") as f:
        lines = f.read().splitlines()
    assert lines[0] == "Writ ceremony transcript, version 1" and all(line in told.splitlines() for line in lines[1:])
    said = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
    with open(house.path("writ.yaml"), "rb") as f:
        assert said["configuration sha256"] == hashlib.sha256(f.read()).hexdigest()
    with open(program("writ-signerd"), "rb") as f:
        assert said["program sha256"] == hashlib.sha256(f.read()).hexdigest()
    pem, public = anchor_files(house)
    with open(pem, "rb") as f:
        anchor = x509.load_pem_x509_certificate(f.read())
    assert said["anchor certificate sha256"] == anchor.fingerprint(hashes.SHA256()).hex() and f"key id {key_id(anchor)}" in said["anchor key"]
    entries = journal.read(house.path("state/journal"))
    assert said["journal"].endswith(entries[-2].leaf_hash.hex()) and int(said["journal"].split()[0]) == len(entries) - 1
    signed = entries[-1]
    with open(folder + "/transcript.txt", "rb") as f:
        assert (signed.json["role"], signed.json["tbs"]) == ("transcript", hashlib.sha256(f.read()).hexdigest()), "written down before it was signed"
    assert openssl("dgst", "-sha256", "-verify", public, "-signature", folder + "/anchor.sig", folder + "/transcript.txt").stdout == "Verified OK\n"
    assert house.run("ceremony", "verify", folder, "--anchor", pem).stdout.splitlines()[1:] == ["anchor: has signed"]


def test_a_state_begins_when_every_witness_has_signed_with_a_key_of_his_own(house):
    config, folder = house.path("writ.yaml"), house.path("state/ceremony")
    text = folder + "/transcript.txt"
    anna, bert = new_witness(house, "anna"), new_witness(house, "bert", "ed25519")
    told = house.run("init", "--config", config, "--witness", anna, "--witness", bert).stdout
    assert told.endswith(f"next: each witness: writ ceremony sign; then writ init --config {config} --signature NAME=FILE ...\n")
    unready = subprocess.run([program("writ-signerd"), "--config", config], capture_output=True, text=True, timeout=30, check=False)
    assert unready.returncode == FAILED and f"{house.path('state')} is not initialised: run writ init" in unready.stderr

    sign = lambda name, *more: writ(house, "ceremony", "sign", text, "--sign-with", house.path(name + ".key"), "--out", house.path(name + ".sig"), *more)  # noqa: E731
    shown = sign("anna")
    with open(text, encoding="ascii") as f:
        assert shown.returncode == DONE and shown.stdout.startswith(f.read()), "a witness sees what he signs"
    openssl("pkeyutl", "-sign", "-rawin", "-inkey", house.path("bert.key"), "-in", text, "-out", house.path("bert.sig"))  # somebody else's tool will do
    new_witness(house, "carl")
    stranger = sign("carl")
    assert stranger.returncode == FAILED and stranger.stderr == f"writ ceremony sign: {text} names no witness with this key\n"
    openssl("dgst", "-sha256", "-sign", house.path("carl.key"), "-out", house.path("carl.sig"), text)

    finish = lambda **who: writ(house, "init", "--config", config, *sum((["--signature", f"{name}={house.path(file)}"] for name, file in who.items()), []))  # noqa: E731
    for who, words in (({"anna": "anna.sig"}, "witness bert has not signed: all 2 must"),
                       ({"anna": "carl.sig", "bert": "bert.sig"}, "witness anna: the signature is not this P-256 key's over these bytes"),
                       ({"anna": "anna.sig", "bert": "bert.sig", "carl": "carl.sig"}, "a signature is of somebody whom the transcript does not name")):
        refused = finish(**who)
        assert refused.returncode == FAILED and words in refused.stderr and not os.path.exists(house.path("state/VERSION")), refused
    assert not os.path.exists(folder + "/anchor.sig")
    done = finish(anna="anna.sig", bert="bert.sig")
    assert done.returncode == DONE and done.stdout.endswith(f"next: writd --config {config}\n"), done

    pem, _ = anchor_files(house)
    copy = shutil.copytree(folder, house.path("copy"))
    verify = lambda *more: writ(house, "ceremony", "verify", copy, "--anchor", pem, *more)  # noqa: E731
    good = verify("--witness", anna, "--witness", bert)
    assert (good.returncode, good.stdout.splitlines()[1:]) == (DONE, ["anchor: has signed", "witness: anna has signed", "witness: bert has signed"]), good
    for more, words in ((["--witness", f"carl={house.path('carl.pub')}"], "the transcript names no witness carl with the key of "),
                        (["--witness", f"anna={house.path('carl.pub')}"], "the transcript names no witness anna with the key of ")):
        assert words in verify(*more).stderr
    shutil.copy(house.path("carl.sig"), copy + "/bert.sig")
    assert f"{copy}/bert.sig: " in verify().stderr
    os.unlink(copy + "/bert.sig")
    assert f"{copy}/bert.sig: " in verify().stderr and verify().returncode == FAILED


def test_a_changed_transcript_and_another_anchors_are_found_out(made):
    house = made
    pem, _ = anchor_files(house)
    folder = house.path("state/ceremony")
    with open(folder + "/transcript.txt", encoding="ascii") as f:
        text = f.read()
    for change, words in ((lambda t: t.replace("P-256, made in the device", "P-256, made  in the device"), "anchor.sig: the signature is not this P-256 key's over these bytes"),
                          (lambda t: t + "and: more\n", "something follows the end"), (lambda t: t[:t.index("ended: ")], "the ceremony has not come to its end"),
                          (lambda t: t[1:], "this is no transcript of a ceremony")):
        copy = shutil.copytree(folder, house.path("changed"), dirs_exist_ok=True)
        with open(copy + "/transcript.txt", "w", encoding="ascii") as f:
            f.write(change(text))
        found = writ(house, "ceremony", "verify", copy, "--anchor", pem)
        assert found.returncode == FAILED and words in found.stderr, found
    found = writ(house, "ceremony", "verify", folder, "--anchor", house.path("corp.pem"))
    assert found.returncode == FAILED and f"{folder}/transcript.txt is the transcript of another anchor" in found.stderr, found


def test_witnesses_are_two_and_different_and_named_at_the_beginning(house):
    config, anna = house.path("writ.yaml"), new_witness(house, "anna")
    new_witness(house, "bert")
    for arguments, code, words in ((["--witness", anna], MISUSED, "one --witness is none: two persons at least see a ceremony"),
                                   (["--witness", anna, "--witness", "Bert=x"], MISUSED, "witness 'Bert': a name has 1 to 32 of a-z, 0-9, '.', '_' and '-', a letter first"),
                                   (["--witness", anna, "--witness", "anchor=x"], MISUSED, "witness 'anchor': that name is taken"),
                                   (["--witness", anna, "--witness", f"bert={house.path('anna.key')}"], MISUSED, "PEM: no further block 'PUBLIC KEY'"),
                                   (["--witness", anna, "--witness", f"bert={house.path('anna.pub')}"], FAILED, "witnesses anna and bert have one key: two persons have two"),
                                   (["--witness", anna, "--witness", f"anna={house.path('bert.pub')}"], FAILED, "witness anna stands there twice"),
                                   (["--signature", f"anna={house.path('anna.pub')}"], FAILED, "has no ceremony that waits for witnesses")):
        result = writ(house, "init", "--config", config, *arguments)
        assert result.returncode == code and words in result.stderr, result
        assert not os.path.exists(house.path("state/keys/anchor.ref")), "nothing was made"


def test_an_owners_root_is_in_the_transcript_with_what_was_confirmed(house):
    config, request = house.path("writ.yaml"), house.path("anchor.csr")
    anna, bert = new_witness(house, "anna"), new_witness(house, "bert")
    house.run("init", "--config", config, "--csr", request, "--root-is-private", "--witness", anna, "--witness", bert)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes", "-keyout", house.path("root.key"), "-out", house.path("root.pem"),
            "-days", "3650", "-subj", "/O=Owner/CN=Owner Root", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    sign = ["x509", "-req", "-in", request, "-CA", house.path("root.pem"), "-CAkey", house.path("root.key"), "-CAcreateserial", "-days", "365"]
    openssl(*sign, "-copy_extensions", "copyall", "-out", house.path("anchor.pem"))
    policies = "certificatePolicies=1.2.3.4\n"
    for name, extensions, words in (("shallow", "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n" + policies, "(CA:TRUE, path length 1)"),
                                    ("no-lists", "basicConstraints=critical,CA:TRUE,pathlen:1\nkeyUsage=critical,keyCertSign\n" + policies, "keyUsage lacks cRLSign")):
        with open(house.path(name + ".ext"), "w", encoding="ascii") as f:
            f.write("subjectKeyIdentifier=hash\n" + extensions)
        openssl(*sign, "-extfile", house.path(name + ".ext"), "-out", house.path(name + ".pem"))
        refused = writ(house, "init", "--config", config, "--import", house.path(name + ".pem"), "--root-is-private")
        assert refused.returncode == FAILED and words in refused.stderr, refused
    house.run("init", "--config", config, "--import", house.path("anchor.pem"), "--root-is-private")
    again = writ(house, "init", "--config", config, "--import", house.path("anchor.pem"), "--root-is-private")
    assert again.returncode == FAILED and "has its anchor's certificate, and waits for its witnesses" in again.stderr, again
    text = house.path("state/ceremony/transcript.txt")
    for name in ("anna", "bert"):
        house.run("ceremony", "sign", text, "--sign-with", house.path(name + ".key"), "--out", house.path(name + ".sig"))
    house.run("init", "--config", config, "--signature", f"anna={house.path('anna.sig')}", "--signature", f"bert={house.path('bert.sig')}")
    with open(text, encoding="ascii") as f:
        lines = f.read().splitlines()
    assert lines.count("root: confirmed to be one that no TLS server trusts for client certificates") == 2 and "anchor path length: 1" in lines
    assert any(line.startswith("resumed: ") for line in lines) and any(line.startswith("anchor certificate: of your root, until ") for line in lines)
    good = house.run("ceremony", "verify", house.path("state/ceremony"), "--anchor", house.path("anchor.pem"))
    assert good.stdout.splitlines()[1:] == ["anchor: has signed", "witness: anna has signed", "witness: bert has signed"]


# ---- the trust bundle ----

def test_the_bundle_is_the_anchor_in_three_forms(made):
    house = made
    config = house.path("writ.yaml")
    with open(house.path("state/certs/anchor.der"), "rb") as f:
        der = f.read()
    pem = house.run("bundle", "--config", config).stdout
    cert, = pem_certificates(pem)
    assert cert.public_bytes(serialization.Encoding.DER) == der
    said = json.loads(house.run("bundle", "--config", config, "--format", "json").stdout)
    assert said["trust_domain"] == TD
    one, = said["anchors"]
    assert (one["state"], one["key_id"], one["key"], one["sha256"]) == ("active", key_id(cert), "P-256", cert.fingerprint(hashes.SHA256()).hex())
    assert one["not_after"] == cert.not_valid_after.strftime("%Y-%m-%dT%H:%M:%SZ") and one["certificate"] == pem
    assert [a.fingerprint(hashes.SHA256()) for a in spiffe_anchors(house.run("bundle", "--config", config, "--format", "spiffe").stdout)] == [cert.fingerprint(hashes.SHA256())]
    house.run("bundle", "--config", config, "--out", house.path("bundle.pem"))
    assert openssl("verify", "-CAfile", house.path("bundle.pem"), house.path("bundle.pem")).stdout == f"{house.path('bundle.pem')}: OK\n"


def with_standby(house):
    """A configuration of its own, beside that of the house."""
    with open(house.path("writ.yaml"), encoding="utf-8") as f:
        text = f.read()
    with open(house.path("standby.yaml"), "w", encoding="utf-8") as f:
        f.write(text.replace("  anchor: device\n", "  anchor: device\n  standby: standby.pem\n"))
    return house.path("standby.yaml")


def test_a_standby_anchor_is_in_the_bundle_and_the_sequence_grows_with_it(made):
    house = made
    other = House("softhsm")
    try:
        other.init()
        standby = pem_certificates(other.run("bundle", "--config", other.path("writ.yaml")).stdout)
    finally:
        other.close()
    with open(house.path("standby.pem"), "wb") as f:
        f.write(standby[0].public_bytes(serialization.Encoding.PEM))
    before = json.loads(house.run("bundle", "--config", house.path("writ.yaml"), "--format", "json").stdout)
    config = with_standby(house)
    os.utime(config, (before["sequence"] + 1000, before["sequence"] + 1000))
    after = json.loads(house.run("bundle", "--config", config, "--format", "json").stdout)
    assert [a["state"] for a in after["anchors"]] == ["active", "standby"] and after["sequence"] == before["sequence"] + 1000
    assert after["anchors"][0] == before["anchors"][0] and after["anchors"][1]["key_id"] == key_id(standby[0])
    assert [key_id(c) for c in spiffe_anchors(house.run("bundle", "--config", config, "--format", "spiffe").stdout)] == [a["key_id"] for a in after["anchors"]]


def test_a_standby_file_that_holds_no_other_anchor_is_refused(made):
    house, config, path = made, with_standby(made), made.path("standby.pem")
    own = house.run("bundle", "--config", house.path("writ.yaml")).stdout
    if os.path.exists(path):
        os.unlink(path)
    with open(house.path("corp.pem"), encoding="ascii") as f:
        corp = f.read()
    for content, words in ((None, f"{path} does not exist"), ("", "certificate 1: PEM: no further block 'CERTIFICATE'"),
                           (corp, f"certificate 1: the anchor signs itself, and its name is not that of an anchor for {TD}"),
                           (own, "certificate 1: the key of this anchor is in the bundle already")):
        if content is not None:
            with open(path, "w", encoding="ascii") as f:
                f.write(content)
        result = writ(house, "bundle", "--config", config)
        assert (result.returncode, result.stdout, result.stderr) == (FAILED, "", f"writ bundle: custody.standby {path}: {words}\n"), result


def test_a_bundle_is_asked_for_in_one_of_two_ways_and_three_forms(house):
    for arguments, words in ((["--format", "der", "--config", "x"], "--format 'der' is none of pem, json, spiffe"),
                             ([], "--config FILE is wanted on the issuer's host, elsewhere --api URL and --ca FILE"),
                             (["--api", "https://127.0.0.1:1"], "--config FILE is wanted on the issuer's host, elsewhere --api URL and --ca FILE")):
        result = writ(house, "bundle", *arguments)
        assert (result.returncode, result.stdout, result.stderr) == (MISUSED, "", f"writ bundle: {words}\n"), result


# ---- a standby anchor ----

def configure(house, line):
    """One more line in writ.yaml's custody."""
    with open(house.path("writ.yaml"), encoding="utf-8") as f:
        text = f.read()
    with open(house.path("writ.yaml"), "w", encoding="utf-8") as f:
        f.write(text.replace("  anchor: device\n", f"  anchor: device\n  {line}\n"))


def believed(house, agent, bundle):
    """By OpenSSL and by libwrit, with the status that the certificates themselves point to."""
    with open(house.path("issuing.pem"), "w", encoding="ascii") as f:
        f.write(agent.issued["chain"])
    checked = openssl("verify", "-x509_strict", "-CAfile", bundle, "-untrusted", house.path("issuing.pem"), agent.cert_file, check=False)
    verified = writ(house, "verify", agent.cert_file, "--anchor", bundle, "--trust-domain", TD, "--allow-software", "--status")
    assert (checked.returncode == 0) == (verified.returncode == DONE), (checked, verified)
    return verified.returncode == DONE


def test_when_the_device_with_the_anchor_is_lost_the_standby_takes_over_and_no_relying_party_is_told(house):
    second = House("softhsm", extra=f"log: {{origin: {TD}/writ/second}}\n")
    try:
        told = second.run("init", "--config", second.path("writ.yaml"), "--anchor-only").stdout
        assert "issuing key: none, this anchor waits: a start of writd makes one\n" in told and os.listdir(second.path("state/certs")) == ["anchor.der"]
        second.run("bundle", "--config", second.path("writ.yaml"), "--out", house.path("standby.pem"))
        configure(house, "standby: standby.pem")
        told = house.init().stdout
        with open(house.path("standby.pem"), "rb") as f:
            standby = x509.load_pem_x509_certificate(f.read())
        assert f"standby anchor: P-256, key id {key_id(standby)}\nstandby anchor sha256: {standby.fingerprint(hashes.SHA256()).hex()}\n" in told
        house.start()
        bundle, lone = house.path("day-one.pem"), house.write_anchor()
        house.run("bundle", "--api", f"https://127.0.0.1:{house.api_port}", "--ca", house.path("corp.pem"), "--out", bundle)
        assert house.run("bundle", "--config", house.path("writ.yaml")).stdout == open(bundle, encoding="ascii").read()
        before = house.agent_with_leaf("before")
        assert believed(house, before, bundle)

        house.device.kill()
        house.device.wait()
        still = house.agent_with_leaf("still")  # the sealed key is in memory: there is time
        assert believed(house, still, bundle)
        with open(second.path("old.pem"), "wb") as f:
            f.write(house.anchor().public_bytes(serialization.Encoding.PEM))
        configure(second, "retiring: old.pem")
        second.start()
        after = second.agent_with_leaf("after")
        assert believed(second, after, bundle) and not believed(second, after, lone), "a relying party with the first anchor alone must be told"
        assert believed(house, before, bundle) and house.ocsp(before) == "GOOD" and second.ocsp(after) == "GOOD"
        now = second.nobody().ask("GET", "/v1/bundle").json
        assert [(a["state"], a["key_id"]) for a in now["anchors"]] == [("active", key_id(standby)), ("retiring", key_id(house.anchor()))]
        assert now["anchors"][0]["tier"] == "software" and {key_id(c) for c in pem_certificates(open(bundle, encoding="ascii").read())} == {a["key_id"] for a in now["anchors"]}
    finally:
        second.close()
