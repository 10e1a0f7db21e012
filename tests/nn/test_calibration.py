import pytest
import torch
from torch import nn

from skcaps.functional import SQUASHES, lengths, uniform_routing
from skcaps.nn import (
    ROUTINGS,
    ActivationRouting,
    CapsuleLayer,
    calibrate,
    capsnet,
    efficient_capsnet,
)

BUILDERS = {
    "capsnet": lambda *args, **options: capsnet(
        *args, conv_channels=16, primary_capsules=4, **options
    ),
    "efficient": lambda *args, **options: efficient_capsnet(
        *args, conv_channels=(8, 8, 8, 32), **options
    ),
}
LAYER_LENGTHS = {"squash": 0.1, "squash_exp": 0.01}
BUILDER = pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)


def make_data(shape, n_classes, *, low=0.0, high=1.0, n_images=24):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n_images) % n_classes
    patterns = torch.rand((n_classes, *shape), generator=generator) < 0.3
    noise = torch.rand((n_images, *shape), generator=generator)
    images = low + (high - low) * (0.8 * patterns[labels] + 0.2 * noise)
    return images, nn.functional.one_hot(labels, n_classes).float()


def make_network(build, shape, n_classes, seed=0, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(shape, n_classes, **options)


def assert_lengths(network, images):
    network.train()
    with torch.no_grad():
        poses = network.encode(images)
        assert lengths(poses).mean().item() == pytest.approx(0.1, rel=0.1)
        activations = None
        for layer in network.layers:
            by_length = not isinstance(layer.routing, ActivationRouting)
            squash = SQUASHES[layer.routing.squash] if by_length else torch.clone
            shared = uniform_routing(poses, layer.weight, squash=squash).poses
            if by_length:
                wanted = LAYER_LENGTHS[layer.routing.squash]
            else:
                wanted = layer.routing.start_length
            assert lengths(shared).mean().item() == pytest.approx(wanted, rel=0.1)
            poses, _, activations = layer(poses, activations)
            if by_length:
                assert 0.3 * wanted < lengths(poses).mean().item() < 5 * wanted
            else:
                assert 0.01 < activations.min() <= activations.max() < 0.99


@BUILDER
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 20, 20), (1, 1, 13), (1, 2, 2)])
@pytest.mark.parametrize("n_classes", [2, 10, 60])
def test_lengths_are_alike_for_every_shape_and_class_count(build, shape, n_classes):
    network = make_network(build, shape, n_classes)
    images, targets = make_data(shape, n_classes)
    calibrate(network, images, targets)
    assert_lengths(network, images)


@BUILDER
@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 0.01), (0.99, 1.0), (1.0, 0.0)], ids=["dark", "bright", "-"]
)
def test_brightness_makes_no_difference(build, low, high):
    network = make_network(build, (1, 12, 12), 3)
    images, targets = make_data((1, 12, 12), 3, low=low, high=high)
    calibrate(network, images, targets)
    assert_lengths(network, images)


@BUILDER
@pytest.mark.parametrize("routing", ROUTINGS)
@pytest.mark.parametrize("hidden", [(), ((8, 6),), ((8, 6), (5, 4))])
def test_lengths_are_alike_for_every_routing_and_depth(build, routing, hidden):
    options = {"routing": routing, "hidden_capsules": hidden}
    network = make_network(build, (1, 12, 12), 4, **options)
    images, targets = make_data((1, 12, 12), 4)
    calibrate(network, images, targets)
    assert_lengths(network, images)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_a_stem_of_any_scale(scale):
    stem = nn.Sequential(nn.Conv2d(1, 16, 3))
    with torch.no_grad():
        stem[0].weight *= scale
    network = make_network(capsnet, (1, 12, 12), 3, stem=stem, primary_capsules=4)
    images, targets = make_data((1, 12, 12), 3)
    calibrate(network, images, targets)
    assert_lengths(network, images)


@BUILDER
def test_mode_statistics_and_directions_stay(build):
    network = make_network(build, (1, 12, 12), 3).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    calibrate(network, *make_data((1, 12, 12), 3))
    assert not any(module.training for module in network.modules())
    for name, buffer in network.named_buffers():
        torch.testing.assert_close(buffer, before[name], rtol=0, atol=0)
    weight, drawn = network.layers[0].weight, before["layers.0.weight"]
    ratio = weight / drawn
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio))


