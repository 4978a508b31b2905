"""Bounds under abuse: many idle and slow connections, one principal that asks without end, memory after thousands of requests (I14)."""
import os
import resource
import socket
import ssl
import threading
import time

import pytest

import bad
from house import TD, Agent, House, program, wait_for

SANITIZED = any(word in open(program("writ-issuerd"), "rb").read() for word in (b"__asan_init", b"__tsan_init")) if os.path.exists(program("writ-issuerd")) else False
measures = pytest.mark.skipif(SANITIZED, reason="a sanitizer keeps freed memory on purpose")


@pytest.fixture(scope="module")
def narrow():
    """A house that grants a principal few requests a second."""
    made = House("swtpm", extra="limits: {requests_per_principal_s: 20, connections: 700, connections_per_address: 650}\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        made.init()
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))  # less than what 700 connections need
        made.start()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        yield made
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        made.close()


def test_the_issuer_raises_a_low_limit_of_descriptors_to_what_its_connections_need(narrow):
    with open(f"/proc/{narrow.pids('writ-issuerd')[0]}/limits", encoding="ascii") as f:
        soft = next(int(line.split()[3]) for line in f if line.startswith("Max open files"))
    assert soft >= 700


def resident_kib(house, name):
    total = 0
    for pid in house.pids(name):
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            total += next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))
    return total


def test_a_principal_over_its_rate_is_told_when_to_come_back_and_others_are_served(narrow):
    bob, alice, stop = narrow.person("bob"), narrow.person(), threading.Event()
    refused, served = [], []

    def flood():
        while not stop.is_set():
            answer = bob.ask("GET", "/v1/tasks/none")
            (refused if answer.status == 429 else served).append(answer)
    thread = threading.Thread(target=flood)
    thread.start()
    time.sleep(0.5)
    try:
        for n in range(15):  # within alice's own 20
            assert alice.ask("GET", f"/v1/tasks/none-{n}").status == 404
            time.sleep(0.06)
        assert narrow.nobody().ask("POST", "/v1/renew").status == 401
    finally:
        stop.set()
        thread.join()
    assert refused and len(served) <= 20 * 4, (len(refused), len(served))
    problem = refused[0].json
    assert (problem["code"], problem["status"]) == ("EXHAUSTED", 429) and refused[0].headers["Retry-After"] == "1"
    assert f"spiffe://{TD}/human/corp/bob" in problem["detail"] and "20" in problem["detail"], problem
    time.sleep(1.1)
    assert bob.ask("GET", "/v1/tasks/none").status == 404, "a second later the share is full again"


def test_who_has_no_certificate_or_a_revoked_one_has_a_rate_too(narrow):
    agent = narrow.agent_with_leaf("flooding")
    time.sleep(1)
    assert narrow.person("olga").ask("POST", "/v1/revocations", {"serial": agent.serial}).status == 200
    for client, wanted in ((narrow.nobody(), 401), (agent.client(), 401)):
        time.sleep(1.1)
        seen = [client.ask("POST", "/v1/renew").status for _ in range(26)]
        assert set(seen) == {wanted, 429}, seen


