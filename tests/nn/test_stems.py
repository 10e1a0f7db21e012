import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from skcaps.nn import (
    NORMS,
    BatchNorm,
    CapsNetStem,
    CustomStem,
    EfficientCapsNetStem,
    InstanceNorm,
    capsnet_geometry,
    efficient_capsnet_geometry,
)

CHANNELS = (4, 6, 6, 8)
SIZES = [(1, 1), (1, 2), (8, 8), (28, 28), (33, 57), (64, 64)]


def _images(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def _efficient(height, width, in_channels=1, **options):
    geometry = efficient_capsnet_geometry(height, width)[:4]
    return EfficientCapsNetStem(in_channels, CHANNELS, geometry, **options), geometry


# --- CapsNet --------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("in_channels", [1, 3])
def test_capsnet_stem(size, in_channels):
    torch.manual_seed(0)
    geometry = capsnet_geometry(*size)[0]
    stem = CapsNetStem(in_channels, 5, geometry)
    images = _images(2, in_channels, *size)
    out = stem(images)
    assert out.shape == (2, 5, *geometry.output)
    conv = F.conv2d(images, stem.conv.weight, stem.conv.bias, geometry.stride)
    assert_close(out, conv.clamp_min(0))
    assert_close(stem(images, torch.rand(2)), out)


@pytest.mark.parametrize(
    ("in_channels", "side", "std"), [(1, 28, 0.05), (4, 28, 0.025), (1, 6, 0.15)]
)
def test_capsnet_stem_keeps_the_variance(in_channels, side, std):
    torch.manual_seed(0)
    weight = CapsNetStem(in_channels, 256, capsnet_geometry(side, side)[0]).conv.weight
    assert weight.abs().max().item() == pytest.approx(2 * std, rel=0.02)
    assert weight.std().item() == pytest.approx(0.8796 * std, rel=0.05)


# --- Efficient-CapsNet ----------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("norm", sorted(NORMS))
def test_efficient_stem_shapes(size, norm):
    if norm == "instance" and size == (1, 1):
        size = (2, 1)  # one pixel cannot be normalised by itself
    stem, geometry = _efficient(*size, norm=norm)
    images = _images(3, 1, *size)
    assert stem(images).shape == (3, CHANNELS[-1], *geometry[-1].output)
    assert stem(images, torch.ones(3)).shape == (3, CHANNELS[-1], *geometry[-1].output)


@pytest.mark.parametrize(
    ("norm", "activation"),
    [("batch", torch.relu), ("instance", lambda x: F.leaky_relu(x, 0.3))],
)
def test_efficient_stem_activates_then_normalises(norm, activation):
    torch.manual_seed(0)
    stem, geometry = _efficient(28, 28, norm=norm)
    features = images = _images(3, 1, 28, 28)
    for conv, layer in zip(stem.convs, geometry, strict=True):
        features = activation(F.conv2d(features, conv.weight, conv.bias, layer.stride))
        features = F.batch_norm(features, None, None, training=True, eps=1e-3)
        if norm == "instance":
            break
    if norm == "batch":
        assert_close(stem(images), features, rtol=1e-4, atol=1e-4)
        return
    first = activation(stem.convs[0](images))
    module = stem.norms[0]
    expected = F.instance_norm(first, weight=module.weight, bias=module.bias, eps=1e-3)
    seen = []
    stem.convs[1].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    stem(images)
    assert_close(seen[0], expected)


def test_table_of_norms():
    assert sorted(NORMS) == ["batch", "instance"]
    assert NORMS["batch"].norm is BatchNorm
    assert NORMS["instance"].norm is InstanceNorm
    assert isinstance(NORMS["batch"].activation(), nn.ReLU)
    assert NORMS["instance"].activation().negative_slope == 0.3


def test_efficient_stem_weights_its_statistics():
    torch.manual_seed(0)
    stem, _ = _efficient(28, 28)
    images = _images(3, 1, 28, 28)
    absent = stem(images[:2])
    out = stem(images, torch.tensor([1.0, 1.0, 0.0]))
    assert_close(out[:2], absent, rtol=1e-4, atol=1e-4)


def test_efficient_stem_does_not_depend_on_the_layout_of_memory():
    stem, _ = _efficient(28, 28)
    stem.eval()
    images = _images(2, 1, 28, 28)
    expected = stem(images)
    assert_close(stem(images.to(memory_format=torch.channels_last)), expected)
    assert_close(stem(images.permute(0, 1, 3, 2).contiguous().mT), expected)


@pytest.mark.parametrize("channels", [(4, 6), (4, 6, 6, 8, 8)])
def test_efficient_stem_needs_one_geometry_a_layer(channels):
    with pytest.raises(ValueError, match=r"zip\(\)"):
        EfficientCapsNetStem(1, channels, efficient_capsnet_geometry(28, 28)[:4])


def test_efficient_stem_rejects_unknown_norm():
    message = "norm must be one of ['batch', 'instance'], got 'layer'."
    with pytest.raises(ValueError, match=re.escape(message)):
        _efficient(28, 28, norm="layer")


# --- custom ---------------------------------------------------------------------------


class Dropping(nn.Module):
    """A trunk with every kind of state: a frozen layer, statistics and dropout."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=2).requires_grad_(False)
        self.norm = nn.BatchNorm2d(6)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(self.norm(self.conv(x)))


def test_custom_stem_copies():
    trunk = Dropping()
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    stem = CustomStem(trunk, (3, 16, 20))
    assert stem.out_shape == (6, 7, 9)
    assert stem.module is not trunk
    stem(_images(4, 3, 16, 20)).sum().backward()
    with torch.no_grad():
        for parameter in stem.parameters():
            parameter.add_(1)
    for name, value in trunk.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(parameter.grad is None for parameter in trunk.parameters())


@pytest.mark.parametrize("training", [True, False])
def test_custom_stem_keeps_the_mode_and_the_statistics(training):
    trunk = Dropping().train(training)
    state = torch.random.get_rng_state()
    stem = CustomStem(trunk, (3, 16, 16))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert trunk.training is training
    assert stem.module.training is training
    assert stem.module.norm.num_batches_tracked == 0


def test_custom_stem_keeps_frozen_parameters_frozen():
    stem = CustomStem(Dropping(), (3, 16, 16))
    frozen = [name for name, p in stem.named_parameters() if not p.requires_grad]
    assert frozen == ["module.conv.weight", "module.conv.bias"]


def test_custom_stem_ignores_sample_weights():
    stem = CustomStem(Dropping().eval(), (3, 16, 16)).eval()
    images = _images(2, 3, 16, 16)
    assert_close(stem(images, torch.rand(2)), stem(images), rtol=0, atol=0)


@pytest.mark.parametrize("trunk", [nn.Identity(), nn.Conv2d(3, 2, 1).double()])
def test_custom_stem_probes_in_the_modules_dtype(trunk):
    assert CustomStem(trunk, (3, 5, 7)).out_shape[1:] == (5, 7)


class Pair(nn.Module):
    def forward(self, x):
        return x, x


@pytest.mark.parametrize(
    ("trunk", "got"),
    [
        (nn.Flatten(), "(1, 192)"),
        (nn.Flatten(2), "(1, 3, 64)"),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 10)), "(1, 10)"),
        (Pair(), "tuple"),
    ],
)
def test_custom_stem_rejects_what_gives_no_maps(trunk, got):
    message = f"feature maps with four axes, got {got}; cut the trunk"
    with pytest.raises(ValueError, match=re.escape(message)):
        CustomStem(trunk, (3, 8, 8))


def _frozen_trunk():
    trunk = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    return trunk.requires_grad_(False)


def test_frozen_parts_of_a_stem_stay_in_evaluation():
    stem = CustomStem(nn.Sequential(_frozen_trunk(), nn.Conv2d(4, 8, 3)), (1, 9, 9))
    stem.train()
    assert stem.training
    assert not any(part.training for part in stem.module[0].modules())
    assert stem.module[1].training
    before = stem.module[0][1].running_mean.clone()
    images = torch.rand(5, 1, 9, 9)
    assert_close(stem(images), stem(images), rtol=0, atol=0)
    assert_close(stem.module[0][1].running_mean, before, rtol=0, atol=0)


def test_custom_stem_says_which_images_it_was_given():
    message = r"\(channels, height, width\) = \(1, 9, 9\).*but it raised"
    with pytest.raises(ValueError, match=message):
        CustomStem(nn.Conv2d(3, 8, 3), (1, 9, 9))
