"""Random damage: an error, or the very classifier that was saved."""

import json
import tracemalloc

import numpy as np
import pytest

from skcaps import EfficientCapsNetClassifier
from skcaps.persistence import load, save
from skcaps.persistence._container import pack, unpack


@pytest.fixture(scope="module")
def small(data):
    estimator = EfficientCapsNetClassifier(
        max_epochs=1,
        conv_channels=(4, 8),
        primary_dim=4,
        pose_dim=4,
        decoder=None,
        random_state=0,
    )
    return estimator.fit(*data)


@pytest.mark.parametrize("number", range(4))
def test_random_damage(small, data, path, rng, damages, number):
    save(small, path)
    whole, X = path.read_bytes(), data[0]
    expected = small.predict_proba(X)
    for _ in range(100):
        path.write_bytes(damages[number](whole, rng))
        try:
            loaded = load(path)
        except ValueError:
            continue
        np.testing.assert_array_equal(loaded.predict_proba(X), expected)


NESTED = "[" * 500 + "]" * 500
STRANGE = [
    None, True, -1, 0, 2**64, 10**40, 1e308, -0.0, "", "auto", "$tuple", "x" * 1000,
    [], {}, [[]] * 100, {"$float": "nan"}, {"$tuple": 5}, {"$dict": [[[], 1]]},
    {"$device": "cuda:9999"}, {"$unknown": 1}, {"$path": "a"}, {"a": {"$tuple": []}},
    {"$array": {"dtype": "<U1000000", "shape": [1], "values": ["a"]}},
    {"$array": {"dtype": "<f8", "shape": [10**9, 10**9], "values": [0]}},
    {"$scalar": {"dtype": "O", "shape": [], "values": [{}]}},
]  # fmt: skip


def places_in(content):
    """Find each dict and list inside, with each of their keys."""
    found, left = [], [content]
    while left:
        container = left.pop()
        keys = container if isinstance(container, dict) else range(len(container))
        for key in keys:
            # It may be set, and then takes long to load.
            if key == "compile":
                continue
            found.append((container, key))
            if isinstance(container[key], dict | list):
                left.append(container[key])
    return found


def change_json(content, rng):
    places = places_in(content)
    container, key = places[rng.integers(len(places))]
    if rng.random() < 0.2:
        del container[key]
    else:
        value = STRANGE[rng.integers(len(STRANGE))]
        container[key] = json.loads(NESTED if rng.random() < 0.1 else json.dumps(value))


@pytest.mark.filterwarnings("ignore:device='cuda.*is not here")
def test_random_descriptions_with_the_right_checksum(small, path, rng):
    """Nobody can know whether these are meant, but none does any harm."""
    save(small, path)
    # What is imported at the first time is not the file's.
    load(path)
    content, weights = unpack(path)
    del content["format_version"]
    n_errors = n_loaded = 0
    tracemalloc.start()
    for _ in range(200):
        changed = json.loads(json.dumps(content))
        change_json(changed, rng)
        path.write_bytes(pack(changed, weights))
        try:
            load(path)
        except ValueError as error:
            n_errors += "damaged" in str(error)
            continue
        n_loaded += 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert n_errors + n_loaded == 200
    assert n_errors > n_loaded
    assert peak < 10 * path.stat().st_size + (1 << 20)
