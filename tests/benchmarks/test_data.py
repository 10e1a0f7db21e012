import numpy as np
import pytest
from reproduction import data
from reproduction.profiles import Profile

from ._generated import digits


@pytest.fixture
def profile():
    return Profile(1, n_train=40, n_valid=20, n_test=20, n_test_pairs=12)


@pytest.mark.usefixtures("generated")
def test_held_out_images_are_no_training_images(profile):
    train = data.load_training("mnist", profile, 0, None)
    X, y = digits()
    np.testing.assert_array_equal(train.X.reshape(40, -1), X[:40])
    np.testing.assert_array_equal(train.y_valid, y[-20:])
    np.testing.assert_array_equal(train.X_valid.reshape(20, -1), X[-20:])


@pytest.mark.usefixtures("generated")
def test_no_training_image_is_held_out_where_all_are_asked_for():
    train = data.load_training("mnist", Profile(1, n_train=80, n_valid=20), 0, None)
    assert len(train.X) == 60


@pytest.mark.usefixtures("generated")
@pytest.mark.parametrize("source", ["affnist", "shifted"])
def test_generated_test_images_do_not_depend_on_the_seed(profile, source):
    first, second = (data.load_test(source, profile, None) for _ in range(2))
    assert first.X.shape == (20, 40, 40)
    np.testing.assert_array_equal(first.X, second.X)


@pytest.mark.usefixtures("generated")
def test_generated_affine_images_are_called_generated(profile):
    assert "generated" in data.load_test("affnist", profile, None).description


@pytest.mark.usefixtures("generated")
def test_the_published_affnist_is_taken_where_it_is(profile, monkeypatch):
    X = np.arange(50, dtype=np.uint8)[:, None].repeat(1600, axis=1)
    monkeypatch.setattr(data, "load_affnist", lambda **_: (X, np.arange(50)))
    test = data.load_test("affnist", profile, None)
    assert "published" in test.description
    assert len(np.unique(test.y)) == 20
    np.testing.assert_array_equal(test.X[:, 0, 0], test.y)


@pytest.mark.usefixtures("generated")
def test_each_class_has_the_number_of_labels(profile):
    train = data.load_training("mnist", profile, 0, None)
    few, other = (data.take_of_each_class(train, 2, seed) for seed in (0, 1))
    np.testing.assert_array_equal(np.bincount(few.y), np.full(10, 2))
    assert not np.array_equal(few.X, other.X)


@pytest.mark.usefixtures("generated")
def test_pairs_hold_two_classes(profile):
    train = data.load_training("mnist", profile, 0, None)
    X, y, given = data.pair_digits(train.X, train.y, 30, 0)
    total = given["sources"].sum(axis=1, dtype=int)
    np.testing.assert_array_equal(X, total.clip(max=255))
    np.testing.assert_array_equal(
        np.sort(given["source_target"]), np.nonzero(y)[1].reshape(-1, 2)
    )
    assert X.shape == (30, 36, 36)
    np.testing.assert_array_equal(y.sum(axis=1), np.full(30, 2))
    batches = list(data.iter_test_pairs(profile, None))
    assert sum(len(y) for _, y in batches) == 12


def test_pairs_have_a_column_for_digits_that_are_not_there():
    X, y = digits()
    shown = np.isin(y, [3, 7])
    _, indicator, _ = data.pair_digits(X[shown], y[shown], 5, 0)
    wanted = np.zeros((5, 10))
    wanted[:, [3, 7]] = 1
    np.testing.assert_array_equal(indicator, wanted)


def test_shrinking_keeps_the_middle():
    images = np.zeros((2, 2, 96, 96), dtype=np.uint8)
    images[:, :, 12:84, 12:84] = 200
    shrunk = data.shrink(images)
    assert shrunk.shape == (2, 2, 48, 48)
    assert shrunk.dtype == np.uint8
    # 72 of 96 pixels in the middle are the 48 of 64 that are kept.
    assert shrunk[:, :, 1:-1, 1:-1].min() == 200


def test_toys_of_the_held_out_pairs_are_not_trained_on(monkeypatch):
    info = np.zeros((10, 4), dtype=int)
    info[:, 0] = [4, 6, 7, 8, 9] * 2

    class Norb:
        images = np.zeros((10, 2, 96, 96), dtype=np.uint8)
        target = np.arange(10)

    Norb.info = info
    monkeypatch.setattr(data, "load_smallnorb", lambda **_: Norb)
    train = data.load_training("smallnorb", Profile(1), 0, None)
    assert train.y_valid.tolist() == [4, 9]
    assert len(train.y) == 8


def test_the_smallnorb_sample_is_read(data_home):
    sample = Profile(1, is_sample=True)
    train = data.load_training("smallnorb", sample, 0, str(data_home))
    assert train.X.shape == (6, 2, 48, 48)
    assert data.load_test("smallnorb", sample, str(data_home)).X.std() > 1


def test_a_missing_home_of_the_sample_is_named(monkeypatch):
    monkeypatch.delenv("SKCAPS_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="SKCAPS_DATA"):
        data.load_test("smallnorb", Profile(1, is_sample=True), None)
