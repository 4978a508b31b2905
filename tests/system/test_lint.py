"""pkilint's reading of everything we sign: RFC 5280 and 6960 as somebody else wrote them down, without an error finding.

The linter comes from pip, into build/pkilint; where pip cannot install it these tests are skipped, and say so.
"""
import csv
import datetime
import os
import subprocess
import urllib.parse

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID

from house import ROOT, new_key
from test_interop import Files, ocsp_der

LINTER = "pkilint==0.13.3"
VENV = os.path.join(ROOT, "build", "pkilint")
DEMANDED = ("ERROR", "FATAL")

# Lints that are not for us, each with its reason.  A finding counts as disabled only where `holds` agrees.
DISABLED = {
    "pkix.invalid_uri_syntax": (
        "the linter knows a fixed list of URI schemes, and spiffe is not in it; the syntax is that of RFC 3986 (delegation.md 2)",
        lambda finding: urllib.parse.urlsplit(finding["message"].split('"')[1]).scheme == "spiffe" and finding["message"].isascii()),
}


@pytest.fixture(scope="session")
def linter():
    """The folder of pkilint's programs."""
    programs = os.path.join(VENV, "bin")
    if not os.path.exists(os.path.join(programs, "lint_ocsp_response")):
        for command in (["/usr/bin/python3", "-m", "venv", "--clear", VENV],
                        [os.path.join(programs, "pip"), "install", "-q", "--retries", "1", "--timeout", "15", "--disable-pip-version-check", LINTER]):
            try:
                made = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)
                why = (made.stderr.strip() or made.stdout.strip()).split("\n")[-1]
            except (OSError, subprocess.TimeoutExpired) as e:
                made, why = None, str(e)
            if made is None or made.returncode != 0:
                pytest.skip(f"{LINTER} cannot be installed: {' '.join(command[:3])}: {why}")
    return programs


def findings(linter, program, path, *more):
    result = subprocess.run([os.path.join(linter, program), "lint", "-s", "ALL", "-f", "CSV", *more, path], capture_output=True, text=True,
                            timeout=60, check=False)
    lines = [line for line in result.stdout.splitlines() if line]
    assert lines and lines[0] == "node_path,validator,severity,code,message", f"the linter did not run: {result}"
    return list(csv.DictReader(lines))


def errors(found):
    return [f for f in found if f["severity"] in DEMANDED and not (f["code"] in DISABLED and DISABLED[f["code"]][1](f))]


def write(path, value, encoding=serialization.Encoding.DER):
    with open(path, "wb") as f:
        f.write(value if isinstance(value, bytes) else value.public_bytes(encoding))
    return path


@pytest.fixture(scope="module")
def files(one):
    return Files(one)


def lint_cert(linter, house, name, cert):
    path = write(house.path(name + ".lint.der"), cert)
    found = findings(linter, "lint_pkix_cert", path, "--document-format", "DER")
    assert errors(found) == [], f"{name}: {errors(found)}"
    return found


@pytest.mark.parametrize("kind", ["P-256", "P-384", "Ed25519"])
def test_a_leaf_has_no_error_finding(linter, one, kind):
    lint_cert(linter, one, "leaf-" + kind, one.agent_with_leaf("lint-" + kind, kind, purpose="Close the books of Q3").cert)


def test_a_leaf_of_two_hops_has_no_error_finding(linter, one):
    lint_cert(linter, one, "child", one.child_with_leaf(one.agent_with_leaf("lint-parent"), "lint-child").cert)


def test_issuing_ca_and_anchor_have_no_error_finding(linter, one, files):
    for name, cert in (("issuing", one.issuing_of(files.good)), ("anchor", one.anchor())):
        found = lint_cert(linter, one, name, cert)
        assert "pkix.subject_key_identifier_method_1_identified" in [f["code"] for f in found], found


def test_both_crls_have_no_error_finding(linter, files):
    for kind, name in (("CRL", "issuing.crl"), ("ARL", "anchor.crl")):
        found = findings(linter, "lint_crl", os.path.join(files.dir("good"), name), "-t", kind, "-p", "PKIX", "--document-format", "DER")
        assert errors(found) == [], f"{name}: {errors(found)}"


def test_ocsp_responses_and_their_responders_certificate_have_no_error_finding(linter, one, files):
    for name, agent in (("good", files.good), ("revoked", files.revoked)):
        der = ocsp_der(one, agent)
        found = findings(linter, "lint_ocsp_response", write(one.path(name + ".lint.ocsp"), der), "--document-format", "DER")
        assert errors(found) == [], f"{name}: {errors(found)}"
        lint_cert(linter, one, "responder", ocsp.load_der_ocsp_response(der).certificates[0])


def test_the_linter_would_find_an_error(linter, tmp_path):
    key, now = new_key(), datetime.datetime.utcnow()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "no CA, and signs certificates")])
    usage = x509.KeyUsage(False, False, False, False, False, True, False, False, False)
    wrong = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
             .not_valid_before(now).not_valid_after(now + datetime.timedelta(minutes=5))
             .add_extension(x509.BasicConstraints(False, None), True).add_extension(usage, True).sign(key, hashes.SHA256()))
    found = findings(linter, "lint_pkix_cert", write(str(tmp_path / "wrong.der"), wrong), "--document-format", "DER")
    assert errors(found) != [], found
