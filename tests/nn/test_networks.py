import re

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from skcaps.nn import (
    ROUTINGS,
    CapsNetStem,
    CapsuleLayer,
    CapsuleNetwork,
    CustomStem,
    efficient_capsnet,
)

from ._small import (
    BUILDERS,
    each_network,
    each_routing,
    make_trunk,
    random_images,
    small,
)

SHAPES = [(1, 1, 1), (1, 1, 2), (1, 1, 30), (1, 8, 8), (3, 33, 57), (4, 64, 64)]


# --- any size, channels and classes ---------------------------------------------------


@each_network
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("n_classes", [2, 7])
@pytest.mark.parametrize("decoder", ["dense", "conv", None])
def test_any_size(name, shape, n_classes, decoder):
    network = small(name, shape, n_classes, decoder=decoder)
    poses, coupling, _ = network(random_images(2, *shape))
    assert poses.shape == (2, n_classes, 16)
    assert coupling.shape == (2, network.primary.out_caps, n_classes)
    assert (poses.norm(dim=-1) < 1).all()
    if decoder is not None:
        assert network.reconstruct(poses).shape == (2, *shape)


@each_network
@pytest.mark.parametrize("shape", [(1, 1, 2), (1, 2, 1), (1, 2, 3), (1, 3, 3)], ids=str)
def test_every_pixel_of_a_tiny_image_matters(name, shape):
    network = small(name, shape, decoder=None).double().eval()
    images = random_images(1, *shape, dtype=torch.float64).requires_grad_()
    slope = torch.linspace(1, 2, 48, dtype=torch.float64).view(3, 16)
    (network(images).poses * slope).sum().backward()
    assert (images.grad != 0).all()


@each_network
def test_published_size_with_default_widths(name):
    torch.manual_seed(0)
    network = BUILDERS[name]((3, 33, 57), 4)
    assert network(random_images(1, 3, 33, 57)).poses.shape == (1, 4, 16)


@each_network
def test_single_image(name):
    network = small(name, (1, 1, 1))
    assert network(random_images(1, 1, 1, 1)).poses.isfinite().all()


@each_network
def test_rows_do_not_depend_on_each_other_in_evaluation(name):
    network = small(name).double().eval()
    images = random_images(4, 1, 12, 12, dtype=torch.float64)
    assert_close(network(images).poses[1:2], network(images[1:2]).poses)


# --- options --------------------------------------------------------------------------


@each_network
@each_routing
def test_routings(name, routing):
    network = small(name, routing=routing, hidden_capsules=((5, 6),))
    kinds = [type(layer.routing) for layer in network.layers]
    assert kinds == [ROUTINGS[routing]] * 2
    assert network(random_images(2, 1, 12, 12)).poses.shape == (2, 3, 16)


@each_network
@pytest.mark.parametrize("iterations", [1, 4])
def test_routing_iterations(name, iterations):
    network = small(name, routing="dynamic", routing_iterations=iterations)
    assert network.layers[0].routing.iterations == iterations


@each_network
def test_hidden_capsules(name):
    network = small(name, hidden_capsules=((6, 4), (5, 3)), pose_dim=7, primary_dim=2)
    below = network.primary
    shapes = [tuple(layer.weight.shape) for layer in network.layers]
    assert below.out_dim == 2
    assert shapes == [(below.out_caps, 6, 2, 4), (6, 5, 4, 3), (5, 3, 3, 7)]
    poses, coupling, _ = network(random_images(2, 1, 12, 12))
    assert poses.shape == (2, 3, 7)
    assert coupling.shape == (2, 5, 3)


@each_network
def test_weights_are_shared_in_every_layer(name):
    network = small(name, share_weight=True, hidden_capsules=((6, 4),))
    shapes = [tuple(layer.weight.shape) for layer in network.layers]
    assert shapes == [(1, 6, 8, 4), (1, 3, 4, 16)]
    assert network(random_images(2, 1, 12, 12)).poses.shape == (2, 3, 16)


def test_routing_bias_in_every_layer():
    network = small("capsnet", hidden_capsules=((6, 4),), routing_bias=True)
    shapes = [tuple(layer.routing.bias.shape) for layer in network.layers]
    assert shapes == [(6, 4), (3, 16)]


@pytest.mark.parametrize(("caps", "channels"), [("auto", 16), (5, 40), (2, 16)])
def test_efficient_primary_capsules(caps, channels):
    network = small("efficient_capsnet", primary_capsules=caps)
    assert network.stem.convs[-1].out_channels == channels
    assert network.primary.out_caps == channels // 8


@pytest.mark.parametrize("kernel_size", [2, 3, 5])
def test_capsnet_kernel_size(kernel_size):
    network = small("capsnet", (1, 25, 25), kernel_size=kernel_size)
    assert network.stem.conv.kernel_size == (kernel_size, kernel_size)
    assert network(random_images(1, 1, 25, 25)).poses.shape == (1, 3, 16)


