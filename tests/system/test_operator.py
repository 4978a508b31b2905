"""`anchor: operator`: the anchor is in a token that is here only while an operator has it sign generations ahead; its PIN stays with whoever typed it."""
import os
import pty
import subprocess
import time

import pytest
from cryptography import x509

import journal
from house import House, program, wait_for

DONE, FAILED, MISUSED = 0, 1, 2
PIN = "operators-own-pin"
ROTATION_S = 10


class Card:
    """A PKCS#11 token of its own, that can be taken out."""

    def __init__(self, house):
        self.house, self.folder, self.pin = house, house.path("card"), house.path("card.pin")
        os.makedirs(self.folder)
        conf = house.path("card.conf")
        with open(conf, "w", encoding="ascii") as f:
            f.write(f"directories.tokendir = {self.folder}\nobjectstore.backend = file\nlog.level = ERROR\n")
        subprocess.run(["softhsm2-util", "--init-token", "--free", "--label", "writ-anchor", "--so-pin", "so-731942", "--pin", PIN], check=True, capture_output=True,
                       env=dict(os.environ, SOFTHSM2_CONF=conf))
        self.write_pin(PIN)
        module = next(p for p in ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
                                  "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so") if os.path.exists(p))
        with open(house.path("writ.yaml"), encoding="utf-8") as f:
            text = f.read()
        with open(house.path("writ.yaml"), "w", encoding="utf-8") as f:
            f.write(text.replace("  anchor: device\n", f"  anchor: operator\n  rotation_s: {ROTATION_S}\n  operator: {{module: {module}, "
                                 f"uri: 'pkcs11:token=writ-anchor;manufacturer=SoftHSM%20project', environment: ['SOFTHSM2_CONF={conf}']}}\n"))

    def write_pin(self, text):
        with open(self.pin, "w", encoding="ascii") as f:
            f.write(text + "\n")
        os.chmod(self.pin, 0o600)

    def out(self):
        os.rename(self.folder, self.folder + ".away")

    def back(self):
        os.rename(self.folder + ".away", self.folder)


@pytest.fixture(scope="module")
def one():
    house = House("swtpm")
    try:
        card = Card(house)
        house.card = card
        yield house
    finally:
        house.close()


def writ(house, *arguments, **kwargs):
    return house.run(*arguments, "--config", house.path("writ.yaml"), check=False, stdin=subprocess.DEVNULL, **kwargs)


def test_the_ceremony_wants_the_pin_and_a_wrong_one_makes_nothing(one):
    for arguments, words in (([], "writ init: the anchor's token: no terminal to ask for the PIN of the anchor's token at: say --anchor-pin FILE or fd:N\n"),
                             (["--anchor-pin", "fd:999"], "writ init: the anchor's token: --anchor-pin fd:999 is no open descriptor\n")):
        refused = writ(one, "init", *arguments)
        assert refused.returncode == FAILED and refused.stderr.endswith(words), refused
    one.card.write_pin("not-the-pin")
    refused = writ(one, "init", "--anchor-pin", one.card.pin)
    assert refused.returncode == FAILED and "writ init: the anchor's token: " in refused.stderr and PIN not in refused.stderr, refused
    assert not os.path.exists(one.path("state/keys/anchor.ref")) and not os.path.exists(one.path("state/VERSION"))
    one.card.write_pin(PIN)
    told = one.run("init", "--config", one.path("writ.yaml"), "--anchor-pin", one.card.pin).stdout
    assert "anchor's token: SoftHSM project SoftHSM v2, serial " in told and "anchor key: P-256, made in the device of an operator, key id " in told
    os.unlink(one.card.pin)
    one.card.out()
    one.start()


def test_leaves_go_on_without_the_token_and_nothing_certifies(one):
    agent = one.agent_with_leaf("without")
    assert one.ocsp(agent) == "GOOD"
    keys = one.run("key", "list", "--config", one.path("writ.yaml")).stdout
    forced = writ(one, "key", "rotate")
    assert forced.returncode == 4 and "the anchor is an operator's: it signs while writ rotate runs, and now nobody does" in forced.stderr, forced
    one.card.write_pin(PIN)
    away = writ(one, "rotate", "--anchor-pin", one.card.pin)
    os.unlink(one.card.pin)
    assert away.returncode != DONE and "writ rotate: the anchor's token: " in away.stderr, away
    assert one.run("key", "list", "--config", one.path("writ.yaml")).stdout.count("role issuing") == 1 and "role ready" not in keys
    entries = journal.read(one.path("state/journal"), live=True)
    assert [e.json["role"] for e in entries if e.type == "key" and "event" not in e.json and e.json["role"] != "ocsp"] == ["anchor", "issuing", "transcript"], "and nothing was written down as certified"


