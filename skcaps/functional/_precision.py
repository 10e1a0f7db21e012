"""Half types hold squares and sums badly; these functions work in float32."""

import torch
from torch import Tensor

_HALF = (torch.float16, torch.bfloat16)


def at_least_float32(values: Tensor) -> Tensor:
    """Cast float16 and bfloat16 to float32; return any other tensor as it is."""
    return values.float() if values.dtype in _HALF else values
