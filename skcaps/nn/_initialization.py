"""Initial values of the papers' released code."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

# Standard deviation of a unit normal cut at two deviations: dividing by it gives the
# cut distribution the wanted deviation, as Keras' variance scaling does.
_TRUNCATED_STD = 0.87962566103423978


def truncated_normal_(tensor: Tensor, std: float) -> Tensor:
    """Fill with a normal of standard deviation `std`, cut at two deviations.

    Parameters
    ----------
    tensor : Tensor
        Filled in place.
    std : float
        Deviation before the cut, as in TensorFlow's ``truncated_normal``.

    Returns
    -------
    tensor : Tensor
        The same tensor.

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import truncated_normal_
    >>> bool(truncated_normal_(torch.empty(1000), 0.1).abs().max() <= 0.2)
    True
    """
    # Drawn in the order of the axes, whatever the order in memory.
    drawn = torch.empty_like(tensor, memory_format=torch.contiguous_format)
    nn.init.trunc_normal_(drawn, std=std, a=-2 * std, b=2 * std)
    with torch.no_grad():
        return tensor.copy_(drawn)


def he_normal_(tensor: Tensor, fan_in: int) -> Tensor:
    """Fill with a cut normal of standard deviation ``sqrt(2 / fan_in)``, as Keras does.

    Parameters
    ----------
    tensor : Tensor
        Filled in place.
    fan_in : int
        Number of inputs that feed one output.

    Returns
    -------
    tensor : Tensor
        The same tensor.

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import he_normal_
    >>> weight = he_normal_(torch.empty(64, 32, 3, 3), 32 * 3 * 3)
    >>> bool(weight.abs().max() <= 0.19)
    True
    """
    return truncated_normal_(tensor, math.sqrt(2 / fan_in) / _TRUNCATED_STD)


def glorot_normal_(tensor: Tensor, fan_in: int, fan_out: int) -> Tensor:
    """Fill with a cut normal of standard deviation ``sqrt(2 / (fan_in + fan_out))``.

    Parameters
    ----------
    tensor : Tensor
        Filled in place.
    fan_in, fan_out : int
        Numbers of inputs and outputs of the layer.

    Returns
    -------
    tensor : Tensor
        The same tensor.

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import glorot_normal_
    >>> glorot_normal_(torch.empty(784, 1024), 1024, 784).shape
    torch.Size([784, 1024])
    """
    std = math.sqrt(2 / (fan_in + fan_out)) / _TRUNCATED_STD
    return truncated_normal_(tensor, std)


def glorot_uniform_(tensor: Tensor, fan_in: int, fan_out: int) -> Tensor:
    """Fill uniformly within ``sqrt(6 / (fan_in + fan_out))`` of zero.

    Parameters
    ----------
    tensor : Tensor
        Filled in place.
    fan_in, fan_out : int
        Numbers of inputs and outputs of the layer.

    Returns
    -------
    tensor : Tensor
        The same tensor.

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import glorot_uniform_
    >>> weight = glorot_uniform_(torch.empty(128, 1, 9, 9), 81, 81 * 128)
    >>> round(weight.abs().max().item(), 3)
    0.024
    """
    limit = math.sqrt(6 / (fan_in + fan_out))
    return nn.init.uniform_(tensor, -limit, limit)


def fill_bias_(layer: nn.Conv2d | nn.Linear, value: float) -> None:
    """Fill the bias of a layer that has one."""
    assert layer.bias is not None
    nn.init.constant_(layer.bias, value)
