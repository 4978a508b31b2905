"""Shards of a CRL: below the size one list as ever; above it each leaf names its own, and no list speaks of what it is silent about."""
import json
import os
import signal
import subprocess
import urllib.error

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from house import ERP, ROOT, TD, House, program, wait_for

SIZE = 3  # entries of a shard
JAVA = os.path.join(ROOT, "tests", "system", "interop", "Shards.java")


def crl_url(cert):
    return cert.extensions.get_extension_for_class(x509.CRLDistributionPoints).value[0].full_name[0].value


def shard_of(agent):
    """0 for KEYID.crl, n for KEYID-n.crl."""
    stem = crl_url(agent.cert).rsplit("/", 1)[1].removesuffix(".crl")
    return int(stem.split("-")[1]) if "-" in stem else 0


def points(crl):
    """The URL of its issuingDistributionPoint, which must be critical; None: it has none."""
    try:
        found = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint)
    except x509.ExtensionNotFound:
        return None
    assert found.critical and len(found.value.full_name) == 1 and not found.value.relative_name
    assert not any((found.value.only_contains_user_certs, found.value.only_contains_ca_certs, found.value.indirect_crl,
                    found.value.only_contains_attribute_certs, found.value.only_some_reasons))
    return found.value.full_name[0].value


def listed(crl, agent):
    return crl.get_revoked_certificate_by_serial_number(int(agent.serial, 16)) is not None


class Sharded:
    """A house whose lists have three entries, with leaves of shards 0, 1 and 2: of each two, the second revoked."""

    def __init__(self):
        self.house = House("swtpm")
        self.house.init()
        self.house.shard_lists(SIZE)
        self.house.start()
        self.leaves, self.n = {}, 0
        first = self.issue()
        self.before = self.house.crl(first)
        self.take_until(lambda: all(len(self.leaves.get(shard, ())) >= 2 for shard in range(3)))
        self.revoked = [self.leaves[shard][1] for shard in range(3)]
        self.good = [self.leaves[shard][0] for shard in range(3)]
        for agent in self.revoked:
            self.revoke(agent)

    def issue(self):
        self.n += 1
        agent = self.house.agent_with_leaf(f"sharded-{self.n}", lifetime_s=900)
        self.leaves.setdefault(shard_of(agent), []).append(agent)
        return agent

    def take_until(self, enough):
        def once():
            self.issue()
            return enough()
        wait_for("leaves of the next shard", once, 60)

    def revoke(self, agent):
        assert self.house.person("olga").ask("POST", "/v1/revocations", {"serial": agent.serial, "reason": "superseded"}).status == 200
        wait_for("its own CRL lists it", lambda: listed(self.house.crl(agent), agent))

    def files(self):
        """Certificates and lists for other readers."""
        pem = serialization.Encoding.PEM
        issuing = self.house.issuing_of(self.good[0])
        made = {"anchor.pem": self.house.anchor().public_bytes(pem), "issuing.pem": issuing.public_bytes(pem),
                "anchor.crl": x509.load_der_x509_crl(self.house.get(crl_url(issuing).split(str(self.house.status_port), 1)[1])).public_bytes(pem)}
        for shard in range(3):
            made[f"good-{shard}.pem"] = self.good[shard].cert.public_bytes(pem)
            made[f"revoked-{shard}.pem"] = self.revoked[shard].cert.public_bytes(pem)
            made[f"shard-{shard}.crl"] = self.house.crl(self.good[shard]).public_bytes(pem)
        for name, contents in made.items():
            with open(self.house.path(name), "wb") as f:
                f.write(contents)
        return self.house.dir


@pytest.fixture(scope="module")
def sharded():
    made = Sharded()
    try:
        yield made
    finally:
        made.house.close()


def test_below_the_size_there_is_one_list_without_a_distribution_point(sharded):
    assert points(sharded.before) is None
    assert "-" not in crl_url(sharded.leaves[0][0].cert).rsplit("/", 1)[1]


def test_above_it_each_list_names_its_own_url_byte_for_byte_as_its_leaves_do(sharded):
    for shard in range(3):
        agent = sharded.good[shard]
        assert points(sharded.house.crl(agent)) == crl_url(agent.cert)
    assert len({crl_url(agent.cert) for agent in sharded.good}) == 3


def test_a_revoked_leaf_is_in_its_own_list_and_in_no_other(sharded):
    for shard, agent in enumerate(sharded.revoked):
        lists = [sharded.house.crl(other) for other in sharded.good]
        assert [listed(crl, agent) for crl in lists] == [n == shard for n in range(3)]


def test_a_shard_that_nothing_names_is_not_there(sharded):
    url = crl_url(sharded.good[1].cert).replace("-1.crl", "-99.crl")
    with pytest.raises(urllib.error.HTTPError) as e:
        sharded.house.get(url.split(str(sharded.house.status_port), 1)[1])
    assert e.value.code == 404


def verify(where, leaf, *lists):
    command = ["openssl", "verify", "-x509_strict", "-crl_check_all", "-CAfile", f"{where}/anchor.pem", "-untrusted", f"{where}/issuing.pem"]
    for name in ("anchor.crl", *lists):
        command += ["-CRLfile", f"{where}/{name}"]
    result = subprocess.run([*command, f"{where}/{leaf}"], capture_output=True, text=True, check=False, timeout=60)
    return result.returncode, result.stdout + result.stderr