@BUILDER
@pytest.mark.parametrize("decoder", ["dense", "conv"])
def test_an_image_of_weight_two_counts_like_two(build, decoder):
    images, targets = make_data((1, 12, 12), 3, n_images=9)
    repeated = torch.tensor([0, 0, 1, 2, 2, 2, 4, 5, 6, 7, 8])
    weight = torch.bincount(repeated, minlength=9).double()
    one = make_network(build, (1, 12, 12), 3, seed=1, decoder=decoder).double()
    other = make_network(build, (1, 12, 12), 3, seed=1, decoder=decoder).double()
    calibrate(one, images.double(), targets, weight)
    calibrate(other, images[repeated].double(), targets[repeated])
    for name, value in one.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[name])


@BUILDER
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_images_that_are_all_alike_leave_finite_weights(build, value):
    network = make_network(build, (1, 8, 8), 2)
    images = torch.full((6, 1, 8, 8), value)
    calibrate(network, images, torch.eye(2).repeat(3, 1))
    assert all(p.isfinite().all() for p in network.parameters())


@BUILDER
@pytest.mark.parametrize("decoder", ["dense", "conv"])
def test_the_decoder_starts_near_the_mean_image(build, decoder):
    network = make_network(build, (3, 12, 12), 3, decoder=decoder)
    images, targets = make_data((3, 12, 12), 3)
    images = images * torch.tensor([0.1, 0.5, 1.0]).view(3, 1, 1)
    calibrate(network, images, targets)
    head = network.decoder.layers if decoder == "dense" else network.decoder.convs
    shape = (3, 12, 12) if decoder == "dense" else (3, 1, 1)
    start = torch.sigmoid(head[-1].bias).detach().view(shape).expand(3, 12, 12)
    channel_means = images.mean(dim=(0, 2, 3))
    torch.testing.assert_close(
        start.mean(dim=(1, 2)), channel_means, rtol=0.3, atol=0.02
    )
    if decoder == "dense":
        expected = images.mean(dim=0).clamp(0.01, 0.99)
        torch.testing.assert_close(start, expected)


def test_the_decoder_of_large_images_starts_near_a_smaller_mean_image():
    network = make_network(capsnet, (3, 96, 80), 2, conv_channels=8)
    images, targets = make_data((3, 96, 80), 2)
    calibrate(network, images, targets)
    start = torch.sigmoid(network.decoder.layers[-1].bias).detach().view(3, 48, 40)
    smaller = images.mean(dim=0).view(3, 48, 2, 40, 2).mean(dim=(2, 4))
    torch.testing.assert_close(start, smaller.clamp(0.01, 0.99))


def test_a_layer_without_poses_stays():
    network = make_network(capsnet, (1, 8, 8), 2, conv_channels=16, decoder=None)
    with torch.no_grad():
        network.layers[0].weight.zero_()
    calibrate(network, *make_data((1, 8, 8), 2))
    assert not network.layers[0].weight.any()


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_a_layer_far_off_is_brought_in(scale):
    network = make_network(efficient_capsnet, (1, 12, 12), 60)
    with torch.no_grad():
        network.layers[0].weight *= scale
    images, targets = make_data((1, 12, 12), 60, n_images=60)
    calibrate(network, images, targets)
    assert_lengths(network, images)


@BUILDER
def test_the_decoders_seed_does_not_depend_on_how_short_the_poses_start(build):
    network = make_network(build, (3, 20, 20), 3, decoder="conv")
    images, targets = make_data((3, 20, 20), 3)
    calibrate(network, images, targets)
    network.train()
    with torch.no_grad():
        poses = network(images).poses * targets.unsqueeze(2)
        poses *= 0.1 / lengths(poses).sum(dim=1).mean()
        spread = network.decoder.seed(poses.flatten(1)).square().mean().sqrt()
    assert spread.item() == pytest.approx(0.125, rel=0.02)


def test_a_routing_bias_does_not_shrink_the_weights():
    networks = [
        make_network(
            capsnet, (1, 12, 12), 3, conv_channels=16, decoder=None, routing_bias=given
        )
        for given in (False, True)
    ]
    for network in networks:
        calibrate(network, *make_data((1, 12, 12), 3))
    plain, biased = (network.layers[0].weight for network in networks)
    torch.testing.assert_close(biased, plain)


def test_a_squash_of_ones_own_is_calibrated(monkeypatch):
    monkeypatch.setitem(SQUASHES, "mine", SQUASHES["squash"])
    network = make_network(capsnet, (1, 12, 12), 3, conv_channels=16, decoder=None)
    network.layers[0] = CapsuleLayer(network.primary.out_caps, 8, 3, 16, squash="mine")
    images, targets = make_data((1, 12, 12), 3)
    calibrate(network, images, targets)
    assert lengths(network(images).poses).mean().item() == pytest.approx(0.1, rel=0.5)
