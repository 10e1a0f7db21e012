import copy
import re

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from skcaps import functional
from skcaps.functional import SQUASHES
from skcaps.nn import ROUTINGS, ActivationRouting, CapsuleLayer

SHAPES = [(6, 4, 3, 5), (1, 1, 1, 1), (1, 8, 2, 16), (9, 2, 1, 3)]

ACTIVATION = {
    name for name, kind in ROUTINGS.items() if issubclass(kind, ActivationRouting)
}
SQUASHING = ROUTINGS.keys() - ACTIVATION

each_routing = pytest.mark.parametrize("routing", sorted(ROUTINGS))
each_squashing = pytest.mark.parametrize("routing", sorted(SQUASHING))
each_activation = pytest.mark.parametrize("routing", sorted(ACTIVATION))


def _layer(shape=SHAPES[0], **options):
    torch.manual_seed(0)
    layer = CapsuleLayer(*shape, **options).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    return layer


def _poses(in_caps=6, in_dim=4, batch=3):
    generator = torch.Generator().manual_seed(1)
    shape = (batch, in_caps, in_dim)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@each_routing
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(routing, shape):
    in_caps, in_dim, out_caps, out_dim = shape
    if routing == "inverted_attention" and out_dim == 1:
        pytest.skip("one number cannot be normalized")
    routed = _layer(shape, routing=routing)(_poses(in_caps, in_dim))
    assert routed.poses.shape == (3, out_caps, out_dim)
    assert routed.coupling.shape == (3, in_caps, out_caps)
    assert routed.activations.shape == (3, out_caps)
    assert ((routed.activations >= 0) & (routed.activations <= 1)).all()


@each_squashing
@pytest.mark.parametrize("bias", [False, True])
def test_activations_are_lengths(routing, bias):
    routed = _layer(routing=routing, bias=bias)(_poses())
    assert (routed.poses.norm(dim=-1) < 1).all()
    assert_close(routed.activations, functional.lengths(routed.poses), rtol=0, atol=0)


@each_activation
def test_children_are_as_present_as_they_are_long(routing):
    layer, poses = _layer(routing=routing), _poses().mul(0.1)
    expected = layer(poses, functional.lengths(poses))
    assert_close(layer(poses), expected, rtol=0, atol=0)


@each_activation
def test_activation_routings_have_no_bias(routing):
    with pytest.raises(ValueError, match=r"got bias=True; leave it out\.$"):
        CapsuleLayer(6, 4, 3, 5, routing=routing, bias=True)


@each_squashing
@pytest.mark.parametrize("squash", sorted(SQUASHES))
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_equals_the_functional_call(routing, squash, bias, iterations):
    layer = _layer(routing=routing, squash=squash, bias=bias, iterations=iterations)
    own = layer.routing
    options = {
        "dynamic": {"iterations": iterations},
        "leaky_dynamic": {"iterations": iterations, "leaky": True},
        "self_attention": {"prior": getattr(own, "prior", None)},
        "learned": {"prior": getattr(own, "prior", None)},
    }.get(routing, {})
    function = f"{routing.removeprefix('leaky_')}_routing"
    expected = getattr(functional, function)(
        _poses(), layer.weight, bias=own.bias, squash=SQUASHES[squash], **options
    )
    assert_close(layer(_poses()), expected, rtol=0, atol=0)


FUNCTIONS = {
    "em": functional.em_routing,
    "vb": functional.variational_bayes_routing,
    "self": functional.self_routing,
    "inverted_attention": functional.inverted_attention_routing,
}


@each_activation
@pytest.mark.parametrize("iterations", [1, 3])
def test_activation_routings_equal_the_functional_call(routing, iterations):
    layer = _layer(routing=routing, iterations=iterations).eval()
    own, poses = layer.routing, _poses().mul(0.1)
    options = dict(own.named_parameters())
    if routing != "self":
        options["iterations"] = iterations
    if routing != "inverted_attention":
        options["activations"] = torch.full((3, 6), 0.5, dtype=torch.float64)
    if routing == "em":
        last = own.inverse_temperature * (1 - 0.95**iterations)
        options["beta_a"] = own.beta_a / last
        options["inverse_temperature"] = own.inverse_temperature
    if routing == "vb":
        none = torch.zeros(3, dtype=torch.float64)
        shift = own.beta_a - own.beta_u
        # The running statistics begin at mean 0 and variance 1.
        scale = (1 + own.norm.eps) ** -0.5
        options.update(beta_a=none, beta_u=none)
        options["score_normalization"] = lambda scores: scores * scale + shift
    expected = FUNCTIONS[routing](poses, layer.weight, **options)
    found = layer(poses, torch.full((3, 6), 0.5, dtype=torch.float64))
    assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_scores_of_variational_bayes_are_normalized_in_training():
    layer = CapsuleLayer(6, 4, 3, 5, routing="vb").double().train()
    active = layer(_poses(batch=50)).activations
    scores = torch.logit(active) + 1
    assert scores.mean().item() == pytest.approx(0, abs=1e-6)
    assert scores.std(correction=0).item() == pytest.approx(1, rel=1e-2)
    assert layer.routing.norm.num_batches_tracked == 1


