"""writ load: it is many agents, it counts what happened, and it finds a status that lies."""
import json
import subprocess

import pytest

import journal
from house import ERP, TD, program
from liar import Liar, behind, hesitant, remembered

pytestmark = pytest.mark.waits


def load(house, *more, status=None, agent="invoice-bot"):
    """(exit status, report, what it complained of)."""
    ran = subprocess.run([program("writ"), "load", "--api", f"https://127.0.0.1:{house.api_port}", "--ca", house.path("corp.pem"),
                          "--cert", house.path("alice.pem"), "--key", house.path("alice.key"), "--status", status or house.status_url("").rstrip("/"),
                          "--agent", f"spiffe://{TD}/agent/{agent}", "--allow", f"invoices:read on {ERP}/v2/invoices/**", "--audience", ERP,
                          "--json", *more], capture_output=True, text=True, timeout=120, check=False)
    return ran.returncode, json.loads(ran.stdout) if ran.stdout else None, ran.stderr


def test_further_responders_are_compared_as_the_issuer_is_and_each_one_s_delay_is_told(one):
    kept = {}
    keep = remembered(kept)
    own = one.status_url("").rstrip("/")
    with Liar(one, behind(0.3)) as late, Liar(one, hesitant(3)) as shy, Liar(one, keep) as forgetful:
        code, told, _ = load(one, "--agents", "4", "--for", "2s", "--work", "1s", "--lifetime", "60s",
                             *[word for url in (own, late, shy, forgetful) for word in ("--responder", url)])
    said = {responder["url"]: responder for responder in told["responders"]}
    tasks = told["jobs"]["task"]["n"]
    assert [said[url]["disagreed"] for url in (own, late, shy)] == [0, 0, 0] and told["jobs"]["responder"]["later"] >= 3 * tasks
    assert said[own]["wrong_at_first"] == 0 and said[own]["end_seen"]["n"] == said[late]["end_seen"]["n"] == said[shy]["end_seen"]["n"] == tasks
    assert said[late]["wrong_at_first"] == tasks and said[late]["end_seen"]["p50_ms"] >= 300
    assert code == 1 and said[forgetful]["disagreed"] == tasks and said[forgetful]["end_seen"]["n"] == 0
    assert told["disagreed"] == tasks and told["first_disagreement"].startswith(f"{forgetful} said good of ")


def test_what_it_counts_is_what_the_journal_holds(one):
    entries = lambda: [e.type for e in journal.read(one.path("state/journal"), live=True) if not e.names_an_edge]  # noqa: E731
    before = entries()
    code, told, complaint = load(one, "--agents", "10", "--for", "4s", "--work", "3s", "--renew", "1s", "--lifetime", "60s")
    after = entries()
    jobs = told["jobs"]
    assert code == 0 and not complaint
    assert jobs["task"]["n"] >= 10 and jobs["renewal"]["n"] >= 10 and jobs["task"]["n"] == jobs["completion"]["n"]
    assert after.count("issue") - before.count("issue") == jobs["first leaf"]["n"] + jobs["renewal"]["n"]
    assert after.count("revoke") - before.count("revoke") == jobs["first leaf"]["n"] + jobs["renewal"]["n"]
    assert told["disagreed"] == told["wrong_at_first"] == 0 and told["compared"] >= 2 * jobs["task"]["n"]
    assert told["end_seen"]["n"] == jobs["task"]["n"] and not told["first_refusal"]
    for job in ("task", "first leaf", "completion", "OCSP"):
        assert 0 < jobs[job]["p50_ms"] <= jobs[job]["p99_ms"] <= jobs[job]["max_ms"]


def test_a_storm_renews_everybody_at_the_same_moment(one):
    code, told, _ = load(one, "--agents", "15", "--for", "5s", "--work", "60s", "--renew", "2s", "--storm", "--lifetime", "60s", "--end", "revoke")
    assert code == 0 and told["jobs"]["task"]["n"] == 15
    assert told["jobs"]["renewal"]["n"] in (15, 30) and told["jobs"]["revocation"]["n"] == 15, told
    assert told["disagreed"] == 0


def test_an_open_loop_goes_by_the_clock_and_says_what_nobody_could_play(one):
    code, told, _ = load(one, "--agents", "2", "--for", "3s", "--rate", "20", "--work", "2s", "--lifetime", "60s")
    assert code == 0
    assert 2 <= told["jobs"]["task"]["n"] <= 6 and told["jobs"]["task"]["n"] + told["not_begun"] >= 55


@pytest.mark.parametrize("what, path", [("good", "/ocsp"), ("nothing", "/crl/")])
def test_a_status_that_does_not_learn_of_an_end_is_found(one, what, path):
    kept = {}
    keep = remembered(kept)
    more = ["--agents", "4", "--for", "13s" if path == "/crl/" else "1s", "--work", "1s", "--lifetime", "60s"]
    with Liar(one, lambda at, question, body: keep(at, question, body) if at.startswith(path) else body) as url:
        code, told, _ = load(one, *more, status=url)
    assert code == 1 and told["disagreed"] > 0
    assert what in told["first_disagreement"], told["first_disagreement"]


def test_an_answer_that_another_key_signed_is_no_answer(one):
    with Liar(one, lambda at, question, body: body[:-1] + bytes([body[-1] ^ 1]) if at == "/ocsp" and len(body) > 10 else body) as url:
        code, told, _ = load(one, "--agents", "1", "--for", "1s", "--work", "1s", "--lifetime", "60s", status=url)
    assert code == 1 and "nothing to believe" in told["first_disagreement"]


def test_who_is_refused_is_told_why_and_nothing_issued_is_a_failure(one):
    code, told, _ = load(one, "--agents", "2", "--for", "1s", agent="nobody-knows")
    assert code == 1 and told["jobs"]["task"]["refused"] > 0 and told["jobs"]["first leaf"]["n"] == 0
    assert "DENIED" in told["first_refusal"]


@pytest.mark.parametrize("more, complaint", [
    (["--agents", "0"], "somebody must come"),
    (["--lifetime", "10s"], "found 10 s, wanted 60 to 900"),
    (["--end", "later"], "neither complete nor revoke"),
    (["--responder", "https://responder.example"], "--responder: 'https://responder.example' does not begin with http://"),
])
def test_a_plan_that_makes_no_sense_is_refused(one, more, complaint):
    code, _, said = load(one, *more)
    assert code == 2 and complaint in said
