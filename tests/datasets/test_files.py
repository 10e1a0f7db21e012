import re
from pathlib import Path

import pooch
import pytest

from skcaps.datasets._files import find_home, obtain

BODY = bytes(range(256)) * 400


def check_body(path):
    if path.read_bytes() != BODY:
        raise ValueError(f"{path} must hold the body.")


def get(path, url, download_if_missing=True):
    return obtain(
        path,
        url,
        check=check_body,
        limit=len(BODY),
        download_if_missing=download_if_missing,
    )


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


def test_download(url, path, files_in):
    assert get(path, url) == path
    assert path.read_bytes() == BODY
    assert files_in(path) == ["numbers.bin"]


def test_present_file_is_left_alone(server, url, path):
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    get(path, url)
    assert path.read_bytes() == b"mine"
    assert server.asked == []


def test_missing_file_not_downloaded(server, url, path):
    with pytest.raises(FileNotFoundError, match=re.escape(f"{path} does not exist")):
        get(path, url, download_if_missing=False)
    assert server.asked == []
    assert not path.parent.exists()


def test_failed_download_can_be_repeated(server, url, path):
    server.status = 503
    with pytest.raises(OSError, match="503"):
        get(path, url)
    server.status = 200
    get(path, url)
    assert path.read_bytes() == BODY
