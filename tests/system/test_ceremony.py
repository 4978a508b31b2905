"""The ceremony and what comes of it: the trust bundle, read by others."""
import base64
import json
import os
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from house import TD, House

DONE, FAILED, MISUSED = 0, 1, 2


@pytest.fixture
def house():
    """A house before its ceremony."""
    made = House()
    yield made
    made.close()


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


# ---- the trust bundle ----

def test_the_bundle_is_the_anchor_in_three_forms(house):
    house.init()
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


def test_a_standby_anchor_is_in_the_bundle_and_the_sequence_grows_with_it(house):
    house.init()
    other = House("softhsm")
    try:
        other.init()
        standby = pem_certificates(other.run("bundle", "--config", other.path("writ.yaml")).stdout)
    finally:
        other.close()
    with open(house.path("standby.pem"), "wb") as f:
        f.write(standby[0].public_bytes(serialization.Encoding.PEM))
    config = house.path("writ.yaml")
    before = json.loads(house.run("bundle", "--config", config, "--format", "json").stdout)
    with open(config, encoding="utf-8") as f:
        text = f.read()
    with open(config, "w", encoding="utf-8") as f:
        f.write(text.replace("  anchor: device\n", "  anchor: device\n  standby: standby.pem\n"))
    os.utime(config, (before["sequence"] + 7, before["sequence"] + 7))
    after = json.loads(house.run("bundle", "--config", config, "--format", "json").stdout)
    assert [a["state"] for a in after["anchors"]] == ["active", "standby"] and after["sequence"] == before["sequence"] + 7
    assert after["anchors"][0] == before["anchors"][0] and after["anchors"][1]["key_id"] == key_id(standby[0])
    assert [key_id(c) for c in spiffe_anchors(house.run("bundle", "--config", config, "--format", "spiffe").stdout)] == [a["key_id"] for a in after["anchors"]]


@pytest.mark.parametrize("content,words", [
    (None, "custody.standby {path}: {path} does not exist"),
    ("", "custody.standby {path}: certificate 1: PEM: no further block 'CERTIFICATE'"),
    ("corp", "custody.standby {path}: certificate 1: the anchor signs itself, and its name is not that of an anchor for " + TD),
    ("itself", "custody.standby {path}: certificate 1: the key of this anchor is in the bundle already")])
def test_a_standby_file_that_holds_no_other_anchor_is_refused(house, content, words):
    house.init()
    config, path = house.path("writ.yaml"), house.path("standby.pem")
    own = house.run("bundle", "--config", config).stdout
    with open(config, encoding="utf-8") as f:
        text = f.read()
    with open(config, "w", encoding="utf-8") as f:
        f.write(text.replace("  anchor: device\n", "  anchor: device\n  standby: standby.pem\n"))
    if content is not None:
        with open(path, "w", encoding="ascii") as f, open(house.path("corp.pem"), encoding="ascii") as corp:
            f.write({"": "", "corp": corp.read(), "itself": own}[content])
    result = writ(house, "bundle", "--config", config)
    assert result.returncode == FAILED and result.stdout == "" and words.format(path=path) in result.stderr, result


def test_a_bundle_is_asked_for_in_one_of_two_ways_and_three_forms(house):
    for arguments, words in ((["--format", "der", "--config", "x"], "--format 'der' is none of pem, json, spiffe"),
                             ([], "--config FILE is wanted on the issuer's host, elsewhere --api URL and --ca FILE"),
                             (["--api", "https://127.0.0.1:1"], "--config FILE is wanted on the issuer's host, elsewhere --api URL and --ca FILE")):
        result = writ(house, "bundle", *arguments)
        assert (result.returncode, result.stdout, result.stderr) == (MISUSED, "", f"writ bundle: {words}\n"), result
