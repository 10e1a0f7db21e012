import re

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from skcaps.nn import (
    ConvGeometry,
    DepthwisePrimaryCapsules,
    PrimaryCapsules,
    capsnet_geometry,
)

GEOMETRY = ConvGeometry((3, 2), (2, 1), (3, 4))


def _features(*shape):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _primary(in_channels=3, types=2, dim=4, geometry=GEOMETRY):
    torch.manual_seed(0)
    return PrimaryCapsules(in_channels, types, dim, geometry).double()


def _squash(vector):
    norm = np.sqrt((vector**2).sum())
    return vector * norm / (1 + norm**2)


def _squash_exp(vector):
    norm = np.sqrt((vector**2).sum())
    return vector / norm * (1 - np.exp(-norm))


# --- CapsNet --------------------------------------------------------------------------


def test_capsules_are_ordered_by_row_column_type():
    primary, features = _primary(), _features(2, 3, 7, 5)
    weight = primary.conv.weight.detach().numpy()
    bias = primary.conv.bias.detach().numpy()
    maps = features.numpy()
    types, dim = 2, 4
    for image in range(2):
        expected = []
        for row in range(3):
            for column in range(4):
                window = maps[image, :, 2 * row : 2 * row + 3, column : column + 2]
                for kind in range(types):
                    pose = np.empty(dim)
                    for d in range(dim):
                        channel = kind * dim + d
                        total = (weight[channel] * window).sum()
                        pose[d] = total + bias[channel]
                    expected.append(_squash(pose))
        assert_close(primary(features)[image], torch.tensor(np.array(expected)))


def test_zero_features_give_the_bias_alone():
    primary, none = _primary(), torch.zeros(1, 3, 7, 5, dtype=torch.float64)
    bias = primary.conv.bias.detach().view(2, 4)
    expected = torch.tensor(np.array([_squash(row) for row in bias.numpy()]))
    assert_close(primary(none)[0], expected.repeat(12, 1))


@pytest.mark.parametrize("types", [1, 2, 32])
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (28, 28), (33, 57)], ids=str)
def test_primary_shapes(types, size):
    first, last = capsnet_geometry(*size)
    primary = PrimaryCapsules(5, types, 8, last)
    poses = primary(torch.rand(2, 5, *first.output))
    assert primary.out_caps == types * last.output[0] * last.output[1]
    assert primary.out_dim == 8
    assert poses.shape == (2, primary.out_caps, 8)
    assert (poses.norm(dim=-1) < 1).all()


@pytest.mark.parametrize(
    ("in_channels", "std"), [(256, 0.1 / 4), (64, 0.2 / 4)], ids=["paper", "fewer"]
)
def test_primary_initial_values(in_channels, std):
    torch.manual_seed(0)
    geometry = ConvGeometry((9, 9), (2, 2), (6, 6))
    conv = PrimaryCapsules(in_channels, 4, 8, geometry).conv
    assert conv.weight.std().item() == pytest.approx(0.8796 * std, rel=0.02)
    assert conv.weight.abs().max() <= 2 * std
    assert (conv.bias == 0.1).all()


def test_primary_says_what_it_is():
    assert "3 channels -> 24 x 4" in repr(_primary())


# --- Efficient-CapsNet ----------------------------------------------------------------


def _depthwise(channels=6, dim=3, kernel=(3, 4), stride=(1, 1)):
    torch.manual_seed(0)
    geometry = ConvGeometry(kernel, stride, (1, 1))
    return DepthwisePrimaryCapsules(channels, dim, geometry).double()


def test_each_channel_is_summed_to_one_number():
    primary, features = _depthwise(), _features(2, 6, 3, 4)
    with torch.no_grad():
        primary.conv.bias.copy_(_features(6))
    weight, bias = primary.conv.weight.detach().numpy(), primary.conv.bias
    for image in range(2):
        values = [
            (weight[channel, 0] * features[image, channel].numpy()).sum()
            + bias[channel].item()
            for channel in range(6)
        ]
        expected = [
            _squash_exp(np.array(values[start : start + 3])) for start in (0, 3)
        ]
        assert_close(primary(features)[image], torch.tensor(np.array(expected)))


def test_a_channel_moves_its_own_capsule_only():
    primary, features = _depthwise(), _features(1, 6, 3, 4)
    changed = features.clone()
    changed[:, 4] += 1
    moved = (primary(changed) != primary(features)).any(-1)
    assert moved.tolist() == [[False, True]]


@pytest.mark.parametrize(("channels", "dim"), [(8, 8), (128, 8), (6, 1), (1, 1)])
def test_depthwise_shapes(channels, dim):
    primary = _depthwise(channels, dim)
    assert (primary.out_caps, primary.out_dim) == (channels // dim, dim)
    assert primary(_features(2, channels, 3, 4)).shape == (2, channels // dim, dim)
    assert sum(p.numel() for p in primary.parameters()) == channels * 12 + channels


def test_depthwise_initial_values():
    torch.manual_seed(0)
    geometry = ConvGeometry((9, 9), (1, 1), (1, 1))
    conv = DepthwisePrimaryCapsules(128, 8, geometry).conv
    # papers.md, 1.1: the limit of Keras' glorot_uniform here is 0.0240.
    assert conv.weight.abs().max().item() == pytest.approx(0.0240, abs=1e-4)
    assert (conv.bias == 0).all()


def test_depthwise_rejects_channels_that_do_not_divide():
    message = (
        "The feature map has 10 channels, which do not divide into capsules of "
        "primary_dim=4; choose a divisor of 10."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        _depthwise(10, 4)


def test_depthwise_says_what_it_is():
    assert "6 channels -> 2 x 3" in repr(_depthwise())
