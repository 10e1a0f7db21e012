import gzip
import hashlib
import re
import struct

import numpy as np
import pytest

from skcaps.datasets import _smallnorb, load_smallnorb

MAGIC = {np.dtype(np.uint8): 0x1E3D4C55, np.dtype(np.int32): 0x1E3D4C54}
KINDS = ["dat", "cat", "info"]
N_SAMPLES = 6


def norb_bytes(array):
    shape = (*array.shape, 1, 1, 1)[: max(array.ndim, 3)]
    magic = MAGIC[array.dtype]
    return struct.pack(f"<Ii{len(shape)}i", magic, array.ndim, *shape) + array.tobytes()


def made_arrays(rng):
    highest = [9, 8, 17, 5]
    info = rng.integers(0, np.add(highest, 1), (N_SAMPLES, 4)) * [1, 1, 2, 1]
    return {
        "dat": rng.integers(0, 256, (N_SAMPLES, 2, 96, 96), dtype=np.uint8),
        "cat": (np.arange(N_SAMPLES) % 5).astype(np.int32),
        "info": info.astype(np.int32),
    }


@pytest.fixture
def arrays(rng, monkeypatch):
    """For each subset, the contents of its three files."""
    monkeypatch.setattr(_smallnorb, "N_SAMPLES", N_SAMPLES)
    return {subset: made_arrays(rng) for subset in ("train", "test")}


@pytest.fixture
def names():
    """Of each file, by subset and kind."""
    return {
        (subset, kind): f"{prefix}-{kind}.mat"
        for subset, prefix in _smallnorb.PREFIXES.items()
        for kind in KINDS
    }


@pytest.fixture
def made_home(arrays, names, tmp_path):
    folder = tmp_path / "smallnorb"
    folder.mkdir()
    for (subset, kind), name in names.items():
        (folder / name).write_bytes(norb_bytes(arrays[subset][kind]))
    return tmp_path


@pytest.mark.parametrize("subset", ["train", "test"])
def test_bunch(made_home, arrays, subset):
    bunch = load_smallnorb(subset=subset, data_home=made_home)
    expected = arrays[subset]
    np.testing.assert_array_equal(bunch.images, expected["dat"], strict=True)
    assert bunch.data.shape == (N_SAMPLES, 2 * 96 * 96)
    assert np.shares_memory(bunch.data, bunch.images)
    np.testing.assert_array_equal(bunch.target, expected["cat"])
    np.testing.assert_array_equal(bunch.info, expected["info"])
    assert (bunch.target.dtype, bunch.info.dtype) == (np.int64, np.int64)
    assert bunch.info_names == ["instance", "elevation", "azimuth", "lighting"]
    assert len(bunch.target_names) == 5
    assert "96x96" in bunch.DESCR


def test_return_X_y(made_home):
    bunch = load_smallnorb(data_home=made_home)
    X, y = load_smallnorb(data_home=made_home, return_X_y=True)
    np.testing.assert_array_equal(X, bunch.data)
    np.testing.assert_array_equal(y, bunch.target)


def test_caller_may_change_the_names(made_home):
    bunch = load_smallnorb(data_home=made_home)
    bunch.target_names.clear()
    bunch.info_names.clear()
    again = load_smallnorb(data_home=made_home)
    assert (len(again.target_names), len(again.info_names)) == (5, 4)


def test_compressed_files(made_home):
    expected = load_smallnorb(data_home=made_home)
    for path in (made_home / "smallnorb").iterdir():
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    found = load_smallnorb(data_home=made_home)
    np.testing.assert_array_equal(found.images, expected.images)
    np.testing.assert_array_equal(found.info, expected.info)


def test_unknown_subset(made_home):
    with pytest.raises(ValueError, match=r"one of \['test', 'train'\], got 'valid'"):
        load_smallnorb(subset="valid", data_home=made_home)


@pytest.mark.parametrize("kind", KINDS)
def test_missing_file(made_home, names, kind):
    path = made_home / "smallnorb" / names["train", kind]
    path.unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(f"{path}.gz does not exist")):
        load_smallnorb(data_home=made_home, download_if_missing=False)


@pytest.mark.parametrize("kind", KINDS)
def test_cut_file(made_home, names, kind):
    path = made_home / "smallnorb" / names["train", kind]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"{kind}\.mat .* damaged, get it again"):
        load_smallnorb(data_home=made_home)


