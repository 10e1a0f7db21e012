"""The routings with activations, their options and inputs."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from skcaps import functional

SHAPES = [
    # batch, caps_in, caps_out, dim_in, dim_out
    (2, 3, 4, 2, 3),
    (3, 6, 2, 4, 5),
    (1, 1, 1, 1, 1),
    (1, 4, 3, 2, 2),
    (2, 1, 3, 2, 4),
    (2, 5, 1, 3, 2),
]
SHAPE = SHAPES[1]
CASES = [
    ("em", {"iterations": 1}),
    ("em", {"iterations": 2}),
    ("em", {"iterations": 3}),
    ("variational_bayes", {"iterations": 1}),
    ("variational_bayes", {"iterations": 2}),
    ("variational_bayes", {"iterations": 3}),
    ("self", {}),
    ("inverted_attention", {"iterations": 1}),
    ("inverted_attention", {"iterations": 2}),
    ("inverted_attention", {"iterations": 4}),
]
NAMES = sorted({name for name, _ in CASES})


def _each(cases):
    ids = [f"{name}{options.get('iterations', '')}" for name, options in cases]
    return pytest.mark.parametrize(("name", "options"), cases, ids=ids)


each_case = _each(CASES)
each_case_with_activations = _each([x for x in CASES if x[0] != "inverted_attention"])
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)

# Of each parameter the axes, as places in a shape.
_AXES = {
    "em": {"beta_a": [2], "beta_u": [2]},
    "variational_bayes": {"beta_a": [2], "beta_u": [2]},
    "self": {"weight_route": [1, 3, 2], "bias_route": [1, 2]},
    "inverted_attention": {
        "norm_weight": [4],
        "norm_bias": [4],
        "score_weight": [4],
        "score_bias": [],
    },
}


def random_inputs(name, shape=SHAPE, dtype=torch.float64):
    batch, caps_in, caps_out, dim_in, dim_out = shape
    rng = np.random.default_rng(0)
    arrays = {
        "poses": rng.normal(size=(batch, caps_in, dim_in)),
        "weight": rng.normal(size=(caps_in, caps_out, dim_in, dim_out)),
    }
    if name != "inverted_attention":
        arrays["activations"] = rng.uniform(0.1, 1, size=(batch, caps_in))
    for parameter, axes in _AXES[name].items():
        arrays[parameter] = rng.normal(size=[shape[axis] for axis in axes])
    return {key: torch.as_tensor(array, dtype=dtype) for key, array in arrays.items()}


def route(name, poses, weight, **others):
    return getattr(functional, f"{name}_routing")(poses, weight, **others)


def arrays(inputs):
    return {key: value.numpy() for key, value in inputs.items()}


def assert_routed(found, poses, coupling, activations, tolerance=1e-12):
    for name, expected in (
        ("poses", poses),
        ("coupling", coupling),
        ("activations", activations),
    ):
        assert_close(
            getattr(found, name),
            torch.as_tensor(expected),
            rtol=0,
            atol=tolerance,
            msg=lambda text, name=name: f"{name}: {text}",
        )


def gradients(function, inputs, seed=1):
    """Of a sum of all outputs with random factors, for every input."""
    leaves = {key: x.clone().requires_grad_() for key, x in inputs.items()}
    rng = np.random.default_rng(seed)
    total = 0.0
    for part in function(**leaves):
        total = total + (part * torch.from_numpy(rng.normal(size=part.shape))).sum()
    found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    return {
        key: torch.zeros_like(x) if grad is None else grad
        for (key, x), grad in zip(leaves.items(), found, strict=True)
    }
