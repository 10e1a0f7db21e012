import json

import pytest
from reproduction.store import Store

SETTINGS = {"epochs": 2, "sizes": (1, 2)}


def result(cell, seed):
    return {"cell": cell, "seed": seed, "metrics": {"test_error": 0.1 + seed}}


def test_results_are_on_disk_at_once(tmp_path):
    store = Store(tmp_path / "a.jsonl", SETTINGS)
    assert not store.has("x", 0)
    store.add(result("x", 0))
    settings, *results = (tmp_path / "a.jsonl").read_text().splitlines()
    assert json.loads(settings) == {"epochs": 2, "sizes": [1, 2]}
    assert [json.loads(line) for line in results] == [result("x", 0)]


def test_a_new_store_goes_on_with_what_is_there(tmp_path):
    Store(tmp_path / "a.jsonl", SETTINGS).add(result("x", 0))
    store = Store(tmp_path / "a.jsonl", SETTINGS)
    assert store.has("x", 0)
    assert not store.has("x", 1)
    assert not store.has("y", 0)
    store.add(result("y", 1))
    assert Store(tmp_path / "a.jsonl", SETTINGS).results == [
        result("x", 0),
        result("y", 1),
    ]


def test_other_settings_are_refused(tmp_path):
    Store(tmp_path / "a.jsonl", SETTINGS).add(result("x", 0))
    with pytest.raises(ValueError, match=r"other settings \(epochs\)"):
        Store(tmp_path / "a.jsonl", {**SETTINGS, "epochs": 3})


def test_a_write_that_fails_half_way_leaves_the_finished_results(tmp_path, monkeypatch):
    store = Store(tmp_path / "a.jsonl", SETTINGS)
    store.add(result("x", 0))

    def fail(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr("files.os.fsync", fail)
    with pytest.raises(OSError, match="no space"):
        store.add(result("x", 1))
    assert Store(tmp_path / "a.jsonl", SETTINGS).results == [result("x", 0)]


def test_an_unfinished_file_of_a_killed_run_is_no_harm(tmp_path):
    Store(tmp_path / "a.jsonl", SETTINGS).add(result("x", 0))
    (tmp_path / ".a.jsonl.part").write_text('{"epochs": 2, "si')
    store = Store(tmp_path / "a.jsonl", SETTINGS)
    assert store.results == [result("x", 0)]
    store.add(result("x", 1))
    again = Store(tmp_path / "a.jsonl", SETTINGS)
    assert again.results == [result("x", 0), result("x", 1)]
