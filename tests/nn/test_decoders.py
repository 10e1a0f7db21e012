import re

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from skcaps.nn import DECODERS, ConvDecoder, DenseDecoder, decoded_shape

CUT = 0.8796256610342398
SHAPES = [
    (1, 1, 1),
    (1, 1, 2),
    (1, 1, 30),
    (1, 8, 8),
    (3, 33, 57),
    (1, 28, 28),
    (2, 48, 48),
    (4, 64, 64),
]

each_decoder = pytest.mark.parametrize("decoder", sorted(DECODERS))


def _count(module):
    return sum(p.numel() for p in module.parameters())


def _poses(n_inputs=12, batch=2):
    return torch.rand(batch, n_inputs, generator=torch.Generator().manual_seed(0))


@each_decoder
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes_and_range(decoder, shape):
    torch.manual_seed(0)
    images = DECODERS[decoder](12, shape)(_poses())
    assert images.shape == (2, *shape)
    assert ((images > 0) & (images < 1)).all()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((2, 48, 48), (2, 48, 48)),
        ((3, 48, 48), (3, 48, 48)),
        ((1, 83, 83), (1, 83, 83)),
        ((1, 84, 84), (1, 42, 42)),
        ((3, 64, 64), (3, 32, 32)),
        ((3, 65, 64), (3, 33, 32)),
        ((3, 224, 224), (3, 45, 45)),
        ((1, 1, 6912), (1, 1, 6912)),
        ((1, 1, 6913), (1, 1, 3457)),
        ((200, 3, 3), (200, 3, 3)),
        ((5000, 1, 2), (5000, 1, 1)),
        ((10_000, 3, 4), (10_000, 1, 1)),
    ],
)
def test_large_images_are_decoded_smaller(shape, expected):
    assert decoded_shape(shape) == expected


