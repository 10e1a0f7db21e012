import json
import tracemalloc

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from skcaps.persistence import FORMAT_VERSION, load
from skcaps.persistence._container import pack, unpack


def content_of(path):
    with safe_open(path, framework="numpy") as stream:
        return json.loads(stream.metadata()["skcaps"])


def put_content(path, content):
    """Change the JSON of a file and leave its weights, and its checksum."""
    with safe_open(path, framework="numpy") as stream:
        weights = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    save_file(weights, path, {"skcaps": json.dumps(content)})


def test_content_is_strict_json(saved):
    content = content_of(saved)
    assert content["format_version"] == FORMAT_VERSION
    assert content["class"] == "EfficientCapsNetClassifier"
    assert content["params"]["conv_channels"] == {"$tuple": [4, 8]}


def test_what_is_packed_is_unpacked(path):
    weights = {
        "b": np.arange(3.0),
        "a": np.array(7),
        "c": np.zeros((2, 0), np.float16),
        "d": np.arange(6).reshape(2, 3).T,
    }
    path.write_bytes(pack({"class": "ä\ud800", "params": {}}, weights))
    content, found = unpack(path)
    assert content == {"format_version": 3, "class": "ä\ud800", "params": {}}
    assert found.keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


@pytest.mark.parametrize("array", ["stem.convs.0.weight", "stem.norms.0.running_var"])
def test_changed_weights(saved, array):
    with safe_open(saved, framework="numpy") as stream:
        weights = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    weights[array].flat[0] *= 1.001
    save_file(weights, saved, {"skcaps": json.dumps(content_of(saved))})
    with pytest.raises(ValueError, match="is damaged: the SHA-256 of its description"):
        load(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["params"].update(tol=0.5),
        lambda content: content["fitted"].update(n_epochs_=2),
        lambda content: content.update({"class": "CapsNetClassifier"}),
        lambda content: content.update(sha256="0" * 64),
        lambda content: content.pop("sha256"),
    ],
)
def test_changed_description(saved, change):
    content = content_of(saved)
    change(content)
    put_content(saved, content)
    with pytest.raises(ValueError, match="is damaged: the SHA-256 of its description"):
        load(saved)


@pytest.mark.parametrize("cut", [0, 4, 500, -1])
def test_cut_file(saved, cut):
    saved.write_bytes(saved.read_bytes()[:cut])
    with pytest.raises(ValueError, match="damaged"):
        load(saved)


def test_longer_file(saved):
    saved.write_bytes(saved.read_bytes() + b"\0")
    with pytest.raises(ValueError, match="damaged"):
        load(saved)


@pytest.mark.parametrize(
    "data",
    [b"no such file at all", bytes(100), b"\x02" + bytes(7) + b"[]", b"\xff" * 100],
)
def test_foreign_file(path, data):
    path.write_bytes(data)
    with pytest.raises(ValueError, match="no safetensors file, or a damaged one"):
        load(path)


def test_foreign_file_is_not_read(path):
    """It may be larger than the memory."""
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
    tracemalloc.start()
    with pytest.raises(ValueError, match="no safetensors file"):
        load(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_foreign_safetensors(path, metadata):
    save_file({"weight": np.zeros(3)}, path, metadata)
    with pytest.raises(ValueError, match=r"skcaps\.save did not write it"):
        load(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", "[" * 100_000])
def test_damaged_json(path, text):
    save_file({"weight": np.zeros(3)}, path, {"skcaps": text})
    with pytest.raises(ValueError, match="damaged"):
        load(path)


@pytest.mark.parametrize("levels", [100, 500, 900])
def test_deep_json(saved, levels):
    content = content_of(saved)
    nested = json.loads("[" * levels + "]" * levels)
    content["params"]["class_weight"] = nested
    put_content(saved, content)
    with pytest.raises(ValueError, match="damaged"):
        load(saved)


def test_later_format(saved):
    put_content(saved, content_of(saved) | {"format_version": FORMAT_VERSION + 1})
    with pytest.raises(ValueError, match="upgrade skcaps"):
        load(saved)


@pytest.mark.parametrize("version", [1, 2])
def test_older_format(saved, version):
    content = content_of(saved) | {"format_version": version}
    del content["sha256"]
    put_content(saved, content)
    with pytest.raises(ValueError, match=r"an older skcaps, .* or fit again"):
        load(saved)


@pytest.mark.parametrize("version", [0, "1", None, 1.0, True])
def test_wrong_format_version(saved, version):
    put_content(saved, content_of(saved) | {"format_version": version})
    with pytest.raises(ValueError, match="positive integer"):
        load(saved)
