"""Routings: how child capsules are combined into parents."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from skcaps.functional._agreement import RouteByAgreement
from skcaps.functional._checks import check_poses, check_shape
from skcaps.functional._products import agreement, combine, stack_matrices
from skcaps.functional._squash import Squash, squash, squash_exp


class Routed(NamedTuple):
    """What a routing returns.

    Attributes
    ----------
    poses : Tensor of shape (batch, caps_out, dim_out)
        Squashed parent capsules.
    coupling : Tensor of shape (batch, caps_in, caps_out)
        The coefficients that the last sum over the children used. May be a view with
        shared memory: copy it before writing to it.
    """

    poses: Tensor
    coupling: Tensor


def dynamic_routing(
    poses: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    iterations: int = 3,
    stop_gradient: bool = False,
    squash: Squash = squash,
) -> Routed:
    r"""Route by agreement: a child sends more to the parents that agree with its vote.

    .. math::
        c_{ij} = \operatorname{softmax}_j(b_{ij}), \quad
        s_j = \sum_i c_{ij} \hat u_{j|i} + \beta_j, \quad
        v_j = \operatorname{squash}(s_j), \quad
        b_{ij} \leftarrow b_{ij} + \langle \hat u_{j|i}, v_j \rangle

    repeated ``iterations`` times from :math:`b_{ij} = 0`, without the unused update
    after the last :math:`v_j`. :math:`\hat u_{j|i}` are the votes of ``poses`` and
    ``weight``, :math:`\beta` is ``bias``, :math:`v_j` the returned poses and
    :math:`c_{ij}` the returned coupling.

    Parameters
    ----------
    poses : Tensor of shape (batch, caps_in, dim_in)
        Child capsules.
    weight : Tensor of shape (caps_in, caps_out, dim_in, dim_out)
        One matrix for each pair of a child and a parent.
    bias : Tensor of shape (caps_out, dim_out), optional
        Added to the sum in every iteration. The paper has none, its released code has.
    iterations : int, default=3
        Number of sums over the children. 1 is the uniform average.
    stop_gradient : bool, default=False
        Treat the coupling as a constant: no gradient flows through the iterations
        before the last. The values do not change; memory and time fall.
    squash : callable, default=squash
        Maps vectors to vectors of a length below 1. With more than one iteration
        nothing that it holds gets a gradient.

    Returns
    -------
    Routed
        Parent poses (batch, caps_out, dim_out) and coupling (batch, caps_in,
        caps_out), which sums to 1 over `caps_out`.

    Raises
    ------
    ValueError
        If `iterations` is below 1, the shapes do not fit together, or `squash` is a
        module whose parameters want gradients.

    References
    ----------
    Sabour, Frosst, Hinton (2017). "Dynamic routing between capsules", procedure 1 and
    equations 2 and 3. arXiv:1710.09829.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import dynamic_routing
    >>> routed = dynamic_routing(torch.ones(2, 6, 4), torch.ones(6, 3, 4, 5))
    >>> routed.poses.shape, routed.coupling.shape
    (torch.Size([2, 3, 5]), torch.Size([2, 6, 3]))
    """
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {iterations}.")
    if iterations == 1:
        return uniform_routing(poses, weight, bias, squash=squash)
    _check_nothing_to_train(squash)
    _check(poses, weight, bias)
    dtype = torch.promote_types(poses.dtype, weight.dtype)
    with torch.autocast(poses.device.type, enabled=False):
        parents, coupling = RouteByAgreement.apply(  # type: ignore[no-untyped-call]
            poses.to(dtype),
            weight.to(dtype).transpose(1, 2).contiguous(),
            None if bias is None else bias.to(dtype),
            iterations,
            stop_gradient,
            squash,
        )
    return Routed(parents, coupling.transpose(1, 2))


def self_attention_routing(
    poses: Tensor,
    weight: Tensor,
    prior: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    squash: Squash = squash_exp,
) -> Routed:
    r"""Route in one pass, by each vote's agreement with all votes for the same parent.

    .. math::
        a_{ij} = \frac{1}{\sqrt d} \sum_k \langle \hat u_{j|i}, \hat u_{j|k} \rangle
               = \frac{1}{\sqrt d} \Big\langle \hat u_{j|i},
                 \sum_k \hat u_{j|k} \Big\rangle, \quad
        c_{ij} = \operatorname{softmax}_j(a_{ij}) + B_{ij}, \quad
        v_j = \operatorname{squash}\Big(\sum_i c_{ij} \hat u_{j|i} + \beta_j\Big)

    where :math:`\hat u_{j|i}` are the votes of ``poses`` and ``weight``, :math:`d` is
    ``dim_out``, :math:`B` is ``prior``, :math:`\beta` is ``bias``, :math:`v_j` the
    returned poses and :math:`c_{ij}` the returned coupling. The second form of
    :math:`a` needs no matrix of children by children.

    Parameters
    ----------
    poses : Tensor of shape (batch, caps_in, dim_in)
        Child capsules.
    weight : Tensor of shape (caps_in, caps_out, dim_in, dim_out)
        One matrix for each pair of a child and a parent.
    prior : Tensor of shape (caps_in, caps_out), optional
        Added to the coupling after the softmax, as in the released code (the paper
        calls it log priors).
    bias : Tensor of shape (caps_out, dim_out), optional
        Added to the sum over the children. Neither the paper nor its code has one.
    squash : callable, default=squash_exp
        Maps vectors to vectors of a length below 1.

    Returns
    -------
    Routed
        Parent poses (batch, caps_out, dim_out) and coupling (batch, caps_in,
        caps_out), `prior` included: it sums to 1 over `caps_out` only without one.

    Raises
    ------
    ValueError
        If the shapes do not fit together.

    References
    ----------
    Mazzia, Salvetti, Chiaberge (2021). "Efficient-CapsNet: capsule network with
    self-attention routing", Scientific Reports 11:14634. arXiv:2101.12491.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import self_attention_routing
    >>> routed = self_attention_routing(torch.ones(2, 6, 4), torch.ones(6, 3, 4, 5))
    >>> routed.poses.shape, routed.coupling.shape
    (torch.Size([2, 3, 5]), torch.Size([2, 6, 3]))
    """
    _check(poses, weight, bias, prior)
    matrices = stack_matrices(weight)
    total = combine(poses, matrices, 1 / math.sqrt(weight.shape[3]))
    coupling = torch.softmax(agreement(poses, matrices, total), dim=0)
    if prior is not None:
        coupling = coupling + prior.T.unsqueeze(1)
    parents = squash(combine(poses, matrices, coupling, bias))
    return _routed(poses, parents, coupling)


def uniform_routing(
    poses: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    squash: Squash = squash,
) -> Routed:
    r"""Give every parent the same share of every child.

    .. math::
        c_{ij} = \frac{1}{J}, \qquad
        v_j = \operatorname{squash}\Big(\sum_i c_{ij} \hat u_{j|i} + \beta_j\Big)

    where :math:`J` is ``caps_out``, :math:`\hat u_{j|i}` are the votes of ``poses`` and
    ``weight``, :math:`\beta` is ``bias``, :math:`v_j` the returned poses and
    :math:`c_{ij}` the returned coupling. It is `dynamic_routing` with one iteration.

    Parameters
    ----------
    poses : Tensor of shape (batch, caps_in, dim_in)
        Child capsules.
    weight : Tensor of shape (caps_in, caps_out, dim_in, dim_out)
        One matrix for each pair of a child and a parent.
    bias : Tensor of shape (caps_out, dim_out), optional
        Added to the sum over the children.
    squash : callable, default=squash
        Maps vectors to vectors of a length below 1.

    Returns
    -------
    Routed
        Parent poses (batch, caps_out, dim_out) and the constant coupling (batch,
        caps_in, caps_out).

    Raises
    ------
    ValueError
        If the shapes do not fit together.

    References
    ----------
    Sabour, Frosst, Hinton (2017). "Dynamic routing between capsules", procedure 1 with
    r = 1. arXiv:1710.09829.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import uniform_routing
    >>> routed = uniform_routing(torch.ones(2, 6, 4), torch.ones(6, 2, 4, 5))
    >>> routed.coupling.unique()
    tensor([0.5000])
    """
    _check(poses, weight, bias)
    share = 1 / weight.shape[1]
    parents = squash(combine(poses, stack_matrices(weight), share, bias))
    return _routed(poses, parents, share)


def learned_routing(
    poses: Tensor,
    weight: Tensor,
    prior: Tensor,
    bias: Tensor | None = None,
    *,
    squash: Squash = squash,
) -> Routed:
    r"""Use one learned coupling for every sample.

    .. math::
        c_{ij} = \operatorname{softmax}_j(B_{ij}), \qquad
        v_j = \operatorname{squash}\Big(\sum_i c_{ij} \hat u_{j|i} + \beta_j\Big)

    where :math:`B` is ``prior``, :math:`\hat u_{j|i}` are the votes of ``poses`` and
    ``weight``, :math:`\beta` is ``bias``, :math:`v_j` the returned poses and
    :math:`c_{ij}` the returned coupling. :math:`B` are the log prior probabilities from
    which the dynamic routing of the paper may start; here there are no iterations.

    Parameters
    ----------
    poses : Tensor of shape (batch, caps_in, dim_in)
        Child capsules.
    weight : Tensor of shape (caps_in, caps_out, dim_in, dim_out)
        One matrix for each pair of a child and a parent.
    prior : Tensor of shape (caps_in, caps_out)
        Logits of the coupling. All equal: `uniform_routing`.
    bias : Tensor of shape (caps_out, dim_out), optional
        Added to the sum over the children.
    squash : callable, default=squash
        Maps vectors to vectors of a length below 1.

    Returns
    -------
    Routed
        Parent poses (batch, caps_out, dim_out) and coupling (batch, caps_in,
        caps_out), the same for every sample, which sums to 1 over `caps_out`.

    Raises
    ------
    ValueError
        If the shapes do not fit together.

    References
    ----------
    Sabour, Frosst, Hinton (2017). "Dynamic routing between capsules", equation 3.
    arXiv:1710.09829.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import learned_routing
    >>> prior = torch.tensor([[0.0, 0.0], [9.0, 0.0]])
    >>> routed = learned_routing(torch.ones(1, 2, 4), torch.ones(2, 2, 4, 5), prior)
    >>> routed.coupling
    tensor([[[5.0000e-01, 5.0000e-01],
             [9.9988e-01, 1.2339e-04]]])
    """
    _check(poses, weight, bias, prior)
    shares = torch.softmax(prior, dim=1)
    # One coupling for the batch scales the weight, which is cheaper than the poses.
    matrices = stack_matrices(weight * shares[:, :, None, None])
    parents = squash(combine(poses, matrices, 1.0, bias))
    return Routed(parents.transpose(0, 1), shares.expand(len(poses), -1, -1))


class Routing(NamedTuple):
    """A routing and what a layer has to know to call it.

    Attributes
    ----------
    function : callable
        Takes ``poses, weight``, ``bias`` and ``squash``, and returns a `Routed`.
    has_prior : bool
        Whether it takes a ``prior`` of shape (caps_in, caps_out) too.
    is_iterative : bool
        Whether it takes ``iterations`` and ``stop_gradient`` too.
    """

    function: Callable[..., Routed]
    has_prior: bool
    is_iterative: bool


ROUTINGS: dict[str, Routing] = {
    "dynamic": Routing(dynamic_routing, has_prior=False, is_iterative=True),
    "self_attention": Routing(
        self_attention_routing, has_prior=True, is_iterative=False
    ),
    "uniform": Routing(uniform_routing, has_prior=False, is_iterative=False),
    "learned": Routing(learned_routing, has_prior=True, is_iterative=False),
}


def _routed(poses: Tensor, parents: Tensor, coupling: Tensor | float) -> Routed:
    """Put the batch axis first again, and give a uniform coupling its shape."""
    if not isinstance(coupling, Tensor):
        filled = poses.new_full((), coupling)
        coupling = filled.expand(len(parents), *poses.shape[:2])
    return Routed(parents.transpose(0, 1), coupling.permute(1, 2, 0))


def _check(
    poses: Tensor, weight: Tensor, bias: Tensor | None, prior: Tensor | None = None
) -> None:
    """Raise ValueError unless the shapes fit; a wrong bias or prior would broadcast."""
    check_poses(poses, weight)
    caps_in, caps_out, _, dim_out = weight.shape
    if bias is not None:
        check_shape("bias", bias, (caps_out, dim_out))
    if prior is not None:
        check_shape("prior", prior, (caps_in, caps_out))


def _check_nothing_to_train(squash: Squash) -> None:
    """Refuse what `RouteByAgreement` has no gradients for."""
    parameters = squash.parameters() if isinstance(squash, nn.Module) else ()
    wanted = any(parameter.requires_grad for parameter in parameters)
    if wanted and torch.is_grad_enabled():
        raise ValueError(
            "squash must have no parameters to train in dynamic routing, which gives "
            f"no gradients of them, got {squash}; freeze them, or take another routing."
        )
