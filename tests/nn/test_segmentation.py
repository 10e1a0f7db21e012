import pytest
import torch
from torch.testing import assert_close

from skcaps.nn import (
    SEGCAPS_VARIANTS,
    ConvCapsules,
    ConvTransposeCapsules,
    segcaps,
)

each_variant = pytest.mark.parametrize("variant", sorted(SEGCAPS_VARIANTS))


def count(network):
    return sum(p.numel() for p in network.parameters())


def build(variant="r3", n_classes=1, channels=1, **options):
    torch.manual_seed(0)
    network = segcaps((channels, 8, 8), n_classes, variant=variant, **options)
    return network.double().eval()


def noise(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)).double()


# --- sizes ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "n_classes", "expected"),
    [
        ("r3", 1, 1_416_112),
        ("r1", 1, 1_416_112),
        ("basic", 1, 1_645_840),
        ("r3", 2, 1_416_112 + 272),
        ("r1", 4, 1_416_112 + 3 * 272),
        ("basic", 2, 1_645_840 + 528),
        ("encoder", 1, 1_630_816),
        ("encoder", 2, 1_630_816 + 272),
    ],
)
def test_has_the_published_number_of_parameters(variant, n_classes, expected):
    network = segcaps((1, 8, 8), n_classes, variant=variant, decoder=None)
    assert count(network) == expected


def test_decoder_has_the_published_number_of_parameters():
    assert count(segcaps((1, 8, 8), 1).decoder) == 9_537


def test_each_channel_of_an_image_adds_a_kernel():
    more, one = (segcaps((n, 8, 8), 1, decoder=None) for n in (3, 1))
    assert count(more) - count(one) == 2 * 25 * 16


@each_variant
@pytest.mark.parametrize("sides", [(8, 16), (13, 9), (1, 1)])
def test_takes_images_of_any_size(variant, sides):
    network = segcaps((3, 8, 8), 2, variant=variant, pose_dim=5)
    poses, coupling, activations = network(torch.rand(2, 3, *sides))
    assert poses.shape == (2, 2, 5, *sides)
    assert coupling.shape[0] == 2
    assert coupling.shape[2:] == (2, *sides)
    assert activations.shape == (2, 2, *sides)
    assert network.reconstruct(poses).shape == (2, 3, *sides)


# --- laws -----------------------------------------------------------------------------


@each_variant
def test_a_shift_by_8_pixels_commutes_inside(variant):
    network = build(variant, n_classes=2, decoder=None)
    side = 2 * network.context + 24
    images = noise(1, 1, 16, side)
    inside = slice(network.context + 8, side - network.context - 8)
    with torch.no_grad():
        poses, shifted = (network(x).poses for x in (images, images.roll(8, 3)))
    assert_close(shifted.roll(-8, 4)[..., inside], poses[..., inside])


@each_variant
def test_nothing_beyond_the_context_changes_a_pixel(variant):
    network = build(variant, decoder=None)
    side = 2 * network.context + 32
    images = noise(1, 1, 8, side)
    changed = images.clone()
    changed[..., :8] = 1 - changed[..., :8]
    with torch.no_grad():
        before, after = (network(x).poses for x in (images, changed))
    moved = (before != after).flatten(0, 3).any(dim=0).nonzero()
    assert network.context // 2 <= moved.max() < network.context + 8


@pytest.mark.parametrize("variant", ["r3", "r1", "encoder"])
def test_iterations_of_one_class_change_nothing_in_the_last_layer(variant):
    network = build(variant, decoder=None)
    images = noise(1, 1, 8, 8)
    before = network(images)
    network.classes.iterations = 7
    assert_close(network(images), before, rtol=0, atol=0)


def test_iterations_of_two_classes_change_the_result():
    network = build(n_classes=2, decoder=None)
    images = noise(1, 1, 8, 8)
    before = network(images)
    network.classes.iterations = 7
    assert not torch.allclose(network(images).poses, before.poses, atol=1e-9)


def test_r1_routes_where_the_size_changes():
    trunk = build("r1").trunk
    assert [layer.iterations for layer in trunk.encoder.downs] == [1, 3, 3]
    assert {layer.iterations for layer in trunk.ups} == {3}
    between = [*trunk.encoder.convs, *trunk.convs]
    assert {layer.iterations for layer in between} == {1}


@each_variant
def test_every_parameter_has_a_gradient(variant):
    network = build(variant, n_classes=2)
    routed = network(noise(1, 1, 16, 16))
    network.reconstruct(routed.poses).sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in network.parameters())


# torch's compiler makes what torch warns of making.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_compiled_layer_has_the_same_values_and_gradients():
    torch.manual_seed(0)
    layer = ConvCapsules(2, 3, 2, kernel_size=3).double()
    poses = noise(1, 4, 2, 4, 4).requires_grad_()
    found = []
    for _ in range(2):
        routed = layer(poses)
        inputs = [poses, *layer.parameters()]
        found.append([routed.poses, *torch.autograd.grad(routed.poses.sum(), inputs)])
        layer.compile(backend="aot_eager")
    assert_close(found[1], found[0], rtol=0, atol=1e-12)


def test_bfloat16_is_left_to_the_convolutions():
    network = build(n_classes=2).float()
    images = noise(1, 1, 16, 16).float()
    with torch.autocast("cpu", torch.bfloat16):
        found = network(images)
    assert {part.dtype for part in found} == {torch.float32}
    exact = network(images)
    assert_close(found.activations, exact.activations, rtol=0, atol=0.02)
    assert not torch.equal(found.activations, exact.activations)


def test_starts_with_the_values_of_the_released_code():
    layer = ConvCapsules(32, 8, 64, kernel_size=5)
    assert_close(layer.weight.std().item(), (2 / (25 * 32)) ** 0.5, rtol=0.02, atol=0)
    assert (layer.bias == 0.1).all()
    layer = ConvTransposeCapsules(32, 8, 32)
    assert_close(layer.weight.std().item(), (2 / (16 * 256)) ** 0.5, rtol=0.02, atol=0)


# --- errors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "r2"}, r"variant must be one of \['basic', .*got 'r2'"),
        ({"decoder": "dense"}, "decoder must be one of .*got 'dense'"),
        ({"n_classes": 0}, "n_classes must be a positive integer, got 0"),
        ({"routing_iterations": 0}, "routing_iterations must be a positive integer"),
        ({"image_shape": (0, 8, 8)}, "channels must be a positive integer, got 0"),
    ],
)
def test_says_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        segcaps(**{"image_shape": (1, 8, 8), "n_classes": 1, **options})


def test_says_that_there_is_no_decoder():
    network = segcaps((1, 8, 8), 1, decoder=None)
    with pytest.raises(ValueError, match="no decoder; build it with one"):
        network.reconstruct(torch.ones(1, 1, 16, 8, 8))


@pytest.mark.parametrize("layer", [ConvCapsules, ConvTransposeCapsules])
def test_says_what_is_wrong_with_a_layer(layer):
    with pytest.raises(ValueError, match="out_caps must be a positive integer, got 0"):
        layer(2, 0, 2, kernel_size=4)
    with pytest.raises(ValueError, match=r"squash must be one of .*, got 'x'"):
        layer(2, 2, 2, kernel_size=4, squash="x")
