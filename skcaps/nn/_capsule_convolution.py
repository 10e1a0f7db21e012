"""From capsules on a map to capsules on a map, and to classes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from skcaps.functional import Routed, Windows
from skcaps.nn._checks import check_option, check_positive
from skcaps.nn._initialization import truncated_normal_
from skcaps.nn.routing import MIXTURES, ROUTINGS


class CapsuleConv2d(nn.Module):
    """A convolution of capsules: those of a window are routed to the parents above it.

    Parameters
    ----------
    in_types, in_dim : int
        Capsules at each place of the map, and their dimension.
    out_types, out_dim : int
        The same of this layer.
    kernel_size : int or tuple of int
        Rows and columns of a window.
    stride : int or tuple of int, default=1
        Between two windows.
    padding : int or tuple of int, default=0
        Capsules around the map that are not there.
    pose_rows : int, default=1
        Rows of poses that are matrices, 4 in the papers: a child's ``(pose_rows,
        in_dim / pose_rows)`` matrix is multiplied by a weight. 1 for vectors.
    routing : str, default="dynamic"
        A key of `ROUTINGS`. With "em" and "vb" all parents of a child compete, at every
        window that sees it; with the others those of each window by themselves.
    weight_std : float, default=0.1
        Standard deviation of the initial weights, a normal cut at two of them.
    **options
        For the routing: `iterations`, `squash`, `bias`, and what it has of its own;
        see `Routing`.

    Attributes
    ----------
    weight : Parameter of shape (in_caps, out_types, in_dim / pose_rows, \
            out_dim / pose_rows)
        Transformation matrices, the same at all windows; `in_caps` are the capsules of
        a window, in the order row, column, type.
    routing : Routing
        With parameters of its own.
    windows : Windows
        Kernel, stride and padding.

    Raises
    ------
    ValueError
        If a size or an option is out of range, or `pose_rows` does not divide the
        dimensions.

    Notes
    -----
    Shapes: poses ``(batch, in_types, in_dim, height, width)`` and activations ``(batch,
    in_types, height, width)`` to a `Routed` of poses ``(batch, out_types, out_dim,
    rows, columns)``, coupling ``(batch, rows, columns, in_caps, out_types)`` and
    activations ``(batch, out_types, rows, columns)``. So types and dimensions together
    are the channels of a feature map. Where the kernel is the map, this is a
    `CapsuleLayer`.

    References
    ----------
    Hinton, Sabour, Frosst (2018), sections 3 and 4.

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import CapsuleConv2d
    >>> layer = CapsuleConv2d(8, 16, 16, 16, 3, stride=2, pose_rows=4, routing="em")
    >>> poses, activations = torch.rand(2, 8, 16, 12, 12), torch.rand(2, 8, 12, 12)
    >>> routed = layer(poses, activations)
    >>> routed.poses.shape, routed.activations.shape
    (torch.Size([2, 16, 16, 5, 5]), torch.Size([2, 16, 5, 5]))
    """

    def __init__(
        self,
        in_types: int,
        in_dim: int,
        out_types: int,
        out_dim: int,
        kernel_size: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        pose_rows: int = 1,
        routing: str = "dynamic",
        weight_std: float = 0.1,
        **options: object,
    ) -> None:
        super().__init__()
        check_option("routing", routing, ROUTINGS)
        _check_rows(pose_rows, in_dim, out_dim)
        self.windows = Windows(_pair(kernel_size), _pair(stride), _pair(padding))
        check_positive(in_types=in_types, out_types=out_types)
        in_caps = math.prod(self.windows.kernel) * in_types
        self.routing = ROUTINGS[routing](
            in_caps,
            in_dim,
            out_types,
            out_dim,
            **options,  # type: ignore[arg-type]
        )
        shape = (in_caps, out_types, in_dim // pose_rows, out_dim // pose_rows)
        self.weight = nn.Parameter(torch.empty(shape))
        truncated_normal_(self.weight, weight_std)

    def forward(self, poses: Tensor, activations: Tensor | None = None) -> Routed:
        """Route poses of shape ``(batch, in_types, in_dim, height, width)``.

        Parameters
        ----------
        poses : Tensor of shape (batch, in_types, in_dim, height, width)
        activations : Tensor of shape (batch, in_types, height, width), optional
            How present the capsules below are, from 0 to 1; by default their lengths.

        Returns
        -------
        Routed
            With the lengths of the poses as activations, if the routing has no others.
        """
        return self.routing.convolve(poses, self.weight, self.windows, activations)

    def extra_repr(self) -> str:
        """Return what goes in and out."""
        in_caps, out_types, *_ = self.weight.shape
        kernel, stride, padding = self.windows
        types = in_caps // math.prod(kernel)
        sizes = f"kernel={kernel}, stride={stride}, padding={padding}"
        return f"{types} types -> {out_types} types, {sizes}"


class ClassCapsules2d(nn.Module):
    """Class capsules, of which all capsules on a map are the children.

    The capsules of a type have the same transformation at every place. Where they are
    is added to their votes instead.

    Parameters
    ----------
    in_types, in_dim : int
        Capsules at each place of the map, and their dimension.
    out_caps, out_dim : int
        Number and dimension of the class capsules.
    pose_rows : int, default=4
        Rows of a pose, which is a matrix.
    routing : {"em", "vb"}, default="em"
        A key of `MIXTURES`.
    coordinate_scale : float, default=1.0
        Factor of the coordinates, which are from 0 to 1. With 0 the places do not
        count.
    weight_std : float, default=0.1
        Standard deviation of the initial weights, a normal cut at two of them.
    **options
        For the routing: `iterations`, and `pose_norm` with "vb"; see `Routing`.

    Attributes
    ----------
    weight : Parameter of shape (in_types, out_caps, in_dim / pose_rows, \
            out_dim / pose_rows)
        Transformation matrices.
    routing : Routing
        With parameters of its own.

    Raises
    ------
    ValueError
        If an option is out of range, or `pose_rows` is below 2 or does not divide the
        dimensions.

    Notes
    -----
    Shapes: poses ``(batch, in_types, in_dim, height, width)`` and activations ``(batch,
    in_types, height, width)`` to a `Routed` of poses ``(batch, out_caps, out_dim)``,
    coupling ``(batch, caps_in, out_caps)``, the children in the order row, column,
    type, and activations ``(batch, out_caps)``.

    The row and the column of a place, its middle in heights and widths of the map, are
    added to the last number of the first and of the second row of its votes. The code
    of Ribeiro et al. adds a tenth of about that.

    References
    ----------
    Hinton, Sabour, Frosst (2018), section 4, coordinate addition.

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import ClassCapsules2d
    >>> layer = ClassCapsules2d(16, 16, 5, 16)
    >>> routed = layer(torch.rand(2, 16, 16, 3, 3), torch.rand(2, 16, 3, 3))
    >>> routed.poses.shape, routed.coupling.shape
    (torch.Size([2, 5, 16]), torch.Size([2, 144, 5]))
    """

    def __init__(
        self,
        in_types: int,
        in_dim: int,
        out_caps: int,
        out_dim: int,
        *,
        pose_rows: int = 4,
        routing: str = "em",
        coordinate_scale: float = 1.0,
        weight_std: float = 0.1,
        **options: object,
    ) -> None:
        super().__init__()
        check_option("routing", routing, MIXTURES)
        _check_rows(pose_rows, in_dim, out_dim)
        if pose_rows < 2:
            raise ValueError(
                "Coordinates are added to two rows of a pose, so pose_rows must be at "
                f"least 2, got {pose_rows}."
            )
        check_positive(in_types=in_types, out_caps=out_caps)
        self.routing = MIXTURES[routing](
            in_types,
            in_dim,
            out_caps,
            out_dim,
            **options,  # type: ignore[arg-type]
        )
        self.coordinate_scale, self.pose_rows = coordinate_scale, pose_rows
        shape = (in_types, out_caps, in_dim // pose_rows, out_dim // pose_rows)
        self.weight = nn.Parameter(torch.empty(shape))
        truncated_normal_(self.weight, weight_std)

    def forward(self, poses: Tensor, activations: Tensor | None = None) -> Routed:
        """Route poses of shape ``(batch, in_types, in_dim, height, width)``.

        Parameters
        ----------
        poses : Tensor of shape (batch, in_types, in_dim, height, width)
        activations : Tensor of shape (batch, in_types, height, width), optional
            How present the capsules below are, from 0 to 1; by default their lengths.

        Returns
        -------
        Routed
            Poses and activations of the classes.
        """
        height, width = poses.shape[3:]
        places = height * width
        shared = self.weight.expand(places, *self.weight.shape).flatten(0, 1)
        found, coupling, active = self.routing.convolve(
            poses,
            shared,
            Windows((height, width)),
            activations,
            offset=self._coordinates(height, width),
        )
        assert active is not None
        return Routed(found.flatten(2), coupling[:, 0, 0], active.flatten(1))

    def _coordinates(self, height: int, width: int) -> Tensor:
        in_types, _, _, columns = self.weight.shape
        added = self.weight.new_zeros(height, width, in_types, self.pose_rows, columns)
        rows = (torch.arange(height).to(added) + 0.5) / height
        added[..., 0, -1] = rows.view(-1, 1, 1) * self.coordinate_scale
        across = (torch.arange(width).to(added) + 0.5) / width
        added[..., 1, -1] = across.view(-1, 1) * self.coordinate_scale
        return added.flatten(3).flatten(0, 2)

    def extra_repr(self) -> str:
        """Return what goes in and out."""
        in_types, out_caps, *_ = self.weight.shape
        return f"{in_types} types -> {out_caps} capsules"


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _check_rows(pose_rows: int, in_dim: int, out_dim: int) -> None:
    check_positive(pose_rows=pose_rows, in_dim=in_dim, out_dim=out_dim)
    if in_dim % pose_rows or out_dim % pose_rows:
        raise ValueError(
            f"Poses of {in_dim} and of {out_dim} numbers must be matrices of "
            f"pose_rows={pose_rows} rows; choose multiples of {pose_rows}."
        )
