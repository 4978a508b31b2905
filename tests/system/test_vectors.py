"""Test vectors, and two verifiers that must agree: libwrit, and the independent one in tests/vectors/verifier.py.

WRIT_MUTANTS=100000 makes the comparison of mutated leaves as long as is wanted, WRIT_SEED another one.
"""
import collections
import filecmp
import json
import os
import random
import subprocess
import sys
import time

import pytest

VECTORS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "vectors")
sys.path.insert(0, VECTORS)

import delegation  # noqa: E402
import attenuate  # noqa: E402
import judge  # noqa: E402
import make  # noqa: E402
import mint  # noqa: E402
import mutate  # noqa: E402
import verifier  # noqa: E402
from verifier import load  # noqa: E402

CASES = json.loads(load("cases.json"))["cases"]
BY_NAME = {case["name"]: case for case in CASES}
names = [case["name"] for case in CASES]
RULED = ("DELEGATION", "CONSTRAINT")        # where the specification names the rule that must be told
MUTANTS, SEED = int(os.environ.get("WRIT_MUTANTS", "5000")), int(os.environ.get("WRIT_SEED", "20270115"))


def comparable(code, rule):
    return code, rule if code in RULED else ""


def expected(expect):
    return comparable(expect["refusal"], expect.get("rule", ""))


@pytest.fixture(scope="module")
def answers():
    """libwrit's answers to everything that the cases ask: by name, to the chain, to the requests, and the view as JSON."""
    lines, places = [], []
    for case in CASES:
        setup = judge.trust(case, load)
        chain = [load(name) for name in case["chain"]]
        asks = [judge.verify(chain, case["now"], load(case["ocsp"]) if "ocsp" in case else b""), *map(judge.allow, case.get("requests", [])), "json"]
        places.append((case["name"], len(lines), len(setup)))
        lines += setup + (asks if case["expect"]["refusal"] == "OK" else asks[:1])
    told = judge.ask(lines)
    found = {}
    for (name, at, n_setup), end in zip(places, [at for _, at, _ in places[1:]] + [len(lines)]):
        refused = next((a for a in told[at:at + n_setup] if a[0] != "OK"), None)
        found[name] = refused or told[at + n_setup], told[at + n_setup + 1:end]
    return found


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
def test_libwrit_says_what_the_vector_expects(answers, name):
    case, ((code, rule, more), told) = BY_NAME[name], answers[name]
    assert comparable(code, rule) == expected(case["expect"]), (case["title"], more)
    for request, (code, rule, more) in zip(case.get("requests", []), told):
        assert comparable(code, rule) == expected(request["expect"]), (request, more)
        assert code != "OK" or int(more) == request["expect"]["entitlement"], request
    assert len(told) == (len(case.get("requests", [])) + 1 if case["expect"]["refusal"] == "OK" else 0)


@pytest.mark.parametrize("name", names)
def test_the_independent_verifier_says_what_the_vector_expects(name):
    assert verifier.faults_of(BY_NAME[name]) == []


@pytest.mark.parametrize("name", [case["name"] for case in CASES if case["expect"]["refusal"] == "OK"])
def test_both_give_the_same_view_as_json(answers, name):
    """Byte for byte; P3 and P10 against files that were read by people."""
    text = answers[name][1][-1][2]
    assert json.loads(text)
    assert text == verifier.judge(BY_NAME[name])[1].json()
    assert name not in ("P3", "P10") or text.encode() == load(BY_NAME[name]["json"])


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


def independent_within(parent, child):
    """What the independent verifier makes of a child under a parent (DER), as a case states its expectation."""
    try:
        parent, child = map(delegation.read_hop_grant, (parent, child))
        inherited = attenuate.inherit(child, parent)
        rule = attenuate.excess(inherited, parent)
    except delegation.Broken as broken:
        return {"result": "REJECT", "rule": broken.rule}, None
    except attenuate.Clash:
        return {"result": "REJECT"}, None
    return ({"result": "DENY", "rule": rule} if rule else {"result": "OK"}), inherited


