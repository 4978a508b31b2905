"""writ(1): every command as a person types it, its exit codes and its words, and the manual's example run as it is written."""
import base64
import json
import os
import re
import stat
import subprocess
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from house import ERP, INVOICES, ROOT, TD, Agent, House, free_port, new_key, pem_key, program

BOT = f"spiffe://{TD}/agent/invoice-bot"
READER = f"spiffe://{TD}/agent/pdf-reader"
READ = f"invoices:read on {INVOICES}"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
DONE, FAILED, MISUSED, REFUSED, LATER = range(5)


def writ(house, *arguments, by=None, **more):
    """`writ` with the API's options in the environment, as `by` (a person's or an agent's name), or as nobody."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("WRIT_")}
    env.update(WRIT_API=f"https://127.0.0.1:{house.api_port}", WRIT_CA=house.path("corp.pem"))
    if by:
        env.update(WRIT_CERT=house.path(by + ".pem"), WRIT_KEY=house.path(by + ".key"))
    env.update(more.pop("env", {}))
    return subprocess.run([program("writ"), *arguments], capture_output=True, text=True, timeout=60, check=False, env=env,
                          stdin=subprocess.DEVNULL, **more)


def fields(result):
    """'name: value' lines of a command that was done, in order."""
    assert result.returncode == DONE and result.stderr == "", result
    return [tuple(line.split(": ", 1)) for line in result.stdout.splitlines()]


def complains(result, code, words):
    """Nothing on stdout, this exit code, and exactly these words (or a pattern, when compiled)."""
    assert (result.returncode, result.stdout) == (code, ""), result
    if isinstance(words, re.Pattern):
        assert words.fullmatch(result.stderr), result.stderr
    else:
        assert result.stderr == words + "\n", result.stderr


def key_file(house, name):
    path = house.path(name + ".key")
    with open(path, "wb") as f:
        f.write(pem_key(new_key()))
    return path


def delegated(house, name, by="alice", agent=BOT, *more):
    """A task (or a further delegation) for a new key of that name, by the command line."""
    allow = "--allow-delegable" if "--depth" in more else "--allow"
    return dict(fields(writ(house, "delegate", "--agent", agent, "--key-of", key_file(house, name), allow, READ, "--audience", ERP, *more, by=by)))


def with_leaf(house, name, by="alice", agent=BOT, *more):
    opened = delegated(house, name, by, agent, *more)
    issued = dict(fields(writ(house, "issue", "--task", opened["task"], "--key", house.path(name + ".key"), "--lifetime", "5m",
                              "--out", house.path(name + ".pem"))))
    return {**opened, **issued}


def verify(house, leaf, *more, anchor=None, trust_domain=TD):
    return writ(house, "verify", leaf, "--anchor", anchor or house.write_anchor(), "--trust-domain", trust_domain, *more)


# ---- the program ----

COMMANDS = ["init", "ceremony", "rotate", "delegate", "grant", "issue", "renew", "task", "complete", "revoke", "freeze", "thaw", "inspect", "verify", "policy", "bundle", "status", "doctor", "key", "custody", "clock", "restore", "load", "log"]


def run(*arguments):
    return subprocess.run([program("writ"), *arguments], capture_output=True, text=True, timeout=20, check=False,
                          env={"PATH": os.environ["PATH"]}, stdin=subprocess.DEVNULL)


def test_help_names_every_command_and_its_purpose():
    result = run("help")
    assert (result.returncode, result.stderr) == (DONE, "")
    assert result.stdout.splitlines()[0] == "usage: writ COMMAND [options]"
    assert re.findall(r"^  (\S+) +\S", result.stdout, re.M) == COMMANDS
    assert run("--help").stdout == result.stdout
    nothing = run()
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (MISUSED, "", result.stdout)


def test_the_manual_describes_exactly_the_commands_that_there_are():
    with open(os.path.join(ROOT, "deploy/man/writ.1"), encoding="ascii") as f:
        text = f.read()
    described = re.findall(r"^(?:\.It |)\.?(?:Nm) Cm ([a-z]+)", text.replace(".It Nm", ".Nm"), re.M)
    assert list(dict.fromkeys(described)) == COMMANDS


def test_the_version_is_printed():
    result = run("--version")
    assert result.returncode == DONE and re.fullmatch(r"writ \d+\.\d+\.\d+\n", result.stdout), result


API = ["--api", "https://127.0.0.1:1", "--ca", "/none.pem"]
GRANT = ["--agent", BOT, "--spki", "0" * 64, "--audience", ERP]
AS_ALICE = [*API, "--cert", "/none.pem", "--key", "/none.key"]
MISUSES = [
    (["isue"], "writ: no command 'isue': writ help lists them"),
    (["policy"], "writ policy: check, test, explain, diff, show or reload is wanted"),
    (["policy", "lint", "x"], "writ policy: check, test, explain, diff, show or reload is wanted"),
    (["init"], "writ init: --config is missing"),
    (["init", "--config", "a", "--csr", "b", "--import", "c"],
     "writ init: --csr comes first, --import with the certificate after it, --signature last: one at a time"),
    (["delegate", *API], "writ delegate: --agent is missing"),
    (["delegate", "--agent", BOT, "--audience", ERP], "writ delegate: --api is missing; it may also come from WRIT_API"),
    (["delegate", "--agent", BOT, "--audience", ERP, "--api", "https://x"], "writ delegate: --ca is missing; it may also come from WRIT_CA"),
    (["delegate", *GRANT, "--allow", READ, *API], "writ delegate: --cert is missing: who delegates?  it may also come from WRIT_CERT"),
    (["delegate", "--agent", BOT, "--audience", ERP, "--allow", READ, *AS_ALICE],
     "writ delegate: the agent's key is named by either --key-of FILE or --spki HEX: a delegation is to a key"),
    (["delegate", *GRANT, "--key-of", "/none", "--allow", READ, *AS_ALICE],
     "writ delegate: the agent's key is named by either --key-of FILE or --spki HEX: a delegation is to a key"),
    (["delegate", *GRANT, *AS_ALICE], "writ delegate: nothing is allowed: give --allow or --allow-delegable; an empty scope never means all"),
    (["delegate", *GRANT, "--allow", "invoices:read", *AS_ALICE],
     "writ delegate: --allow: 'invoices:read' is not 'ACTION[,ACTION] on RESOURCE[,RESOURCE]'"),
    (["delegate", *GRANT, "--allow-delegable", " on x", *AS_ALICE],
     "writ delegate: --allow-delegable: ' on x' is not 'ACTION[,ACTION] on RESOURCE[,RESOURCE]'"),
    (["delegate", *GRANT, "--allow", "a:b on ", *AS_ALICE], "writ delegate: --allow: 'a:b on ' is not 'ACTION[,ACTION] on RESOURCE[,RESOURCE]'"),
    (["delegate", *GRANT, "--allow", READ, "--constraint", "[]", *AS_ALICE], "writ delegate: --constraint: '[]' is not a JSON object"),
    (["delegate", *GRANT, "--allow", READ, "--constraint", '{"a":1,"a":1}', *AS_ALICE],
     "writ delegate: --constraint: '{\"a\":1,\"a\":1}' is not a JSON object"),
    (["delegate", *GRANT, "--allow", READ, "--depth", "8", *AS_ALICE], "writ delegate: --depth: '8' is not a number from 0 to 7"),
    (["delegate", *GRANT, "--allow", READ, "--ends", "9h", *AS_ALICE],
     "writ delegate: --ends: '9h' is not a duration (90s, 5m, 1h) up to 28800 s"),
    (["issue", *API], "writ issue: --task is missing"),
    (["issue", "--task", "t", "--key", "k", *API], "writ issue: --out is missing"),
    (["issue", "--task", "t", "--out", "o", *API], "writ issue: --key is missing"),
    (["issue", "--task", "t", "--key", "k", "--out", "o", "--lifetime", "16m", *API],
     "writ issue: --lifetime: '16m' is not a duration (90s, 5m, 1h) up to 900 s"),
    (["issue", "--task", "t", "--key", "k", "--out", "o", "--cert", "c", *API], "writ issue: no option --cert: man writ lists them"),
    (["renew", "--out", "o", *API], "writ renew: --cert is missing: the leaf to renew; it may also come from WRIT_CERT"),
    (["task", *API], "writ task: 1 argument is wanted, 0 given"),
    (["task", "a", "b", *API], "writ task: 'b' is one argument too many"),
    (["complete", *API], "writ complete: 1 argument is wanted, 0 given"),
    (["revoke", *AS_ALICE], "writ revoke: exactly one of --edge, --serial, --task, --principal is wanted, 0 given"),
    (["revoke", "--task", "t", "--serial", "00", *AS_ALICE],
     "writ revoke: exactly one of --edge, --serial, --task, --principal is wanted, 2 given"),
    (["inspect"], "writ inspect: 1 argument is wanted, 0 given"),
    (["inspect", "x", "--colour"], "writ inspect: no option --colour: man writ lists them"),
    (["verify", "x"], "writ verify: --anchor is missing"),
    (["verify", "x", "--anchor", "y"], "writ verify: --trust-domain is missing"),
    (["verify", "x", "--anchor", "y", "--trust-domain", TD, "--status", "--crl", "z"],
     "writ verify: --status fetches the lists: leave --crl and --anchor-crl away"),
    (["policy", "check"], "writ policy check: 1 argument is wanted, 0 given"),
    (["policy", "explain", "p", "--delegator", "d", "--agent", BOT, "--audience", ERP], "writ policy explain: --kind is missing"),
    (["policy", "explain", "p", "--delegator", "d", "--kind", "robot", "--agent", BOT, "--audience", ERP],
     "writ policy explain: --kind: 'robot' is none of human, service, agent"),
    (["policy", "explain", "p", "--delegator", "d", "--kind", "agent", "--agent", BOT, "--audience", ERP],
     "writ policy explain: --kind agent: what an agent may delegate depends on its leaf as well: write a case with its parent, and name it with --case FILE#NAME"),
    (["status"], "writ status: either --status URL or --config FILE is wanted"),
    (["status", "--status", "x", "--config", "y"], "writ status: either --status URL or --config FILE is wanted"),
    (["doctor"], "writ doctor: --config is missing"),
    (["doctor", "--config", "/none.yaml"], "writ doctor: configuration: /none.yaml does not exist"),
    (["log", "--from", "-1", *API], "writ log: --from: '-1' is not a number from 0 to 9223372036854775807"),
]


@pytest.mark.parametrize("arguments,words", MISUSES, ids=[re.sub(r"[^a-z ]", "", w)[5:60] for _, w in MISUSES])
def test_misuse_exits_2_and_names_the_bad_argument(arguments, words):
    complains(run(*arguments), MISUSED, words)


@pytest.mark.parametrize("command", ["task", "complete"])
@pytest.mark.parametrize("name", ["a/b", "a b", "", "x" * 60, "../log"])
def test_a_task_id_is_checked_before_anybody_is_asked(command, name):
    result = run(command, name, *API)
    assert result.returncode == MISUSED and result.stderr.startswith(f"writ {command}: ") and result.stdout == "", result


def test_the_api_is_asked_by_https_only_and_a_certificate_goes_with_its_key():
    complains(run("task", "t", "--api", "http://127.0.0.1:1", "--ca", "x"), FAILED,
              "writ task: --api: 'http://127.0.0.1:1' does not begin with https://")
    complains(run("task", "t", *API, "--cert", "x"), FAILED, "writ task: --cert and --key go together")


# ---- the manual's example ----

def example_of(page):
    """The commands of the EXAMPLES of a manual page."""
    with open(os.path.join(ROOT, "deploy/man", page), encoding="ascii") as f:
        text = f.read()
    text = text[text.index(".Sh EXAMPLES"):]
    return re.search(r"\.Bd -literal.*?\n(.*?)\.Ed", text, re.S).group(1).replace("\\e", "\\")


def test_the_example_of_the_manual_runs_as_it_is_written(one):
    folder = one.path("example")
    os.mkdir(folder)
    for name in ("corp.pem", "alice.pem", "alice.key"):
        os.symlink(one.path(name), os.path.join(folder, name))
    with open(os.path.join(folder, "bot.key"), "wb") as f:
        f.write(pem_key(new_key()))
    script = example_of("writ.1").replace("https://127.0.0.1:8443", f"https://127.0.0.1:{one.api_port}")
    assert script.count("writ ") == 4 and "127.0.0.1:" in script
    env = {k: v for k, v in os.environ.items() if not k.startswith("WRIT_")}
    env["PATH"] = os.path.dirname(program("writ")) + ":" + env["PATH"]
    result = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=env, capture_output=True, text=True,
                            timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, ""), result
    for line in ("task: close-q3", "allowed by: rule invoices", "written to: bot.pem", "leaves revoked: 1", "logged: yes"):
        assert line in result.stdout.splitlines(), result.stdout
    assert "task          close-q3" in result.stdout
    assert stat.S_IMODE(os.stat(os.path.join(folder, "bot.pem")).st_mode) == 0o644


# ---- delegate, issue, renew, task ----

def test_delegating_tells_task_edge_agent_depth_end_and_rule(one):
    told = fields(writ(one, "delegate", "--agent", BOT, "--key-of", key_file(one, "teller"), "--allow", READ, "--audience", ERP,
                       "--ends", "30m", "--depth", "2", "--purpose", "Close the books", "--task", "told-1", by="alice"))
    assert [name for name, _ in told] == ["task", "edge", "agent", "depth", "ends", "allowed by"]
    told = dict(told)
    assert (told["task"], told["depth"], told["allowed by"]) == ("told-1", "2 more", "rule invoices")
    assert re.fullmatch("[0-9a-f]{32}", told["edge"]) and told["agent"].startswith(BOT + "/")
    assert re.fullmatch(TIME, told["ends"])


def test_the_key_is_taken_from_a_private_key_a_public_key_a_request_or_a_certificate(one):
    path = key_file(one, "kinds")
    made = {}
    for kind, command in (("pub", ["pkey", "-in", path, "-pubout"]), ("csr", ["req", "-new", "-key", path, "-subj", "/CN=x"]),
                          ("crt", ["req", "-x509", "-new", "-key", path, "-subj", "/CN=x"])):
        made[kind] = one.path("kinds." + kind)
        subprocess.run(["openssl", *command, "-out", made[kind]], check=True, capture_output=True)
    for name in (path, *made.values()):
        opened = dict(fields(writ(one, "delegate", "--agent", BOT, "--key-of", name, "--allow", READ, "--audience", ERP, by="alice")))
        assert writ(one, "issue", "--task", opened["task"], "--key", path, "--out", "-").returncode == DONE
    complains(writ(one, "delegate", "--agent", BOT, "--key-of", one.path("writ.yaml"), "--allow", READ, "--audience", ERP, by="alice"),
              MISUSED, f"writ delegate: {one.path('writ.yaml')}: neither a key, a request nor a certificate in PEM form")
    complains(writ(one, "delegate", "--agent", BOT, "--key-of", "/none", "--allow", READ, "--audience", ERP, by="alice"),
              MISUSED, "writ delegate: /none does not exist")


def test_json_is_the_whole_answer(one):
    result = writ(one, "delegate", "--agent", BOT, "--key-of", key_file(one, "json"), "--allow", READ, "--audience", ERP, "--json", by="alice")
    opened = json.loads(result.stdout)
    assert set(opened) >= {"task", "edge", "agent", "depth", "not_after", "rule"}
    out = one.path("json.pem")
    issued = json.loads(writ(one, "issue", "--task", opened["task"], "--key", one.path("json.key"), "--out", out, "--json").stdout)
    assert set(issued) >= {"certificate", "chain", "serial", "task", "edge", "not_before", "not_after", "renew_at", "log"}
    with open(out, encoding="ascii") as f:
        assert f.read() == issued["certificate"] + issued["chain"]
    task = json.loads(writ(one, "task", opened["task"], "--json", by="alice").stdout)
    assert task["id"] == opened["task"] and len(task["edges"]) == 1
    revoked = json.loads(writ(one, "complete", opened["task"], "--json", by="alice").stdout)
    assert revoked == {"edges": 1, "leaves": 1, "logged": True}


def test_issuing_makes_a_key_when_told_and_never_replaces_one(one):
    path = one.path("made.key")
    complains(writ(one, "issue", "--task", "t", "--key", path, "--out", "-"), FAILED, f"writ issue: {path} does not exist")
    first = writ(one, "issue", "--task", "no-such-task", "--new-key", "--key", path, "--out", one.path("made.pem"))
    assert first.returncode == FAILED and first.stderr.startswith("writ issue: NOT_FOUND: "), first
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600 and not os.path.exists(one.path("made.pem"))
    opened = dict(fields(writ(one, "delegate", "--agent", BOT, "--key-of", path, "--allow", READ, "--audience", ERP, by="alice")))
    complains(writ(one, "issue", "--task", opened["task"], "--new-key", "--key", path, "--out", one.path("made.pem")), FAILED,
              f"writ issue: {path} is there already: a new key never replaces one; leave --new-key away to use it")
    told = fields(writ(one, "issue", "--task", opened["task"], "--key", path, "--out", one.path("made.pem"), "--lifetime", "90s"))
    assert [name for name, _ in told] == ["serial", "ends", "renew at", "log entry", "written to"]
    with open(one.path("made.pem"), "rb") as f:
        leaf = x509.load_pem_x509_certificate(f.read())
    assert f"{leaf.serial_number:032x}" == dict(told)["serial"]
    assert (leaf.not_valid_after - leaf.not_valid_before).total_seconds() + 1 == 120


def test_a_key_that_the_task_does_not_name_gets_nothing(one):
    opened = delegated(one, "named-key")
    complains(writ(one, "issue", "--task", opened["task"], "--key", key_file(one, "other-key"), "--out", one.path("other.pem")), FAILED,
              f"writ issue: NOT_FOUND: no delegation of task '{opened['task']}' names this key: task {opened['task']} has no edge for this key")
    assert not os.path.exists(one.path("other.pem"))


def test_a_leaf_is_renewed_by_its_holder(one):
    had = with_leaf(one, "renewer")
    told = dict(fields(writ(one, "renew", "--out", one.path("renewed.pem"), "--lifetime", "120", by="renewer")))
    assert told["serial"] != had["serial"] and told["written to"] == one.path("renewed.pem")
    complains(writ(one, "renew", "--out", one.path("stolen.pem"), by="alice"), REFUSED,
              f"writ renew: refused by K1: spiffe://{TD}/human/corp/alice is outside: an agent does this, with its leaf; "
              "a human or service uses POST /v1/tasks")
    assert not os.path.exists(one.path("stolen.pem"))


def test_an_agent_delegates_on_as_who_it_is(one):
    had = with_leaf(one, "parent", "alice", BOT, "--depth", "2")
    told = delegated(one, "child", "parent", READER)
    assert (told["task"], told["depth"], told["allowed by"]) == (had["task"], "0 more", "rule readers")
    complains(writ(one, "delegate", "--agent", READER, "--key-of", one.path("child.key"), "--allow", READ, "--audience", ERP,
                   "--task", "own", by="parent"), MISUSED,
              "writ delegate: --task and --purpose belong to whoever opens the task; an agent delegates within its own")
    told = fields(writ(one, "task", had["task"], by="parent"))
    names = [name for name, _ in told]
    assert names == ["task", "state", "opened by", "created", "ends", "edge", "edge"], told
    assert told[1][1] == "open" and told[2][1] == f"spiffe://{TD}/human/corp/alice"
    assert re.fullmatch(rf"{had['edge']} live: spiffe://{TD}/human/corp/alice -> {had['agent']}, 2 more, ends {TIME}", told[5][1])


def test_what_policy_refuses_exits_3_with_rule_value_and_limit(one):
    with_leaf(one, "wide", "alice", BOT, "--depth", "1")
    result = writ(one, "delegate", "--agent", READER, "--key-of", key_file(one, "wider"), "--allow",
                  f"payments:write on {ERP}/v2/payments/**", "--audience", ERP, by="wide")
    complains(result, REFUSED, f"writ delegate: refused by S1: payments:write on {ERP}/v2/payments/** is outside: parent grants {READ}; "
              "ask for a scope within the parent's, each entitlement inside one of its")
    result = writ(one, "delegate", "--agent", BOT, "--key-of", one.path("wider.key"), "--allow", READ, "--audience",
                  "https://elsewhere.example", by="alice")
    complains(result, REFUSED, f"writ delegate: refused by invoices: audience: https://elsewhere.example is outside: {ERP}; "
              "ask for an audience that the rule names")
    result = writ(one, "delegate", "--agent", BOT, "--key-of", one.path("wider.key"), "--allow", READ, "--audience", ERP,
                  "--ends", "3h", by="alice")
    complains(result, REFUSED, "writ delegate: refused by invoices: max_grant: 10800 s is outside: 7200 s; ask for an earlier end")


def test_whoever_is_not_known_exits_1(one):
    complains(writ(one, "task", "any"), FAILED, "writ task: UNAUTHENTICATED: this needs a client certificate of a configured delegator or an agent")
    complains(writ(one, "task", "no-such-task", by="alice"), FAILED, "writ task: NOT_FOUND: task 'no-such-task' is not known, or not yours to see")
    complains(writ(one, "log", by="alice"), REFUSED, f"writ log: refused by auditor: spiffe://{TD}/human/corp/alice is outside: "
              "principals with the auditor role; the policy's roles name them")


def test_a_server_that_is_away_exits_4(one):
    away = f"https://127.0.0.1:{free_port()}"
    result = writ(one, "task", "any", env={"WRIT_API": away})
    complains(result, LATER, re.compile(rf"writ task: {away}/v1/tasks/any: .*onnect.*\n"))
    complains(writ(one, "status", "--status", away.replace("https", "http")), LATER,
              re.compile(rf"writ status: {away.replace('https', 'http')}/healthz: .*onnect.*\n"))


def test_a_server_of_another_ca_is_not_talked_to(one):
    result = writ(one, "task", "any", by="alice", env={"WRIT_CA": one.write_anchor()})
    complains(result, FAILED, re.compile(r"writ task: https://127\.0\.0\.1:\d+/v1/tasks/any: .*certificate.*\n"))


# ---- complete, revoke ----

def test_completing_tells_what_was_revoked(one):
    had = with_leaf(one, "completed")
    assert fields(writ(one, "complete", had["task"], by="alice")) == [("edges", "1"), ("leaves revoked", "1"), ("logged", "yes")]
    told = dict(fields(writ(one, "task", had["task"], by="alice")))
    assert told["state"] == "complete" and re.fullmatch(TIME, told["ended"]) and " revoked: " in told["edge"]
    complains(writ(one, "issue", "--task", had["task"], "--key", one.path("completed.key"), "--out", "-"), REFUSED,
              f"writ issue: refused by L4: {had['task']} is outside: the task is complete; a new task is needed")


def test_an_edge_a_leaf_a_task_and_a_principal_can_be_revoked(one):
    for n, (what, by) in enumerate((("edge", "alice"), ("serial", "alice"), ("task", "alice"), ("agent", "olga"))):
        name = f"gone-{n}"
        had = with_leaf(one, name)
        option = "--principal" if what == "agent" else "--" + what
        told = dict(fields(writ(one, "revoke", option, had[what], "--reason", "superseded", by=by)))
        assert told["leaves revoked"] == "1" and told["logged"] == "yes", told
        refused = verify(one, one.path(name + ".pem"), "--allow-software", "--status")
        assert refused.returncode == FAILED and re.search(rf"revoked at {TIME} \(superseded\)", refused.stderr), refused
        again = dict(fields(writ(one, "revoke", option, had[what], by=by)))
        assert again["leaves revoked"] == "0", "revoking again changes nothing"


def test_revoking_is_refused_to_strangers_and_for_unknown_reasons(one):
    had = with_leaf(one, "kept")
    complains(writ(one, "revoke", "--task", had["task"], by="bob"), REFUSED,
              "writ revoke: refused by R0: this revocation is outside: revoked by its opener or an operator; ask one of them")
    complains(writ(one, "revoke", "--task", had["task"], "--reason", "boredom", by="alice"), FAILED,
              "writ revoke: INVALID: member 'reason' must be one of unspecified, keyCompromise, affiliationChanged, superseded, "
              "cessationOfOperation, privilegeWithdrawn")
    complains(writ(one, "revoke", "--serial", "xyz", by="alice"), FAILED, "writ revoke: INVALID: member 'serial' must be 32 lower-case hex digits")
    assert verify(one, one.path("kept.pem"), "--allow-software", "--status").returncode == DONE


# ---- inspect ----

@pytest.fixture(scope="module")
def told(one):
    """A leaf two hops deep, and what it should tell."""
    parent = with_leaf(one, "bot", "alice", BOT, "--depth", "2", "--purpose", "Close the books of Q3")
    child = with_leaf(one, "reader", "bot", READER)
    return parent, child


def test_inspect_says_in_plain_words_who_authorised_what_for_whom_until_when(one, told):
    parent, child = told
    result = writ(one, "inspect", one.path("bot.pem"))
    text = result.stdout.splitlines()
    assert (result.returncode, result.stderr) == (DONE, "")
    assert text[0] == f"agent         {parent['agent']}"
    assert text[1] == f"task          {parent['task']}"
    assert re.fullmatch(rf"authorised by human spiffe://{TD}/human/corp/alice, by .+, {TIME} until {TIME}; may be passed on 2 more times",
                        next(line for line in text if line.startswith("authorised by")))
    assert f"may           invoices:read on {INVOICES}; may pass it on" in text
    assert f"towards       {ERP}" in text
    assert any(re.fullmatch(rf"valid         {TIME} to {TIME}, \d+ s left", line) for line in text), text
    assert any(line.startswith("issuing CA    key id ") and line.endswith(", custody software") for line in text), text
    assert f"serial        {parent['serial']}" in text

    text = writ(one, "inspect", one.path("reader.pem")).stdout.splitlines()
    hops = [line for line in text if line.startswith(("authorised by", "passed on by"))]
    assert hops[0].startswith(f"authorised by human spiffe://{TD}/human/corp/alice, ") and hops[1].startswith(f"passed on by  agent {parent['agent']}, ")
    assert len(hops) == 2 and text[0] == f"agent         {child['agent']}"


def test_inspect_as_json_and_the_chain(one, told):
    parent, _ = told
    said = json.loads(writ(one, "inspect", "--json", one.path("bot.pem")).stdout)
    assert parent["serial"] in json.dumps(said) and parent["agent"] in json.dumps(said)
    chain = writ(one, "inspect", "--chain", one.path("bot.pem"))
    with open(one.path("bot.pem"), encoding="ascii") as f:
        assert chain.returncode == DONE and f.read().endswith(chain.stdout) and chain.stdout.count("BEGIN CERTIFICATE") == 1


def test_inspect_refuses_what_is_no_leaf(one, told):  # pylint: disable=unused-argument
    complains(writ(one, "inspect", one.path("alice.pem")), FAILED,
              f"writ inspect: {one.path('alice.pem')} is not a leaf of a Writ: leaf: serial: 20 octets, ours have 16")
    complains(writ(one, "inspect", one.path("alice.key")), FAILED, f"writ inspect: {one.path('alice.key')}: PEM: no further block 'CERTIFICATE'")
    complains(writ(one, "inspect", "/none.pem"), FAILED, "writ inspect: /none.pem does not exist")
    complains(writ(one, "inspect", "--chain", one.path("alice.pem")), FAILED,
              f"writ inspect: {one.path('alice.pem')} holds no issuing CA behind the leaf")


# ---- verify ----

def test_verify_accepts_a_live_leaf_and_tells_what_was_checked(one, told):
    parent, _ = told
    assert fields(verify(one, one.path("bot.pem"), "--allow-software"))[:2] == [
        ("verified", "path, profile and delegation; status was not asked for"), ("agent", parent["agent"])]
    told_fields = fields(verify(one, one.path("bot.pem"), "--allow-software", "--status", "--audience", ERP))
    assert told_fields[0] == ("verified", "path, profile and delegation, and status") and re.fullmatch(TIME, dict(told_fields)["until"])


def test_verify_refuses_another_anchor_trust_domain_or_audience_and_software(one, told):  # pylint: disable=unused-argument
    leaf = one.path("bot.pem")
    other = House("swtpm")
    try:
        other.init()
        anchor = os.path.join(other.path("state"), "certs", "anchor.der")
        complains(verify(one, leaf, "--allow-software", anchor=anchor), FAILED,
                  f"writ verify: {leaf} is refused: chain: issuing CA: its issuer is not the anchor by name")
    finally:
        other.close()
    complains(verify(one, leaf, "--allow-software", anchor=one.path("corp.pem")), FAILED,
              f"writ verify: {leaf} is refused: chain: issuing CA: its issuer is not the anchor by name")
    complains(verify(one, leaf, "--allow-software", trust_domain="agents.other.example"), FAILED,
              f"writ verify: {leaf} is refused: chain: leaf: trust domain '{TD}', but this anchor is trusted for 'agents.other.example' only")
    complains(verify(one, leaf), FAILED,
              f"writ verify: {leaf} is refused: chain: leaf: its issuing key is kept in software (cp-software), which is not allowed here")
    complains(verify(one, leaf, "--allow-software", "--audience", "https://elsewhere.example"), FAILED,
              f"writ verify: {leaf} is refused: chain: leaf: we are 'https://elsewhere.example', and not among its audience")


def test_verify_refuses_a_leaf_without_its_issuing_ca_and_one_that_was_changed(one, told):  # pylint: disable=unused-argument
    with open(one.path("bot.pem"), encoding="ascii") as f:
        pem = f.read()
    lone = one.path("lone.pem")
    with open(lone, "w", encoding="ascii") as f:
        f.write(pem[:pem.index("-----BEGIN", 1)])
    complains(verify(one, lone, "--allow-software"), FAILED, f"writ verify: {lone} holds no issuing CA behind the leaf: a path needs it")
    blocks = [x509.load_pem_x509_certificate(("-----BEGIN" + p).encode()) for p in pem.split("-----BEGIN")[1:]]
    der = bytearray(blocks[0].public_bytes(serialization.Encoding.DER))
    der[-5] ^= 1
    body = base64.encodebytes(bytes(der)).decode().replace("\n", "")
    changed = one.path("changed.pem")
    with open(changed, "w", encoding="ascii") as f:
        f.write("-----BEGIN CERTIFICATE-----\n" + "\n".join(body[i:i + 64] for i in range(0, len(body), 64)) +
                "\n-----END CERTIFICATE-----\n" + pem[pem.index("-----BEGIN", 1):])
    complains(verify(one, changed, "--allow-software"), FAILED,
              f"writ verify: {changed} is refused: chain: leaf: the signature is not this P-256 key's over these bytes")


def test_verify_refuses_a_revoked_leaf_by_ocsp_and_by_a_crl_file(one):
    had = with_leaf(one, "struck")
    leaf = one.path("struck.pem")
    dict(fields(writ(one, "revoke", "--serial", had["serial"], "--reason", "keyCompromise", by="alice")))
    complains(verify(one, leaf, "--allow-software", "--status"), FAILED,
              re.compile(re.escape(f"writ verify: {leaf} is refused: chain: leaf: revoked at ") + TIME + r" \(keyCompromise\)\n"))
    agent = Agent(one, "struck-reader")
    with open(leaf, encoding="ascii") as f:
        agent.issued = {"certificate": f.read()}
    end = time.monotonic() + 8
    while True:
        crl = one.crl(agent)
        if crl.get_revoked_certificate_by_serial_number(int(had["serial"], 16)) or time.monotonic() > end:
            break
        time.sleep(0.2)
    with open(one.path("issuing.crl"), "wb") as f:
        f.write(crl.public_bytes(serialization.Encoding.DER))
    complains(verify(one, leaf, "--allow-software", "--crl", one.path("issuing.crl")), FAILED,
              re.compile(re.escape(f"writ verify: {leaf} is refused: chain: leaf: revoked at ") + TIME + r" \(keyCompromise\)\n"))
    assert verify(one, leaf, "--allow-software").returncode == DONE, "status is looked at when it is asked for"


def test_verify_believes_no_crl_of_somebody_else(one, told):  # pylint: disable=unused-argument
    complains(verify(one, one.path("bot.pem"), "--allow-software", "--crl", one.path("corp.pem")), FAILED,
              f"writ verify: {one.path('corp.pem')}: PEM: no further block 'X509 CRL'")
    complains(verify(one, one.path("bot.pem"), "--allow-software", "--crl", "/none.crl"), FAILED, "writ verify: /none.crl does not exist")


def test_verify_tells_whether_a_request_is_allowed_and_by_what(one, told):
    parent, _ = told
    leaf = one.path("bot.pem")
    asked = ["--allow-software", "--action", "invoices:read", "--resource"]
    said = fields(verify(one, leaf, *asked, ERP + "/v2/invoices/2026/17", "--peer", "10.1.2.3", "--param", "limit=5"))
    assert said[-1] == ("allowed", f"invoices:read on {ERP}/v2/invoices/2026/17, by entitlement 1")
    complains(verify(one, leaf, *asked, ERP + "/v2/ledger"), REFUSED,
              f"writ verify: {leaf} is believed, but does not allow it: none of 1 covers invoices:read on {ERP}/v2/ledger")
    complains(verify(one, leaf, *asked, ERP + "/v2/invoices/../ledger"), REFUSED,
              f"writ verify: {leaf} is believed, but does not allow it: resource '{ERP}/v2/invoices/../ledger': has a '.' or '..' segment")
    told_as_json = json.loads(verify(one, leaf, *asked, ERP + "/v2/invoices/17", "--json").stdout)
    assert told_as_json["act"]["sub"] == parent["agent"] and told_as_json["writ"]["serial"] == parent["serial"]
    for wrong, said in [
        (["--action", "invoices:read"], "--action and --resource go together: a request is one on the other"),
        (["--peer", "10.1.2.3"], "--peer and --param are of a request: say its --action and --resource"),
        ([*asked[1:], ERP, "--peer", "ten"], "--peer: 'ten' is no IP address"),
        ([*asked[1:], ERP, "--param", "=5"], "--param: '=5' is not NAME=VALUE with a name of 1 to 64 octets"),
    ]:
        complains(verify(one, leaf, *wrong), MISUSED, f"writ verify: {said}")


# ---- policy ----

def test_a_policy_is_checked_and_printed(one):
    path = one.path("policy.yaml")
    checked = writ(one, "policy", "check", path)
    assert checked.returncode == DONE and checked.stdout.splitlines()[-1] == "policy: test-policy is well formed, 0 warnings", checked
    printed = writ(one, "policy", "check", "--print", path)
    again = one.path("printed.yaml")
    with open(again, "w", encoding="utf-8") as f:
        f.write(printed.stdout)
    assert printed.returncode == DONE and writ(one, "policy", "check", "--print", again).stdout == printed.stdout
    complains(writ(one, "policy", "check", one.path("writ.yaml")), FAILED,
              f"writ policy check: {one.path('writ.yaml')}:2:1: unknown key \"trust_domain\"; known here: version, id, revision, embed_purpose, roles, rules")


def explain(house, *more, delegator=f"spiffe://{TD}/human/corp/alice", agent=BOT + "/new", kind="human"):
    return writ(house, "policy", "explain", house.path("policy.yaml"), "--delegator", delegator, "--kind", kind, "--agent", agent,
                "--audience", ERP, *more)


def test_a_decision_is_explained_rule_by_rule_without_asking_anybody(one):
    allowed = explain(one, "--allow", READ, "--ends", "1h")
    assert (allowed.returncode, allowed.stderr) == (DONE, "") and "verdict: allowed by rule 'invoices'" in allowed.stdout, allowed
    for result in (explain(one, "--allow", f"payments:write on {ERP}/v2/payments/**"), explain(one, "--allow", READ, "--ends", "3h"),
                   explain(one, "--allow", READ, kind="service"), explain(one, "--allow", READ, "--depth", "4"),
                   explain(one, "--allow", READ, delegator=f"spiffe://{TD}/service/ci")):
        assert result.returncode == REFUSED and "verdict: denied" in result.stdout and result.stderr == "", result
    complains(explain(one, "--allow", "payments"), MISUSED, "writ policy explain: 'payments' is not 'ACTION[,ACTION] on RESOURCE[,RESOURCE]'")


# ---- status, log, doctor ----

def test_status_tells_tier_keys_and_live_leaves(one):
    told = fields(writ(one, "status", "--status", one.status_url("")))
    assert fields(writ(one, "status", "--config", one.path("writ.yaml")))[0] == told[0]
    assert any("software" in value for _, value in told), told
    said = json.loads(writ(one, "status", "--status", one.status_url(""), "--json").stdout)
    assert isinstance(said, dict) and len(said) >= 3, said


def entries_of(result):
    """[index, kind, text] of each entry: a line that begins with its index, and below it what the issuer said."""
    entries = []
    for line in result.stdout.splitlines():
        if line.startswith(" "):
            assert line.startswith("    said:"), line
            entries[-1][2] += line
        else:
            index, _, kind, *more = line.split(" ", 3)
            entries.append([int(index), kind, " ".join(more)])
    return entries


def test_the_auditor_reads_the_journal_and_one_task_of_it(one):
    had = with_leaf(one, "logged")
    index = int(had["log entry"])
    (found,) = entries_of(writ(one, "log", "--from", str(index), "--count", "1", by="ada"))
    assert found[:2] == [index, "issue"]
    seen, said = found[2].split("    said:")
    assert had["serial"] in seen and had["task"] in seen, "what the signer saw for itself"
    assert f"spiffe://{TD}/human/corp/alice" in said and "alice" not in seen, "what it has on the issuer's word only"
    lines = writ(one, "log", "--from", str(index), "--count", "1", "--json", by="ada").stdout.splitlines()
    assert json.loads(lines[0])["index"] == index and json.loads(lines[0])["entry"]["serial"] == had["serial"]
    dict(fields(writ(one, "revoke", "--serial", had["serial"], by="alice")))
    entries = entries_of(writ(one, "log", "--task", had["task"], by="ada"))
    assert {"issue", "revoke"} <= {kind for _, kind, _ in entries}, entries
    assert all(had["task"] in text or had["serial"] in text for _, _, text in entries), entries
    whole = entries_of(writ(one, "log", by="ada"))
    assert [index for index, _, _ in whole] == list(range(len(whole))), "page after page, without a gap"


def doctor(house):
    return writ(house, "doctor", "--config", house.path("writ.yaml"))


def test_the_doctor_finds_nothing_wrong_with_a_running_writ(one):
    result = doctor(one)
    assert result.returncode == DONE and "\nbad " not in result.stdout, result
    for line in (f"ok    configuration: {one.path('writ.yaml')}", "warn  custody: a software TPM is allowed: leaves say cp-software",
                 f"ok    policy: {one.path('policy.yaml')}", f"ok    health: {one.status_url('/healthz')}"):
        assert line in result.stdout.splitlines(), result.stdout


@pytest.mark.parametrize("name,mode,good,words", [
    ("api.key", 0o640, 0o600, "bad   API key: {path} has mode 0640: chmod 600 {path}"),
    ("tpm-auth", 0o604, 0o600, "bad   TPM auth value: {path} has mode 0604: chmod 600 {path}"),
    ("policy.yaml", 0o666, 0o644, "bad   policy: {path} has mode 0666: others than its owner may write it: chmod go-w"),
    ("state/keys", 0o750, 0o700, "bad   folders: {path} has mode 0750, more than 0700: chmod 0700 {path}"),
])
def test_the_doctor_finds_a_wrong_mode_and_says_how_to_correct_it(one, name, mode, good, words):
    path = one.path(name)
    os.chmod(path, mode)
    try:
        result = doctor(one)
    finally:
        os.chmod(path, good)
    assert result.returncode == FAILED and words.format(path=path) in result.stdout.splitlines(), result.stdout
    assert doctor(one).returncode == DONE


# ---- init ----

@pytest.fixture
def empty():
    """A maker of houses without a ceremony, closed after the test."""
    made = []

    def make(*args, **kwargs):
        made.append(House(*args, **kwargs))
        return made[-1]
    yield make
    for house in made:
        house.close()


def test_the_doctor_of_a_writ_that_was_never_made_changes_nothing(empty):
    house = empty()
    before = sorted(os.listdir(house.dir))
    result = doctor(house)
    assert result.returncode == FAILED and f"bad   folders: {house.path('state')}: No such file or directory" in result.stdout.splitlines(), result
    assert sorted(os.listdir(house.dir)) == before


def test_the_ceremony_tells_what_it_makes_and_is_not_held_twice(empty):
    house = empty()
    told = house.init().stdout
    for line in (rf"made: {house.path('tpm-auth')}: the auth value of the TPM's keys; without it they are lost",
                 rf"ceremony for trust domain {TD}, state {house.path('state')}", "anchor key: P-256, made in the device, key id [0-9a-f]{40}",
                 f"anchor certificate: self-signed, until {TIME}",
                 f"issuing key: P-256, in memory, sealed by the device at rest, key id [0-9a-f]{{40}}, until {TIME}",
                 f"anchor CRL: number [0-9]+, until {TIME}", f"next: writd --config {house.path('writ.yaml')}"):
        assert re.search(f"^{line}$", told, re.M), told

    def everything():
        found = {}
        for folder, _, names in os.walk(house.path("state")):
            for name in names:
                with open(os.path.join(folder, name), "rb") as f:
                    found[os.path.join(folder, name)] = f.read()
        return found
    before = everything()
    again = writ(house, "init", "--config", house.path("writ.yaml"))
    assert again.returncode == FAILED and f"{house.path('state')} is initialised already: nothing was changed" in again.stderr, again
    assert again.stderr.endswith("writ init: writ-signerd ended with 1: its complaint is above\n")
    assert everything() == before


def test_the_anchor_may_have_a_p384_key_and_no_other_kind_than_two(empty):
    house = empty()
    result = writ(house, "init", "--config", house.path("writ.yaml"), "--anchor-key", "Ed25519")
    assert result.returncode != DONE and "--anchor-key Ed25519 is neither P-256 nor P-384" in result.stderr, result
    result = writ(house, "init", "--config", house.path("writ.yaml"), "--anchor-key", "P-384")
    assert result.returncode == DONE and "anchor key: P-384, made in the device" in result.stdout, result
    house.start()
    assert house.anchor().public_key().curve.name == "secp384r1"
    had = with_leaf(house, "p384")
    assert had and verify(house, house.path("p384.pem"), "--allow-software", "--status").returncode == DONE


def openssl(house, *arguments, check=True):
    return subprocess.run(["openssl", *arguments], cwd=house.dir, capture_output=True, text=True, check=check, timeout=30)


OWNERS_WARNING = "The root that signs this anchor must be one that no TLS server of yours trusts for client certificates"


def test_an_owners_root_signs_the_anchor_and_openssl_follows_the_path_up_to_it(empty):
    house = empty()
    config, request = house.path("writ.yaml"), house.path("anchor.csr")
    asked = writ(house, "init", "--config", config, "--csr", request)
    assert asked.returncode == MISUSED and asked.stdout == "" and not os.path.exists(request), asked
    assert asked.stderr.startswith(OWNERS_WARNING) and asked.stderr.endswith("writ init: no terminal to ask at: say --root-is-private when that is so\n")
    assert not os.path.exists(house.path("state")), "not confirmed: nothing is made"

    made = writ(house, "init", "--config", config, "--csr", request, "--root-is-private")
    assert made.returncode == DONE and made.stderr.startswith(OWNERS_WARNING), made
    assert made.stdout.endswith(f"next: have the owner's root sign {request}, then writ init --import CERT.pem\n")
    openssl(house, "req", "-in", request, "-noout", "-verify")
    unready = subprocess.run([program("writ-signerd"), "--config", config], capture_output=True, text=True, timeout=30, check=False)
    assert unready.returncode == FAILED and f"{house.path('state')} is not initialised: run writ init" in unready.stderr, unready

    openssl(house, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes", "-keyout", "root.key", "-out", "root.pem",
            "-days", "3650", "-subj", "/O=Owner/CN=Owner Root", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    sign = ["x509", "-req", "-in", request, "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-days", "365"]
    openssl(house, *sign, "-copy_extensions", "copyall", "-out", "anchor.pem")
    openssl(house, *sign, "-extfile", "/dev/null", "-out", "no-ca.pem")
    openssl(house, "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "x.key", "-out", "x.csr", "-subj", "/CN=x",
            "-addext", "basicConstraints=critical,CA:TRUE,pathlen:1", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    openssl(house, "x509", "-req", "-in", "x.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-copy_extensions", "copyall",
            "-out", "other-key.pem")
    for wrong in ("no-ca.pem", "other-key.pem", "corp.pem"):
        refused = writ(house, "init", "--config", config, "--import", house.path(wrong), "--root-is-private")
        assert refused.returncode == FAILED and house.path(wrong) + ":" in refused.stderr, refused
        assert not os.path.exists(house.path("state/VERSION"))

    imported = writ(house, "init", "--config", config, "--import", house.path("anchor.pem"), "--root-is-private")
    assert imported.returncode == DONE, imported
    assert "anchor certificate: of your root, until " in imported.stdout and imported.stdout.endswith(f"next: writd --config {config}\n")
    house.start()
    with_leaf(house, "owned")
    assert verify(house, house.path("owned.pem"), "--allow-software", "--status").returncode == DONE
    house.write_anchor()
    with open(house.path("owned.pem"), encoding="ascii") as f, open(house.path("between.pem"), "w", encoding="ascii") as out:
        pem = f.read()
        out.write(pem[pem.index("-----BEGIN", 1):])
        with open(house.path("anchor.pem"), encoding="ascii") as anchor:
            out.write(anchor.read())
    checked = openssl(house, "verify", "-x509_strict", "-CAfile", "root.pem", "-untrusted", "between.pem", "owned.pem", check=False)
    assert checked.returncode == 0 and checked.stdout == "owned.pem: OK\n", checked
    checked = openssl(house, "verify", "-CAfile", "corp.pem", "-untrusted", "between.pem", "owned.pem", check=False)
    assert checked.returncode != 0, "up to that root only"
