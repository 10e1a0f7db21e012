import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class FileServer(ThreadingHTTPServer):
    """Serves `files`, by name, on the loopback address.

    `status` is the status of every answer, and `cut` bytes are missing at the end of
    each body. A `barrier` holds the answers back until all who share it have asked.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), FileHandler)
        self.files = {}
        self.status = 200
        self.cut = 0
        self.barrier = None
        self.asked = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/"


class FileHandler(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.lstrip("/")
        self.server.asked.append(name)
        if self.server.barrier is not None:
            self.server.barrier.wait(timeout=30)
        body = self.server.files.get(name, b"")
        self.send_response(self.server.status if name in self.server.files else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) - self.server.cut])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    # A proxy from the environment would be asked for the loopback address, too.
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with FileServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
