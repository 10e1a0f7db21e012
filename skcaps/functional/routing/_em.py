"""EM routing: parents are the Gaussians of a mixture that the votes fall into."""

import math

import torch
from torch import Tensor

from skcaps.functional._checks import check_poses
from skcaps.functional._votes import votes as predict
from skcaps.functional.routing._mixture import (
    Measure,
    Steps,
    check_mixture,
    measuring,
)
from skcaps.functional.routing._precise import route_precisely
from skcaps.functional.routing._routed import Routed
from skcaps.functional.routing._shares import LogSoftmax, over_children, over_parents


def em_routing(
    poses: Tensor,
    weight: Tensor,
    *,
    activations: Tensor,
    beta_a: Tensor,
    beta_u: Tensor,
    iterations: int = 3,
    inverse_temperature: float = 0.01,
    variance_floor: float = 5e-4,
) -> Routed:
    r"""Route by expectation maximization: `em_from_votes` on vectors.

    Parameters
    ----------
    poses : Tensor of shape (batch, caps_in, dim_in)
        Child capsules.
    weight : Tensor of shape (caps_in, caps_out, dim_in, dim_out)
        One matrix for each pair of a child and a parent. Where the first axis is 1,
        all children share one for each parent. For poses that are matrices call
        `em_from_votes` on `matrix_votes`.
    activations : Tensor of shape (batch, caps_in)
        How present each child is, from 0 to 1.
    beta_a, beta_u : Tensor of shape (caps_out,)
        How much speaks for a parent before any vote, and what each number of a vote
        costs it, whatever the variance.
    iterations : int, default=3
        Number of M steps. 1 is the mean of the votes, weighted by `activations`.
    inverse_temperature : float, default=0.01
        :math:`\lambda`, which the schedule approaches.
    variance_floor : float, default=5e-4
        Lowest variance.

    Returns
    -------
    Routed
        Parent poses (batch, caps_out, dim_out), coupling (batch, caps_in, caps_out),
        which sums to 1 over `caps_out`, and activations (batch, caps_out).

    Raises
    ------
    ValueError
        If `iterations` is below 1, `variance_floor` is negative, or the shapes do not
        fit together.

    See Also
    --------
    em_from_votes : The formula, and where the released code differs from it.

    References
    ----------
    Hinton, Sabour, Frosst (2018). "Matrix capsules with EM routing", procedure 1.
    ICLR.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import em_routing
    >>> routed = em_routing(
    ...     torch.ones(2, 6, 4),
    ...     torch.ones(6, 3, 4, 5),
    ...     activations=torch.ones(2, 6),
    ...     beta_a=torch.zeros(3),
    ...     beta_u=torch.zeros(3),
    ... )
    >>> routed.poses.shape, routed.coupling.shape, routed.activations.shape
    (torch.Size([2, 3, 5]), torch.Size([2, 6, 3]), torch.Size([2, 3]))
    """
    check_poses(poses, weight)

    def route(poses: Tensor, weight: Tensor, *others: Tensor) -> Routed:
        activations, beta_a, beta_u = others
        return em_from_votes(
            predict(poses, weight),
            activations,
            beta_a=beta_a,
            beta_u=beta_u,
            iterations=iterations,
            inverse_temperature=inverse_temperature,
            variance_floor=variance_floor,
        )

    return route_precisely(route, poses, weight, activations, beta_a, beta_u)


