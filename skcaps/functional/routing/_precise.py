"""Routings whose sums, variances and logarithms float16 and bfloat16 hold badly."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from skcaps.functional._precision import at_least_float32
from skcaps.functional.routing._routed import Routed


def route_precisely(route: Callable[..., Routed], *tensors: Tensor | None) -> Routed:
    """Call with all tensors in one dtype of 32 bits or more; return their own dtype.

    Autocast, which would cast some of the steps down again, is off meanwhile.
    """
    given = [tensor for tensor in tensors if tensor is not None]
    dtype = functools.reduce(torch.promote_types, (tensor.dtype for tensor in given))
    precise = [
        None if tensor is None else at_least_float32(tensor.to(dtype))
        for tensor in tensors
    ]
    with torch.autocast(given[0].device.type, enabled=False):
        routed = route(*precise)
    poses, coupling, activations = routed
    return Routed(
        poses.to(dtype),
        coupling.to(dtype),
        None if activations is None else activations.to(dtype),
    )