def test_openssl_judges_each_leaf_by_its_own_shard(sharded):
    where = sharded.files()
    everything = [f"shard-{n}.crl" for n in range(3)]
    for shard in range(3):
        own = f"shard-{shard}.crl"
        for lists in ([own], everything):
            assert verify(where, f"good-{shard}.pem", *lists)[0] == 0
            code, said = verify(where, f"revoked-{shard}.pem", *lists)
            assert code != 0 and "certificate revoked" in said, said


def test_openssl_judges_no_leaf_by_the_wrong_shard(sharded):
    where = sharded.files()
    for shard in range(3):
        for other in {0, 1, 2} - {shard}:
            for leaf in ("good", "revoked"):
                code, said = verify(where, f"{leaf}-{shard}.pem", f"shard-{other}.crl")
                assert code != 0 and ("unable to get certificate CRL" in said or "scope" in said), said


def test_java_judges_each_leaf_by_its_own_shard_and_by_no_other(sharded):
    out = subprocess.run(["java", "-XX:TieredStopAtLevel=1", JAVA, sharded.files()], capture_output=True, text=True, check=False, timeout=180)
    assert out.returncode == 0, out.stdout + out.stderr
    assert out.stdout.splitlines() == [
        line for shard in range(3) for line in (
            f"good-{shard}: fetched: ok", f"revoked-{shard}: fetched: REVOKED", f"good-{shard}: own shard: ok", f"revoked-{shard}: own shard: REVOKED",
            f"good-{shard}: other shards: UNDETERMINED_REVOCATION_STATUS", f"revoked-{shard}: other shards: UNDETERMINED_REVOCATION_STATUS")]


def test_writ_verify_takes_the_list_that_the_leaf_names_and_refuses_another(sharded):
    where = sharded.files()

    def writ_verify(agent, *status):
        return sharded.house.run("verify", agent.cert_file, "--anchor", f"{where}/anchor.pem", "--trust-domain", TD, "--audience", ERP,
                                 "--allow-software", *status, check=False)

    def lists(shard):
        return "--crl", f"{where}/shard-{shard}.crl", "--anchor-crl", f"{where}/anchor.crl"
    for shard, agent in enumerate(sharded.good):
        assert writ_verify(agent, *lists(shard)).returncode == 0, writ_verify(agent, *lists(shard))
        assert writ_verify(agent, "--status").returncode == 0
        refused = writ_verify(agent, *lists((shard + 1) % 3))
        assert refused.returncode == 1 and "the one that is held is of another distribution point than the leaf's" in refused.stderr, refused
        refused = writ_verify(sharded.revoked[shard], *lists(shard))
        assert refused.returncode == 1 and "revoked" in refused.stderr, refused


def test_every_shard_says_which_delegations_were_revoked(sharded):
    """A relying party that holds one shard only refuses what hangs below."""
    parent = sharded.issue()
    assert sharded.house.person("olga").ask("POST", "/v1/revocations", {"edge": parent.edge, "reason": "superseded"}).status == 200
    oid = x509.ObjectIdentifier("1.2.840.113556.1.8000.2554.33528.53508.15422.19207.37425.13410731.3484567.5.1")
    for agent in sharded.good:
        def told(agent=agent):
            extensions = sharded.house.crl(agent).extensions
            return any(e.oid == oid and bytes.fromhex(parent.edge) in e.value.value for e in extensions)
        wait_for("the edge is in the shard", told)


def test_writ_load_holds_each_leaf_against_its_own_shard(sharded):
    house = sharded.house
    ran = subprocess.run([program("writ"), "load", "--api", f"https://127.0.0.1:{house.api_port}", "--ca", house.path("corp.pem"), "--cert",
                          house.path("alice.pem"), "--key", house.path("alice.key"), "--status", house.status_url("").rstrip("/"), "--agent",
                          f"spiffe://{TD}/agent/invoice-bot", "--allow", f"invoices:read on {ERP}/v2/invoices/**", "--audience", ERP, "--json", "--agents", "4",
                          "--for", "5s", "--work", "1s", "--lifetime", "60s"], capture_output=True, text=True, timeout=120, check=False)
    told = json.loads(ran.stdout)
    assert ran.returncode == 0 and told["disagreed"] == 0, ran
    assert told["jobs"]["CRL"]["n"] >= 2 and told["jobs"]["CRL"]["failed"] == 0, told
    assert len(house.get("/crl/issuing.txt").splitlines()) > 3


def test_shards_survive_a_kill_and_their_numbers_go_up_only(sharded):
    house = sharded.house
    before = [house.crl(agent) for agent in sharded.good]
    signer, = house.pids("writ-signerd")
    os.kill(signer, signal.SIGKILL)
    wait_for("another signer", lambda: [pid for pid in house.pids("writ-signerd") if pid != signer])
    house.wait_healthy()

    def number(crl):
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    for shard, agent in enumerate(sharded.good):
        crl = wait_for("a list made after the kill", lambda agent=agent, shard=shard: (lambda c: c if number(c) > number(before[shard]) else None)(house.crl(agent)))
        assert points(crl) == crl_url(agent.cert) and listed(crl, sharded.revoked[shard])
    late = sharded.leaves[0][2]
    sharded.revoke(late)
    assert not listed(house.crl(sharded.good[1]), late) and not listed(house.crl(sharded.good[2]), late)
    assert shard_of(sharded.issue()) >= 2


def test_the_index_has_the_paths_of_all_lists(sharded):
    paths = sharded.house.get("/crl/issuing.txt").decode().splitlines()
    assert len(set(paths)) == len(paths) and {crl_url(agent.cert).split(str(sharded.house.status_port), 1)[1] for agent in sharded.good} <= set(paths)
    for path in paths:
        assert points(x509.load_der_x509_crl(sharded.house.get(path))) == sharded.house.status_url(path)
