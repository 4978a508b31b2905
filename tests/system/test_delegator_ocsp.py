"""Revocation of a delegator's certificate by OCSP: its CA's responder (`openssl ocsp`) is asked by writ-fetchd, and its answer counts until max_age."""
import datetime
import os
import re
import subprocess
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from house import Agent, House, free_port, new_key, pem_key, wait_for

MAX_AGE_S = 10


class Responder:
    """`openssl ocsp` over an index that says who is good and who was revoked."""

    def __init__(self, house):
        self.house, self.port, self.process, self.people = house, free_port(), None, {}
        self.sign_with("ocsp", house.ca, house.ca_key)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def sign_with(self, name, ca, ca_key):
        key, now = new_key(), datetime.datetime.utcnow()
        cert = (x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])).issuer_name(ca.subject)
                .public_key(key.public_key()).serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
                .not_valid_after(now + datetime.timedelta(days=2)).add_extension(x509.BasicConstraints(False, None), True)
                .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), False).sign(ca_key, hashes.SHA256()))
        for suffix, data in ((".pem", cert.public_bytes(serialization.Encoding.PEM)), (".key", pem_key(key))):
            with open(self.house.path(name + suffix), "wb") as f:
                f.write(data)
        self.signer = name

    def knows(self, name, revoked=False):
        with open(self.house.path(name + ".pem"), "rb") as f:
            cert = x509.load_pem_x509_certificate(f.read())
        serial = f"{cert.serial_number:X}"
        self.people[name] = "\t".join(["R" if revoked else "V", cert.not_valid_after.strftime("%y%m%d%H%M%SZ"),
                                       datetime.datetime.utcnow().strftime("%y%m%d%H%M%SZ,keyCompromise") if revoked else "",
                                       serial if len(serial) % 2 == 0 else "0" + serial, "unknown", "/CN=" + name])

    def start(self):
        with open(self.house.path("index.txt"), "w", encoding="ascii") as f:
            f.write("".join(line + "\n" for line in self.people.values()))
        self.process = subprocess.Popen(
            ["openssl", "ocsp", "-index", self.house.path("index.txt"), "-port", str(self.port), "-CA", self.house.path("corp.pem"), "-rsigner",
             self.house.path(self.signer + ".pem"), "-rkey", self.house.path(self.signer + ".key"), "-nmin", "60"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(timeout=20)
        self.process = None

    def again(self):
        self.stop()
        self.start()


@pytest.fixture(scope="module")
def place():
    house = House("swtpm")
    responder = Responder(house)
    house.responder = responder
    path = house.path("writ.yaml")
    with open(path, encoding="utf-8") as f:
        text = f.read()
    with open(path, "w", encoding="utf-8") as f:
        f.write(text.replace("revocation: none", f'revocation: {{ocsp: "{responder.url}", max_age: {MAX_AGE_S}s}}'))
    try:
        for name in ("alice", "olga", "bob"):
            responder.knows(name)
        responder.start()
        house.init()
        house.start()
        yield house
    finally:
        responder.stop()
        house.close()


_names = iter(range(10000))


def task_by(house, name):
    return house.open_task(Agent(house, f"agent-{next(_names)}"), house.person(name))


def until(house, name, status):
    """A client that is told to come back comes back."""
    last = []

    def asked():
        last[:] = [task_by(house, name)]
        return last[0].status == status
    wait_for(f"{status} for {name}", asked, 30)
    return last[0]


def refused(answer, status, code, detail):
    assert (answer.status, answer.json["code"]) == (status, code), answer
    assert re.fullmatch(detail, answer.json["detail"]), answer.json["detail"]


def test_who_was_not_asked_about_is_told_to_come_back_and_served_when_the_answer_is_there(place):
    first = task_by(place, "alice")
    refused(first, 503, "UNAVAILABLE", rf"no OCSP answer of {place.responder.url} about the certificate: it was not asked yet, or has not answered")
    assert int(first.headers["Retry-After"]) >= 1
    assert until(place, "alice", 201).status == 201


def test_an_answer_counts_until_its_max_age_and_no_longer(place):
    until(place, "olga", 201)
    until(place, "alice", 201)
    bot = place.agent_with_leaf("bot")
    place.responder.stop()
    assert task_by(place, "olga").status == 201
    late = until(place, "olga", 503)
    refused(late, 503, "UNAVAILABLE", rf"the OCSP answer of {place.responder.url} is 1\d s old, over its max_age of {MAX_AGE_S} s or its nextUpdate")
    assert bot.client().ask("POST", "/v1/renew").status == 201, "an agent's leaf is not asked about: its status is our own"
    place.responder.start()
    assert until(place, "olga", 201).status == 201


def test_who_is_revoked_is_refused_on_an_open_connection_too(place):
    until(place, "bob", 201)
    client = place.person("bob")
    place.responder.knows("bob", revoked=True)
    place.responder.again()
    begun = time.monotonic()
    wait_for("the refusal", lambda: client.ask("GET", "/v1/tasks/none").status == 401, 2 * MAX_AGE_S)
    assert time.monotonic() - begun <= MAX_AGE_S + 5, "asked again at half its age"
    refused(client.ask("GET", "/v1/tasks/none"), 401, "UNAUTHENTICATED", rf"the certificate was revoked: OCSP, {place.responder.url}")
    place.responder.stop()
    refused(task_by(place, "bob"), 401, "UNAUTHENTICATED", rf"the certificate was revoked: OCSP, {place.responder.url}")
    place.responder.start()


def test_who_is_unknown_to_the_responder_waits(place):
    place.certify("zoe")

    def said():
        answer = task_by(place, "zoe")
        return answer if "not asked" not in answer.json["detail"] else None
    refused(wait_for("an answer", said, 30), 503, "UNAVAILABLE", rf"{place.responder.url} does not know the certificate")


def test_an_answer_that_somebody_else_signed_proves_nothing(place):
    stranger = House.__new__(House)
    stranger.dir = place.path("stranger")
    os.mkdir(stranger.dir)
    stranger.corporate_ca()
    place.certify("yan")
    place.responder.knows("yan")
    place.responder.sign_with("foreign", stranger.ca, stranger.ca_key)
    place.responder.again()

    def said():
        answer = task_by(place, "yan")
        return answer if "not asked" not in answer.json["detail"] else None
    refused(wait_for("an answer", said, 30), 503, "UNAVAILABLE",
            rf"no OCSP answer of {place.responder.url} about the certificate: none of the anchors signed it, nor a responder that one of them certified .*")
