import pytest
import torch

from skcaps.nn import (
    BatchNorm,
    InstanceNorm,
    capsnet,
    efficient_capsnet,
)

from ._small import BUILDERS, count, random_images, small

CUT = 0.8796256610342398


@pytest.mark.parametrize(
    ("name", "image_shape", "n_classes", "options", "expected"),
    [
        ("capsnet", (1, 28, 28), 10, {}, 6_804_224),
        ("capsnet", (1, 28, 28), 10, {"routing_bias": True}, 6_804_384),
        # AffCapsNet.
        (
            "capsnet",
            (1, 28, 28),
            10,
            {"share_weight": True, "routing": "uniform"},
            5_330_944,
        ),
        ("efficient_capsnet", (1, 28, 28), 10, {}, 161_824),
        ("efficient_capsnet", (1, 36, 36), 10, {}, 154_656),
        ("efficient_capsnet", (2, 48, 48), 5, {}, 151_664),
    ],
)
def test_published_parameter_counts(name, image_shape, n_classes, options, expected):
    network = BUILDERS[name](image_shape, n_classes, decoder=None, **options)
    assert count(network) == expected


@pytest.mark.parametrize(
    ("name", "image_shape", "n_classes", "decoder", "expected"),
    [
        ("capsnet", (1, 28, 28), 10, "dense", 6_804_224 + 1_411_344),
        ("efficient_capsnet", (1, 28, 28), 10, "dense", 1_573_168),
        ("efficient_capsnet", (1, 36, 36), 10, "dense", 2_090_800),
        ("efficient_capsnet", (2, 48, 48), 5, "conv", 381_234),
    ],
)
def test_published_counts_with_decoder(name, image_shape, n_classes, decoder, expected):
    assert count(BUILDERS[name](image_shape, n_classes, decoder=decoder)) == expected


@pytest.mark.parametrize(
    ("name", "image_shape", "n_classes", "expected"),
    [
        (
            "capsnet",
            (1, 28, 28),
            10,
            {
                "stem.conv": (256, 20, 20),
                "stem": (256, 20, 20),
                "primary": (1152, 8),
                "layers.0": (10, 16),
                "decoder.layers.0": (512,),
                "decoder.layers.1": (1024,),
                "decoder.layers.2": (784,),
                "decoder": (1, 28, 28),
            },
        ),
        (
            "efficient_capsnet",
            (1, 28, 28),
            10,
            {
                "stem.convs.0": (32, 24, 24),
                "stem.convs.1": (64, 22, 22),
                "stem.convs.2": (64, 20, 20),
                "stem.convs.3": (128, 9, 9),
                "primary.conv": (128, 1, 1),
                "primary": (16, 8),
                "layers.0": (10, 16),
                "decoder": (1, 28, 28),
            },
        ),
        (
            "efficient_capsnet",
            (1, 36, 36),
            10,
            {
                "stem.convs.0": (32, 32, 32),
                "stem.convs.1": (64, 30, 30),
                "stem.convs.2": (64, 14, 14),
                "stem.convs.3": (128, 6, 6),
                "primary.conv": (128, 1, 1),
                "primary": (16, 8),
                "layers.0": (10, 16),
            },
        ),
        (
            "efficient_capsnet",
            (2, 48, 48),
            5,
            {
                "stem.convs.0": (32, 21, 21),
                "stem.convs.1": (64, 19, 19),
                "stem.convs.2": (64, 17, 17),
                "stem.convs.3": (128, 8, 8),
                "primary.conv": (128, 1, 1),
                "primary": (16, 8),
                "layers.0": (5, 16),
            },
        ),
    ],
    ids=["capsnet-28", "efficient-28", "efficient-36", "efficient-48"],
)
def test_published_layers(name, image_shape, n_classes, expected):
    network = BUILDERS[name](image_shape, n_classes)
    seen = {}

    def record(path):
        def hook(module, args, out):
            out = out.poses if hasattr(out, "poses") else out
            seen[path] = tuple(out.shape[1:])

        return hook

    for path, module in network.named_modules():
        module.register_forward_hook(record(path))
    network.reconstruct(network(random_images(1, *image_shape)).poses)
    assert {path: seen[path] for path in expected} == expected


