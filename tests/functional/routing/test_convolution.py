import math
import weakref

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from skcaps.functional import (
    Windows,
    em_convolution,
    em_from_votes,
    matrix_votes,
    variational_bayes_convolution,
    variational_bayes_from_votes,
)
from skcaps.functional.routing import _moments

from . import _maps, _references
from ._cases import gradients
from .test_em import INPUTS, over_types, starting_with_one
from .test_variational_bayes import outside_log_space

ROUTES = {
    "em": (em_convolution, _maps.em, em_from_votes),
    "vb": (
        variational_bayes_convolution,
        _maps.variational_bayes,
        variational_bayes_from_votes,
    ),
}
# kernel, stride, padding
GRIDS = [(2, 1, 0), (2, 2, 0), (3, 2, 1), (4, 1, 0)]
SIDES = (4, 5)
TYPES_IN, TYPES_OUT = 2, 3

each_route = pytest.mark.parametrize("name", ROUTES)
each_grid = pytest.mark.parametrize("grid", GRIDS, ids=str)
each_number = pytest.mark.parametrize("iterations", [1, 2, 3])


def _windows(kernel, stride, padding):
    return Windows((kernel, kernel), (stride, stride), (padding, padding))


def _inputs(kernel, dims=(2, 2, 2), sides=SIDES, types=TYPES_IN, batch=2):
    rows, dim, columns = dims
    rng = np.random.default_rng(0)
    caps_in = kernel * kernel * types
    arrays = {
        "poses": rng.normal(size=(batch, types, rows * dim, *sides)),
        "weight": rng.normal(size=(caps_in, TYPES_OUT, dim, columns)),
        "activations": rng.uniform(0.1, 1, size=(batch, types, *sides)),
        "beta_a": rng.normal(size=TYPES_OUT),
        "beta_u": rng.normal(size=TYPES_OUT),
    }
    return {key: torch.as_tensor(array) for key, array in arrays.items()}


def _plain(name, windows, poses, weight, activations, **options):
    """Whole votes, and PyTorch's gradients of all steps."""
    children = windows.unfold(poses)
    seen = matrix_votes(children.flatten(0, 2), weight).unflatten(0, children.shape[:3])
    routed = ROUTES[name][2](
        seen,
        windows.unfold(activations),
        log_softmax=windows.competition(*activations.shape[1:]),
        **options,
    )
    poses, coupling, active = routed
    return poses.movedim((-2, -1), (1, 2)), coupling, active.movedim(-1, 1)


# --- values ---------------------------------------------------------------------------


@each_route
@each_grid
@each_number
@pytest.mark.parametrize("dims", [(2, 2, 2), (1, 3, 2)], ids=["matrix", "vector"])
def test_equals_loop(name, grid, iterations, dims):
    inputs = _inputs(grid[0], dims)
    route, loop, _ = ROUTES[name]
    found = route(windows=_windows(*grid), iterations=iterations, **inputs)
    arrays = {key: value.numpy() for key, value in inputs.items()}
    seen = list(_maps.pairs((TYPES_IN, *SIDES), *grid))
    for image in range(2):
        heard = _maps.votes(arrays["poses"][image], arrays["weight"], seen)
        means, coupling, active = loop(
            heard,
            arrays["activations"][image],
            arrays["beta_a"],
            arrays["beta_u"],
            iterations=iterations,
        )
        for (row, column, j), mean in means.items():
            np.testing.assert_allclose(
                found.poses[image, j, :, row, column], mean, rtol=0, atol=1e-12
            )
            np.testing.assert_allclose(
                found.activations[image, j, row, column],
                active[row, column, j],
                rtol=0,
                atol=1e-12,
            )
        for (row, column), place, child in seen:
            for j in range(TYPES_OUT):
                np.testing.assert_allclose(
                    found.coupling[image, row, column, place, j],
                    coupling[(row, column, j), child],
                    rtol=0,
                    atol=1e-12,
                )


@each_route
@each_grid
def test_couplings_of_a_child_sum_to_one_at_the_border_too(name, grid):
    windows = _windows(*grid)
    found = ROUTES[name][0](windows=windows, **_inputs(grid[0]))
    sums = np.zeros((2, TYPES_IN, *SIDES))
    for (row, column), place, child in _maps.pairs((TYPES_IN, *SIDES), *grid):
        shares = found.coupling[:, row, column, place].sum(dim=1)
        sums[(slice(None), *child)] += shares.numpy()
    seen = {child for *_, child in _maps.pairs((TYPES_IN, *SIDES), *grid)}
    for child in seen:
        np.testing.assert_allclose(sums[(slice(None), *child)], 1, rtol=1e-12)
    assert math.isclose(found.coupling.sum(), 2 * len(seen), rel_tol=1e-12)


