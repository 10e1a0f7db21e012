import io
import re
import tracemalloc
import zipfile

import numpy as np
import pytest
from scipy.io import savemat

from skcaps.datasets import _affnist, load_affnist

N_SAMPLES = 7


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (N_SAMPLES, 40, 40), dtype=np.uint8)


@pytest.fixture
def labels():
    return np.arange(N_SAMPLES, dtype=np.uint8)


def mat_bytes(record, **options):
    file = io.BytesIO()
    savemat(file, {"affNISTdata": record}, **options)
    return file.getvalue()


def published(images, labels):
    """As the published files are: one image a column, and a row of labels."""
    return {"image": images.reshape(len(images), -1).T, "label_int": labels[None]}


def zip_bytes(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(f"{name}.mat", body)
    return file.getvalue()


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(_affnist, "N_SAMPLES", N_SAMPLES)
    (tmp_path / "affnist").mkdir()
    return tmp_path


@pytest.fixture
def write(home):
    def write(body, name="test.mat"):
        (home / "affnist" / name).write_bytes(body)
        return home

    return write


@pytest.fixture
def body(images, labels):
    return mat_bytes(published(images, labels))


@pytest.mark.parametrize("subset", ["test", "validation"])
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("compressed", [False, True])
def test_bunch(write, images, labels, subset, zipped, compressed):
    body = mat_bytes(published(images, labels), do_compression=compressed)
    if zipped:
        home = write(zip_bytes(**{subset: body}), f"{subset}.mat.zip")
    else:
        home = write(body, f"{subset}.mat")
    bunch = load_affnist(subset=subset, data_home=home)
    np.testing.assert_array_equal(bunch.images, images, strict=True)
    np.testing.assert_array_equal(bunch.target, labels.astype(np.int64), strict=True)
    assert bunch.images.flags.c_contiguous
    assert bunch.images.flags.writeable
    assert bunch.data.shape == (N_SAMPLES, 1600)
    assert np.shares_memory(bunch.data, bunch.images)
    assert len(bunch.target_names) == 10
    assert "40x40" in bunch.DESCR


def test_test_is_the_default(write, body, images):
    np.testing.assert_array_equal(load_affnist(data_home=write(body)).images, images)


def test_return_X_y(write, body, images, labels):
    X, y = load_affnist(data_home=write(body), return_X_y=True)
    np.testing.assert_array_equal(X, images.reshape(N_SAMPLES, -1))
    np.testing.assert_array_equal(y, labels)


def test_unknown_subset(home):
    with pytest.raises(ValueError, match=r"one of \['test', 'val.*'\], got 'train'"):
        load_affnist(subset="train", data_home=home)


def test_missing_file(home):
    path = home / "affnist" / "test.mat.zip"
    with pytest.raises(FileNotFoundError, match=re.escape(f"{path} does not exist")):
        load_affnist(data_home=home, download_if_missing=False)


@pytest.mark.parametrize("kept", [0, 50, 200, 0.5, -9])
def test_cut_file(write, body, kept):
    kept = int(kept * len(body)) if isinstance(kept, float) else kept
    with pytest.raises(ValueError, match="must be a whole MATLAB file"):
        load_affnist(data_home=write(body[:kept]))


@pytest.mark.parametrize("kept", [0, 50, -9])
def test_cut_archive(write, body, kept):
    home = write(zip_bytes(test=body)[:kept], "test.mat.zip")
    with pytest.raises(ValueError, match="must be a whole zip archive"):
        load_affnist(data_home=home)


def damage(archive):
    """The same archive with one byte of its first file's contents changed."""
    damaged = bytearray(archive)
    damaged[len(damaged) // 2] ^= 0xFF
    return bytes(damaged)


def test_damaged_archive(write, body):
    home = write(damage(zip_bytes(test=body)), "test.mat.zip")
    with pytest.raises(ValueError, match="must be a whole zip archive"):
        load_affnist(data_home=home)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression(write, body, method):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("test.mat", body)
    with pytest.raises(ValueError, match=rf"must be deflated, got the method {method}"):
        load_affnist(data_home=write(file.getvalue(), "test.mat.zip"))


def test_encrypted_archive(write, body):
    archive = bytearray(zip_bytes(test=body))
    # The flags of the file in its own head and in the list of all files.
    for head, place in [(b"PK\3\4", 6), (b"PK\1\2", 8)]:
        archive[archive.index(head) + place] |= 1
    with pytest.raises(ValueError, match="encrypted"):
        load_affnist(data_home=write(bytes(archive), "test.mat.zip"))


@pytest.mark.parametrize("zipped", [False, True])
def test_more_than_the_published_file_has(write, zipped):
    """A few bytes can be the compressed form of any number."""
    body = bytes(10**7)
    home = write(zip_bytes(test=body) if zipped else body, f"test.mat{'.zip' * zipped}")
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"must hold at most \d+ bytes, .* got more"):
        load_affnist(data_home=home)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 << 20


def test_two_files_in_the_archive(write, body):
    home = write(zip_bytes(one=body, two=body), "test.mat.zip")
    with pytest.raises(ValueError, match=r"one file \.mat, got .*one\.mat.*two\.mat"):
        load_affnist(data_home=home)


def test_other_variable(write):
    file = io.BytesIO()
    savemat(file, {"other": np.zeros(3)})
    with pytest.raises(ValueError, match=r"variable affNISTdata, got \['other'\]"):
        load_affnist(data_home=write(file.getvalue()))


@pytest.mark.parametrize("field", ["image", "label_int"])
def test_missing_field(write, images, labels, field):
    record = published(images, labels)
    del record[field]
    with pytest.raises(ValueError, match=r"the fields image and label_int in .* got "):
        load_affnist(data_home=write(mat_bytes(record)))


def test_no_record(write):
    with pytest.raises(ValueError, match="affNISTdata must be one record, got 3"):
        load_affnist(data_home=write(mat_bytes(np.zeros(3))))


def test_more_labels_than_images(write, images, labels):
    record = published(images, labels[:-1])
    with pytest.raises(ValueError, match=r"shape \(1600, 6\).* got .*\(1600, 7\)"):
        load_affnist(data_home=write(mat_bytes(record)))


@pytest.mark.parametrize("change", ["size", "type"])
def test_other_images(write, images, labels, change):
    other = images[:, :-1] if change == "size" else images.astype(np.float32)
    with pytest.raises(ValueError, match=r"type uint8 and the shape \(1600, 7\)"):
        load_affnist(data_home=write(mat_bytes(published(other, labels))))


@pytest.mark.parametrize("label", [10, 0.5, np.nan, -1])
def test_label_that_is_no_digit(write, images, labels, label):
    labels = labels.astype(np.float64)
    labels[0] = label
    with pytest.raises(ValueError, match="by a digit from 0 to 9, got the labels"):
        load_affnist(data_home=write(mat_bytes(published(images, labels))))


def test_other_number_of_images(write, images, labels):
    body = mat_bytes(published(images[1:], labels[1:]))
    with pytest.raises(ValueError, match=r"must hold 7 images, got 6; .* published"):
        load_affnist(data_home=write(body))


@pytest.fixture
def serve(server, body, monkeypatch):
    monkeypatch.setattr(_affnist, "BASE_URL", server.url)
    server.files["test.mat.zip"] = zip_bytes(test=body)
    return server


def test_missing_file_is_downloaded(home, serve, images):
    for _ in range(2):
        np.testing.assert_array_equal(load_affnist(data_home=home).images, images)
    assert serve.asked == ["test.mat.zip"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (damage, "Bad CRC|Error -3"),
        (lambda body: body[:-30], "whole zip archive"),
        (lambda body: zip_bytes(), r"must hold one file \.mat, got \[\]"),
    ],
    ids=["damaged", "cut", "empty"],
)
def test_wrong_download_stores_nothing(home, serve, spoil, message):
    serve.files["test.mat.zip"] = spoil(serve.files["test.mat.zip"])
    with pytest.raises(ValueError, match=rf"published file, .*({message})"):
        load_affnist(data_home=home)
    assert list((home / "affnist").iterdir()) == []


def test_reader_tells_a_missing_file_from_a_damaged_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing-here"):
        _affnist.read_affnist(tmp_path / "nothing-here.mat")