def test_all_twenty_rows_are_there_as_they_stand_and_the_other_way_round():
    for way in ("as it stands", "the other way round"):
        rows = {case["row"] for part in ("within", "decided", "certificates") for case in TABLE[part] if case["way"] == way}
        assert rows == set(range(1, 21)), (way, set(range(1, 21)) - rows)


@pytest.fixture(scope="module")
def table_answers():
    asked = [judge.within(bytes.fromhex(case["parent"]["der"]), bytes.fromhex(case["child"]["der"])) for case in TABLE["within"]]
    decided = [judge.decide({**TABLE["facts"], **case["facts"]}, case["now"]) for case in TABLE["decided"]]
    told = judge.ask(asked + decided)
    return told[:len(asked)], told[len(asked):]


@pytest.mark.parametrize("i", range(len(TABLE["within"])), ids=[row_id(case) for case in TABLE["within"]])
def test_a_childs_grant_within_its_parents(table_answers, i):
    """By policy/, as the issuer asks it: the rule, and the child with what it inherits, octet by octet."""
    case, (code, rule, more) = TABLE["within"][i], table_answers[0][i]
    expect = case["expect"]
    assert (code, rule) == (expect["result"], expect.get("rule", "")), (words(case), more)
    assert code != "OK" or more == expect["inherited"], words(case)


@pytest.mark.parametrize("i", range(len(TABLE["within"])), ids=[row_id(case) for case in TABLE["within"]])
def test_a_childs_grant_within_its_parents_by_the_independent_verifier(i):
    case = TABLE["within"][i]
    found, inherited = independent_within(*(bytes.fromhex(case[who]["der"]) for who in ("parent", "child")))
    assert found == {k: v for k, v in case["expect"].items() if k != "inherited"}, words(case)
    assert not inherited or found["result"] != "OK" or inherited == delegation.read_hop_grant(bytes.fromhex(case["expect"]["inherited"]))


def random_grant(r, is_parent):
    """From few names and limits, so that a child often lies within a parent, or nearly."""
    def some(values, most=2):
        return sorted(r.sample(values, r.randint(1, most)))

    def constraints():
        kinds = r.sample(range(4), r.choice((0, 0, 1, 2)))
        return [(lambda: mint.param_max("n", r.choice((1, 5, 9))), lambda: mint.param_in("to", *some(["a", "b", "c"])),
                 lambda: mint.window(*r.choice(((10, 90), (20, 80), (10, 20)))), lambda: mint.source_net(*some(["10.0.0.0/8", "10.1.0.0/16", "::/0", "::1/128"])))[k]()
                for k in kinds]

    wide = is_parent and r.random() < 0.7
    actions = ["x", "x:*", "z"] if wide else ["x", "x:y", "x:*", "x:y:*", "z"]
    paths = ("/**", "/a/**", "/a/*") if wide else ("", "/a", "/a/b", "/a/b/c", "/a/*", "/a/**", "/a/b/*", "/**", "/ab", "/ab/*")
    scope = [mint.entitlement(" ".join(some(actions, len(actions) if wide else 2)), " ".join(some([f"https://h{path}" for path in paths])),
                              r.random() < (0.9 if is_parent else 0.2), constraints()) for _ in range(r.randint(1, 3))]
    return mint.hop_grant(scope, some(["https://g", "https://h", "https://h/*"], 1) if r.random() < 0.3 else ["https://h"], constraints() if r.random() < 0.4 else [])