def test_sample_weights_reach_the_norm():
    network = small("efficient_capsnet").double()
    images = random_images(4, 1, 12, 12, dtype=torch.float64)
    weight = torch.tensor([1, 2, 0, 1], dtype=torch.float64)
    weighted = network(images, weight).poses
    repeated = network(images[[0, 1, 1, 3]]).poses
    assert_close(weighted[[0, 1, 3]], repeated[[0, 1, 3]])


@each_network
def test_forward_is_encode_then_route(name):
    network = small(name).eval()
    images = random_images(2, 1, 12, 12)
    poses = network.encode(images)
    assert poses.shape == (2, network.primary.out_caps, network.primary.out_dim)
    assert_close(network(images), network.route(poses), rtol=0, atol=0)


# --- a stem of one's own --------------------------------------------------------------


@each_network
def test_custom_stem(name):
    trunk = make_trunk()
    before = {key: value.clone() for key, value in trunk.state_dict().items()}
    network = BUILDERS[name]((1, 12, 10), 3, stem=trunk)
    assert isinstance(network.stem, CustomStem)
    assert network.stem.out_shape == (16, 10, 8)
    assert not {id(p) for p in trunk.parameters()} & {
        id(p) for p in network.parameters()
    }
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    network(random_images(2, 1, 12, 10)).poses.square().sum().backward()
    optimizer.step()
    assert all(
        torch.equal(value, before[key]) for key, value in trunk.state_dict().items()
    )
    assert (network.stem.module[0].weight != trunk[0].weight).any()


@each_network
def test_frozen_parameters_stay_frozen(name):
    network = BUILDERS[name]((1, 12, 10), 3, stem=make_trunk().requires_grad_(False))
    network(random_images(2, 1, 12, 10)).poses.square().sum().backward()
    frozen = list(network.stem.parameters())
    assert frozen
    assert all(p.grad is None and not p.requires_grad for p in frozen)
    assert all(p.grad is not None for p in network.primary.parameters())


@each_network
def test_wrong_stem(name):
    trunk = nn.Sequential(make_trunk(), nn.Flatten())
    with pytest.raises(
        ValueError, match=r"feature maps with four axes, got \(1, 1280\)"
    ):
        BUILDERS[name]((1, 12, 10), 3, stem=trunk)


@each_network
def test_unknown_stem(name):
    message = "stem must be \"paper\" or a torch.nn.Module, got 'resnet'."
    with pytest.raises(ValueError, match=re.escape(message)):
        BUILDERS[name]((1, 12, 10), 3, stem="resnet")


