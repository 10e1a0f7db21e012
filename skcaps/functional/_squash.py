"""Squashing functions: keep a vector's direction, bring its length below 1."""

from collections.abc import Callable

import torch
from torch import Tensor

from skcaps.functional._precision import at_least_float32

Squash = Callable[[Tensor], Tensor]


def squash(poses: Tensor) -> Tensor:
    r"""Squash vectors to the length :math:`n^2 / (1 + n^2)`.

    .. math::
        v = \frac{n^2}{1 + n^2} \, \frac{s}{n}, \qquad n = \lVert s \rVert

    where :math:`s` is a vector of ``poses`` and :math:`v` the result. It is quadratic
    near 0, so the gradient of a short vector vanishes; at the zero vector value and
    gradient are 0. float16 and bfloat16 are computed in float32.

    Parameters
    ----------
    poses : Tensor of shape (..., dim)
        Vectors of any length.

    Returns
    -------
    Tensor of shape (..., dim)
        Vectors of the same direction and a length below 1 (up to rounding), in the
        dtype of `poses`.

    References
    ----------
    Sabour, Frosst, Hinton (2017). "Dynamic routing between capsules", equation 1.
    arXiv:1710.09829.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import squash
    >>> squash(torch.tensor([[3.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
    tensor([[0.9000, 0.0000],
            [0.0000, 0.5000],
            [0.0000, 0.0000]])
    """
    wide = at_least_float32(poses)
    norm = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
    # n / (1 + n^2) has no division by n, so nothing is singular at the zero vector.
    squashed: Tensor = wide * (norm / (1 + norm.square()))
    return squashed.to(poses.dtype)


def squash_exp(poses: Tensor) -> Tensor:
    r"""Squash vectors to the length :math:`1 - e^{-n}`.

    .. math::
        v = \left(1 - e^{-n}\right) \frac{s}{n}, \qquad n = \lVert s \rVert

    where :math:`s` is a vector of ``poses`` and :math:`v` the result. It is linear
    near 0, so a short vector keeps its gradient; at the zero vector the value is 0 and
    the Jacobian the identity. float16 and bfloat16 are computed in float32.

    Parameters
    ----------
    poses : Tensor of shape (..., dim)
        Vectors of any length.

    Returns
    -------
    Tensor of shape (..., dim)
        Vectors of the same direction and a length below 1 (up to rounding), in the
        dtype of `poses`.

    References
    ----------
    Mazzia, Salvetti, Chiaberge (2021). "Efficient-CapsNet: capsule network with
    self-attention routing", Scientific Reports 11:14634. arXiv:2101.12491.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import squash_exp
    >>> squash_exp(torch.tensor([[3.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
    tensor([[0.9502, 0.0000],
            [0.0000, 0.6321],
            [0.0000, 0.0000]])
    """
    wide = at_least_float32(poses)
    norm = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
    is_zero = norm == 0
    # The inner `where` keeps 0 / 0 out of the backward pass too: the outer one alone
    # would multiply a NaN gradient by 0.
    safe = torch.where(is_zero, 1, norm)
    scale = torch.where(is_zero, 1, -torch.expm1(-safe) / safe)
    return (wide * scale).to(poses.dtype)


SQUASHES: dict[str, Squash] = {"squash": squash, "squash_exp": squash_exp}