def test_a_child_far_from_every_parent_keeps_its_couplings():
    # Its logits are hundreds below those of others.
    inputs = _inputs(2)
    inputs["poses"][:, 0, :, 1, 1] = 1e3
    found = em_convolution(windows=_windows(2, 1, 0), **inputs)
    assert all(part.isfinite().all() for part in found)
    assert math.isclose(found.coupling.sum(), 2 * 2 * 20, rel_tol=1e-9)


@each_route
def test_offset_is_added_to_the_votes(name):
    inputs, windows = _inputs(2), _windows(2, 1, 0)
    offset = torch.from_numpy(np.random.default_rng(1).normal(size=(8, 4)))
    weight = torch.zeros(8, TYPES_OUT, 2, 2).double()
    still = ROUTES[name][0](
        windows=windows, **(inputs | {"weight": weight}), offset=offset
    )
    # Votes that are constant come from poses that are 1 in one place.
    ones = torch.zeros_like(inputs["poses"])
    ones[:, :, 0] = ones[:, :, 3] = 1
    rows = offset.view(8, 1, 2, 2).expand(-1, TYPES_OUT, -1, -1)
    expected = ROUTES[name][0](
        windows=windows, **(inputs | {"poses": ones, "weight": rows})
    )
    assert_close(still.poses, expected.poses, rtol=0, atol=1e-12)
    assert_close(still.activations, expected.activations, rtol=0, atol=1e-12)


@each_route
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_narrow_types(name, dtype):
    inputs = {key: value.to(dtype) for key, value in _inputs(3).items()}
    found = ROUTES[name][0](windows=_windows(3, 2, 1), **inputs)
    assert {part.dtype for part in found} == {dtype}
    wide = {key: value.double() for key, value in inputs.items()}
    expected = ROUTES[name][0](windows=_windows(3, 2, 1), **wide)
    for part, exact in zip(found, expected, strict=True):
        assert_close(part.double(), exact, rtol=1e-2, atol=1e-2)


# --- gradients ------------------------------------------------------------------------


@each_route
@each_grid
@each_number
def test_gradients_equal_those_of_the_plain_form(name, grid, iterations, monkeypatch):
    # One image at a time, so that parts are joined.
    monkeypatch.setitem(_moments._TABLE_BYTES, "cpu", 1)
    inputs, windows = _inputs(grid[0]), _windows(*grid)
    options = {"iterations": iterations}
    if name == "em":
        options["inverse_temperature"] = 0.3
    found = gradients(
        lambda **leaves: ROUTES[name][0](windows=windows, **leaves, **options), inputs
    )
    expected = gradients(
        lambda **leaves: _plain(name, windows, **leaves, **options), inputs
    )
    assert_close(found, expected, rtol=1e-9, atol=1e-9)


@each_route
def test_tables_are_small_and_forgotten(name, monkeypatch):
    limit, sizes, kept = 40_000, [], []
    build = _moments._Table.build

    def remember(*args):
        table = build(*args)
        sizes.append(table.values.nbytes)
        kept.append(weakref.ref(table.values))
        return table

    monkeypatch.setitem(_moments._TABLE_BYTES, "cpu", limit)
    monkeypatch.setattr(_moments._Table, "build", remember)
    windows, inputs = _windows(2, 1, 0), _inputs(2, batch=7)
    gradients(lambda **leaves: ROUTES[name][0](windows=windows, **leaves), inputs)
    # Parts of two images, in both directions.
    assert len(sizes) == 8
    assert max(sizes) <= limit
    assert not any(table() is not None for table in kept)


def _differentiable(name, inputs):
    def function(*leaves):
        named = dict(zip(inputs, leaves, strict=True))
        routed = ROUTES[name][0](windows=_windows(2, 1, 0), **named, iterations=2)
        return tuple(routed)

    return function, [value.requires_grad_() for value in inputs.values()]


@each_route
def test_gradcheck(name):
    inputs = _inputs(2, (2, 1, 1), (2, 3), types=1, batch=1)
    function, leaves = _differentiable(name, inputs)
    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)


