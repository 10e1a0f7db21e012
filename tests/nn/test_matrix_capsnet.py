import pytest
import torch

from skcaps.nn import matrix_capsnet, matrix_capsnet_geometry


def _count(channels, n_classes, arch, side=32, routing="em"):
    conv_channels, primary_capsules, *types = arch
    network = matrix_capsnet(
        (channels, side, side),
        n_classes,
        conv_channels=conv_channels,
        primary_capsules=primary_capsules,
        hidden_capsules=tuple((number, 16) for number in types),
        routing=routing,
    )
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("side", [28, 32])
@pytest.mark.parametrize(
    ("arch", "expected"), [((64, 8, 16, 16), 67154), ((32, 32, 32, 32), 316394)]
)
def test_parameters_of_hinton_et_al(arch, expected, side):
    assert _count(1, 5, arch, side) == expected


@pytest.mark.parametrize(
    ("channels", "n_classes", "arch", "expected"),
    [
        (2, 5, (64, 8, 16, 16), 68714),
        (2, 5, (64, 16, 16, 16), 95882),
        (2, 5, (64, 16, 32, 32), 244682),
        (2, 5, (64, 16), 206154),
        (1, 10, (64, 8, 16, 16), 68404),
        (1, 10, (64, 16), 250644),
    ],
)
def test_parameters_of_the_code_of_ribeiro_et_al(channels, n_classes, arch, expected):
    assert _count(channels, n_classes, arch, routing="vb") == expected


def test_maps_of_the_paper():
    outputs = [layer.output for layer in matrix_capsnet_geometry(32, 32)]
    assert outputs == [(14, 14), (14, 14), (6, 6), (4, 4)]


@pytest.mark.parametrize("n_convolutions", [0, 1, 2, 3])
@pytest.mark.parametrize(
    "sides", [(1, 1), (1, 2), (3, 8), (28, 60), (1, 200), (97, 256)]
)
def test_every_size_is_read_to_its_last_pixel(sides, n_convolutions):
    layers = matrix_capsnet_geometry(*sides, n_convolutions=n_convolutions)
    assert len(layers) == n_convolutions + 2
    for axis in (0, 1):
        read = layers[-1].output[axis]
        assert 1 <= read <= 6
        for layer in reversed(layers):
            assert layer.stride[axis] <= layer.kernel[axis]
            read = layer.kernel[axis] + (read - 1) * layer.stride[axis]
        assert read == sides[axis]


def test_negative_number_of_convolutions():
    with pytest.raises(
        ValueError, match=r"^n_convolutions must not be negative, got -1"
    ):
        matrix_capsnet_geometry(8, 8, n_convolutions=-1)


@pytest.mark.parametrize("routing", ["em", "vb"])
@pytest.mark.parametrize("hidden", [(), ((3, 8),), ((3, 8), (2, 12))])
@pytest.mark.parametrize("sides", [(1, 1), (1, 2), (9, 5)])
def test_any_size_and_depth(routing, hidden, sides):
    network = matrix_capsnet(
        (2, *sides),
        3,
        conv_channels=5,
        primary_capsules=2,
        primary_dim=4,
        hidden_capsules=hidden,
        pose_dim=8,
        routing=routing,
        decoder="dense",
    )
    routed = network(torch.rand(2, 2, *sides))
    assert routed.poses.shape == (2, 3, 8)
    assert routed.coupling.shape[::2] == (2, 3)
    assert routed.activations.shape == (2, 3)
    torch.testing.assert_close(
        routed.coupling.sum(dim=2), torch.ones(routed.coupling.shape[:2])
    )
    assert network.reconstruct(routed.poses).shape == (2, 2, *sides)
    sum(part.sum() for part in routed).backward()
    assert all(p.grad is not None for p in network.layers.parameters())


def test_poses_of_every_layer_are_normalized_for_variational_bayes():
    torch.manual_seed(0)
    network, means = matrix_capsnet((1, 12, 12), 3, routing="vb"), []
    for layer in network.layers:
        layer.register_forward_hook(
            lambda _, args, routed: means.append(
                routed.poses.transpose(0, 1).flatten(1).mean(dim=1)
            )
        )
    network(torch.rand(8, 1, 12, 12))
    assert [len(mean) for mean in means] == [16, 16, 3]
    torch.testing.assert_close(torch.cat(means), torch.zeros(35), rtol=0, atol=1e-5)


def test_a_stem_of_users():
    stem = torch.nn.Conv2d(1, 6, 3)
    network = matrix_capsnet((1, 9, 9), 3, stem=stem, primary_capsules=2)
    assert network(torch.rand(2, 1, 9, 9)).poses.shape == (2, 3, 16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"routing": "dynamic"}, r"^routing must be one of \['em', 'vb'\]"),
        ({"pose_dim": 6}, r"choose multiples of 4\.$"),
        ({"conv_channels": 0}, r"^conv_channels must be a positive integer"),
        ({"hidden_capsules": (3,)}, r"^hidden_capsules must hold a pair"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        matrix_capsnet((1, 8, 8), 3, **options)