def test_custom_stem_fixes_the_primary_capsules():
    network = efficient_capsnet((1, 12, 10), 3, stem=make_trunk(), primary_capsules=2)
    assert network.primary.out_caps == 2
    message = (
        "The stem's 16 channels make 2 capsules of primary_dim=8, got "
        'primary_capsules=3; pass "auto".'
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        efficient_capsnet((1, 12, 10), 3, stem=make_trunk(), primary_capsules=3)


# --- number formats and gradients -----------------------------------------------------


@each_network
@each_routing
def test_float64(name, routing):
    network = small(name, routing=routing).double()
    poses, coupling, _ = network(random_images(2, 1, 12, 12, dtype=torch.float64))
    assert poses.dtype == coupling.dtype == torch.float64
    assert network.reconstruct(poses).dtype == torch.float64


@each_network
@pytest.mark.parametrize("weighted", [False, True])
def test_bfloat16_autocast(name, weighted):
    network = small(name)
    images = random_images(4, 1, 12, 12)
    weight = torch.ones(4) if weighted else None
    exact = network(images, weight).poses
    with torch.autocast("cpu", torch.bfloat16):
        assert network.encode(images, weight).dtype == torch.bfloat16
        poses, coupling, _ = network(images, weight)
        assert network.reconstruct(poses).dtype == torch.bfloat16
    assert poses.dtype == coupling.dtype == torch.float32
    assert_close(poses, exact, rtol=0, atol=0.02)
    poses.square().sum().backward()
    assert network.layers[0].weight.grad.isfinite().all()


@each_network
@each_routing
@pytest.mark.parametrize("decoder", ["dense", "conv"])
def test_gradient_reaches_every_parameter(name, routing, decoder):
    options = {"hidden_capsules": ((4, 6),), "routing": routing, "decoder": decoder}
    network = small(name, **options)
    images = random_images(4, 1, 12, 12)
    poses, _, activations = network(images)
    drawn = network.reconstruct(poses)
    loss = poses[:, 0].square().sum() + activations[:, 0].sum()
    (loss + (drawn - images).square().sum()).backward()
    for path, parameter in network.named_parameters():
        if routing == "inverted_attention" and path.startswith(
            "layers.0.routing.score"
        ):
            # Only the last layer's activations are seen by anyone.
            assert parameter.grad is None
            continue
        assert parameter.grad.isfinite().all(), path
        assert (parameter.grad != 0).any(), path


@each_network
def test_state_round_trip(name):
    first, second = small(name).eval(), small(name, pose_dim=16).eval()
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.normal_()
    second.load_state_dict(first.state_dict())
    images = random_images(2, 1, 12, 12)
    assert_close(second(images), first(images), rtol=0, atol=0)


@each_network
def test_same_seed_same_network(name):
    assert_close(small(name).state_dict(), small(name).state_dict(), rtol=0, atol=0)


# --- errors ---------------------------------------------------------------------------


@each_network
@pytest.mark.parametrize(
    "shape", [(1, 28.0, 28), (1, 0, 5), (0, 5, 5), (5, 5), (1, 1, 5, 5)], ids=str
)
def test_rejects_image_shape(name, shape):
    message = "image_shape must be (channels, height, width) with positive integers"
    with pytest.raises(ValueError, match=re.escape(f"{message}, got {shape}.")):
        BUILDERS[name](shape, 3)


@each_network
@pytest.mark.parametrize("n_classes", [1, 0])
def test_rejects_n_classes(name, n_classes):
    with pytest.raises(
        ValueError, match=f"n_classes must be at least 2, got {n_classes}"
    ):
        BUILDERS[name]((1, 8, 8), n_classes)


@each_network
def test_rejects_unknown_decoder(name):
    message = "decoder must be one of ['conv', 'dense'] or None, got 'linear'."
    with pytest.raises(ValueError, match=re.escape(message)):
        small(name, decoder="linear")


@each_network
def test_rejects_unknown_routing(name):
    with pytest.raises(ValueError, match=r"routing must be one of .* got 'cubic'"):
        small(name, routing="cubic")


def test_rejects_unknown_norm():
    with pytest.raises(ValueError, match=r"norm must be one of .* got 'layer'"):
        small("efficient_capsnet", norm="layer")


def test_instance_norm_needs_more_than_one_pixel():
    with pytest.raises(ValueError, match=r"more than one pixel.*use norm=.batch."):
        efficient_capsnet((1, 1, 1), 2, norm="instance")


@each_network
@pytest.mark.parametrize(
    "hidden", [(8, 16), ((8,),), ((8, 0),), ((8, 1.5),), 8], ids=str
)
def test_rejects_hidden_capsules(name, hidden):
    message = "hidden_capsules must hold a pair (number of capsules, dimension)"
    with pytest.raises(ValueError, match=re.escape(message) + r".*, got "):
        small(name, hidden_capsules=hidden)


@pytest.mark.parametrize("channels", [(), (4, 0), 8], ids=str)
def test_rejects_conv_channels(channels):
    message = "conv_channels must be the channels of one or more convolutions, got "
    with pytest.raises(ValueError, match=re.escape(message)):
        efficient_capsnet((1, 12, 12), 3, conv_channels=channels)


def test_rejects_channels_that_do_not_divide():
    with pytest.raises(ValueError, match="16 channels, which do not divide"):
        small("efficient_capsnet", primary_dim=5)


def test_reconstruct_needs_a_decoder():
    network = small("capsnet", decoder=None)
    with pytest.raises(ValueError, match="has no decoder; build it with one"):
        network.reconstruct(torch.rand(2, 3, 16))


def test_network_from_parts():
    class Stem(nn.Module):
        def forward(self, images, sample_weight=None):
            return images

    class Primary(nn.Module):
        def forward(self, features):
            return features.flatten(2)

    network = CapsuleNetwork(Stem(), Primary(), [CapsuleLayer(3, 4, 2, 5)])
    assert network(random_images(2, 3, 2, 2)).poses.shape == (2, 2, 5)


def test_parts_of_a_batch_do_not_show(monkeypatch):
    images = random_images(5, 1, 12, 12, dtype=torch.float64)

    def run():
        network = small("capsnet").double()
        poses = network(images).poses
        poses.square().sum().backward()
        return [poses, *(p.grad for p in network.parameters() if p.grad is not None)]

    whole = run()
    monkeypatch.setattr(CapsNetStem, "images_at_a_time", 2)
    for found, expected in zip(run(), whole, strict=True):
        assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("grad", [True, False])
def test_the_stem_sees_a_part_of_the_batch_at_a_time(grad, monkeypatch):
    monkeypatch.setattr(CapsNetStem, "images_at_a_time", 2)
    network, seen = small("capsnet"), []
    network.stem.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    with torch.set_grad_enabled(grad):
        network(random_images(5, 1, 12, 12))
    assert seen == [2, 2, 1]


@each_network
@pytest.mark.parametrize(
    "wrong",
    [{"pose_dim": 0}, {"primary_dim": 1.5}, {"routing_iterations": 0}],
    ids=str,
)
def test_rejects_what_is_no_positive_integer(name, wrong):
    ((key, value),) = wrong.items()
    message = f"{key} must be a positive integer, got {value}."
    with pytest.raises(ValueError, match=re.escape(message)):
        small(name, **wrong)


@pytest.mark.parametrize("capsules", [0, "many"])
def test_rejects_primary_capsules(capsules):
    with pytest.raises(ValueError, match="primary_capsules must be a positive"):
        efficient_capsnet((1, 12, 12), 3, primary_capsules=capsules)