@pytest.mark.parametrize("height", range(1, 300, 7))
@pytest.mark.parametrize("width", [1, 64, 100, 10_000])
def test_decoded_as_large_as_can_be(height, width):
    def size(factor):
        return -(-height // factor) * -(-width // factor)

    factor = next(factor for factor in range(1, 100) if size(factor) <= 2304)
    expected = (3, -(-height // factor), -(-width // factor))
    assert decoded_shape((3, height, width)) == expected


@each_decoder
def test_large_images_are_interpolated(decoder):
    torch.manual_seed(0)
    large = DECODERS[decoder](12, (2, 96, 80)).double()
    small = DECODERS[decoder](12, (2, 48, 40)).double()
    small.load_state_dict(large.state_dict())
    drawn = small(_poses().double())
    padded = F.pad(drawn, (1, 1, 1, 1), mode="replicate")
    # Between two pixels, a quarter of the way from the nearer one.
    near, far = padded[:, :, 1:-1], padded[:, :, 2:]
    rows = torch.stack(
        [0.75 * near + 0.25 * padded[:, :, :-2], 0.75 * near + 0.25 * far]
    )
    rows = rows.movedim(0, 3).flatten(2, 3)
    near, far = rows[..., 1:-1], rows[..., 2:]
    columns = [0.75 * near + 0.25 * rows[..., :-2], 0.75 * near + 0.25 * far]
    expected = torch.stack(columns, dim=-1).flatten(3)
    assert_close(large(_poses().double()), expected)


@pytest.mark.parametrize("side", range(1, 60))
def test_conv_seed_is_as_small_as_can_be(side):
    seed = ConvDecoder(2, (1, side, side + 5)).seed_shape
    for rows, wanted in zip(seed[1:], (side, side + 5), strict=True):
        assert 8 * (rows - 1) - 16 < wanted <= 8 * rows - 16


@pytest.mark.parametrize(
    ("decoder", "n_inputs", "shape", "expected"),
    [
        ("dense", 160, (1, 28, 28), 1_411_344),
        ("dense", 160, (1, 36, 36), 1_936_144),
        ("conv", 80, (2, 48, 48), 229_570),
    ],
)
def test_published_parameter_counts(decoder, n_inputs, shape, expected):
    assert _count(DECODERS[decoder](n_inputs, shape)) == expected


def test_dense_values():
    torch.manual_seed(0)
    decoder = DenseDecoder(12, (2, 3, 4), hidden=(5, 6))
    sizes = [(layer.in_features, layer.out_features) for layer in decoder.layers]
    assert sizes == [(12, 5), (5, 6), (6, 24)]
    first, second, last = decoder.layers
    hidden = first(_poses()).clamp_min(0)
    hidden = second(hidden).clamp_min(0)
    expected = (1 / (1 + (-last(hidden)).exp())).view(2, 2, 3, 4)
    assert_close(decoder(_poses()), expected)


def test_conv_values_at_the_published_size():
    torch.manual_seed(0)
    decoder = ConvDecoder(12, (2, 48, 48))
    assert decoder.seed_shape == (1, 8, 8)
    maps = decoder.seed(_poses()).view(2, 1, 8, 8)
    for conv in decoder.convs[:3]:
        maps = F.interpolate(maps, scale_factor=2, mode="bilinear")
        maps = F.leaky_relu(F.conv2d(maps, conv.weight, conv.bias), 0.2)
    last = decoder.convs[3]
    expected = F.conv2d(maps, last.weight, last.bias).sigmoid()
    assert expected.shape == (2, 2, 48, 48)
    assert_close(decoder(_poses()), expected)


def test_conv_cuts_around_the_middle():
    torch.manual_seed(0)
    whole = ConvDecoder(12, (1, 48, 48))
    part = ConvDecoder(12, (1, 45, 42))
    assert part.seed_shape == whole.seed_shape
    part.load_state_dict(whole.state_dict())
    assert_close(part(_poses()), whole(_poses())[:, :, 1:46, 3:45])


@each_decoder
def test_normal_initial_values(decoder):
    torch.manual_seed(0)
    for name, value in DECODERS[decoder](
        160, (1, 28, 28), initialization="normal"
    ).named_parameters():
        if name.endswith("bias"):
            assert (value == 0.1).all()
        else:
            assert value.abs().max() <= 0.2
            assert value.std().item() == pytest.approx(0.1 * CUT, rel=0.1)


@pytest.mark.parametrize(
    ("decoder", "stds"),
    [
        # sqrt(2 / inputs), the last sqrt(2 / (inputs + outputs))
        ("dense", [2 / 160, 2 / 512, 2 / (1024 + 784)]),
        # Two seeds of 6x6: one has fewer numbers than the paper's 8x8.
        ("conv", [2 / 160, 2 / 18, 2 / (64 * 9), 2 / (128 * 9), 2 / (128 * 9 + 9)]),
    ],
)
def test_variance_scaling_initial_values(decoder, stds):
    torch.manual_seed(0)
    module = DECODERS[decoder](160, (1, 28, 28), initialization="variance_scaling")
    weights = [p for name, p in module.named_parameters() if name.endswith("weight")]
    for weight, variance in zip(weights, stds, strict=True):
        assert weight.std().item() == pytest.approx(variance**0.5, rel=0.1)
        assert weight.abs().max().item() <= 2 * variance**0.5 / CUT * 1.001
    biases = [p for name, p in module.named_parameters() if name.endswith("bias")]
    assert all((bias == 0).all() for bias in biases)


@pytest.mark.parametrize(
    ("decoder", "default"), [("dense", "normal"), ("conv", "variance_scaling")]
)
def test_default_initialization(decoder, default):
    torch.manual_seed(0)
    first = DECODERS[decoder](12, (1, 8, 8))
    torch.manual_seed(0)
    second = DECODERS[decoder](12, (1, 8, 8), initialization=default)
    assert_close(first.state_dict(), second.state_dict(), rtol=0, atol=0)


@each_decoder
def test_gradient_reaches_every_parameter(decoder):
    torch.manual_seed(0)
    module = DECODERS[decoder](12, (2, 9, 7), initialization="variance_scaling")
    module(_poses()).square().sum().backward()
    assert all((p.grad != 0).any() for p in module.parameters())


@each_decoder
def test_rejects_unknown_initialization(decoder):
    message = "initialization must be one of ['normal', 'variance_scaling'], got 'he'."
    with pytest.raises(ValueError, match=re.escape(message)):
        DECODERS[decoder](12, (1, 8, 8), initialization="he")


def test_table():
    assert DECODERS == {"dense": DenseDecoder, "conv": ConvDecoder}  # noqa: SIM300
