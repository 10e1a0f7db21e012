"""The routings, options and inputs that the tests of routing go through."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from skcaps import functional
from skcaps.functional import SQUASHES

SHAPES = [
    # batch, caps_in, caps_out, dim_in, dim_out
    (2, 3, 4, 2, 3),
    (3, 6, 2, 4, 5),
    (1, 1, 1, 1, 1),
    (1, 4, 3, 2, 2),
    (2, 1, 3, 2, 4),
    (2, 5, 1, 3, 2),
]
SHAPE = SHAPES[0]
CASES = [
    ("dynamic", {"iterations": 1}),
    ("dynamic", {"iterations": 2}),
    ("dynamic", {"iterations": 3}),
    ("dynamic", {"iterations": 5}),
    ("dynamic", {"iterations": 1, "leaky": True}),
    ("dynamic", {"iterations": 2, "leaky": True}),
    ("dynamic", {"iterations": 3, "leaky": True}),
    ("self_attention", {}),
    ("uniform", {}),
    ("learned", {}),
]

each_case = pytest.mark.parametrize(
    ("name", "options"),
    CASES,
    ids=[
        f"{'leaky_' * ('leaky' in options)}{name}{options.get('iterations', '')}"
        for name, options in CASES
    ],
)
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
each_squash = pytest.mark.parametrize("squashing", sorted(SQUASHES))


def random_inputs(shape=SHAPE, prior=True, bias=True, dtype=torch.float64):
    batch, caps_in, caps_out, dim_in, dim_out = shape
    rng = np.random.default_rng(0)
    arrays = {
        "poses": rng.normal(size=(batch, caps_in, dim_in)),
        "weight": rng.normal(size=(caps_in, caps_out, dim_in, dim_out)),
        "prior": rng.normal(size=(caps_in, caps_out)) if prior else None,
        "bias": rng.normal(size=(caps_out, dim_out)) if bias else None,
    }
    return {
        name: None if array is None else torch.from_numpy(array).to(dtype)
        for name, array in arrays.items()
    }


def route(name, poses, weight, prior=None, bias=None, **options):
    if name in ("self_attention", "learned"):
        options["prior"] = prior
    return getattr(functional, f"{name}_routing")(poses, weight, bias=bias, **options)


def assert_equal(routed, poses, coupling, tolerance=1e-12):
    assert_close(routed.poses, poses, rtol=0, atol=tolerance)
    assert_close(routed.coupling, coupling, rtol=0, atol=tolerance)
