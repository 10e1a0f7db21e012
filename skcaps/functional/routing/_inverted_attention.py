"""Inverted attention: parents compete for the attention of each child."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from skcaps.functional._checks import check_poses, check_shape
from skcaps.functional.routing._mixture import check_iterations, check_votes
from skcaps.functional.routing._precise import route_precisely
from skcaps.functional.routing._products import agreement, combine, stack_matrices
from skcaps.functional.routing._routed import Routed


def inverted_attention_routing(
    poses: Tensor,
    weight: Tensor,
    *,
    iterations: int = 2,
    norm_weight: Tensor | None = None,
    norm_bias: Tensor | None = None,
    norm_eps: float = 1e-5,
    score_weight: Tensor | None = None,
    score_bias: Tensor | None = None,
) -> Routed:
    r"""Route by the inner product of each vote with its normalized parent.

    .. math::
        v_j = \operatorname{LayerNorm}\Big(\sum_i r_{ij} \hat u_{j|i}\Big), \quad
        r_{ij} = \operatorname{softmax}_j\Big(\frac{1}{\sqrt D}
        \langle \hat u_{j|i}, v_j \rangle\Big)

    alternately, with :math:`r_{ij} = 1 / J` at first and :math:`v_j` last, where
    :math:`\hat u_{j|i}` are the votes of ``poses`` and ``weight``, :math:`J` and
    :math:`D` are ``caps_out`` and ``dim_out``, and :math:`v_j` and :math:`r_{ij}` are
    what returns. Where a network ends, the score of a class is a linear function of its
    pose, the same for all classes; a capsule's activation is

    .. math::
        a_j = \operatorname{sigmoid}(\langle s, v_j \rangle + t)

    with ``score_weight`` :math:`s` and ``score_bias`` :math:`t`: its odds
    :math:`a_j / (1 - a_j)` are in the proportions of the paper's softmax over the
    classes. The votes are never built.

    Parameters
    ----------
    poses : Tensor of shape (batch, caps_in, dim_in)
        Child capsules. Activations of theirs have no part in this routing.
    weight : Tensor of shape (caps_in, caps_out, dim_in, dim_out)
        One matrix for each pair of a child and a parent. Where the first axis is 1,
        all children share one for each parent. For poses that are matrices call
        `inverted_attention_from_votes` on `matrix_votes`.
    iterations : int, default=2
        Number of sums over the children, as the released code counts them. 1 is the
        normalized uniform average.
    norm_weight, norm_bias : Tensor of shape (dim_out,), optional
        Factor and summand of the layer normalization, the same for all parents. By
        default poses have mean 0 and variance 1.
    norm_eps : float, default=1e-5
        Added to the variance in the layer normalization.
    score_weight : Tensor of shape (dim_out,), optional
        Makes activations of poses. By default all of them are 1.
    score_bias : Tensor of shape (), optional
        Added before the sigmoid.

    Returns
    -------
    Routed
        Parent poses (batch, caps_out, dim_out), coupling (batch, caps_in, caps_out),
        which sums to 1 over `caps_out`, and activations (batch, caps_out).

    Raises
    ------
    ValueError
        If `iterations` is below 1, or the shapes do not fit together.

    Notes
    -----
    The iterations are those of one layer, whose children are final before it begins,
    which the paper calls sequential. Its concurrent routing updates all layers in each
    iteration from the capsules of the last; for one layer the two are the same. It
    is not offered: a `CapsuleNetwork` calls its layers one after the other, and would
    have to step through all routings itself.
    The released code divides the couplings by their sum once more, and leaves the layer
    normalization out for ``dim_out`` of 1.

    References
    ----------
    Tsai, Srivastava, Goh, Salakhutdinov (2020). "Capsules with inverted dot-product
    attention routing", algorithm 1. ICLR. arXiv:2002.04764.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import inverted_attention_routing
    >>> routed = inverted_attention_routing(torch.ones(2, 6, 4), torch.ones(6, 3, 4, 5))
    >>> routed.poses.shape, routed.coupling.shape
    (torch.Size([2, 3, 5]), torch.Size([2, 6, 3]))
    """
    check_poses(poses, weight)
    check_iterations(iterations)
    parameters = (norm_weight, norm_bias, score_weight, score_bias)
    _check_parameters(weight.shape[3], *parameters)

    def route(poses: Tensor, weight: Tensor, *parameters: Tensor | None) -> Routed:
        matrices = stack_matrices(weight)
        return _attend(
            lambda coupling: combine(poses, matrices, coupling),
            lambda parents: agreement(poses, matrices, parents),
            (len(matrices), *poses.shape[:2]),
            iterations,
            norm_eps,
            *parameters,
        )

    return route_precisely(route, poses, weight, *parameters)


def inverted_attention_from_votes(
    votes: Tensor,
    *,
    iterations: int = 2,
    norm_weight: Tensor | None = None,
    norm_bias: Tensor | None = None,
    norm_eps: float = 1e-5,
    score_weight: Tensor | None = None,
    score_bias: Tensor | None = None,
) -> Routed:
    """Route votes of any kind as `inverted_attention_routing` does.

    Parameters
    ----------
    votes : Tensor of shape (..., caps_in, caps_out, dim)
        What each child predicts for each parent. Any axes may come before: the batch,
        and in a convolution the positions of the parents, each for itself, with the
        children that a position sees as `caps_in`.
    iterations : int, default=2
        Number of sums over the children. 1 is the normalized uniform average.
    norm_weight, norm_bias : Tensor of shape (dim,), optional
        Factor and summand of the layer normalization.
    norm_eps : float, default=1e-5
        Added to the variance in the layer normalization.
    score_weight : Tensor of shape (dim,), optional
        Makes activations of poses. By default all of them are 1.
    score_bias : Tensor of shape (), optional
        Added before the sigmoid.

    Returns
    -------
    Routed
        Poses (..., caps_out, dim), coupling (..., caps_in, caps_out), which sums to 1
        over `caps_out`, and activations (..., caps_out).

    Raises
    ------
    ValueError
        If `iterations` is below 1, or the shapes do not fit together.

    References
    ----------
    Tsai, Srivastava, Goh, Salakhutdinov (2020). "Capsules with inverted dot-product
    attention routing", algorithm 1. ICLR. arXiv:2002.04764. Its released convolution
    mixes positions with dimensions; the paper does not.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import inverted_attention_from_votes
    >>> inverted_attention_from_votes(torch.rand(2, 6, 3, 5)).poses.shape
    torch.Size([2, 3, 5])
    """
    check_iterations(iterations)
    check_votes(votes)
    parameters = (norm_weight, norm_bias, score_weight, score_bias)
    _check_parameters(votes.shape[-1], *parameters)

    def route(votes: Tensor, *parameters: Tensor | None) -> Routed:
        heard = votes.movedim(-2, 0)

        def add_up(coupling: Tensor | float) -> Tensor:
            if isinstance(coupling, Tensor):
                return torch.einsum("j...i,j...id->j...d", coupling, heard)
            return coupling * heard.sum(dim=-2)

        return _attend(
            add_up,
            lambda parents: torch.einsum("j...id,j...d->j...i", heard, parents),
            heard.shape[:-1],
            iterations,
            norm_eps,
            *parameters,
        )

    return route_precisely(route, votes, *parameters)


def _attend(
    add_up: Callable[[Tensor | float], Tensor],
    agree: Callable[[Tensor], Tensor],
    shape: tuple[int, ...],
    iterations: int,
    norm_eps: float,
    norm_weight: Tensor | None,
    norm_bias: Tensor | None,
    score_weight: Tensor | None,
    score_bias: Tensor | None,
) -> Routed:
    """Iterate with the parents' axis first: couplings have the `shape` (j, ..., i)."""

    def normalize(sums: Tensor) -> Tensor:
        return torch.nn.functional.layer_norm(
            sums, sums.shape[-1:], norm_weight, norm_bias, norm_eps
        )

    share = 1 / shape[0]
    parents = normalize(add_up(share))
    coupling = parents.new_full((), share).expand(shape)
    for _ in range(iterations - 1):
        logits = agree(parents) / math.sqrt(parents.shape[-1])
        coupling = torch.softmax(logits, dim=0)
        parents = normalize(add_up(coupling))
    if score_weight is None:
        activations = torch.ones_like(parents[..., 0])
    else:
        score = parents @ score_weight
        activations = torch.sigmoid(score if score_bias is None else score + score_bias)
    return Routed(
        parents.movedim(0, -2), coupling.movedim(0, -1), activations.movedim(0, -1)
    )


def _check_parameters(
    dim: int,
    norm_weight: Tensor | None,
    norm_bias: Tensor | None,
    score_weight: Tensor | None,
    score_bias: Tensor | None,
) -> None:
    vectors = {
        "norm_weight": norm_weight,
        "norm_bias": norm_bias,
        "score_weight": score_weight,
    }
    for name, values in vectors.items():
        if values is not None:
            check_shape(name, values, (dim,))
    if score_bias is not None:
        check_shape("score_bias", score_bias, ())
        if score_weight is None:
            raise ValueError("score_bias needs a score_weight, got None.")
