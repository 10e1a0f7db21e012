import gzip
import hashlib
import re
import struct
import sys

import numpy as np
import pytest

from skcaps.datasets import _mnist, load_fashion_mnist, load_mnist

LOADERS = {"mnist": load_mnist, "fashion-mnist": load_fashion_mnist}
SIZES = {"train": 6, "test": 4}


@pytest.fixture(params=sorted(LOADERS))
def name(request):
    return request.param


@pytest.fixture
def load(name):
    return LOADERS[name]


@pytest.fixture
def made_home(name, rng, tmp_path, monkeypatch):
    """A data_home with four small files in the place of the real ones."""
    folder = tmp_path / name
    folder.mkdir()
    digests = {}
    for prefix, n_samples in [("train", 6), ("t10k", 4)]:
        images = rng.integers(0, 256, (n_samples, 28, 28), dtype=np.uint8)
        labels = np.arange(n_samples, dtype=np.uint8)
        for kind, array in [("images-idx3", images), ("labels-idx1", labels)]:
            header = struct.pack(
                f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape
            )
            raw = header + array.tobytes()
            file_name = f"{prefix}-{kind}-ubyte.gz"
            (folder / file_name).write_bytes(gzip.compress(raw))
            digests[file_name] = hashlib.sha256(raw).hexdigest()
    monkeypatch.setitem(_mnist.SHA256, name, digests)
    return tmp_path


@pytest.mark.parametrize("subset", sorted(SIZES))
def test_bunch(load, made_home, subset):
    bunch = load(subset=subset, data_home=made_home)
    n_samples = SIZES[subset]
    assert bunch.images.shape == (n_samples, 28, 28)
    assert bunch.images.dtype == np.uint8
    assert bunch.data.shape == (n_samples, 784)
    assert np.shares_memory(bunch.data, bunch.images)
    assert bunch.target.dtype == np.int64
    np.testing.assert_array_equal(bunch.target, np.arange(n_samples))
    assert len(bunch.target_names) == 10
    assert "28x28" in bunch.DESCR


def test_train_is_the_default(load, made_home):
    assert len(load(data_home=made_home).data) == SIZES["train"]


def test_return_X_y(load, made_home):
    bunch = load(data_home=made_home)
    X, y = load(data_home=made_home, return_X_y=True)
    np.testing.assert_array_equal(X, bunch.data)
    np.testing.assert_array_equal(y, bunch.target)


def test_environment_variable(load, made_home, monkeypatch):
    monkeypatch.setenv("SKCAPS_DATA", str(made_home))
    assert len(load().data) == SIZES["train"]


def test_argument_comes_before_environment_variable(load, made_home, monkeypatch):
    monkeypatch.setenv("SKCAPS_DATA", "no/such/folder")
    assert len(load(data_home=made_home).data) == SIZES["train"]


def test_caller_may_change_the_names(name, load, made_home):
    load(data_home=made_home).target_names.clear()
    assert len(load(data_home=made_home).target_names) == 10


def test_unknown_subset(load, made_home):
    with pytest.raises(ValueError, match=r"one of \['test', 'train'\], got 'valid'"):
        load(subset="valid", data_home=made_home)


def test_missing_folder(name, load, tmp_path):
    missing = tmp_path / name / "train-images-idx3-ubyte.gz"
    with pytest.raises(FileNotFoundError, match=re.escape(str(missing))):
        load(data_home=tmp_path, download_if_missing=False)


def test_missing_file(name, load, made_home):
    path = made_home / name / "train-labels-idx1-ubyte.gz"
    path.unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(f"{path} does not exist")):
        load(data_home=made_home, download_if_missing=False)


@pytest.fixture
def serve(name, made_home, server, monkeypatch):
    """The server holds the small files, and data_home none of them."""
    monkeypatch.setitem(_mnist.BASE_URLS, name, server.url)
    for path in (made_home / name).iterdir():
        server.files[path.name] = path.read_bytes()
        path.unlink()
    return server


def test_missing_files_are_downloaded(name, load, made_home, serve):
    assert len(load(subset="test", data_home=made_home).data) == SIZES["test"]
    wanted = ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]
    assert serve.asked == wanted
    assert sorted(path.name for path in (made_home / name).iterdir()) == wanted


def test_second_load_asks_nobody(load, made_home, serve):
    first = load(data_home=made_home)
    serve.asked.clear()
    np.testing.assert_array_equal(load(data_home=made_home).data, first.data)
    assert serve.asked == []


@pytest.mark.parametrize("variable", ["SKCAPS_DATA", "XDG_CACHE_HOME"])
def test_download_without_argument(load, made_home, serve, monkeypatch, variable):
    monkeypatch.delenv("SKCAPS_DATA", raising=False)
    monkeypatch.setenv(variable, str(made_home))
    if variable == "XDG_CACHE_HOME" and not sys.platform.startswith("linux"):
        pytest.skip("the cache folder is named another way")
    load()
    assert len(list(made_home.rglob("*train*.gz"))) == 2


def test_recompressed_file_is_right(name, load, made_home, serve):
    serve.files = {
        file: gzip.compress(gzip.decompress(body), 1)
        for file, body in serve.files.items()
    }
    assert len(load(data_home=made_home).data) == SIZES["train"]


def test_wrong_checksum_stores_nothing(name, load, made_home, serve):
    file_name = "train-images-idx3-ubyte.gz"
    raw = bytearray(gzip.decompress(serve.files[file_name]))
    raw[-1] ^= 1
    serve.files[file_name] = gzip.compress(raw)
    with pytest.raises(ValueError, match=r"published file, .* SHA-256"):
        load(data_home=made_home)
    assert list((made_home / name).iterdir()) == []


def test_other_contents(name, load, made_home, monkeypatch):
    monkeypatch.undo()
    with pytest.raises(ValueError, match="not the original file"):
        load(data_home=made_home)


@pytest.mark.parametrize(("subset", "n_samples"), [("train", 60_000), ("test", 10_000)])
def test_real_files(load, data_home, subset, n_samples):
    bunch = load(subset=subset, data_home=data_home)
    assert bunch.images.shape == (n_samples, 28, 28)
    assert bunch.target.shape == (n_samples,)
    np.testing.assert_array_equal(np.unique(bunch.target), np.arange(10))
    assert (bunch.images.min(), bunch.images.max()) == (0, 255)
