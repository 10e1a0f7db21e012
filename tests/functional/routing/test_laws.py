import pytest
import torch
from torch.testing import assert_close

from skcaps import functional

from ._cases import (
    NAMES,
    assert_routed,
    each_case,
    each_case_with_activations,
    each_shape,
    random_inputs,
    route,
)


@each_case
@each_shape
def test_couplings_sum_to_one_over_parents(name, options, shape):
    coupling = route(name, **random_inputs(name, shape), **options).coupling
    assert_close(coupling.sum(dim=2), torch.ones_like(coupling[:, :, 0]))
    assert (coupling >= 0).all()


@each_case
@each_shape
def test_activations_are_from_zero_to_one(name, options, shape):
    found = route(name, **random_inputs(name, shape), **options).activations
    assert found.shape == (shape[0], shape[2])
    assert ((found >= 0) & (found <= 1)).all()


@each_case
def test_permutation_of_the_parents(name, options):
    inputs = random_inputs(name, (2, 3, 4, 2, 3))
    routed = route(name, **inputs, **options)
    order = torch.tensor([2, 0, 3, 1])
    inputs["weight"] = inputs["weight"][:, order]
    for key in ("beta_a", "beta_u", "weight_route", "bias_route"):
        if key in inputs:
            inputs[key] = inputs[key][..., order]
    assert_routed(
        route(name, **inputs, **options),
        routed.poses[:, order],
        routed.coupling[:, :, order],
        routed.activations[:, order],
    )


@each_case
def test_permutation_of_the_children(name, options):
    inputs = random_inputs(name)
    routed = route(name, **inputs, **options)
    order = torch.tensor([2, 0, 5, 1, 4, 3])
    for key in ("poses", "activations"):
        if key in inputs:
            inputs[key] = inputs[key][:, order]
    for key in ("weight", "weight_route", "bias_route"):
        if key in inputs:
            inputs[key] = inputs[key][order]
    assert_routed(
        route(name, **inputs, **options),
        routed.poses,
        routed.coupling[:, order],
        routed.activations,
    )


@each_case
def test_independence_of_the_images_of_a_batch(name, options):
    inputs = random_inputs(name)
    routed = route(name, **inputs, **options)
    for key in ("poses", "activations"):
        if key in inputs:
            inputs[key] = inputs[key][1:2]
    alone = route(name, **inputs, **options)
    assert_routed(alone, *(part[1:2] for part in routed))


@each_case_with_activations
def test_a_child_of_activation_zero_changes_nothing(name, options):
    inputs = random_inputs(name)
    inputs["activations"][:, 2] = 0
    routed = route(name, **inputs, **options)
    inputs["poses"][:, 2] = 100 * inputs["poses"][:, 2]
    moved = route(name, **inputs, **options)
    assert_close(moved.poses, routed.poses, rtol=0, atol=1e-12)
    assert_close(moved.activations, routed.activations, rtol=0, atol=1e-12)
    rest = torch.tensor([0, 1, 3, 4, 5])
    for key in ("poses", "activations"):
        inputs[key] = inputs[key][:, rest]
    for key in ("weight", "weight_route", "bias_route"):
        if key in inputs:
            inputs[key] = inputs[key][rest]
    without = route(name, **inputs, **options)
    assert_routed(without, routed.poses, moved.coupling[:, rest], routed.activations)


@each_case_with_activations
def test_splitting_a_child_changes_nothing(name, options):
    inputs = random_inputs(name)
    routed = route(name, **inputs, **options)
    twice = torch.tensor([0, 1, 2, 3, 4, 5, 5])
    inputs["poses"] = inputs["poses"][:, twice]
    halves = torch.tensor([1, 1, 1, 1, 1, 0.5, 0.5])
    inputs["activations"] = inputs["activations"][:, twice] * halves
    for key in ("weight", "weight_route", "bias_route"):
        if key in inputs:
            inputs[key] = inputs[key][twice]
    assert_routed(
        route(name, **inputs, **options),
        routed.poses,
        routed.coupling[:, twice],
        routed.activations,
    )


# --- dtypes, layouts and extremes -----------------------------------------------------


@each_case
def test_float32_agrees_with_float64(name, options):
    inputs = random_inputs(name, (4, 32, 10, 8, 16))
    inputs["weight"] = inputs["weight"] * 0.1
    exact = route(name, **inputs, **options)
    single = {key: x.float() for key, x in inputs.items()}
    routed = route(name, **single, **options)
    assert {part.dtype for part in routed} == {torch.float32}
    double = routed._make(part.double() for part in routed)
    assert_routed(double, *exact, tolerance=1e-4)


@each_case
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_computed_in_float32(name, options, dtype):
    half = random_inputs(name, dtype=dtype)
    routed = route(name, **half, **options)
    assert {part.dtype for part in routed} == {dtype}
    single = route(name, **{key: x.float() for key, x in half.items()}, **options)
    assert_routed(routed, *(part.to(dtype) for part in single), tolerance=0)


@each_case
def test_autocast_changes_nothing(name, options):
    inputs = random_inputs(name, dtype=torch.float32)
    exact = route(name, **inputs, **options)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        routed = route(name, **inputs, **options)
    assert_routed(routed, *exact, tolerance=0)


