"""libwrit as somebody else builds against it: installed, found by pkg-config, linked shared and static, given real chains."""
import os
import re
import subprocess
import time

import pytest
from cryptography.hazmat.primitives import serialization
from house import BUILD, ERP, ROOT, TD

DONE, REFUSED = 0, 3


def sanitizer():
    with open(os.path.join(BUILD, "CMakeCache.txt"), encoding="utf-8") as f:
        found = re.search(r"^WRIT_SANITIZE:\w+=(.+)$", f.read(), re.M)
    return ["-fsanitize=" + found[1]] if found else []


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A prefix with nothing in it but what --component libwrit puts there."""
    prefix = tmp_path_factory.mktemp("prefix")
    subprocess.run(["cmake", "--install", BUILD, "--component", "libwrit", "--prefix", str(prefix)], check=True, capture_output=True)
    return str(prefix)


def files(prefix):
    return sorted(os.path.relpath(os.path.join(d, n), prefix) for d, _, names in os.walk(prefix) for n in names)


def lib(prefix):
    return os.path.join(prefix, os.path.dirname(next(f for f in files(prefix) if f.endswith("libwrit.a"))))


def pkg_config(prefix, *options):
    env = {**os.environ, "PKG_CONFIG_PATH": os.path.join(lib(prefix), "pkgconfig")}
    return subprocess.run(["pkg-config", *options, "writ"], env=env, check=True, capture_output=True, text=True).stdout.split()


@pytest.fixture(scope="module", params=["shared", "static"])
def relying(request, installed, tmp_path_factory):
    """deploy/examples/relying.c, built with what pkg-config says and run against that prefix."""
    out = str(tmp_path_factory.mktemp(request.param) / "relying")
    source = os.path.join(ROOT, "deploy", "examples", "relying.c")
    if request.param == "shared":
        libraries = pkg_config(installed, "--libs")
    else:
        libraries = [os.path.join(lib(installed), "libwrit.a"), *[w for w in pkg_config(installed, "--static", "--libs") if w != "-lwrit"]]
    subprocess.run(["cc", "-std=c17", "-Wall", "-Wextra", "-Werror", *sanitizer(), source, *pkg_config(installed, "--cflags"), *libraries,
                    "-o", out], check=True)

    def run(house, leaf, action="invoices:read", resource=ERP + "/v2/invoices/17", crl="-", identity=ERP, trust_domain=TD):
        return subprocess.run([out, house.write_anchor(), trust_domain, crl, leaf, identity, action, resource], check=False,
                              env={**os.environ, "LD_LIBRARY_PATH": lib(installed)}, capture_output=True, text=True, timeout=20)
    return run


def test_what_is_installed_is_libraries_header_manual_and_writ_pc(installed):
    there = [f.split("/", 1)[1].removeprefix("x86_64-linux-gnu/").removeprefix("aarch64-linux-gnu/") for f in files(installed)]
    assert sorted(there) == ["libwrit.a", "libwrit.so", "libwrit.so.0", "libwrit.so.0.1.0", "man/man3/libwrit.3", "pkgconfig/writ.pc", "writ.h"]


def test_the_header_stands_alone_in_c_and_in_c_plus_plus(installed, tmp_path):
    cflags = pkg_config(installed, "--cflags")
    for compiler, standard, name in [("cc", "-std=c99", "a.c"), ("clang++", "-std=c++11", "a.cc")]:
        source = tmp_path / name
        source.write_text("#include <writ.h>\nint main(void) { return writ_refusal_name(WRIT_OK) == 0; }\n")
        subprocess.run([compiler, standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", *cflags, str(source)], check=True)


def test_a_relying_party_believes_a_chain_and_allows_what_it_says(one, relying):
    agent = one.agent_with_leaf("reader-1")
    leaf = agent.cert_file
    believed = relying(one, leaf)
    assert believed.returncode == DONE, believed
    assert believed.stdout.splitlines() == [f"agent: {agent.id}", f"for: spiffe://{TD}/human/corp/alice", f"task: {agent.task}", "allowed: by entitlement 1"]
    denied = relying(one, leaf, resource=ERP + "/v2/ledger")
    assert denied.returncode == REFUSED and denied.stdout.endswith(
        f"denied: NOT_ALLOWED: none of 1 covers invoices:read on {ERP}/v2/ledger\n"), denied
    for wrong, words in [({"identity": "https://hr.corp.example"}, "AUDIENCE: leaf: we are 'https://hr.corp.example', and not among its audience"),
                         ({"trust_domain": "other.example"},
                          f"TRUST_DOMAIN: leaf: trust domain '{TD}', but this anchor is trusted for 'other.example' only"),
                         ({"crl": "/none"}, "ENCODING: CRL: PEM: no further block 'X509 CRL'")]:
        refused = relying(one, leaf, **wrong)
        assert (refused.returncode, refused.stdout) == (REFUSED, f"refused: {words}\n")


def test_a_relying_party_with_the_list_refuses_a_revoked_leaf(one, relying):
    agent = one.agent_with_leaf("reader-2")
    leaf, path = agent.cert_file, one.path("relying.crl")

    def listed():
        crl = one.crl(agent)
        with open(path, "wb") as f:
            f.write(crl.public_bytes(serialization.Encoding.DER))
        return crl.get_revoked_certificate_by_serial_number(agent.cert.serial_number)

    assert not listed() and relying(one, leaf, crl=path).returncode == DONE
    assert one.person().ask("POST", "/v1/revocations", {"serial": agent.serial, "reason": "keyCompromise"}).status == 200
    end = time.monotonic() + 20
    while not listed():
        assert time.monotonic() < end, "never listed"
        time.sleep(0.2)
    refused = relying(one, leaf, crl=path)
    assert refused.returncode == REFUSED and re.fullmatch(r"refused: REVOKED: leaf: revoked at \S+ \(keyCompromise\)\n", refused.stdout), refused
