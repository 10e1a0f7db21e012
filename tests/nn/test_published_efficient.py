import pytest
from torch import nn

from skcaps.nn import is_published_efficient

MNIST = ((1, 28, 28), 10)


@pytest.mark.parametrize(
    ("image_shape", "n_classes", "decoder"),
    [(*MNIST, "dense"), ((1, 36, 36), 10, "dense"), ((2, 48, 48), 5, "conv")],
)
def test_the_papers_networks(image_shape, n_classes, decoder):
    for chosen in (decoder, None):
        assert is_published_efficient(image_shape, n_classes, decoder=chosen)
    other = {"dense": "conv", "conv": "dense"}[decoder]
    assert not is_published_efficient(image_shape, n_classes, decoder=other)
    assert not is_published_efficient(image_shape, n_classes + 1, decoder=decoder)


@pytest.mark.parametrize(
    "options",
    [
        {"conv_channels": (32, 64, 64, 64)},
        {"hidden_capsules": [(16, 8)]},
        {"stem": nn.Identity()},
        {"primary_capsules": 16},
        {"primary_dim": 4},
        {"pose_dim": 8},
        {"routing": "dynamic"},
        {"norm": "instance"},
    ],
)
def test_another_option_is_another_network(options):
    assert not is_published_efficient(*MNIST, **options)


@pytest.mark.parametrize(
    "options",
    [{"conv_channels": [32, 64, 64, 128]}, {"routing_iterations": 5}],
    ids=["a list", "no iterations"],
)
def test_the_same_network_said_in_another_way(options):
    assert is_published_efficient(*MNIST, **options)