def em_from_votes(
    votes: Tensor,
    activations: Tensor,
    *,
    beta_a: Tensor,
    beta_u: Tensor,
    iterations: int = 3,
    inverse_temperature: float = 0.01,
    variance_floor: float = 5e-4,
    log_softmax: LogSoftmax = over_parents,
) -> Routed:
    r"""Fit a Gaussian to the votes for each parent, by expectation maximization.

    M step, for :math:`t = 1, 2, \dots` and with :math:`r_{ij} = 1 / J` at first:

    .. math::
        R_j = \sum_i r_{ij} a_i, \quad
        \mu_{jd} = \frac{1}{R_j} \sum_i r_{ij} a_i v_{ijd}, \quad
        \sigma_{jd}^2 = \frac{1}{R_j} \sum_i r_{ij} a_i (v_{ijd} - \mu_{jd})^2,

    .. math::
        a_j = \operatorname{sigmoid}\Big(\lambda (1 - 0.95^t) \Big(\beta_{a,j}
        - R_j \sum_d (\beta_{u,j} + \ln \sigma_{jd})\Big)\Big)

    and, but after the last one, the E step:

    .. math::
        r_{ij} = \operatorname{softmax}_j\big(\ln a_j
        + \ln \mathcal N(v_{ij}; \mu_j, \sigma_j^2)\big)

    where :math:`v_{ij}` is ``votes``, :math:`a_i` ``activations``, :math:`\lambda`
    ``inverse_temperature``, :math:`J` ``caps_out``, and :math:`\mu_j`, :math:`r_{ij}`
    and :math:`a_j` are what returns. Couplings stay logarithms until they are summed.

    Parameters
    ----------
    votes : Tensor of shape (..., caps_in, caps_out, dim)
        What each child predicts for each parent. Any axes may come before: the batch,
        and in a convolution the positions of the parents, with the children that
        a position sees as `caps_in`.
    activations : Tensor of shape (..., caps_in)
        How present each child is, from 0 to 1. One of 0 changes nothing, so padding has
        that. Where all of a position are 0, they count alike.
    beta_a, beta_u : Tensor of shape (caps_out,)
        How much speaks for a parent before any vote, and what each number of a vote
        costs it, whatever the variance.
    iterations : int, default=3
        Number of M steps. 1 is the mean of the votes, weighted by `activations`.
    inverse_temperature : float, default=0.01
        :math:`\lambda`, which the schedule approaches.
    variance_floor : float, default=5e-4
        Lowest variance: without a floor one child alone has the variance 0, of which
        the cost is infinite. 5e-4 is the released code's; the paper has none.
    log_softmax : callable, optional
        Maps logits (..., caps_in, caps_out) to logarithms of couplings. By default
        those of a softmax over `caps_out`. In a convolution a child is seen from many
        positions, and its couplings are to sum to 1 over the parents at all of them:
        what comes here must do that. At first it gets zeros, which makes the couplings
        uniform. It may give -inf where there is no child.

    Returns
    -------
    Routed
        Poses (..., caps_out, dim), the coupling of the last M step (..., caps_in,
        caps_out) and activations (..., caps_out).

    Raises
    ------
    ValueError
        If `iterations` is below 1, `variance_floor` is negative, or the shapes do not
        fit together.

    Notes
    -----
    The released code (google-research, capsule_em) mixes the last mean into the new
    one (0.1 and 0.9), doubles the cost, and subtracts one maximum for all parents and
    positions. SR-CapsNet starts with couplings of 1 in place of 1 / J. IBM's code
    multiplies the cost by 100 * J / caps_in. None of this is done here.

    References
    ----------
    Hinton, Sabour, Frosst (2018). "Matrix capsules with EM routing", procedure 1 and
    section 3. ICLR. It leaves the schedule open; this is the released code's.

    Examples
    --------
    Two children agree on parent 0, and not on parent 1:

    >>> import torch
    >>> from skcaps.functional import em_from_votes
    >>> votes = torch.tensor([[[[1.0], [1.0]], [[1.1], [-1.0]]]])
    >>> beta = torch.zeros(2)
    >>> routed = em_from_votes(votes, torch.ones(1, 2), beta_a=beta, beta_u=beta)
    >>> routed.coupling[0, 0, 0] > 0.9
    tensor(True)
    """
    check_mixture(votes, activations, iterations, beta_a=beta_a, beta_u=beta_u)
    check_floor(variance_floor)
    steps = em_steps(iterations, inverse_temperature, variance_floor, log_softmax)

    def route(votes: Tensor, *others: Tensor) -> Routed:
        means, coupling, score = steps(measuring(votes), *others)
        return Routed(means, coupling, torch.sigmoid(score))

    return route_precisely(route, votes, activations, beta_a, beta_u)


def check_floor(variance_floor: float) -> None:
    """Raise ValueError for a negative variance."""
    if variance_floor < 0:
        raise ValueError(f"variance_floor must not be negative, got {variance_floor}.")


def em_steps(
    iterations: int,
    inverse_temperature: float,
    variance_floor: float,
    log_softmax: LogSoftmax,
) -> Steps:
    """Return the iterations of `em_from_votes`; of the parents they find the logits."""

    def steps(
        measure: Measure, activations: Tensor, beta_a: Tensor, beta_u: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        shape = (*activations.shape, len(beta_a))
        logits = activations.new_zeros(shape)
        for step in range(1, iterations + 1):
            log_coupling = log_softmax(logits)
            coupling = log_coupling.exp()
            shares = over_children(log_coupling, activations)
            means, variances, distances = measure(shares, 1.0)
            variances = variances.clamp(min=variance_floor)
            logs = variances.log()
            amounts = (coupling * activations.unsqueeze(-1)).sum(dim=-2)
            cost = (beta_u.unsqueeze(-1) + logs / 2).sum(dim=-1) * amounts
            temper = inverse_temperature * (1 - 0.95**step)
            score = temper * (beta_a - cost)
            if step < iterations:
                # ln a_j + ln N(v; mu, var)
                constant = (math.log(2 * math.pi) + logs).sum(dim=-1) / 2
                of_parents = torch.nn.functional.logsigmoid(score) - constant
                logits = of_parents.unsqueeze(-2) - distances(1 / variances) / 2
        return means, coupling, score

    return steps
