import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class FileServer(ThreadingHTTPServer):
    """Serves `files`, by name, on the loopback address.

    `status` is the status of every answer, and `cut` bytes are missing at the end of
    each body. `headers` are sent too; what is None there is left out. After the body
    come the bytes of `more`, one after the other and `pause` seconds apart, until the
    client has gone. `redirects` say which names are elsewhere. A `barrier` holds the
    answers back until all who share it have asked.
    """

    # Waited for at the end, so that every connection is closed.
    daemon_threads = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), FileHandler)
        self.files = {}
        self.status = 200
        self.cut = 0
        self.headers = {}
        self.more = b""
        self.pause = 0
        self.redirects = {}
        self.barrier = None
        self.asked = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, request, client_address):
        """Say nothing: clients go when they have seen enough."""


class FileHandler(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.lstrip("/")
        self.server.asked.append(name)
        if self.server.barrier is not None:
            self.server.barrier.wait(timeout=30)
        body = self.server.files.get(name, b"")
        headers = {"Content-Length": str(len(body)), **self.server.headers}
        if name in self.server.redirects:
            self.send_response(302)
            headers["Location"] = self.server.redirects[name]
        else:
            self.send_response(self.server.status if name in self.server.files else 404)
        for header, value in headers.items():
            if value is not None:
                self.send_header(header, value)
        self.end_headers()
        self.wfile.write(body[: len(body) - self.server.cut])
        while self.server.more:
            time.sleep(self.server.pause)
            self.wfile.write(self.server.more)

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
        server.more = b""
        server.shutdown()
        thread.join()


@pytest.fixture
def body():
    """What the served file holds."""
    return bytes(range(256)) * 400


@pytest.fixture
def url(server, body):
    """The address of a file that the server has."""
    server.files["numbers.bin"] = body
    return server.url + "numbers.bin"


@pytest.fixture
def path(tmp_path):
    """Where it is stored, in a folder that is not there yet."""
    return tmp_path / "cache" / "set" / "numbers.bin"


@pytest.fixture
def files_in():
    """Name the files beside one."""
    return lambda path: sorted(file.name for file in path.parent.iterdir())
