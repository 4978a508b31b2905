"""A status address that lies: it asks the real one, and answers something else.  Knows nothing of what a test claims."""
import http.server
import threading
import time
import urllib.error
import urllib.request

from cryptography.x509 import ocsp


class Liar:
    """A responder between: it asks the real one, and answers what `lie` makes of (path, question, answer)."""

    def __init__(self, house, lie):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.do_GET(self.rfile.read(int(self.headers["Content-Length"])))

            def do_GET(self, question=None):
                request = urllib.request.Request(house.status_url(self.path), question, {"Content-Type": "application/ocsp-request"} if question else {})
                try:
                    with urllib.request.urlopen(request, timeout=10) as answer:
                        code, body = answer.status, answer.read()
                except urllib.error.HTTPError as refused:
                    code, body = refused.code, refused.read()
                body = lie(self.path, question, body)
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self.url

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def remembered(kept):
    """What was said first is said for ever."""
    return lambda path, question, body: kept.setdefault((path, question), body)


def status_of(body):
    return ocsp.load_der_ocsp_response(body).certificate_status


def behind(seconds):
    """Learns of an end so much after the first question about it."""
    first, ended = {}, {}

    def lie(_, question, body):
        was = first.setdefault(question, body)
        if not question or status_of(body) == status_of(was) or time.monotonic() - ended.setdefault(question, time.monotonic()) > seconds:
            return body
        return was
    return lie


def hesitant(times):
    """Says tryLater so often before it answers a question."""
    asked = {}

    def lie(_, question, body):
        asked[question] = asked.get(question, 0) + 1
        return b"\x30\x03\x0a\x01\x03" if asked[question] <= times else body
    return lie