# --- errors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": torch.ones(8, 3, 2)}, r"^weight must have shape \(caps_in, types"),
        (
            {"poses": torch.ones(2, 3, 4, 4, 5)},
            r"^poses must have shape \(batch, 2, ro",
        ),
        ({"poses": torch.ones(2, 2, 3, 4, 5)}, r"rows \* 2, height, width\), got \(2"),
        ({"activations": torch.ones(2, 2, 4)}, r"^activations must have shape"),
        ({"beta_u": torch.ones(1)}, r"^beta_u must have shape \(3,\)"),
        ({"offset": torch.ones(8, 3)}, r"^offset must have shape \(8, 4\)"),
        ({"iterations": 0}, r"^iterations must be at least 1"),
        ({"windows": Windows((9, 9))}, r"got \(2, 2, 4, 4, 5\)"),
    ],
)
@each_route
def test_wrong_shapes(name, changes, message):
    inputs = {"windows": _windows(2, 1, 0), **_inputs(2), **changes}
    with pytest.raises(ValueError, match=message):
        ROUTES[name][0](**inputs)


def test_a_window_larger_than_the_map():
    with pytest.raises(ValueError, match=r"^A map of 4x5 .* take a smaller kernel\.$"):
        Windows((5, 5)).unfold(torch.ones(1, 1, 4, 5))


# --- what the authors' code computes --------------------------------------------------


def _stored_inputs(values):
    kernel, stride, padding = _references.sizes(values)
    poses = values["poses"].flatten(4).movedim(4, 2)
    weight = values["W"].flatten(0, 2)
    return _windows(kernel, stride, padding), poses, weight


@pytest.mark.parametrize(
    ("case", "iterations"), [*_references.CONVOLUTIONS, ("conv_s2_pad1", 3)]
)
@pytest.mark.parametrize("variant", ["paper", "local", "code"])
def test_reference_of_em(references, case, iterations, variant, monkeypatch):
    values = references(f"em_{case}", case)
    inputs = _references.leaves(values, *INPUTS)
    # Differences 1 and 2 of SR-CapsNet: the start, and no competition of windows.
    softmax = {"local": over_types, "code": starting_with_one(over_types)}
    if variant in softmax:
        chosen = softmax[variant]
        monkeypatch.setattr(Windows, "competition", lambda *_: chosen)
    windows, poses, weight = _stored_inputs(values)
    routed = em_convolution(
        poses,
        weight,
        windows,
        activations=values["activations"],
        beta_a=values["beta_a"],
        beta_u=values["beta_u"],
        iterations=iterations,
        inverse_temperature=values["final_lambda"].item(),
        variance_floor=0.0,
    )
    found = {
        "poses": routed.poses.movedim(2, -1).reshape(values["proj_poses"].shape),
        "activations": routed.activations,
    }
    prefix = f"t{iterations}/{variant}_"
    _references.compare(values, prefix, **found)
    if variant != "code":
        # Starting with 1 is a state of the softmax, and the backward pass repeats it.
        _references.compare_gradients(values, prefix, inputs, **found)


@pytest.mark.parametrize(("case", "iterations"), _references.CONVOLUTIONS)
def test_reference_of_ibm(references, case, iterations):
    values = references(f"em_ibm_{case}", case)
    windows, poses, weight = _stored_inputs(values)
    routed = em_convolution(
        poses,
        weight,
        windows,
        activations=values["activations"],
        beta_a=values["beta_a"],
        beta_u=values["beta_u"],
        iterations=iterations,
        inverse_temperature=values["final_lambda"].item(),
        variance_floor=0.0,
    )
    found = routed.poses.movedim(2, -1).reshape(
        values[f"t{iterations}/paper_poses"].shape
    )
    _references.compare(
        values, f"t{iterations}/paper_", poses=found, activations=routed.activations
    )


@pytest.mark.parametrize(("case", "iterations"), _references.CONVOLUTIONS)
@pytest.mark.parametrize("variant", ["paper", "code"])
def test_reference_of_variational_bayes(
    references, case, iterations, variant, monkeypatch
):
    values = references(f"vb_{case}", case)
    inputs = _references.leaves(values, *INPUTS)
    windows, poses, weight = _stored_inputs(values)
    if variant == "code":
        # Differences 1 and 2: the start, and the sum outside of log space.
        numbers = _references.child_numbers(values)
        chosen = outside_log_space(numbers)
        monkeypatch.setattr(Windows, "competition", lambda *_: chosen)
    routed = variational_bayes_convolution(
        poses,
        weight,
        windows,
        activations=values["activations"],
        beta_a=values["beta_a"],
        beta_u=values["beta_u"],
        iterations=iterations,
    )
    found = {
        "poses": routed.poses.movedim(2, -1).reshape(values["proj_poses"].shape),
        "logits": routed.activations.logit(),
    }
    prefix, raw = f"t{iterations}/{variant}_", "_raw" if variant == "code" else ""
    _references.compare(
        values, prefix, **{f"{key}{raw}": value for key, value in found.items()}
    )
    if variant == "paper":
        _references.compare_gradients(values, prefix, inputs, **found)
