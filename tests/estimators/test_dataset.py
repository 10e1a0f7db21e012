import numpy as np
import pytest
import torch
from torch.testing import assert_close

from skcaps.estimators import _dataset, _inputs
from skcaps.estimators._dataset import BatchIterator, ImageDataset
from skcaps.estimators._labels import MultiLabel, SingleLabel
from skcaps.estimators._layout import ImageLayout
from skcaps.estimators._machine import Machine

CPU = torch.device("cpu")
ROWS = np.arange(22 * 12, dtype=np.uint8).reshape(22, 12)
LABELS = np.arange(22) % 3
WEIGHTS = np.linspace(0, 1, 22)


def make(rows=ROWS, weights=WEIGHTS, labels=LABELS):
    layout = ImageLayout((1, 3, 4))
    kind = SingleLabel if labels.ndim == 1 else MultiLabel
    return ImageDataset(
        rows,
        labels,
        weights,
        layout=layout,
        input_range=(0.0, 255.0),
        labels=kind(np.arange(3)),
        machine=Machine("cpu", CPU, "float64", False),
    )


def test_batch():
    images, targets, weights, marks, sources = make().batch(torch.tensor([3, 1]))
    assert marks == ()
    assert sources is None
    expected = ROWS[[3, 1]].reshape(2, 1, 3, 4) / 255
    assert_close(images, torch.from_numpy(expected))
    assert_close(targets, torch.eye(3, dtype=torch.float64)[[0, 1]])
    assert_close(weights, torch.from_numpy(WEIGHTS[[3, 1]]))


def test_batch_names_every_label_of_every_sample():
    indicator = np.tile([[0, 0, 0], [0, 1, 1]], (11, 1))
    batch = make(labels=indicator).batch(torch.tensor([3, 0, 1]))
    assert_close(
        batch.targets, torch.tensor([[0, 1, 1], [0, 0, 0], [0, 1, 1.0]]).double()
    )
    samples, labels = batch.marks
    assert samples.tolist() == [0, 0, 2, 2]
    assert labels.tolist() == [1, 2, 1, 2]


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float64"])
@pytest.mark.parametrize("moved_bytes", [1, 100, 10**6])
def test_rows_move_in_parts(dtype, moved_bytes, monkeypatch):
    rows = ROWS.astype(dtype)
    expected = _inputs.as_tensor(rows)
    monkeypatch.setattr(_inputs, "_MOVED_BYTES", moved_bytes)
    copied = []
    original = _inputs.as_tensor
    monkeypatch.setattr(
        _inputs, "as_tensor", lambda part: copied.append(part.nbytes) or original(part)
    )
    moved = _inputs.move(rows, CPU)
    assert moved.dtype == expected.dtype
    assert torch.equal(moved, expected)
    assert max(copied) <= max(moved_bytes, rows[:1].nbytes)


def test_rows_on_the_device_give_the_same_batches(monkeypatch):
    on_disk = make()
    monkeypatch.setattr(_dataset, "fits_on", lambda device, rows: True)
    moved = make()
    assert isinstance(on_disk.rows, np.ndarray)
    assert isinstance(moved.rows, torch.Tensor)
    positions = torch.tensor([5, 0, 21])
    one, other = on_disk.batch(positions), moved.batch(positions)
    for left, right in zip(one[:3], other[:3], strict=True):
        assert_close(left, right, rtol=0, atol=0)


def test_split_keeps_classes_and_loses_nothing():
    train, valid = make().split(0.3, 0)
    assert len(train) + len(valid) == 22
    together = torch.cat([train.indices, valid.indices])
    assert_close(together.sort().values, torch.arange(22))
    for part in (train, valid):
        assert set(part.targets[part.indices].tolist()) == {0, 1, 2}


@pytest.mark.parametrize(("batch_size", "sizes"), [(22, [22]), (10, [8, 7, 7])])
def test_batches_are_nearly_equal_and_complete(batch_size, sizes):
    torch.manual_seed(0)
    batches = BatchIterator(make(), batch_size, shuffle=True, augmentation=None)
    images = [batch.images for batch in batches]
    assert len(batches) == len(sizes)
    assert [len(part) for part in images] == sizes
    first_pixels = torch.cat(images)[:, 0, 0, 0]
    assert not torch.equal(first_pixels, first_pixels.sort().values)
    expected = np.sort(ROWS[:, 0] / 255)
    assert_close(first_pixels.sort().values, torch.from_numpy(expected))


def test_augmentation_changes_images_only():
    batches = BatchIterator(make(), 22, shuffle=False, augmentation=torch.zeros_like)
    (batch,) = batches
    assert not batch.images.any()
    assert batch.targets.sum() == 22
