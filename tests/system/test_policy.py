"""Policy that people can trust: checked, tested by cases, explained, compared; and what is in force over a running Writ."""
import os
import re
import subprocess

import pytest
import yaml

from house import POLICY, ROOT, TD, program

EXAMPLE = os.path.join(ROOT, "deploy", "examples", "policy.yaml")
CASES = os.path.join(ROOT, "deploy", "examples", "policy.cases.yaml")


def policy(*arguments, cwd=None):
    """`writ policy` with these arguments."""
    return subprocess.run([program("writ"), "policy", *arguments], capture_output=True, text=True, check=False, timeout=60, cwd=cwd)


def written(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def changed(text, *pairs):
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


# ---- check ----

def test_a_warning_is_told_with_its_line_and_strict_makes_it_a_failure(tmp_path):
    text = changed(POLICY, ("    max_depth: 3", "    max_depth: 0"))
    path = written(tmp_path, "p.yaml", text)
    told = policy("check", path)
    lines = told.stdout.splitlines()
    entitlement = text[:text.index("      - actions")].count("\n") + 1
    readers = text[:text.index("  - name: readers")].count("\n") + 1
    assert told.returncode == 0 and lines == [
        f"line {entitlement}: rule 'invoices', entitlement 1: delegable, but with max_depth 0 nothing is handed on; raise max_depth, or leave delegable out",
        f"line {readers}: rule 'readers' can never allow anything: the rules under which its delegators get their leaves leave them no depth; raise max_depth there",
        "policy: test-policy is well formed, 2 warnings"], told
    strict = policy("check", path, "--strict")
    assert (strict.returncode, strict.stdout) == (1, told.stdout)
    assert policy("check", EXAMPLE, "--strict", "--trust-domain", TD).returncode == 0


def test_patterns_of_another_trust_domain_are_told_when_it_is_named(tmp_path):
    path = written(tmp_path, "p.yaml", POLICY)
    assert policy("check", path, "--strict", "--trust-domain", TD).returncode == 0
    other = policy("check", path, "--strict", "--trust-domain", "other.example")
    assert other.returncode == 1 and f"'spiffe://{TD}/human/corp/**' matches nobody: the trust domain is other.example; correct it" in other.stdout, other
    misused = policy("check", path, "--trust-domain", "Other.example")
    assert misused.returncode == 2 and misused.stdout == "" and "Other.example" in misused.stderr, misused
    assert policy("check", path, "--print", "--strict").returncode == 2


# ---- test ----

def test_the_example_that_we_ship_passes_the_cases_that_we_ship():
    result = policy("test", EXAMPLE)
    names = [case["name"] for case in yaml.safe_load(open(CASES, encoding="utf-8"))["cases"]]
    assert result.stdout.splitlines() == [f"1..{len(names)}"] + [f"ok {i + 1} - {name}" for i, name in enumerate(names)], result
    assert (result.returncode, result.stderr) == (0, "")
    assert policy("test", EXAMPLE, "--cases", CASES).stdout == result.stdout


def test_every_rule_of_the_example_is_allowed_and_refused_by_a_case():
    cases = yaml.safe_load(open(CASES, encoding="utf-8"))["cases"]
    for rule in yaml.safe_load(open(EXAMPLE, encoding="utf-8"))["rules"]:
        assert any(c["expect"] == {**c["expect"], "verdict": "allow", "rule": rule["name"]} for c in cases), rule["name"]
    assert sum(c["expect"]["verdict"] == "deny" for c in cases) >= len(cases) / 2, "refusals outnumber grants"


def test_a_case_that_fails_says_what_was_got_and_expected_and_the_exit_status_is_1(tmp_path):
    tightened = changed(open(EXAMPLE, encoding="utf-8").read(), ("    max_depth: 2", "    max_depth: 0"))
    path = written(tmp_path, "policy.yaml", tightened)
    result = policy("test", path, "--cases", CASES)
    assert result.returncode == 1 and result.stderr == "", result
    first = cases_failed(result.stdout)
    assert list(first) == ["people have the invoice bot read invoices and hand that on"], result.stdout
    line = open(CASES, encoding="utf-8").read().split("  - name: people have")[0].count("\n") + 1
    assert first["people have the invoice bot read invoices and hand that on"] == [
        f"case in line {line}", "verdict: got 'deny', expected 'allow'", "rule: got 'invoices: max_depth', expected 'invoices'",
        "lifetime: got 0, expected 300", "got: deny invoices: max_depth: depth 1; limit: depth 0; ask for less depth"]
    assert result.stdout.splitlines()[-1] == "# 1 of 14 cases failed"


def cases_failed(stdout):
    """Name to what is said below it, of TAP lines."""
    failed, name = {}, None
    for line in stdout.splitlines():
        number = re.match(r"(not ok|ok) \d+ - (.*)", line)
        if number:
            name = number[2] if number[1] == "not ok" else None
            if name:
                failed[name] = []
        elif name and line.startswith("# ") and "cases failed" not in line:
            failed[name].append(line[2:])
    return failed


def test_cases_that_cannot_be_read_are_refused_with_their_place(tmp_path):
    beside = policy("test", written(tmp_path, "policy.yaml", POLICY))
    assert beside.returncode == 1 and "policy.cases.yaml does not exist" in beside.stderr and beside.stdout == "", beside
    written(tmp_path, "policy.cases.yaml", "version: 1\ncases:\n  - name: a\n    request: {kind: human}\n    expect: allow\n")
    wrong = policy("test", "policy.yaml", cwd=tmp_path)
    assert (wrong.returncode, wrong.stderr) == (1, "writ policy test: policy.cases.yaml:4:5: 'delegator' is missing here\n"), wrong
    megabyte = policy("test", "policy.yaml", "--cases", written(tmp_path, "big.yaml", "#" * 1048576), cwd=tmp_path)
    assert megabyte.returncode == 1 and "is over the limit of 262144 bytes" in megabyte.stderr, megabyte


# ---- explain ----

def test_an_agents_request_is_explained_whole_from_a_case():
    result = policy("explain", EXAMPLE, "--case", CASES + "#the bot hands writing on to nobody")
    assert result.returncode == 3 and result.stderr == "", result
    line = open(EXAMPLE, encoding="utf-8").read().split("  - name: invoice-readers")[0].count("\n") + 1
    for told in (f"delegate: agent spiffe://{TD}/agent/invoice-bot/i-7f3a to spiffe://{TD}/agent/invoice-reader, depth 0\n",
                 "  asked: invoices:write on https://erp.corp.example/v2/invoices/2026/7\n", "  asked audience: https://erp.corp.example\n",
                 "  parent: invoices:* on https://erp.corp.example/v2/invoices/**; delegable\n", f"rule 'invoice-readers' (line {line}): denies\n",
                 f"verdict: denied, invoice-readers: entitlements (line {line}): invoices:write on https://erp.corp.example/v2/invoices/2026/7; "):
        assert told in result.stdout, (told, result.stdout)
    allowed = policy("explain", EXAMPLE, "--case", CASES + "#the bot hands reading on")
    assert allowed.returncode == 0 and allowed.stdout.splitlines()[-1] == f"verdict: allowed by rule 'invoice-readers' (line {line}): leaves of at most 120 s"
    above = policy("explain", EXAMPLE, "--case", CASES + "#the bot hands on no more than it has")
    assert above.returncode == 3 and "no rule was tried: this is refused under any policy\nverdict: denied, S1: " in above.stdout, above


@pytest.mark.parametrize("more,status,complaint", [
    (["--case", "policy.cases.yaml"], 2, "--case: 'policy.cases.yaml' is not FILE#NAME"),
    (["--case", "#nobody"], 2, "--case: '#nobody' is not FILE#NAME"),
    (["--case", "policy.cases.yaml#nobody"], 1, "policy.cases.yaml: no case is named 'nobody'"),
    (["--case", "policy.cases.yaml#the bot hands reading on", "--depth", "1"], 2, "--case tells the request: leave --depth out"),
    (["--delegator", "d", "--kind", "human", "--agent", "a"], 2, "--audience is missing")])
def test_what_explain_cannot_take_is_said(more, status, complaint):
    result = policy("explain", "policy.yaml", *more, cwd=os.path.dirname(EXAMPLE))
    assert (result.returncode, result.stdout, result.stderr) == (status, "", f"writ policy explain: {complaint}\n"), result