def test_both_agree_on_random_grants_under_random_parents():
    """The rule that a child breaks, or what it inherits."""
    r, n, seen, differ, began = random.Random(SEED), MUTANTS // 2, collections.Counter(), [], time.monotonic()
    pairs = [(random_grant(r, True), random_grant(r, False)) for _ in range(n)]
    for (parent, child), (code, rule, more) in zip(pairs, judge.ask([judge.within(*pair) for pair in pairs])):
        found, inherited = independent_within(parent, child)
        same = (code, rule) == (found["result"], found.get("rule", ""))
        if code == "OK" and same:
            same = delegation.read_hop_grant(bytes.fromhex(more)) == inherited
        seen[f"{code} {rule}".strip()] += 1
        if not same:
            differ.append((found, (code, rule, more), parent.hex(), child.hex()))
    report("random grants", n, seen, differ, began)
    assert min(seen[k] for k in ("OK", "DENY S1", "DENY K", "DENY A1")) > n / 200, seen


@pytest.mark.parametrize("i", range(len(TABLE["decided"])), ids=[f"{row_id(case)}: {', '.join(case['changes']) or 'policy'}" for case in TABLE["decided"]])
def test_time_depth_and_kind_of_a_child(table_answers, i):
    case, (verdict, rule, more) = TABLE["decided"][i], table_answers[1][i]
    expect = case["expect"]
    assert verdict == expect["verdict"], (case, rule, more)
    assert verdict == "ALLOW" or rule == expect["rule"], (case, more)
    assert "not_after" not in expect or int(more) == expect["not_after"], case
    if case["row"] == 18:
        return          # about the issuer's policy alone
    facts = {**TABLE["facts"], **case["facts"]}
    facts.update({who: delegation.read_hop_grant(bytes.fromhex(facts[who])) for who in ("parent", "child")})
    assert attenuate.decide(facts, case["now"]) == (verdict, expect.get("not_after") if verdict == "ALLOW" else expect["rule"])


@pytest.mark.parametrize("i", range(len(TABLE["certificates"])), ids=[f"{row_id(case)}: {case['case']}" for case in TABLE["certificates"]])
def test_rows_that_are_about_a_certificate(answers, i):
    case = TABLE["certificates"][i]
    (code, _, _), _ = answers[case["case"]]
    accepted = case["case"] in ("A19", "P1", "P4")
    assert (code == "OK") == accepted and code == BY_NAME[case["case"]]["expect"]["refusal"]


# ---- mutants ----

BATCH = 2500        # a process that answers for libwrit
SEEDS = ["P1", "P3", "P4", "P5", "P7", "P8", "P10", "P11"]
REQUESTS = [request for case in CASES for request in case.get("requests", [])]


def random_request(r, now):
    """One of the vectors', often changed."""
    request = dict(r.choice(REQUESTS))
    if r.random() < 0.5:
        return request
    request["parameters"] = [[r.choice(("limit", "amount", "to")), r.choice(("-5", "0", "-0", "100", "101", "1e2", "cfo@x", "CFO@x", ""))] for _ in range(r.randrange(4))]
    request["peer"] = r.choice(("0a010203", "0b010203", "20010db8" + "00" * 12, "00" * 10 + "ffff0a010203"))
    request["now"] = now + r.choice((-31, 0, 120, 121, 181))
    return request


def independently(check):
    try:
        return ("OK", ""), check()
    except verifier.Refused as refused:
        return (refused.code, refused.rule), None


def said(told, more):
    return comparable(*told[:2]) + ((more(told[2]),) if told[0] == "OK" and more else ())


def report(what, n, seen, differ, began):
    print(f"\n{n} {what}, seed {SEED}: {len(differ)} differ; {time.monotonic() - began:.1f} s; {dict(seen.most_common())}")
    assert not differ, f"{len(differ)} of {n}, seed {SEED}; the first: {differ[0]}"