@each_case
def test_inputs_need_not_be_contiguous(name, options):
    inputs = random_inputs(name)
    routed = route(name, **inputs, **options)
    strided = {
        key: x.transpose(0, -1).contiguous().transpose(0, -1) if x.ndim > 1 else x
        for key, x in inputs.items()
    }
    assert not strided["poses"].is_contiguous()
    assert_routed(route(name, **strided, **options), *routed)


@each_case
def test_inputs_are_left_as_they_are(name, options):
    inputs = random_inputs(name)
    route(name, **inputs, **options)
    assert_close(inputs, random_inputs(name), rtol=0, atol=0)


EXTREMES = {
    "tiny activations": {"activations": 1e-30},
    "tiny poses": {"poses": 1e-30},
    "large poses": {"poses": 1e3},
    "nothing": {"poses": 0.0, "activations": 0.0},
}


@each_case
@each_shape
@pytest.mark.parametrize("extreme", EXTREMES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_extremes_give_finite_values_and_gradients(
    name, options, shape, extreme, dtype
):
    inputs = random_inputs(name, shape)
    for key, factor in EXTREMES[extreme].items():
        if key in inputs:
            inputs[key] = factor * inputs[key]
    leaves = {key: x.to(dtype).requires_grad_() for key, x in inputs.items()}
    routed = route(name, **leaves, **options)
    total = sum(part.float().square().sum() for part in routed)
    total.backward()
    for part in routed:
        assert part.isfinite().all()
    for leaf in leaves.values():
        assert leaf.grad is None or leaf.grad.isfinite().all()


@each_case
def test_empty_batch(name, options):
    inputs = random_inputs(name, (0, 3, 4, 2, 5))
    leaves = {key: value.requires_grad_() for key, value in inputs.items()}
    routed = route(name, **leaves, **options)
    assert [part.shape for part in routed] == [(0, 4, 5), (0, 3, 4), (0, 4)]
    sum(part.sum() for part in routed).backward()
    assert not leaves["weight"].grad.any()


@pytest.mark.parametrize("name", ["em", "variational_bayes"])
def test_a_position_that_sees_no_child_is_finite(name):
    inputs = random_inputs(name, (2, 3, 4, 2, 5))
    leaves = {key: x.requires_grad_() for key, x in inputs.items()}
    heard = functional.votes(leaves.pop("poses"), leaves.pop("weight"))
    seen = torch.tensor([1.0, 0.0]).double()[:, None]
    there = (seen > 0)[:, :, None]
    leaves["activations"] = leaves["activations"] * seen
    routed = getattr(functional, f"{name}_from_votes")(
        heard,
        **leaves,
        log_softmax=lambda x: torch.where(there, x.log_softmax(dim=-1), -torch.inf),
    )
    assert not routed.coupling[1].any()
    sum(part.sum() for part in routed).backward()
    assert all(part.isfinite().all() for part in routed)
    assert all(x.grad.isfinite().all() for x in inputs.values())


# --- errors ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in NAMES if name != "self"])
@pytest.mark.parametrize("iterations", [0, -1])
def test_too_few_iterations(name, iterations):
    message = rf"iterations must be at least 1, got {iterations}\."
    with pytest.raises(ValueError, match=message):
        route(name, **random_inputs(name), iterations=iterations)


OF_ALL = [
    ("poses", (3, 1, 4), r"\(batch, 6, 4\)"),
    ("poses", (6, 4), r"\(batch, 6, 4\)"),
    ("weight", (6, 2, 4), r"\(caps_in, .*\)"),
]
ACTIVATIONS = ("activations", (3, 1), r"\(3, 6\)")
OF_A_MIXTURE = [
    ACTIVATIONS,
    ("beta_a", (1,), r"\(2,\)"),
    ("beta_u", (), r"\(2,\)"),
]
WRONG_SHAPES = {
    "em": OF_A_MIXTURE,
    "variational_bayes": OF_A_MIXTURE,
    "self": [
        ACTIVATIONS,
        ("weight_route", (6, 2, 4), r"\(6, 4, 2\)"),
        ("bias_route", (2,), r"\(6, 2\)"),
    ],
    "inverted_attention": [
        ("norm_weight", (2, 5), r"\(5,\)"),
        ("norm_bias", (1,), r"\(5,\)"),
        ("score_weight", (2, 5), r"\(5,\)"),
        ("score_bias", (2,), r"\(\)"),
    ],
}


@pytest.mark.parametrize(
    ("name", "argument", "shape", "expected"),
    [(name, *wrong) for name in NAMES for wrong in OF_ALL + WRONG_SHAPES[name]],
)
def test_shapes_that_do_not_fit(name, argument, shape, expected):
    inputs = random_inputs(name)
    inputs[argument] = torch.ones(shape, dtype=torch.float64)
    found = ", ".join(map(str, shape))
    message = rf"^{argument} must have shape {expected}, got \({found}"
    with pytest.raises(ValueError, match=message):
        route(name, **inputs)


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("em", ("activations", "beta_a", "beta_u")),
        ("variational_bayes", ("activations", "beta_a", "beta_u")),
        ("self", ("activations",)),
        ("inverted_attention", ()),
    ],
)
def test_votes_that_are_none(name, others):
    ones = torch.ones(2)
    arguments = dict.fromkeys(others, ones)
    if name == "self":
        arguments["logits"] = ones
    message = r"^votes must have shape \(..., caps_in, caps_out, dim\), got \(2, 3\)"
    with pytest.raises(ValueError, match=message):
        getattr(functional, f"{name}_from_votes")(torch.ones(2, 3), **arguments)
