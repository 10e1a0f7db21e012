"""Variational Bayes routing: a mixture of Gaussians with a prior on each of them."""

import math
from collections.abc import Callable

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
from skcaps.functional.routing._shares import LogSoftmax, over_parents

# Maps values to values of the same shape.
Normalization = Callable[[Tensor], Tensor]


def variational_bayes_routing(
    poses: Tensor,
    weight: Tensor,
    *,
    activations: Tensor,
    beta_a: Tensor,
    beta_u: Tensor,
    iterations: int = 3,
    weight_concentration: float = 1.0,
    mean_precision: float = 1.0,
    covariance: float = 1.0,
    degrees_of_freedom: float | None = None,
    pose_normalization: Normalization | None = None,
    score_normalization: Normalization | None = None,
) -> Routed:
    """Route by variational Bayes: `variational_bayes_from_votes` on vectors.

    Parameters
    ----------
    poses : Tensor of shape (batch, caps_in, dim_in)
        Child capsules.
    weight : Tensor of shape (caps_in, caps_out, dim_in, dim_out)
        One matrix for each pair of a child and a parent. Where the first axis is 1,
        all children share one for each parent. For poses that are matrices call
        `variational_bayes_from_votes` on `matrix_votes`.
    activations : Tensor of shape (batch, caps_in)
        How present each child is, from 0 to 1.
    beta_a, beta_u : Tensor of shape (caps_out,)
        Added to, and subtracted from, what activates a parent.
    iterations : int, default=3
        Number of updates of the posteriors.
    weight_concentration, mean_precision, covariance : float, default=1.0
        Priors, above 0.
    degrees_of_freedom : float, optional
        Prior, above ``dim_out - 1``. By default ``dim_out + 1``.
    pose_normalization, score_normalization : callable, optional
        Applied to the parents' poses (batch, caps_out, dim_out), and to what the
        sigmoid makes their activations (batch, caps_out) of. In the paper both are
        batch normalizations without parameters; by default nothing.

    Returns
    -------
    Routed
        Parent poses (batch, caps_out, dim_out), coupling (batch, caps_in, caps_out),
        which sums to 1 over `caps_out`, and activations (batch, caps_out).

    Raises
    ------
    ValueError
        If `iterations` is below 1, a prior is too low, or the shapes do not fit
        together.

    See Also
    --------
    variational_bayes_from_votes : The formula, and where the released code differs.

    References
    ----------
    Ribeiro, Leontidis, Kollias (2020). "Capsule routing via variational Bayes",
    algorithm 1. AAAI. arXiv:1905.11455.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import variational_bayes_routing
    >>> routed = variational_bayes_routing(
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
        return variational_bayes_from_votes(
            predict(poses, weight),
            activations,
            beta_a=beta_a,
            beta_u=beta_u,
            iterations=iterations,
            weight_concentration=weight_concentration,
            mean_precision=mean_precision,
            covariance=covariance,
            degrees_of_freedom=degrees_of_freedom,
            pose_normalization=pose_normalization,
            score_normalization=score_normalization,
        )

    return route_precisely(route, poses, weight, activations, beta_a, beta_u)


def variational_bayes_from_votes(
    votes: Tensor,
    activations: Tensor,
    *,
    beta_a: Tensor,
    beta_u: Tensor,
    iterations: int = 3,
    weight_concentration: float = 1.0,
    mean_precision: float = 1.0,
    covariance: float = 1.0,
    degrees_of_freedom: float | None = None,
    pose_normalization: Normalization | None = None,
    score_normalization: Normalization | None = None,
    log_softmax: LogSoftmax = over_parents,
) -> Routed:
    r"""Infer a mixture of Gaussians with priors from the votes for each parent.

    The mixture has a Dirichlet prior, and each Gaussian a Gauss-Wishart prior of which
    the scale stays diagonal. With :math:`w_{ij} = r_{ij} a_i`, where at first
    :math:`r_{ij} = 1 / J`, the posteriors are

    .. math::
        R_j = \sum_i w_{ij}, \quad \alpha_j = \alpha_0 + R_j, \quad
        \kappa_j = \kappa_0 + R_j, \quad \nu_j = \nu_0 + R_j,

    .. math::
        m_j = \frac{1}{\kappa_j} \sum_i w_{ij} v_{ij}, \quad
        \psi_{jd} = \psi_0 + \sum_i w_{ij} (v_{ijd} - m_{jd})^2 + \kappa_0 m_{jd}^2,

    .. math::
        \operatorname{E} \ln \pi_j = \operatorname{digamma}(\alpha_j)
        - \operatorname{digamma}\Big(\sum_k \alpha_k\Big),

    .. math::
        \operatorname{E} \ln |\Lambda_j| = \sum_{d=0}^{D-1}
        \operatorname{digamma}\Big(\frac{\nu_j - d}{2}\Big) + D \ln 2
        - \sum_d \ln \psi_{jd}

    and, but after the last ones, the couplings are

    .. math::
        r_{ij} = \operatorname{softmax}_j\Big(\operatorname{E} \ln \pi_j
        + \tfrac12 \operatorname{E} \ln |\Lambda_j| - \tfrac D2 \ln 2 \pi
        - \frac{1}{2} \Big(\frac{D}{\kappa_j}
        + \nu_j \sum_d \frac{(v_{ijd} - m_{jd})^2}{\psi_{jd}}\Big)\Big).

    A parent is active if its Gaussian is sure:

    .. math::
        a_j = \operatorname{sigmoid}\Big(\beta_{a,j} - \beta_{u,j}
        - e^{\operatorname{E} \ln \pi_j} \Big(\tfrac D2 \ln 2 \pi e
        - \tfrac12 \operatorname{E} \ln |\Lambda_j|\Big)\Big)

    where :math:`v_{ij}` is ``votes``, :math:`a_i` ``activations``, :math:`\alpha_0`
    ``weight_concentration``, :math:`\kappa_0` ``mean_precision``, :math:`\nu_0`
    ``degrees_of_freedom``, :math:`\psi_0` ``covariance``, :math:`J` and :math:`D` are
    ``caps_out`` and ``dim``, and :math:`m_j`, :math:`r_{ij}` and :math:`a_j` are what
    returns. The prior mean is 0. If the votes are the same for all parents and the
    activations are 1, this is scikit-learn's `BayesianGaussianMixture`.

    Parameters
    ----------
    votes : Tensor of shape (..., caps_in, caps_out, dim)
        What each child predicts for each parent. Any axes may come before: the batch,
        and in a convolution the positions of the parents, with the children that
        a position sees as `caps_in`.
    activations : Tensor of shape (..., caps_in)
        How present each child is, from 0 to 1. One of 0 changes nothing, so padding has
        that.
    beta_a, beta_u : Tensor of shape (caps_out,)
        Added to, and subtracted from, what activates a parent.
    iterations : int, default=3
        Number of updates of the posteriors.
    weight_concentration, mean_precision, covariance : float, default=1.0
        Priors, above 0.
    degrees_of_freedom : float, optional
        Prior, above ``dim - 1``. By default ``dim + 1``.
    pose_normalization, score_normalization : callable, optional
        Applied to the parents' poses (..., caps_out, dim), and to what the sigmoid
        makes their activations (..., caps_out) of. In the paper both are batch
        normalizations without parameters; by default nothing.
    log_softmax : callable, optional
        Maps logits (..., caps_in, caps_out) to logarithms of couplings. By default
        those of a softmax over `caps_out`. In a convolution a child is seen from many
        positions, and its couplings are to sum to 1 over the parents at all of them:
        what comes here must do that. At first it gets zeros, which makes the couplings
        uniform. It may give -inf where there is no child.

    Returns
    -------
    Routed
        Poses (..., caps_out, dim), the coupling of the last update (..., caps_in,
        caps_out) and activations (..., caps_out).

    Raises
    ------
    ValueError
        If `iterations` is below 1, a prior is too low, or the shapes do not fit
        together.

    Notes
    -----
    The released code (fabio-deep/Variational-Capsule-Routing) divides by :math:`R_j`,
    leaves the logarithms before it normalizes the couplings, whose sum then is far
    below 1 for 16 dimensions, and starts a convolution with couplings of 1 / J at each
    position. None of this is done here. As there, the sum of :math:`\alpha` is over
    the parents of one position.

    References
    ----------
    Ribeiro, Leontidis, Kollias (2020). "Capsule routing via variational Bayes",
    algorithm 1. AAAI. arXiv:1905.11455.
    Bishop (2006). "Pattern recognition and machine learning", section 10.2.

    Examples
    --------
    Two children agree on parent 0, and not on parent 1:

    >>> import torch
    >>> from skcaps.functional import variational_bayes_from_votes
    >>> votes = torch.tensor([[[[1.0], [1.0]], [[1.1], [-1.0]]]])
    >>> beta = torch.zeros(2)
    >>> routed = variational_bayes_from_votes(
    ...     votes, torch.ones(1, 2), beta_a=beta, beta_u=beta
    ... )
    >>> routed.coupling[0, 0, 0] > 0.5
    tensor(True)
    """
    check_mixture(votes, activations, iterations, beta_a=beta_a, beta_u=beta_u)
    steps = variational_bayes_steps(
        iterations,
        votes.shape[-1],
        weight_concentration,
        mean_precision,
        covariance,
        degrees_of_freedom,
        log_softmax,
    )

    def route(votes: Tensor, *others: Tensor) -> Routed:
        means, coupling, scores = steps(measuring(votes), *others)
        return normalized(
            means, coupling, scores, pose_normalization, score_normalization
        )

    return route_precisely(route, votes, activations, beta_a, beta_u)


def normalized(
    means: Tensor,
    coupling: Tensor,
    scores: Tensor,
    pose_normalization: Normalization | None,
    score_normalization: Normalization | None,
) -> Routed:
    """Apply the normalizations, and make activations of scores."""
    if score_normalization is not None:
        scores = score_normalization(scores)
    if pose_normalization is not None:
        means = pose_normalization(means)
    return Routed(means, coupling, torch.sigmoid(scores))


def variational_bayes_steps(
    iterations: int,
    dim: int,
    weight_concentration: float,
    mean_precision: float,
    covariance: float,
    degrees_of_freedom: float | None,
    log_softmax: LogSoftmax,
) -> Steps:
    """Return the iterations of `variational_bayes_from_votes`, up to the scores.

    Raises
    ------
    ValueError
        If a prior is too low.
    """
    freedom = dim + 1 if degrees_of_freedom is None else degrees_of_freedom
    _check_above("weight_concentration", weight_concentration, 0)
    _check_above("mean_precision", mean_precision, 0)
    _check_above("covariance", covariance, 0)
    _check_above("degrees_of_freedom", freedom, dim - 1)

    def steps(
        measure: Measure, activations: Tensor, beta_a: Tensor, beta_u: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        places = torch.arange(dim, dtype=beta_a.dtype, device=beta_a.device)
        logits = activations.new_zeros((*activations.shape, len(beta_a)))
        for step in range(iterations):
            coupling = log_softmax(logits).exp()
            weights = coupling * activations.unsqueeze(-1)
            amounts = weights.sum(dim=-2)
            concentrations = weight_concentration + amounts
            precisions = mean_precision + amounts
            freedoms = freedom + amounts
            # The paper's form, with the mean of the votes, divides by R_j.
            means, scatter, distances = measure(weights, precisions)
            scales = covariance + scatter + mean_precision * means.square()
            total = concentrations.sum(dim=-1, keepdim=True)
            log_weights = torch.digamma(concentrations) - torch.digamma(total)
            halves = torch.digamma((freedoms.unsqueeze(-1) - places) / 2)
            log_determinants = (halves + math.log(2) - scales.log()).sum(dim=-1)
            if step < iterations - 1:
                constants = log_determinants - dim * math.log(2 * math.pi)
                of_parents = log_weights + (constants - dim / precisions) / 2
                scaled = freedoms.unsqueeze(-1) / scales
                logits = of_parents.unsqueeze(-2) - distances(scaled) / 2
        entropies = (dim * math.log(2 * math.pi * math.e) - log_determinants) / 2
        return means, coupling, beta_a - (log_weights.exp() * entropies + beta_u)

    return steps


def _check_above(name: str, value: float, bound: float) -> None:
    if not value > bound:
        raise ValueError(f"{name} must be above {bound}, got {value}.")
