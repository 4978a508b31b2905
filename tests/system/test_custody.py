"""The anchor's private key is in the device and nowhere else; nothing secret is in a file, an argument, an environment or a log."""
import os
import re
import subprocess

import pytest
from cryptography import x509

from house import program, spki, new_key  # noqa: F401


def processes(house):
    return {name: pid for name in ("writ-issuerd", "writ-signerd", "writ-deviced") for pid in house.pids(name)}


def secrets_of(house):
    """What must never be found elsewhere: the TPM's auth value, or the token's PIN."""
    if house.custody == "swtpm":
        text = open(house.path("tpm-auth"), "rb").read().strip()
        return [text, bytes.fromhex(text.decode())]
    return [open(house.path("pin"), "rb").read().strip()]


def test_no_secret_is_in_state_logs_arguments_or_environments(house):
    house.agent_with_leaf("searched")
    for secret in secrets_of(house):
        for base in ("state", "run"):
            for folder, _, names in os.walk(house.path(base)):
                for name in names:
                    path = os.path.join(folder, name)
                    if os.path.isfile(path):
                        assert secret not in open(path, "rb").read(), f"a secret is in {path}"
        assert secret not in open(house.path("writd.log"), "rb").read()
        for name, pid in processes(house).items():
            for file in ("cmdline", "environ"):
                try:
                    contents = open(f"/proc/{pid}/{file}", "rb").read()
                except PermissionError:
                    # What may not be dumped belongs to root in /proc: then nobody else reads it, which is what is claimed.
                    assert os.geteuid() != 0 and file == "environ"
                    continue
                assert secret not in contents, f"a secret is in {file} of {name}"


def test_no_private_key_is_in_any_file_of_the_state(house):
    for folder, _, names in os.walk(house.path("state")):
        for name in names:
            contents = open(os.path.join(folder, name), "rb").read()
            assert b"BEGIN PRIVATE KEY" not in contents and b"BEGIN EC PRIVATE KEY" not in contents, name
            # RFC 5915 ECPrivateKey for P-256 begins 30 77 02 01 01 04 20
            assert b"\x30\x77\x02\x01\x01\x04\x20" not in contents, name


def test_our_processes_cannot_be_dumped(house):
    for name, pid in processes(house).items():
        limits = open(f"/proc/{pid}/limits", encoding="ascii").read()
        assert re.search(r"Max core file size\s+0\s+0", limits), name
        # A process that is not dumpable belongs to root in /proc, whoever runs it: its memory cannot be read by its own user.
        assert os.stat(f"/proc/{pid}/mem").st_uid == 0


def test_the_device_says_where_the_key_was_born(house):
    if house.custody != "swtpm":
        pytest.skip("the TPM's way")
    pem = open(house.path("state/keys/anchor.ref"), encoding="ascii").read()
    assert "TSS2 PRIVATE KEY" in pem
    import base64
    der = base64.b64decode("".join(line for line in pem.split("\n") if line and "-----" not in line))
    # TPMA_OBJECT follows TPM2B_PUBLIC's size, type (ECC 0x0023) and nameAlg (SHA-256 0x000b)
    at = der.index(b"\x00\x23\x00\x0b")
    attributes = int.from_bytes(der[at + 4:at + 8], "big")
    fixed_tpm, fixed_parent, origin, user_with_auth, no_da, sign = 1 << 1, 1 << 4, 1 << 5, 1 << 6, 1 << 10, 1 << 18
    for bit in (fixed_tpm, fixed_parent, origin, no_da, sign):
        assert attributes & bit, hex(attributes)
    assert not attributes & user_with_auth, "a bare password never works: policy only"


def test_the_token_says_that_the_key_never_left_it(house):
    if house.custody == "swtpm":
        pytest.skip("the token's way")
    module = re.search(r"module: ([^,]+),", open(house.path("writ.yaml"), encoding="utf-8").read()).group(1)
    out = subprocess.run(["pkcs11-tool", "--module", module, "--token-label", "writ-test", "--login", "--pin", "482913-demo-pin",
                          "--list-objects", "--type", "privkey"], capture_output=True, text=True, check=True,
                         env=dict(os.environ, SOFTHSM2_CONF=house.path("softhsm2.conf"))).stdout
    access = re.findall(r"Access:\s+(.*)", out)
    assert access, out
    for line in access:
        for word in ("sensitive", "always sensitive", "never extractable", "local"):
            assert word in line.replace("never extract,", "never extractable,").replace("never extract", "never extractable"), line


def test_a_certificate_of_ours_is_never_for_another_trust_domain(house):
    bot = house.agent_with_leaf("td")
    issuing = house.issuing_of(bot)
    assert issuing.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    names = issuing.subject.rfc4514_string()
    assert re.search(r"CN=Writ issuing [0-9a-f]{8}", names), names


def test_a_token_attests_nothing_and_what_it_says_is_called_a_claim(house):
    if house.custody == "swtpm":
        pytest.skip("the token's way")
    out = house.path("statement")
    house.run("custody", "attest", "--config", house.path("writ.yaml"), "--nonce", "5a" * 32, "--out", out)
    result = house.run("custody", "verify", out, "--nonce", "5a" * 32, check=False)
    assert result.returncode == 3, "nothing is wrong, and where the key lives is not proved"
    assert "proved   anchor: " in result.stdout, "whoever answered has the anchor's key"
    for claimed in ("token: token.manufacturer: SoftHSM project", "token: key 1: CKA_NEVER_EXTRACTABLE true", "anchor-key: is in pkcs11 "):
        assert "claimed  " + claimed in result.stdout
    assert house.run("custody", "verify", out, "--nonce", "5a" * 32, "--accept-claims").stdout.endswith("verdict: accepted as claimed\n")
    assert house.run("custody", "verify", out, "--nonce", "5b" * 32, "--accept-claims", check=False).returncode == 1