@pytest.mark.parametrize("kind", KINDS)
def test_other_shape(made_home, names, arrays, kind):
    path = made_home / "smallnorb" / names["train", kind]
    path.write_bytes(norb_bytes(arrays["train"][kind][:-1]))
    with pytest.raises(ValueError, match=r"must hold .* \(6.* got .* \(5.* published"):
        load_smallnorb(data_home=made_home)


def test_other_type(made_home, names, arrays):
    path = made_home / "smallnorb" / names["train", "cat"]
    path.write_bytes(norb_bytes(arrays["train"]["cat"].astype(np.uint8)))
    with pytest.raises(ValueError, match=r"must hold int32 .* got uint8"):
        load_smallnorb(data_home=made_home)


@pytest.mark.parametrize(
    ("kind", "column", "value", "message"),
    [
        ("cat", (), 5, "category by a number from 0 to 4, got 0 to 5"),
        ("info", 0, 10, "instance by a number from 0 to 9"),
        ("info", 1, -1, "elevation by a number from 0 to 8, got -1"),
        ("info", 2, 36, "azimuth by a number from 0 to 34"),
        ("info", 3, 6, "lighting by a number from 0 to 5"),
    ],
)
def test_values_out_of_range(made_home, names, arrays, kind, column, value, message):
    array = arrays["train"][kind]
    array[-1, ...][column] = value
    (made_home / "smallnorb" / names["train", kind]).write_bytes(norb_bytes(array))
    with pytest.raises(ValueError, match=message):
        load_smallnorb(data_home=made_home)


@pytest.fixture
def serve(made_home, names, server, monkeypatch):
    """The server holds the compressed files, and data_home none of them."""
    monkeypatch.setattr(_smallnorb, "BASE_URL", server.url)
    for name in names.values():
        path = made_home / "smallnorb" / name
        body = gzip.compress(path.read_bytes())
        server.files[f"{name}.gz"] = body
        digest = hashlib.sha256(body).hexdigest()
        monkeypatch.setitem(_smallnorb.SHA256, f"{name}.gz", digest)
        path.unlink()
    return server


def test_missing_files_are_downloaded(made_home, arrays, names, serve):
    bunch = load_smallnorb(subset="test", data_home=made_home)
    np.testing.assert_array_equal(bunch.images, arrays["test"]["dat"])
    assert serve.asked == [f"{names['test', kind]}.gz" for kind in KINDS]
    serve.asked.clear()
    load_smallnorb(subset="test", data_home=made_home)
    assert serve.asked == []


def test_wrong_checksum_stores_nothing(made_home, names, serve):
    serve.files[f"{names['train', 'dat']}.gz"] += b"\0"
    with pytest.raises(ValueError, match=r"published file, .* SHA-256"):
        load_smallnorb(data_home=made_home)
    assert list((made_home / "smallnorb").iterdir()) == []


def test_every_published_file_has_a_checksum(names):
    assert set(_smallnorb.SHA256) == {f"{name}.gz" for name in names.values()}


@pytest.mark.parametrize("subset", ["train", "test"])
def test_real_sample(data_home, names, tmp_path, monkeypatch, subset):
    """Six real pairs, written in the published format and read back."""
    path = data_home / "smallnorb-sample" / "smallnorb_sample.npz"
    if not path.is_file():
        pytest.skip("SKCAPS_DATA has no smallnorb-sample/smallnorb_sample.npz")
    sample = np.load(path)
    images, labels, info = (sample[f"{subset}_{kind}"] for kind in ("x", "y", "info"))
    contents = [images, labels.astype(np.int32), info.astype(np.int32)]
    (tmp_path / "smallnorb").mkdir()
    for kind, array in zip(KINDS, contents, strict=True):
        raw = norb_bytes(array)
        (tmp_path / "smallnorb" / names[subset, kind]).write_bytes(raw)
    monkeypatch.setattr(_smallnorb, "N_SAMPLES", len(images))
    bunch = load_smallnorb(subset=subset, data_home=tmp_path)
    np.testing.assert_array_equal(bunch.images, images, strict=True)
    np.testing.assert_array_equal(bunch.target, labels, strict=True)
    np.testing.assert_array_equal(bunch.info, info, strict=True)
