import pytest
import rows

FIELDS = ("set", "seed", "accuracy")


def measure(set_name, seed):
    return ("0.5",)


def test_rows_come_back_as_they_were_added(tmp_path):
    path = tmp_path / "new folder" / "a.csv"
    assert rows.read(path) == []
    rows.add(path, FIELDS, ("digits, all", "0"), measure)
    rows.add(path, FIELDS, ("digits, all", "1"), measure)
    assert rows.read(path) == [
        {"set": "digits, all", "seed": seed, "accuracy": "0.5"} for seed in "01"
    ]


def test_what_is_there_is_not_measured_again(tmp_path):
    path = tmp_path / "a.csv"
    rows.add(path, FIELDS, ("digits", "0"), measure)
    before = path.read_bytes()
    rows.add(path, FIELDS, ("digits", "0"), lambda *key: pytest.fail("measured"))
    assert path.read_bytes() == before


def test_rows_that_another_process_adds_meanwhile_stay(tmp_path):
    path = tmp_path / "a.csv"

    def measure_while_others_do(set_name, seed):
        rows.add(path, FIELDS, ("digits", "1"), measure)
        return measure(set_name, seed)

    rows.add(path, FIELDS, ("digits", "0"), measure_while_others_do)
    assert [row["seed"] for row in rows.read(path)] == ["1", "0"]


def test_a_write_that_fails_half_way_leaves_the_finished_rows(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    rows.add(path, FIELDS, ("digits", "0"), measure)
    before = path.read_bytes()

    def fail(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr("files.os.fsync", fail)
    with pytest.raises(OSError, match="no space"):
        rows.add(path, FIELDS, ("digits", "1"), measure)
    assert path.read_bytes() == before
