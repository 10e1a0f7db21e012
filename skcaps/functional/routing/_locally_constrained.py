"""Routing on maps: at every pixel, the types of children choose types of parents."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from skcaps.functional._checks import check_shape
from skcaps.functional._map_squash import map_lengths, squash_map
from skcaps.functional._map_votes import conv_transpose_votes, conv_votes
from skcaps.functional._recording import is_recorded
from skcaps.functional._squash import Squash, squash
from skcaps.functional.routing._map_agreement import (
    RouteMapsByAgreement,
    route_maps_plainly,
)
from skcaps.functional.routing._routed import Routed


def conv_capsules(
    poses: Tensor,
    weight: Tensor,
    *,
    bias: Tensor | None = None,
    stride: int = 1,
    iterations: int = 3,
    squash: Squash = squash,
) -> Routed:
    r"""Convolve capsules, and route by agreement at every pixel.

    The votes are those of `conv_votes`, and the routing is that of
    `locally_constrained_from_votes`. With one iteration, or one type of parents, all
    votes count alike; then the poses are summed over their types before they are
    convolved, once, which gives the same.

    Parameters
    ----------
    poses : Tensor of shape (batch, caps_in, dim_in, height, width)
        Child capsules: `caps_in` types at every pixel.
    weight : Tensor of shape (caps_out, dim_out, dim_in, kernel, kernel)
        One kernel for each type of parents, shared by all types of children.
    bias : Tensor of shape (caps_out, dim_out), optional
        Added to the sum in every iteration.
    stride : int, default=1
        Pixels from one parent to the next.
    iterations : int, default=3
        Number of sums over the types of children.
    squash : callable, default=squash
        Maps vectors to vectors of the same direction and a length below 1 that depends
        on their length alone.

    Returns
    -------
    Routed
        Parent poses (batch, caps_out, dim_out, rows, columns), coupling (batch,
        caps_in, caps_out, rows, columns), which sums to 1 over `caps_out`, and the
        lengths of the poses as activations (batch, caps_out, rows, columns).

    Raises
    ------
    ValueError
        If `iterations` is below 1 or the shapes do not fit together.

    References
    ----------
    LaLonde, Bagci (2018). "Capsules for object segmentation", section 3 and algorithm
    1. arXiv:1804.04241.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import conv_capsules
    >>> poses, weight = torch.ones(2, 3, 4, 8, 8), torch.ones(5, 6, 4, 3, 3)
    >>> conv_capsules(poses, weight, stride=2).poses.shape
    torch.Size([2, 5, 6, 4, 4])
    """

    def vote(children: Tensor) -> Tensor:
        return conv_votes(children, weight, stride=stride)

    return _route(poses, vote, len(weight), bias, iterations, squash)


def conv_transpose_capsules(
    poses: Tensor,
    weight: Tensor,
    *,
    bias: Tensor | None = None,
    stride: int = 2,
    iterations: int = 3,
    squash: Squash = squash,
) -> Routed:
    r"""Convolve capsules to a larger map, and route by agreement at every pixel.

    As `conv_capsules`, with the votes of `conv_transpose_votes`.

    Parameters
    ----------
    poses : Tensor of shape (batch, caps_in, dim_in, height, width)
        Child capsules: `caps_in` types at every pixel.
    weight : Tensor of shape (dim_in, caps_out, dim_out, kernel, kernel)
        One kernel for each type of parents, shared by all types of children.
    bias : Tensor of shape (caps_out, dim_out), optional
        Added to the sum in every iteration.
    stride : int, default=2
        How many times larger the map becomes.
    iterations : int, default=3
        Number of sums over the types of children.
    squash : callable, default=squash
        Maps vectors to vectors of the same direction and a length below 1 that depends
        on their length alone.

    Returns
    -------
    Routed
        As from `conv_capsules`.

    Raises
    ------
    ValueError
        If `iterations` is below 1, the shapes do not fit together, or the kernel does
        not fit the stride.

    References
    ----------
    LaLonde, Bagci (2018). "Capsules for object segmentation", section 3 and algorithm
    1. arXiv:1804.04241.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import conv_transpose_capsules
    >>> poses, weight = torch.ones(2, 3, 4, 8, 8), torch.ones(4, 5, 6, 4, 4)
    >>> conv_transpose_capsules(poses, weight).poses.shape
    torch.Size([2, 5, 6, 16, 16])
    """

    def vote(children: Tensor) -> Tensor:
        return conv_transpose_votes(children, weight, stride=stride)

    return _route(poses, vote, weight.shape[1], bias, iterations, squash)


def locally_constrained_from_votes(
    votes: Tensor,
    *,
    bias: Tensor | None = None,
    iterations: int = 3,
    squash: Squash = squash,
) -> Routed:
    r"""Route by agreement at every pixel, among the types of parents there.

    .. math::
        c_{ij} = \operatorname{softmax}_j(b_{ij}), \quad
        s_j = \sum_i c_{ij} \hat u_{j|i} + \beta_j, \quad
        v_j = \operatorname{squash}(s_j), \quad
        b_{ij} \leftarrow b_{ij} + \langle \hat u_{j|i}, v_j \rangle

    repeated ``iterations`` times from :math:`b_{ij} = 0` at every pixel by itself,
    without the unused update after the last :math:`v_j`. A vote :math:`\hat u_{j|i}`
    has already summed over the pixels that a parent sees, so a child type, and not
    each child, chooses. :math:`\beta` is ``bias``, :math:`v_j` the returned poses
    and :math:`c_{ij}` the returned coupling. Where there is one type of parents, all
    coupling is 1 and the iterations change nothing.

    Parameters
    ----------
    votes : Tensor of shape (batch, caps_in, caps_out, dim_out, rows, columns)
        What each type of children predicts for each type of parents.
    bias : Tensor of shape (caps_out, dim_out), optional
        Added to the sum in every iteration.
    iterations : int, default=3
        Number of sums over the types of children. 1 is the uniform average.
    squash : callable, default=squash
        Maps vectors to vectors of the same direction and a length below 1 that depends
        on their length alone. Nothing that it holds gets a gradient.

    Returns
    -------
    Routed
        Parent poses (batch, caps_out, dim_out, rows, columns), coupling (batch,
        caps_in, caps_out, rows, columns), which sums to 1 over `caps_out`, and the
        lengths of the poses as activations (batch, caps_out, rows, columns).

    Raises
    ------
    ValueError
        If `iterations` is below 1 or the shapes do not fit together.

    References
    ----------
    LaLonde, Bagci (2018). "Capsules for object segmentation", algorithm 1.
    arXiv:1804.04241. The code released with it adds the bias.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import locally_constrained_from_votes
    >>> routed = locally_constrained_from_votes(torch.ones(2, 3, 5, 6, 4, 4))
    >>> routed.poses.shape, routed.coupling.shape
    (torch.Size([2, 5, 6, 4, 4]), torch.Size([2, 3, 5, 4, 4]))
    """
    if votes.ndim != 6:
        raise ValueError(
            "votes must have shape (batch, caps_in, caps_out, dim_out, rows, columns), "
            f"got {tuple(votes.shape)}."
        )
    _check(iterations, bias, votes.shape[2:4])
    if votes.shape[2] == 1:
        iterations = 1
    route = route_maps_plainly if is_recorded() else RouteMapsByAgreement.apply
    with torch.autocast(votes.device.type, enabled=False):
        poses, coupling = route(
            votes.contiguous(),
            None if bias is None else bias.to(votes.dtype),
            iterations,
            squash,
        )
    return _with_lengths(poses, coupling)


def _route(
    poses: Tensor,
    vote: Callable[[Tensor], Tensor],
    caps_out: int,
    bias: Tensor | None,
    iterations: int,
    squash: Squash,
) -> Routed:
    """Route the votes, of the sum of all types where they count alike."""
    if iterations > 1 and caps_out > 1:
        return locally_constrained_from_votes(
            vote(poses), bias=bias, iterations=iterations, squash=squash
        )
    # A convolution is linear.
    sums = vote(poses.sum(dim=1, keepdim=True) / caps_out).squeeze(1)
    _check(iterations, bias, sums.shape[1:3])
    coupling = sums.new_full((), 1 / caps_out)
    shape = (sums.shape[0], poses.shape[1], caps_out, *sums.shape[3:])
    with torch.autocast(poses.device.type, enabled=False):
        if bias is not None:
            sums = sums + bias.to(sums.dtype)[..., None, None]
        return _with_lengths(squash_map(squash, sums), coupling.expand(shape))


def _with_lengths(poses: Tensor, coupling: Tensor) -> Routed:
    return Routed(poses, coupling, map_lengths(poses))


def _check(iterations: int, bias: Tensor | None, parents: torch.Size) -> None:
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {iterations}.")
    if bias is not None:
        check_shape("bias", bias, parents)
