import gzip
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from skcaps.datasets import _download
from skcaps.datasets._download import download

BODY = bytes(range(256)) * 400
LIMIT = len(BODY)


def check_body(path):
    if path.read_bytes() != BODY:
        raise ValueError(f"{path} must hold the body.")


def test_download_shows_its_progress(url, path, capsys):
    download(url, path, check_body, LIMIT)
    assert "100%" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="file modes are those of POSIX")
def test_others_may_read_as_the_umask_says(url, path):
    download(url, path, check_body, LIMIT)
    plain = path.with_name("plain")
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize(
    ("trouble", "message"), [({"status": 503}, "503"), ({"cut": 7}, "IncompleteRead")]
)
def test_failed_download_stores_nothing(server, url, path, trouble, message, files_in):
    vars(server).update(trouble)
    with pytest.raises(OSError, match=rf"(?s){re.escape(url)} could not .*{message}"):
        download(url, path, check_body, LIMIT)
    assert files_in(path) == []


def test_file_unknown_to_the_server(server, url, path, files_in):
    server.files.clear()
    with pytest.raises(OSError, match="404"):
        download(url, path, check_body, LIMIT)
    assert files_in(path) == []


def test_no_server(url, path, server, files_in):
    server.server_close()
    with pytest.raises(OSError, match="could not be downloaded"):
        download(url, path, check_body, LIMIT)
    assert files_in(path) == []


def test_wrong_file_stores_nothing(server, url, path, files_in):
    server.files["numbers.bin"] = BODY[:-1]
    with pytest.raises(ValueError, match=r"must give the published .* hold the body"):
        download(url, path, check_body, LIMIT)
    assert files_in(path) == []


def test_folder_that_cannot_be_made(url, tmp_path):
    (tmp_path / "cache").write_bytes(b"a file in the folder's place")
    with pytest.raises(OSError, match=r"cache must be a folder .* another one"):
        download(url, tmp_path / "cache" / "numbers.bin", check_body, LIMIT)


def test_threads_at_the_same_time(server, url, path, files_in):
    n_threads = 4
    server.barrier = threading.Barrier(n_threads)
    errors = []

    def run():
        try:
            download(url, path, check_body, LIMIT)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert errors == []
    assert len(server.asked) == n_threads
    assert path.read_bytes() == BODY
    assert files_in(path) == ["numbers.bin"]


PROGRAM = """
import sys
from pathlib import Path
from skcaps.datasets._download import download
download(sys.argv[1], Path(sys.argv[2]), lambda path: None, 10**6)
"""


def test_second_process_at_the_same_time(server, url, path, files_in):
    server.barrier = threading.Barrier(2)
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    other = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, url, str(path)],
        stderr=subprocess.PIPE,
        env=environment,
    )
    download(url, path, check_body, LIMIT)
    _, shown = other.communicate(timeout=60)
    assert other.returncode == 0, shown
    assert len(server.asked) == 2
    assert path.read_bytes() == BODY
    assert files_in(path) == ["numbers.bin"]


@pytest.mark.parametrize("length", ["abc", "-5", "1e3", "5;6"])
def test_length_that_is_no_number(server, url, path, length, files_in):
    server.headers["Content-Length"] = length
    with pytest.raises(OSError, match=rf"could not .*Content-Length.*{length}"):
        download(url, path, check_body, LIMIT)
    assert files_in(path) == []


@pytest.mark.parametrize(
    "trouble",
    [
        {"files": {"numbers.bin": BODY * 2}},
        {"headers": {"Content-Length": str(10**15)}},
        {"headers": {"Content-Length": None}, "more": BODY},
        {"headers": {"Content-Length": None, "Content-Encoding": "gzip"}},
    ],
    ids=["long", "says-so", "endless", "bomb"],
)
def test_more_than_the_published_file_has(server, url, path, trouble, files_in):
    vars(server).update(trouble)
    if "Content-Encoding" in server.headers:
        server.files["numbers.bin"] = gzip.compress(bytes(100 * LIMIT))
    with pytest.raises(OSError, match=r"could not be .* at most \d+ bytes, got \d+"):
        download(url, path, check_body, LIMIT)
    assert files_in(path) == []


def test_redirect_without_end(server, url, path, files_in):
    server.status = 302
    server.headers = {"Content-Length": None, "Location": url}
    server.more = BODY
    with pytest.raises(OSError, match=r"at most \d+ bytes, got \d+"):
        download(url, path, check_body, LIMIT)
    assert files_in(path) == []


def test_redirect(server, url, path):
    server.files["elsewhere"] = b"moved"
    server.redirects["elsewhere"] = url
    download(server.url + "elsewhere", path, check_body, LIMIT)
    assert path.read_bytes() == BODY
    assert server.asked == ["elsewhere", "numbers.bin"]


@pytest.mark.parametrize("headers", [{}, {"Content-Length": str(LIMIT + 100)}])
def test_server_that_trickles(server, url, path, headers, monkeypatch, files_in):
    """A byte now and then is enough for every time limit of a single step."""
    monkeypatch.setattr(_download, "_PATIENCE", 0.3)
    monkeypatch.setattr(_download, "_SLOWEST", 1 << 30)
    server.files["numbers.bin"] = b"" if headers else BODY[:1]
    server.headers = headers or {"Content-Length": None}
    server.more, server.pause = b"a", 0.05
    start = time.monotonic()
    with pytest.raises(OSError, match=r"could not be .* took more than 0 seconds"):
        download(url, path, check_body, LIMIT)
    assert time.monotonic() - start < 5
    assert files_in(path) == []


def part_of(path):
    return path.with_name(f"{path.name}.{'0' * 32}.part")


@pytest.mark.parametrize(("age", "is_left"), [(10**6, False), (0, True)])
def test_parts_of_killed_downloads_are_removed(url, path, age, is_left):
    part = part_of(path)
    part.parent.mkdir(parents=True)
    part.write_bytes(b"part")
    os.utime(part, (time.time() - age,) * 2)
    download(url, path, check_body, LIMIT)
    assert part.exists() == is_left


@pytest.mark.parametrize("name", ["numbers.bin.part", "numbers.bin.1.part", "other"])
def test_other_old_files_are_left_alone(url, path, name, files_in):
    other = path.with_name(name)
    other.parent.mkdir(parents=True)
    other.write_bytes(b"mine")
    os.utime(other, (0, 0))
    download(url, path, check_body, LIMIT)
    assert files_in(path) == sorted([name, "numbers.bin"])
