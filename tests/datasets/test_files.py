import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pooch
import pytest

from skcaps.datasets._files import download, find_home, obtain

BODY = bytes(range(256)) * 400


def check_body(path):
    if path.read_bytes() != BODY:
        raise ValueError(f"{path} must hold the body.")


@pytest.fixture
def url(server):
    server.files["numbers.bin"] = BODY
    return server.url + "numbers.bin"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "set" / "numbers.bin"


def files_in(path):
    return sorted(file.name for file in path.parent.iterdir())


def test_argument_is_first(monkeypatch):
    monkeypatch.setenv("SKCAPS_DATA", "from_environment")
    assert find_home("given") == Path("given")


def test_environment_is_second(monkeypatch):
    monkeypatch.setenv("SKCAPS_DATA", "from_environment")
    assert find_home(None) == Path("from_environment")


@pytest.mark.parametrize("value", [None, ""])
def test_cache_is_last(monkeypatch, value):
    monkeypatch.delenv("SKCAPS_DATA", raising=False)
    if value is not None:
        monkeypatch.setenv("SKCAPS_DATA", value)
    assert find_home(None) == Path(pooch.os_cache("skcaps"))


def test_download(url, path):
    assert obtain(path, url, check_body, download_if_missing=True) == path
    assert path.read_bytes() == BODY
    assert files_in(path) == ["numbers.bin"]


def test_download_shows_its_progress(url, path, capsys):
    download(url, path, check_body)
    assert "100%" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="file modes are those of POSIX")
def test_others_may_read_as_the_umask_says(url, path):
    download(url, path, check_body)
    plain = path.with_name("plain")
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


def test_present_file_is_left_alone(server, url, path):
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    obtain(path, url, check_body, download_if_missing=True)
    assert path.read_bytes() == b"mine"
    assert server.asked == []


def test_missing_file_not_downloaded(server, url, path):
    with pytest.raises(FileNotFoundError, match=re.escape(f"{path} does not exist")):
        obtain(path, url, check_body, download_if_missing=False)
    assert server.asked == []
    assert not path.parent.exists()


@pytest.mark.parametrize(
    ("trouble", "message"), [({"status": 503}, "503"), ({"cut": 7}, "IncompleteRead")]
)
def test_failed_download_stores_nothing(server, url, path, trouble, message):
    vars(server).update(trouble)
    with pytest.raises(OSError, match=rf"(?s){re.escape(url)} could not .*{message}"):
        download(url, path, check_body)
    assert files_in(path) == []


def test_file_unknown_to_the_server(server, url, path):
    server.files.clear()
    with pytest.raises(OSError, match="404"):
        download(url, path, check_body)
    assert files_in(path) == []


def test_no_server(url, path, server):
    server.server_close()
    with pytest.raises(OSError, match="could not be downloaded"):
        download(url, path, check_body)
    assert files_in(path) == []


def test_wrong_file_stores_nothing(server, url, path):
    server.files["numbers.bin"] = BODY[:-1]
    with pytest.raises(ValueError, match=r"must give the published .* hold the body"):
        download(url, path, check_body)
    assert files_in(path) == []


def test_failed_download_can_be_repeated(server, url, path):
    server.status = 503
    with pytest.raises(OSError, match="503"):
        obtain(path, url, check_body, download_if_missing=True)
    server.status = 200
    obtain(path, url, check_body, download_if_missing=True)
    assert path.read_bytes() == BODY


def test_folder_that_cannot_be_made(url, tmp_path):
    (tmp_path / "cache").write_bytes(b"a file in the folder's place")
    with pytest.raises(OSError, match=r"cache must be a folder .* another one"):
        download(url, tmp_path / "cache" / "numbers.bin", check_body)


def test_threads_at_the_same_time(server, url, path):
    n_threads = 4
    server.barrier = threading.Barrier(n_threads)
    errors = []

    def run():
        try:
            obtain(path, url, check_body, download_if_missing=True)
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
from skcaps.datasets._files import download
download(sys.argv[1], Path(sys.argv[2]), lambda path: None)
"""


def test_second_process_at_the_same_time(server, url, path):
    server.barrier = threading.Barrier(2)
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    other = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, url, str(path)],
        stderr=subprocess.PIPE,
        env=environment,
    )
    download(url, path, check_body)
    _, shown = other.communicate(timeout=60)
    assert other.returncode == 0, shown
    assert len(server.asked) == 2
    assert path.read_bytes() == BODY
    assert files_in(path) == ["numbers.bin"]