def test_an_operator_has_generations_certified_ahead_and_they_take_over_one_by_one(one):
    """The PIN comes by a descriptor here."""
    one.card.back()
    read, write = os.pipe()
    os.write(write, PIN.encode())
    os.close(write)
    done = writ(one, "rotate", "--generations", "2", "--anchor-pin", f"fd:{read}", pass_fds=[read])
    os.close(read)
    assert done.returncode == DONE and done.stdout.startswith("certified: 2\ncrl_until: ") and "\ndone: yes\n" in done.stdout, done
    one.card.out()
    keys = [line for line in one.run("key", "list", "--config", one.path("writ.yaml")).stdout.splitlines() if "role ready" in line]
    assert len(keys) >= 1, "two, or one of them took over already"
    first = one.agent_with_leaf("first").issued["chain"]
    wait_for("the next generation", lambda: one.agent_with_leaf(f"next-{time.monotonic_ns()}").issued["chain"] != first, 3 * ROTATION_S)
    crl = x509.load_der_x509_crl(one.get(f"/crl/{x509.SubjectKeyIdentifier.from_public_key(one.anchor().public_key()).digest.hex()}.crl"))
    assert crl.is_signature_valid(one.anchor().public_key())
    entries = journal.read(one.path("state/journal"), live=True)
    asked = next(e for e in entries if e.type == "admin" and e.json.get("did") == "certify")
    certified = [e for e in entries if e.type == "key" and "event" not in e.json and e.json["role"] == "issuing"]
    assert [e.index > asked.index for e in certified] == [False, True, True], "asked for by somebody, then certified"


def test_the_pin_may_be_typed_and_is_nowhere_afterwards(one):
    one.card.back()
    master, slave = pty.openpty()
    typed = subprocess.Popen([program("writ"), "rotate", "--config", one.path("writ.yaml"), "--generations", "1"], stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert typed.stderr.read(len("The PIN of the anchor's token: ")) == "The PIN of the anchor's token: "
    os.write(master, PIN.encode() + b"\n")
    out, err = typed.communicate(timeout=60)
    os.set_blocking(master, False)
    try:
        echoed = os.read(master, 4096)
    except BlockingIOError:
        echoed = b""
    os.close(slave)
    os.close(master)
    assert typed.returncode == DONE and "certified: 1\n" in out and PIN not in out + err and PIN.encode() not in echoed, (out, err, echoed)
    one.card.out()
    for folder, _, names in os.walk(one.dir):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and ".away" not in path:
                with open(path, "rb") as f:
                    assert PIN.encode() not in f.read(), path
    for pid in one.pids("writ-signerd") + one.pids("writ-deviced") + one.pids("writ-issuerd"):
        for what in ("cmdline", "environ") if os.geteuid() == 0 else ("cmdline",):  # who cannot be dumped keeps the other from its own user
            with open(f"/proc/{pid}/{what}", "rb") as f:
                assert PIN.encode() not in f.read()


def test_without_an_operators_anchor_there_is_nothing_for_it_to_do(one):
    with open(one.path("writ.yaml"), encoding="utf-8") as f:
        text = f.read()
    with open(one.path("device.yaml"), "w", encoding="utf-8") as f:
        f.write("\n".join(line.replace("anchor: operator", "anchor: device") for line in text.splitlines() if not line.startswith("  operator:")) + "\n")
    for command, words in (("rotate", "custody.anchor is device: generations come by themselves, and at once by writ key rotate"),
                           ("init", "--anchor-pin goes with custody.anchor: operator")):
        refused = one.run(command, "--config", one.path("device.yaml"), "--anchor-pin", "/none", check=False)
        assert (refused.returncode, refused.stderr) == (MISUSED, f"writ {command}: {words}\n"), refused
    for arguments, words in ((["--generations", "0"], "--generations 0 certifies nothing"), (["--generations", "201"], "--generations: '201' is not a number from 0 to 200")):
        refused = writ(one, "rotate", *arguments)
        assert (refused.returncode, refused.stderr) == (MISUSED, f"writ rotate: {words}\n"), refused