def test_both_agree_on_mutated_leaves():
    """On accepting, on the refusal and its rule, on when to ask again; of those accepted on the view as JSON, and on a request."""
    case = {**BY_NAME["P1"], "options": {"ANY_AUDIENCE": 1}, "crls": ["der/issuing.crl"]}
    independent, now = verifier.verifier_of(case), case["now"]
    mutator = mutate.Mutator(SEED, [load(BY_NAME[name]["chain"][0]) for name in SEEDS], make.keys["issuing"])
    setup, seen, differ, began = judge.trust(case, load), collections.Counter(), [], time.monotonic()
    for start in range(0, MUTANTS, BATCH):
        mutants = [(*mutator.next(), random_request(mutator.random, now)) for _ in range(start, min(start + BATCH, MUTANTS))]
        told = judge.ask(setup + [line for data, _, request in mutants for line in (judge.verify([data], now), "json", judge.allow(request))])[len(setup):]
        for (data, how, request), verified, view, allowed in zip(mutants, told[::3], told[1::3], told[2::3]):
            found, agent = independently(lambda data=data: independent.verify([data], now))
            same = said(verified, int) == found + ((agent.expires_at,) if agent else ())
            seen[" ".join(comparable(*found)).strip()] += 1
            if agent:
                asked, index = independently(lambda agent=agent, request=request: agent.allow(
                    request["action"], request["resource"], request["now"], bytes.fromhex(request.get("peer", "")) or None, request.get("parameters", ())))
                same = same and view[2] == agent.json() and said(allowed, int) == comparable(*asked) + ((index,) if index is not None else ())
                seen["allow: " + asked[0]] += 1
            if not same:
                differ.append((how, found, verified, allowed, request, data.hex()))
    report("mutated leaves", MUTANTS, seen, differ, began)
    assert seen["OK"] > MUTANTS / 50 and len(seen) > 12, seen


@pytest.mark.parametrize("what", ["crl", "ocsp", "issuing"])
def test_both_agree_on_mutated_lists_responses_and_issuing_cas(what):
    """Each given to a verifier of its own, whose leaf is good."""
    name = {"crl": "N29-hop", "ocsp": "O1", "issuing": "P1"}[what]
    case, n = {**BY_NAME[name], "crls": BY_NAME[name].get("crls", [])}, MUTANTS // 25
    if what == "crl":
        files, key = [case["crls"][0], "der/edge-revoked.crl", "der/own-shard.crl"], make.keys["issuing"]
    elif what == "ocsp":
        files, key = [case["ocsp"]], make.keys["responder"]
    else:
        files, key = [case["chain"][1]], make.keys["anchor"]
        case["crls"], case["options"] = [], {"DEMAND_STATUS": 0}
    mutator = mutate.Mutator(SEED, [load(f) for f in files], key)
    seen, differ, lines, places, found, began = collections.Counter(), [], [], [], [], time.monotonic()
    for _ in range(n):
        data, how = mutator.next()
        mutant = {**case, "chain": [case["chain"][0], "mutant" if what == "issuing" else case["chain"][1]]}
        mutant.update({"crls": ["mutant"]} if what == "crl" else {"ocsp": "mutant"} if what == "ocsp" else {})
        fetch = lambda f, data=data: data if f == "mutant" else load(f)
        setup = judge.trust(mutant, fetch)
        asked = judge.verify([fetch(f) for f in mutant["chain"]], case["now"], fetch(mutant["ocsp"]) if what == "ocsp" else b"")
        places.append((len(lines), len(lines) + len(setup), how, data))
        lines += [*setup, asked]
        found.append(verifier.judge(mutant, fetch))
    told = judge.ask(lines)
    for (begin, at, how, data), (outcome, agent) in zip(places, found):
        answer = next((a for a in told[begin:at] if a[0] != "OK"), told[at])
        seen[" ".join(comparable(*outcome)).strip()] += 1
        if said(answer, int) != comparable(*outcome) + ((agent.expires_at,) if agent else ()):
            differ.append((how, outcome, answer, data.hex()))
    report(f"mutants of {what}", n, seen, differ, began)
    assert len(seen) > 2, seen
