"""Many requests at once, each over a connection of its own, and when each was answered.  Knows nothing of what a test claims."""
import socket
import ssl
import threading
import time


def ask_all_at_once(house, bodies, paths, connected=lambda: None):
    """Sends each request over a connection of its own, made before `connected` is called; the answers as (seconds, status, headers, body) in order."""
    context = ssl.create_default_context(cafile=house.path("corp.pem"))
    socks = []
    for _ in bodies:
        socks.append(context.wrap_socket(socket.create_connection(("127.0.0.1", house.api_port), timeout=60), server_hostname="127.0.0.1"))
    connected()
    began = time.monotonic()
    for sock, body, path in zip(socks, bodies, paths):
        sock.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
            path.encode(), len(body), body))
    answers = [None] * len(socks)

    def receive(i, sock):
        data = b""
        while b"\r\n\r\n" not in data or len(data) < len(data.split(b"\r\n\r\n")[0]) + 4 + int(
                [line for line in data.split(b"\r\n") if line.lower().startswith(b"content-length:")][0].split(b":")[1]):
            got = sock.recv(65536)
            if not got:
                break
            data += got
        head, _, body = data.partition(b"\r\n\r\n")
        answers[i] = (time.monotonic() - began, int(head.split()[1]) if head else 0, head.decode(), body)
        sock.close()

    workers = [threading.Thread(target=receive, args=(i, sock)) for i, sock in enumerate(socks)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return answers