@pytest.mark.parametrize(
    ("routing", "shapes"),
    [
        ("em", {"beta_a": (3,), "beta_u": (3,)}),
        ("vb", {"beta_a": (3,), "beta_u": (3,)}),
        ("self", {"weight_route": (6, 4, 3), "bias_route": (6, 3)}),
        (
            "inverted_attention",
            {
                "norm_weight": (5,),
                "norm_bias": (5,),
                "score_weight": (5,),
                "score_bias": (),
            },
        ),
    ],
)
def test_parameters_of_activation_routings(routing, shapes):
    layer = CapsuleLayer(6, 4, 3, 5, routing=routing)
    found = {name: tuple(p.shape) for name, p in layer.routing.named_parameters()}
    assert found == shapes


@pytest.mark.parametrize(
    ("routing", "names"),
    [
        ("dynamic", ["weight"]),
        ("leaky_dynamic", ["weight"]),
        ("uniform", ["weight"]),
        ("learned", ["weight", "routing.prior"]),
        ("self_attention", ["weight", "routing.prior"]),
    ],
)
@pytest.mark.parametrize("bias", [False, True])
def test_parameters(routing, names, bias):
    layer = CapsuleLayer(6, 4, 3, 5, routing=routing, bias=bias)
    shapes = {name: tuple(p.shape) for name, p in layer.named_parameters()}
    known = {"weight": (6, 3, 4, 5), "routing.prior": (6, 3), "routing.bias": (3, 5)}
    names = [*names, "routing.bias"] if bias else names
    assert shapes == {name: known[name] for name in names}


@pytest.mark.parametrize("std", [0.1, 0.02])
def test_initial_values(std):
    torch.manual_seed(0)
    layer = CapsuleLayer(200, 8, 10, 16, routing="learned", bias=True, weight_std=std)
    assert layer.weight.std().item() == pytest.approx(0.8796 * std, rel=0.01)
    assert layer.weight.abs().max() <= 2 * std
    assert (layer.routing.prior == 0).all()
    assert (layer.routing.bias == 0.1).all()


@each_routing
def test_gradient_reaches_every_parameter(routing):
    layer = _layer(routing=routing, bias=routing in SQUASHING)
    poses = _poses().requires_grad_()
    routed = layer(poses)
    (routed.poses[..., 0].sum() + routed.activations.square().sum()).backward()
    for tensor in (poses, *layer.parameters()):
        assert tensor.grad.isfinite().all()
        assert (tensor.grad != 0).any()


@each_routing
def test_a_shared_weight_equals_a_repeated_one(routing):
    layer = _layer(routing=routing, share_weight=True).eval()
    apart = CapsuleLayer(*SHAPES[0], routing=routing).double().eval()
    assert layer.weight.shape == (1, 3, 4, 5)
    state = layer.state_dict()
    apart.load_state_dict(state | {"weight": layer.weight.expand(6, -1, -1, -1)})
    present = torch.rand(3, 6, generator=torch.Generator().manual_seed(2)).double()
    for activations in (None, present):
        found = layer(_poses(), activations)
        assert_close(found, apart(_poses(), activations), rtol=1e-12, atol=1e-12)


def test_state_round_trip():
    first, second = _layer(routing="learned", bias=True), _layer(routing="learned")
    second = CapsuleLayer(*SHAPES[0], routing="learned", bias=True).double()
    second.load_state_dict(first.state_dict())
    assert_close(second(_poses()), first(_poses()), rtol=0, atol=0)


def test_says_what_it_is():
    shown = repr(CapsuleLayer(6, 4, 3, 5))
    assert "6 x 4 -> 3 x 5" in shown
    assert "6 x 4 -> 3 x 5" in repr(CapsuleLayer(6, 4, 3, 5, share_weight=True))
    assert "(routing): DynamicRouting()" in shown


@pytest.mark.parametrize(
    ("option", "choices"),
    [("routing", sorted(ROUTINGS)), ("squash", sorted(SQUASHES))],
)
def test_rejects_unknown_options(option, choices):
    message = f"{option} must be one of {choices}, got 'cubic'."
    with pytest.raises(ValueError, match=re.escape(message)):
        CapsuleLayer(6, 4, 3, 5, **{option: "cubic"})


def test_rejects_iterations_below_one():
    with pytest.raises(ValueError, match="iterations must be"):
        _layer(iterations=0)(_poses())


@each_routing
@pytest.mark.parametrize("shape", [(3, 5, 4), (3, 6, 3), (6, 4)])
def test_rejects_poses_of_another_shape(routing, shape):
    with pytest.raises(ValueError, match=r"poses"):
        _layer(routing=routing)(torch.rand(shape, dtype=torch.float64))


def test_is_a_module_that_can_be_moved():
    layer = CapsuleLayer(6, 4, 3, 5, bias=True)
    assert isinstance(layer, nn.Module)
    assert {p.dtype for p in layer.double().parameters()} == {torch.float64}


@each_routing
def test_the_weight_lies_as_the_routing_reads_it(routing):
    layer = CapsuleLayer(6, 4, 3, 5, routing=routing)
    assert layer.weight.shape == (6, 3, 4, 5)
    assert layer.weight.permute(layer.routing.weight_order).is_contiguous()


def test_trained_variational_bayes_is_not_rounded():
    torch.manual_seed(0)
    layer = CapsuleLayer(16, 8, 10, 16, routing="vb")
    poses = torch.randn(5, 16, 8)
    norm = layer.routing.norm
    norm.momentum = 1.0
    layer(poses)
    # As after a training: scores are close to each other, and divided by that.
    norm.running_var.fill_(1e-4)
    layer.eval()
    found = layer(poses).activations
    exact = copy.deepcopy(layer).double()(poses.double()).activations
    assert ((exact > 0.01) & (exact < 0.99)).any()
    assert_close(found.double(), exact, rtol=0, atol=1e-7)
