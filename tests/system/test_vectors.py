"""Test vectors, judged by the independent verifier in tests/vectors/verifier.py."""
import filecmp
import json
import os
import subprocess
import sys

import pytest

VECTORS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "vectors")
sys.path.insert(0, VECTORS)

import delegation  # noqa: E402
import grants  # noqa: E402
import mutate  # noqa: E402
import verifier  # noqa: E402
from verifier import load  # noqa: E402

CASES = json.loads(load("cases.json"))["cases"]
BY_NAME = {case["name"]: case for case in CASES}
names = [case["name"] for case in CASES]


def test_making_the_vectors_again_gives_the_files_that_are_checked_in(tmp_path):
    subprocess.run([sys.executable, os.path.join(VECTORS, "make.py"), str(tmp_path)], check=True, capture_output=True, timeout=120)
    made = {os.path.relpath(os.path.join(folder, f), tmp_path) for folder, _, files in os.walk(tmp_path) for f in files}
    kept = {os.path.relpath(os.path.join(folder, f), VECTORS) for folder, _, files in os.walk(VECTORS) for f in files
            if f.endswith((".der", ".crl", ".json", ".ocsp"))}
    assert made == kept
    assert filecmp.cmpfiles(tmp_path, VECTORS, made, shallow=False)[0].__len__() == len(made), filecmp.cmpfiles(tmp_path, VECTORS, made, shallow=False)[1:]


def test_every_case_that_the_specification_lists_is_there():
    for wanted in [f"P{n}" for n in (1, 2, 3, 4, 5, 7, 8, 10, 11, 12)] + [f"N{n}" for n in range(1, 33)]:
        assert wanted in BY_NAME, wanted
    assert sum(case["expect"]["refusal"] != "OK" for case in CASES) > sum(case["expect"]["refusal"] == "OK" for case in CASES)


@pytest.mark.parametrize("name", names)
def test_the_independent_verifier_says_what_the_vector_expects(name):
    assert verifier.faults_of(BY_NAME[name]) == []


def test_p10_says_act_in_the_order_of_rfc_8693():
    view = json.loads(load("json/P10.json"))
    assert view["sub"].endswith("/human/okta/00u1abcd")
    assert view["act"]["sub"].endswith("/agent/invoice-bot/i-9c1b44") and view["act"]["act"] == {"sub": "spiffe://agents.corp.example/agent/orchestrator/i-000001"}
    assert [list(c)[0] for c in view["authorization_details"][0]["constraints"]] == ["sourceNet", "window", "paramIn", "paramMax"]


def test_p12_a_renewal_keeps_hops_scope_key_and_names_byte_by_byte():
    first, second = (verifier.x509.read_leaf(load(BY_NAME[name]["chain"][0])) for name in (BY_NAME["P12"]["renews"], "P12"))
    assert (first.spki, first.san, first.task, first.delegation) == (second.spki, second.san, second.task, second.delegation)
    assert first.serial != second.serial and first.not_after < second.not_after


# ---- what a child may receive (4.5) ----

TABLE = json.loads(load("attenuation.json"))


def row_id(case):
    return f"row {case['row']}, {case['way']}"


def words(case):
    return case["parent"]["words"], case["child"]["words"]


def independent_within(case):
    """What the independent verifier makes of a child under a parent, as the case states its expectation."""
    try:
        parent, child = (delegation.read_hop_grant(bytes.fromhex(case[who]["der"])) for who in ("parent", "child"))
        inherited = grants.inherit(child, parent)
        rule = grants.excess(inherited, parent)
    except delegation.Broken as broken:
        return {"result": "REJECT", "rule": broken.rule}, None
    return ({"result": "DENY", "rule": rule} if rule else {"result": "OK"}), inherited


def test_all_twenty_rows_are_there_as_they_stand_and_the_other_way_round():
    for way in ("as it stands", "the other way round"):
        rows = {case["row"] for part in ("within", "decided", "certificates") for case in TABLE[part] if case["way"] == way}
        assert rows == set(range(1, 21)), (way, set(range(1, 21)) - rows)


@pytest.mark.parametrize("i", range(len(TABLE["within"])), ids=[row_id(case) for case in TABLE["within"]])
def test_a_childs_grant_within_its_parents_by_the_independent_verifier(i):
    case = TABLE["within"][i]
    found, inherited = independent_within(case)
    assert found == {k: v for k, v in case["expect"].items() if k != "inherited"}, words(case)
    assert not inherited or found["result"] != "OK" or inherited == delegation.read_hop_grant(bytes.fromhex(case["expect"]["inherited"]))