def test_five_hundred_idle_and_slow_connections_do_not_disturb_service(one):
    held = []
    try:
        for n in range(500):
            sock = socket.create_connection(("127.0.0.1", one.api_port if n % 2 else one.status_port), timeout=10)
            held.append(sock)
            if n % 4 == 0:
                sock.sendall(b"GET /healthz HTTP/1.1\r\nA: ")  # plain, and never finished
            elif n % 4 == 1:
                sock.sendall(b"\x16\x03\x01")  # a handshake, and never finished
        slow = [bad.tls(one) for _ in range(20)]
        held += slow
        for sock in slow:
            sock.sendall(b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{")
        began = time.monotonic()
        for n in range(20):
            agent = one.agent_with_leaf(f"beside-{n}")
            assert one.ocsp(agent) == "GOOD"
        each = (time.monotonic() - began) / 20
        assert each < 0.5, f"{each} s for a task, a leaf and its status beside idle connections"
        time.sleep(max(0, began + 7 - time.monotonic()))
        answers = [bad.read_answer(sock) for sock in slow]
        assert all(a is not None and a.status == 408 for a in answers), answers
        for n, sock in enumerate(held[:500]):
            if n % 4 == 1:
                sock.settimeout(5)
                assert sock.recv(1) == b"", "an unfinished handshake is closed"
    finally:
        for sock in held:
            sock.close()


def established(port):
    """Connections that a server on that port has taken, by the kernel's own list: everybody may read it, while descriptors of ours are root's to see."""
    with open("/proc/net/tcp", encoding="ascii") as f:
        lines = [line.split() for line in f.readlines()[1:]]
    return sum(1 for line in lines if line[1].endswith(f":{port:04X}") and line[3] == "01")


def begun(port, n):
    """Connections whose first byte is sent: one that sends nothing waits in the kernel (TCP_DEFER_ACCEPT) and costs us nothing."""
    made = []
    for _ in range(n):
        sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        made.append(sock)
        sock.sendall(b"G")
    return made


def test_over_its_limit_of_connections_the_oldest_idle_one_makes_room(narrow):
    """700 in all, 650 an address."""
    held, more = begun(narrow.status_port, 640), []
    try:
        wait_for("640 are taken", lambda: established(narrow.status_port) == 640, 4)
        client = narrow.person("ada")
        assert client.ask("GET", "/v1/log/entries?count=1").status == 200
        try:
            more = begun(narrow.status_port, 60)
        except OSError:
            pass  # refused at once is as good as closed a moment later
        time.sleep(0.5)
        assert established(narrow.status_port) <= 650
    finally:
        for sock in held + more:
            sock.close()
    time.sleep(0.5)
    narrow.agent_with_leaf("after-the-crowd")


@measures
def test_memory_stays_where_it_was_after_two_thousand_requests(one):
    def work(n):
        client, alice, bob = one.nobody(), one.person(), one.person("bob")
        agent = Agent(one, f"memory-{n}")
        task = one.open_task(agent, alice).json["task"]
        for i in range(50):
            if i % 10 == 0:
                assert one.leaf(task, agent, 60, client).status == 201
            assert alice.ask("GET", "/v1/tasks/" + task).status == 200
            assert bob.ask("GET", "/v1/tasks/" + task).status == 404
            assert client.ask("POST", f"/v1/tasks/{task}/leaves", b"x" * 9000, {"Content-Type": "application/pkcs10"}).status == 400
            assert alice.ask("POST", "/v1/tasks", b'{"a":' * 15 + b"1" + b"}" * 15, {"Content-Type": "application/json"}).status == 400

    def crowd(first):
        threads = [threading.Thread(target=work, args=(first + n,)) for n in range(5)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    crowd(0)  # warms pools and arenas: 1,000 requests
    names = ("writ-issuerd", "writ-signerd", "writ-deviced")
    before = {name: resident_kib(one, name) for name in names}
    crowd(10)
    crowd(20)
    after = {name: resident_kib(one, name) for name in names}
    for name in names:
        assert before[name] > 0 and after[name] - before[name] < 4096, f"{name} grew from {before[name]} to {after[name]} KiB in 2,000 requests"


@measures
def test_reading_the_log_takes_no_more_memory_the_tenth_time(one):
    ada = one.person("ada")
    ada.ask("GET", "/v1/log/entries?count=100")
    before = resident_kib(one, "writ-issuerd")
    for _ in range(10):
        assert ada.ask("GET", "/v1/log/entries?count=100").status == 200
    assert resident_kib(one, "writ-issuerd") - before < 4096


def test_a_tls_renegotiation_or_garbage_ends_the_connection_and_nothing_else(one):
    for garbage in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", os.urandom(300), b"\x16\x03\x01\xff\xff" + bytes(300)):
        with socket.create_connection(("127.0.0.1", one.api_port), timeout=10) as sock:
            sock.sendall(garbage)
            try:
                while sock.recv(4096):
                    pass
            except OSError:
                pass
    with bad.tls(one) as sock:
        assert sock.version() == "TLSv1.3" and not sock.session_reused
    one.agent_with_leaf("after-garbage")


def test_no_session_ticket_is_given(one):
    context = ssl.create_default_context(cafile=one.path("corp.pem"))
    with context.wrap_socket(socket.create_connection(("127.0.0.1", one.api_port)), server_hostname="localhost") as sock:
        sock.sendall(b"GET /v1/tasks/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        bad.read_answer(sock)
        assert sock.session is None or not sock.session.has_ticket


def client_hello():
    """The first flight of a handshake, as a client sends it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    shaking = context.wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        shaking.do_handshake()
    return outgoing.read()


def test_2200_handshakes_that_nobody_ends_leave_room_for_the_next(fresh):
    """Each keeps a private value in locked memory until its deadline (libcrypto's secure heap): it must not run out before connections do."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    locked = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    if locked != resource.RLIM_INFINITY and locked < 1024 * 1024 and os.geteuid() != 0:
        pytest.skip("this user may lock less than 1 MiB")
    house, hello, open_ones = fresh(extra="limits: {connections_per_address: 4096, handshakes_s: 10000}\n"), client_hello(), []
    bot = house.agent_with_leaf("before")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192) if hard != resource.RLIM_INFINITY else 8192, hard))
    try:
        began = time.monotonic()
        while len(open_ones) < 2200 and time.monotonic() - began < 4:  # the first of them are ended after 5 s
            for _ in range(100):
                sock = socket.create_connection(("127.0.0.1", house.api_port), timeout=20)
                open_ones.append(sock)
                sock.sendall(hello)
            assert sock.recv(5)[:1] == b"\x16", "a ServerHello, no alert"  # and a slow machine is not asked for more than it can do
        assert house.leaf(bot.task, bot).status == 201
    finally:
        for sock in open_ones:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
