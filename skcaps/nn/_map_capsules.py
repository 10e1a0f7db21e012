"""Layers of capsules that lie on maps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from skcaps.functional import (
    SQUASHES,
    Routed,
    conv_capsules,
    conv_transpose_capsules,
)
from skcaps.nn._checks import check_option, check_positive
from skcaps.nn._initialization import he_normal_

_BIAS = 0.1


class _MapCapsules(nn.Module):
    """A kernel for each type of capsules, and how they are routed."""

    def __init__(
        self,
        shape: tuple[int, ...],
        parents: tuple[int, int],
        fan_in: int,
        *,
        stride: int,
        iterations: int,
        squash: str,
    ) -> None:
        super().__init__()
        check_positive(stride=stride, iterations=iterations)
        check_option("squash", squash, SQUASHES)
        self.stride, self.iterations, self.squash = stride, iterations, squash
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.full(parents, _BIAS))
        he_normal_(self.weight, fan_in)

    def _options(self) -> dict[str, Any]:
        """Return what the routing is called with beside poses and weight."""
        return {
            "bias": self.bias,
            "stride": self.stride,
            "iterations": self.iterations,
            "squash": SQUASHES[self.squash],
        }

    def extra_repr(self) -> str:
        """Return what is made, and how."""
        out_caps, out_dim = self.bias.shape
        return (
            f"{out_caps} x {out_dim}, kernel {self.weight.shape[-1]}, "
            f"stride {self.stride}, iterations {self.iterations}"
        )


class ConvCapsules(_MapCapsules):
    """Capsules convolved with one kernel for all types, and routed at every pixel.

    Parameters
    ----------
    in_dim : int
        Dimension of the capsules below, of which there may be any number of types.
    out_caps, out_dim : int
        Number of types and dimension of this layer's capsules.
    kernel_size : int
        Side of the kernels.
    stride : int, default=1
        Pixels from one capsule to the next.
    iterations : int, default=3
        Iterations of the routing.
    squash : {"squash", "squash_exp"}, default="squash"
        What shortens the poses.

    Attributes
    ----------
    weight : Parameter of shape (out_caps, out_dim, in_dim, kernel_size, kernel_size)
        One kernel for each type, shared by all types below.
    bias : Parameter of shape (out_caps, out_dim)
        Starts at 0.1, as in the released code.

    Raises
    ------
    ValueError
        If a size is not positive or `squash` is unknown.

    Notes
    -----
    Shapes: ``(batch, in_caps, in_dim, height, width)`` to a `Routed` of ``(batch,
    out_caps, out_dim, rows, columns)`` poses, ``(batch, in_caps, out_caps, rows,
    columns)`` coupling and ``(batch, out_caps, rows, columns)`` activations; ``rows``
    is ``height / stride``, rounded up.

    References
    ----------
    LaLonde, Bagci (2018), "Capsules for object segmentation", arXiv 1804.04241,
    section 3; initial values of the released code.

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import ConvCapsules
    >>> layer = ConvCapsules(16, 4, 32, kernel_size=5, stride=2)
    >>> layer(torch.rand(1, 2, 16, 8, 8)).poses.shape
    torch.Size([1, 4, 32, 4, 4])
    """

    def __init__(
        self,
        in_dim: int,
        out_caps: int,
        out_dim: int,
        *,
        kernel_size: int,
        stride: int = 1,
        iterations: int = 3,
        squash: str = "squash",
    ) -> None:
        check_positive(
            in_dim=in_dim, out_caps=out_caps, out_dim=out_dim, kernel_size=kernel_size
        )
        super().__init__(
            (out_caps, out_dim, in_dim, kernel_size, kernel_size),
            (out_caps, out_dim),
            in_dim * kernel_size**2,
            stride=stride,
            iterations=iterations,
            squash=squash,
        )

    def forward(self, poses: Tensor) -> Routed:
        """Route poses of shape ``(batch, in_caps, in_dim, height, width)``."""
        return conv_capsules(poses, self.weight, **self._options())


class ConvTransposeCapsules(_MapCapsules):
    """Capsules on a larger map, by a transposed convolution, routed at every pixel.

    Parameters
    ----------
    in_dim : int
        Dimension of the capsules below, of which there may be any number of types.
    out_caps, out_dim : int
        Number of types and dimension of this layer's capsules.
    kernel_size : int, default=4
        Side of the kernels: the stride, or more by an even number.
    stride : int, default=2
        How many times larger the map becomes.
    iterations : int, default=3
        Iterations of the routing.
    squash : {"squash", "squash_exp"}, default="squash"
        What shortens the poses.

    Attributes
    ----------
    weight : Parameter of shape (in_dim, out_caps, out_dim, kernel_size, kernel_size)
        One kernel for each type, shared by all types below.
    bias : Parameter of shape (out_caps, out_dim)
        Starts at 0.1, as in the released code.

    Raises
    ------
    ValueError
        If a size is not positive or `squash` is unknown.

    Notes
    -----
    Shapes: as `ConvCapsules`, with ``rows`` equal to ``height * stride``.

    References
    ----------
    LaLonde, Bagci (2018), "Capsules for object segmentation", arXiv 1804.04241,
    section 3; initial values of the released code.

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import ConvTransposeCapsules
    >>> layer = ConvTransposeCapsules(16, 4, 32)
    >>> layer(torch.rand(1, 2, 16, 8, 8)).poses.shape
    torch.Size([1, 4, 32, 16, 16])
    """

    def __init__(
        self,
        in_dim: int,
        out_caps: int,
        out_dim: int,
        *,
        kernel_size: int = 4,
        stride: int = 2,
        iterations: int = 3,
        squash: str = "squash",
    ) -> None:
        check_positive(
            in_dim=in_dim, out_caps=out_caps, out_dim=out_dim, kernel_size=kernel_size
        )
        super().__init__(
            (in_dim, out_caps, out_dim, kernel_size, kernel_size),
            (out_caps, out_dim),
            # What Keras takes for the inputs of a transposed kernel are its outputs.
            out_caps * out_dim * kernel_size**2,
            stride=stride,
            iterations=iterations,
            squash=squash,
        )

    def forward(self, poses: Tensor) -> Routed:
        """Route poses of shape ``(batch, in_caps, in_dim, height, width)``."""
        return conv_transpose_capsules(poses, self.weight, **self._options())