def _check_values(parameters, expected):
    for path, (std, bias) in expected.items():
        weight = parameters[f"{path}.weight"]
        assert weight.std().item() == pytest.approx(std, rel=0.1), path
        if bias is None:
            assert f"{path}.bias" not in parameters
        else:
            assert (parameters[f"{path}.bias"] == bias).all(), path


def test_capsnet_initial_values():
    torch.manual_seed(0)
    network = capsnet((1, 28, 28), 10, routing_bias=True)
    expected = {
        "stem.conv": (0.05 * CUT, 0.1),
        "primary.conv": (0.1 / 32 * CUT, 0.1),
        "layers.0": (0.1 * CUT, None),
        "decoder.layers.0": (0.1 * CUT, 0.1),
        "decoder.layers.1": (0.1 * CUT, 0.1),
        "decoder.layers.2": (0.1 * CUT, 0.1),
    }
    _check_values(dict(network.named_parameters()), expected)
    assert (network.layers[0].routing.bias == 0.1).all()


def test_efficient_capsnet_initial_values():
    torch.manual_seed(0)
    parameters = dict(efficient_capsnet((1, 28, 28), 10).named_parameters())
    expected = {
        "stem.convs.0": ((2 / 25) ** 0.5, 0),
        "stem.convs.1": ((2 / 288) ** 0.5, 0),
        "stem.convs.2": ((2 / 576) ** 0.5, 0),
        "stem.convs.3": ((2 / 576) ** 0.5, 0),
        "primary.conv": (0.0240 / 3**0.5, 0),
        # papers.md, 1.1: Keras' fan-in of the capsules' weight is 1280.
        "layers.0": (0.0395, None),
        "decoder.layers.0": ((2 / 160) ** 0.5, 0),
        "decoder.layers.1": ((2 / 512) ** 0.5, 0),
        "decoder.layers.2": ((2 / 1808) ** 0.5, 0),
    }
    _check_values(parameters, expected)
    assert (parameters["layers.0.routing.prior"] == 0).all()
    for i in range(4):
        assert (parameters[f"stem.norms.{i}.weight"] == 1).all()
        assert (parameters[f"stem.norms.{i}.bias"] == 0).all()


@pytest.mark.parametrize(
    ("image_shape", "norm", "expected"),
    [
        ((1, 28, 28), "auto", BatchNorm),
        ((2, 48, 48), "auto", InstanceNorm),
        ((1, 48, 48), "auto", BatchNorm),
        ((2, 48, 48), "batch", BatchNorm),
        ((1, 28, 28), "instance", InstanceNorm),
    ],
)
def test_norm(image_shape, norm, expected):
    network = small("efficient_capsnet", image_shape, norm=norm)
    assert {type(layer) for layer in network.stem.norms} == {expected}


def test_squashes():
    assert small("capsnet").layers[0].routing.squash == "squash"
    assert small("efficient_capsnet").layers[0].routing.squash == "squash_exp"


@pytest.mark.parametrize("size", [8, 12, 28])
@pytest.mark.parametrize("primary_dim", [4, 8])
def test_votes_of_capsnet_add_up_alike_for_every_size(size, primary_dim):
    torch.manual_seed(0)
    network = capsnet(
        (1, size, size), 10, conv_channels=8, primary_dim=primary_dim, decoder=None
    )
    weight = network.layers[0].weight
    in_caps, _, in_dim, _ = weight.shape
    # The paper's 1152 capsules of 8 dimensions and its standard deviation of 0.1.
    expected = 1152 * 8 * (0.1 * 0.87962566) ** 2
    assert in_caps * in_dim * weight.var().item() == pytest.approx(expected, rel=0.05)
