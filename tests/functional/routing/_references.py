"""How the values of the authors' code are stored, and how to compare with them."""

import torch
from torch.testing import assert_close

from skcaps.functional import matrix_votes

from . import _windows

FULLY_CONNECTED = [(case, count) for case in ("fc_a", "fc_b") for count in (1, 2, 3)]
CONVOLUTIONS = [(case, count) for case in ("conv_s1", "conv_s2") for count in (1, 2, 3)]


def leaves(values, *keys):
    return {key: values[key].requires_grad_() for key in keys}


def sizes(values):
    """Kernel, stride and padding."""
    return [int(values.get(key, 0)) for key in ("kernel", "stride", "padding")]


def child_numbers(values):
    return _windows.children(*values["poses"].shape[1:4], *sizes(values))


def unfolded_votes(values):
    """Votes of matrix capsules on a map for each position that sees them."""
    windows = _windows.unfold(values["poses"], *sizes(values)).flatten(4)
    weight = values["W"].flatten(0, 2)
    return matrix_votes(windows.flatten(0, 2), weight).unflatten(0, windows.shape[:3])


def as_stored(values, poses):
    """With the types of the parents before their positions, and poses as matrices."""
    if poses.ndim > 3:
        poses = poses.movedim(-2, 1)
    return poses.reshape(values["proj_poses"].shape)


def compare(values, prefix, tolerance=1e-6, **found):
    """Compare what is stored; couplings are not where they are those of the start."""
    for key, value in found.items():
        if key != "couplings" or f"{prefix}{key}" in values:
            expected = values[f"{prefix}{key}"]
            assert_close(value, expected, rtol=0, atol=tolerance)


def compare_gradients(values, prefix, inputs, tolerance=1e-6, **found):
    """Compare gradients of the sum of what is found, times the stored factors."""
    if not any(key.startswith(f"{prefix}grad_") for key in values):
        return
    total = sum((values[f"proj_{key}"] * value).sum() for key, value in found.items())
    grads = torch.autograd.grad(total, list(inputs.values()))
    for key, grad in zip(inputs, grads, strict=True):
        expected = values[f"{prefix}grad_{key}"].view(grad.shape)
        assert_close(grad, expected, rtol=tolerance, atol=tolerance)
