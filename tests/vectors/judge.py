"""Speaks with the program `judge` (judge.c), which answers for libwrit.  Sends many questions at once: one process answers all."""
import os
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))


def program():
    """Where the build put it."""
    build = os.environ.get("WRIT_BUILD", os.path.join(HERE, "..", "..", "build", "dev"))
    return os.path.join(build, "tests", "judge")


def ask(lines):
    """One answer a line: (code, rule, more)."""
    done = subprocess.run([program()], input="".join(line + "\n" for line in lines).encode(), capture_output=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr.decode()
    answers = [tuple(line.split("\t", 2)) for line in done.stdout.decode().splitlines()]
    assert len(answers) == len(lines), (len(answers), len(lines))
    return answers


def text(value):
    return value.encode().hex()


def trust(case, load):
    """The lines that make a verifier of a case; `load` reads a file by its name in the case."""
    lines = ["new", f"anchor {load(case['anchor']).hex()} {text(case['trust_domain'])}"]
    lines += [f"option {name} {value}" for name, value in case.get("options", {}).items()]
    lines += [f"identity {text(identity)}" for identity in case.get("identities", [])]
    lines += [f"policy {digest}" for digest in case.get("policies", [])]
    lines += [f"acr {text(acr)}" for acr in case.get("acrs", [])]
    if case.get("crls"):
        lines.append(f"issuing {load(case['chain'][1]).hex()} {case['now']}")
    lines += [f"crl {load(crl).hex()} {case['now']}" for crl in case.get("crls", [])]
    return lines


def verify(chain, now, ocsp=b""):
    return f"verify {now} {ocsp.hex() or '-'} {' '.join(der.hex() for der in chain)}"


def allow(request):
    words = [word for pair in request.get("parameters", ()) for word in map(text, pair)]
    return " ".join(["allow", str(request["now"]), request.get("peer", "-"), text(request["action"]), text(request["resource"]), *words])


def within(parent, child):
    return f"within {parent.hex()} {child.hex()}"


def decide(facts, now):
    """`facts` as attenuation.json has them: the defaults with what a case changes."""
    return " ".join(["decide", facts["act"], text(facts["delegator"]), facts["kind"], text(facts["agent"]), facts["child"], str(facts["depth"]),
                     str(facts["edge_not_after"]), str(facts["task_ends"]), str(facts["lifetime_s"]), facts["parent"], str(facts["parent_depth"]),
                     str(facts["parent_hop_not_after"]), str(facts["parent_newest_leaf"]), text(facts["policy"]), str(now)])
