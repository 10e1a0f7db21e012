import pytest
import torch
from torch.testing import assert_close

from skcaps.functional import mask_by_label, mask_by_length, mask_each_label

POSES = torch.arange(1.0, 25.0).reshape(3, 4, 2)
# two labels, none, one
TARGETS = torch.tensor([[1, 0, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0]])


def _kept(masked):
    return (masked != 0).any(dim=-1).int().tolist()


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32])
def test_mask_by_label_keeps_the_labels(dtype):
    masked = mask_by_label(POSES, TARGETS.to(dtype))
    assert_close(masked, POSES * TARGETS[..., None], rtol=0, atol=0)


def test_mask_by_label_does_not_let_nan_through():
    poses = torch.tensor([[[torch.nan], [2.0]]])
    masked = mask_by_label(poses, torch.tensor([[0, 1]]))
    assert masked.tolist() == [[[0.0], [2.0]]]


def test_mask_by_label_leaves_its_input():
    poses = POSES.clone()
    mask_by_label(poses, TARGETS)
    assert_close(poses, POSES, rtol=0, atol=0)


def test_mask_by_label_gradient():
    poses = POSES.clone().requires_grad_()
    mask_by_label(poses, TARGETS).sum().backward()
    assert_close(poses.grad, TARGETS[..., None].expand(-1, -1, 2).float())


def test_mask_by_length_keeps_the_longest():
    # Capsule 1 has the largest entry, 0 the largest sum, 2 the largest length.
    poses = torch.tensor([[[3.0, 3.0], [4.0, 0.0], [-3.5, -3.5]]])
    expected = torch.tensor([[[0.0, 0.0], [0.0, 0.0], [-3.5, -3.5]]])
    assert_close(mask_by_length(poses), expected, rtol=0, atol=0)


def test_mask_by_length_works_sample_by_sample():
    poses = torch.tensor([[[1.0], [2.0]], [[9.0], [3.0]]])
    assert _kept(mask_by_length(poses)) == [[0, 1], [1, 0]]


def test_mask_by_length_keeps_the_first_of_equals():
    assert _kept(mask_by_length(torch.ones(1, 3, 2))) == [[1, 0, 0]]


def test_mask_by_length_gradient():
    poses = POSES.clone().requires_grad_()
    mask_by_length(poses).sum().backward()
    assert _kept(poses.grad) == [[0, 0, 0, 1]] * 3


def test_mask_each_label_copies_in_row_major_order():
    masked = mask_each_label(POSES, TARGETS)
    assert masked.samples.tolist() == [0, 0, 2]
    assert masked.samples.dtype == torch.int64
    assert _kept(masked.poses) == [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]
    kept = masked.poses.sum(dim=1)
    assert_close(kept, torch.stack([POSES[0, 0], POSES[0, 3], POSES[2, 2]]))


def test_mask_each_label_with_one_label_each_is_mask_by_label():
    targets = torch.eye(4, dtype=torch.int64)[[2, 0, 3]]
    masked = mask_each_label(POSES, targets)
    assert masked.samples.tolist() == [0, 1, 2]
    assert_close(masked.poses, mask_by_label(POSES, targets), rtol=0, atol=0)


def test_mask_each_label_gradient():
    poses = POSES.clone().requires_grad_()
    mask_each_label(poses, TARGETS).poses.sum().backward()
    assert_close(poses.grad, TARGETS[..., None].expand(-1, -1, 2).float())


def test_mask_each_label_without_labels():
    masked = mask_each_label(POSES, torch.zeros(3, 4))
    assert masked.poses.shape == (0, 4, 2)
    assert masked.samples.shape == (0,)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_masks_keep_the_dtype(dtype):
    poses = POSES.to(dtype)
    masked = (
        mask_by_label(poses, TARGETS),
        mask_by_length(poses),
        mask_each_label(poses, TARGETS).poses,
    )
    assert [part.dtype for part in masked] == [dtype] * 3


def test_masks_of_an_empty_batch():
    poses, targets = torch.zeros(0, 4, 2), torch.zeros(0, 4)
    masked = (
        mask_by_label(poses, targets),
        mask_by_length(poses),
        mask_each_label(poses, targets).poses,
    )
    assert [part.shape for part in masked] == [(0, 4, 2)] * 3


@pytest.mark.parametrize("mask", [mask_by_label, mask_each_label])
@pytest.mark.parametrize("shape", [(3,), (4,), (1, 4), (3, 1)], ids=str)
def test_targets_that_would_broadcast(mask, shape):
    message = r"targets must have shape \(3, 4\), got \("
    with pytest.raises(ValueError, match=message):
        mask(POSES, torch.ones(shape))
