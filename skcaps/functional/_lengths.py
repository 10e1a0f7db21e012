"""The length of a capsule: how present the thing it stands for is."""

import torch
from torch import Tensor

from skcaps.functional._precision import at_least_float32


def lengths(poses: Tensor) -> Tensor:
    r"""Length of every capsule vector.

    .. math::
        \lVert v_j \rVert = \sqrt{\textstyle\sum_d v_{jd}^2}

    where :math:`v_j` is ``poses[..., j, :]``. float16 and bfloat16 are computed in
    float32. The gradient at a zero vector is 0, not NaN.

    Parameters
    ----------
    poses : Tensor of shape (..., caps, dim)
        Capsule vectors.

    Returns
    -------
    Tensor of shape (..., caps)
        Euclidean norms over the last axis, in the dtype of `poses`.

    References
    ----------
    Sabour, Frosst, Hinton (2017). "Dynamic routing between capsules", section 2.
    arXiv:1710.09829.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import lengths
    >>> lengths(torch.tensor([[[3.0, 4.0], [0.0, 0.0]]]))
    tensor([[5., 0.]])
    """
    norms: Tensor = torch.linalg.vector_norm(at_least_float32(poses), dim=-1)
    return norms.to(poses.dtype)
