"""Convolutions of capsules in which all parents of a child compete, at every window."""

from __future__ import annotations

import torch
from torch import Tensor

from skcaps.functional._checks import check_shape
from skcaps.functional._votes import as_vectors
from skcaps.functional.routing._em import check_floor, em_steps
from skcaps.functional.routing._mixture import Steps, check_iterations
from skcaps.functional.routing._moments import route_by_moments
from skcaps.functional.routing._precise import route_precisely
from skcaps.functional.routing._routed import Routed
from skcaps.functional.routing._variational_bayes import (
    Normalization,
    normalized,
    variational_bayes_steps,
)
from skcaps.functional.routing._windows import Windows


def em_convolution(
    poses: Tensor,
    weight: Tensor,
    windows: Windows,
    *,
    activations: Tensor,
    beta_a: Tensor,
    beta_u: Tensor,
    offset: Tensor | None = None,
    iterations: int = 3,
    inverse_temperature: float = 0.01,
    variance_floor: float = 5e-4,
) -> Routed:
    r"""Route capsules on a map by expectation maximization.

    It is `em_from_votes` at every window, with couplings of a child that sum to 1 over
    all parents that see it, at all windows:

    .. math::
        r_{ij} = \frac{e^{b_{ij}}}{\sum_{k \in P(i)} e^{b_{ik}}}

    where :math:`b_{ij}` are the logits of the E step and :math:`P(i)` are the parents
    of all types at all windows that hold child :math:`i`. A child at the border is in
    fewer windows, and gives each of them more.

    Parameters
    ----------
    poses : Tensor of shape (batch, types_in, rows * dim, height, width)
        Child capsules, the rows of each matrix one after the other. Vectors are
        matrices of one row.
    weight : Tensor of shape (caps_in, types_out, dim, columns)
        One matrix for each pair of a place in a window, in the order row, column, type,
        and a parent: the same at all windows.
    windows : Windows
        Kernel, stride and padding.
    activations : Tensor of shape (batch, types_in, height, width)
        How present each child is, from 0 to 1.
    beta_a, beta_u : Tensor of shape (types_out,)
        How much speaks for a parent before any vote, and what each number of a vote
        costs it, whatever the variance.
    offset : Tensor of shape (caps_in, rows * columns), optional
        Added to the votes of a child, such as its coordinates; it gets no gradient.
    iterations : int, default=3
        Number of M steps.
    inverse_temperature : float, default=0.01
        :math:`\lambda`, which the schedule approaches.
    variance_floor : float, default=5e-4
        Lowest variance.

    Returns
    -------
    Routed
        Poses (batch, types_out, rows * columns, height, width) and activations (batch,
        types_out, height, width) of the parents, and the coupling (batch, height,
        width, caps_in, types_out), which sums to 1 for each child.

    Raises
    ------
    ValueError
        If `iterations` is below 1, `variance_floor` is negative, or the shapes do not
        fit together.

    Notes
    -----
    Public ports let the parents of each window compete by themselves, so that a child's
    couplings sum to the number of windows that see it. IBM's code, which does not,
    fills the windows that do not see a child with a number that depends on the batch.

    The votes are never held for a whole batch: those of a few images are built, and
    built again in the backward pass.

    References
    ----------
    Hinton, Sabour, Frosst (2018). "Matrix capsules with EM routing", sections 3 and 4.
    ICLR.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import Windows, em_convolution
    >>> poses, coupling, activations = em_convolution(
    ...     torch.rand(2, 4, 16, 7, 7),
    ...     torch.rand(3 * 3 * 4, 5, 4, 4),
    ...     Windows((3, 3), stride=(2, 2)),
    ...     activations=torch.rand(2, 4, 7, 7),
    ...     beta_a=torch.zeros(5),
    ...     beta_u=torch.zeros(5),
    ... )
    >>> poses.shape, activations.shape
    (torch.Size([2, 5, 16, 3, 3]), torch.Size([2, 5, 3, 3]))
    >>> coupling.shape
    torch.Size([2, 3, 3, 36, 5])
    """
    check_iterations(iterations)
    check_floor(variance_floor)
    tensors = (poses, weight, activations, beta_a, beta_u)
    _check(windows, offset, *tensors)
    competition = windows.competition(*activations.shape[1:])
    steps = em_steps(iterations, inverse_temperature, variance_floor, competition)

    def route(*tensors: Tensor) -> Routed:
        means, coupling, score = _convolve(steps, windows, offset, *tensors)
        return Routed(means, coupling, torch.sigmoid(score))

    return on_map(route_precisely(route, *tensors))


def variational_bayes_convolution(
    poses: Tensor,
    weight: Tensor,
    windows: Windows,
    *,
    activations: Tensor,
    beta_a: Tensor,
    beta_u: Tensor,
    offset: Tensor | None = None,
    iterations: int = 3,
    weight_concentration: float = 1.0,
    mean_precision: float = 1.0,
    covariance: float = 1.0,
    degrees_of_freedom: float | None = None,
    pose_normalization: Normalization | None = None,
    score_normalization: Normalization | None = None,
) -> Routed:
    """Route capsules on a map by variational Bayes.

    It is `variational_bayes_from_votes` at every window, with couplings of a child that
    sum to 1 over all parents that see it, at all windows, as in `em_convolution`.

    Parameters
    ----------
    poses : Tensor of shape (batch, types_in, rows * dim, height, width)
        Child capsules, the rows of each matrix one after the other. Vectors are
        matrices of one row.
    weight : Tensor of shape (caps_in, types_out, dim, columns)
        One matrix for each pair of a place in a window, in the order row, column, type,
        and a parent: the same at all windows.
    windows : Windows
        Kernel, stride and padding.
    activations : Tensor of shape (batch, types_in, height, width)
        How present each child is, from 0 to 1.
    beta_a, beta_u : Tensor of shape (types_out,)
        Added to, and subtracted from, what activates a parent.
    offset : Tensor of shape (caps_in, rows * columns), optional
        Added to the votes of a child, such as its coordinates; it gets no gradient.
    iterations : int, default=3
        Number of updates of the posteriors.
    weight_concentration, mean_precision, covariance : float, default=1.0
        Priors, above 0.
    degrees_of_freedom : float, optional
        Prior, above ``rows * columns - 1``. By default ``rows * columns + 1``.
    pose_normalization, score_normalization : callable, optional
        Applied to the parents' poses (batch, height, width, types_out, rows * columns),
        and to what the sigmoid makes their activations (batch, height, width,
        types_out) of; by default nothing.

    Returns
    -------
    Routed
        Poses (batch, types_out, rows * columns, height, width) and activations (batch,
        types_out, height, width) of the parents, and the coupling (batch, height,
        width, caps_in, types_out), which sums to 1 for each child.

    Raises
    ------
    ValueError
        If `iterations` is below 1, a prior is too low, or the shapes do not fit
        together.

    Notes
    -----
    The released code starts with couplings of 1 / types_out at every window, so that
    a child's sum to the number of windows that see it. Here they always sum to 1. As
    there, the Dirichlet posterior is that of the parents at one window.

    References
    ----------
    Ribeiro, Leontidis, Kollias (2020). "Capsule routing via variational Bayes",
    algorithm 1. AAAI. arXiv:1905.11455.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import Windows, variational_bayes_convolution
    >>> routed = variational_bayes_convolution(
    ...     torch.rand(2, 4, 16, 7, 7),
    ...     torch.rand(3 * 3 * 4, 5, 4, 4),
    ...     Windows((3, 3)),
    ...     activations=torch.rand(2, 4, 7, 7),
    ...     beta_a=torch.zeros(5),
    ...     beta_u=torch.zeros(5),
    ... )
    >>> routed.poses.shape, routed.activations.shape
    (torch.Size([2, 5, 16, 5, 5]), torch.Size([2, 5, 5, 5]))
    """
    check_iterations(iterations)
    tensors = (poses, weight, activations, beta_a, beta_u)
    dim = _check(windows, offset, *tensors)
    steps = variational_bayes_steps(
        iterations,
        dim,
        weight_concentration,
        mean_precision,
        covariance,
        degrees_of_freedom,
        windows.competition(*activations.shape[1:]),
    )

    def route(*tensors: Tensor) -> Routed:
        found = _convolve(steps, windows, offset, *tensors)
        return normalized(*found, pose_normalization, score_normalization)

    return on_map(route_precisely(route, *tensors))


def on_map(routed: Routed) -> Routed:
    """Put the parents of all windows, whose axes come first, on a map."""
    poses, coupling, activations = routed
    if activations is not None:
        activations = activations.movedim(-1, 1)
    return Routed(poses.movedim((-2, -1), (1, 2)), coupling, activations)


def _convolve(
    steps: Steps,
    windows: Windows,
    offset: Tensor | None,
    poses: Tensor,
    weight: Tensor,
    activations: Tensor,
    *of_parents: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    if offset is not None:
        offset = offset.to(poses)
    return route_by_moments(
        steps,
        windows.unfold(poses),
        as_vectors(weight, poses.shape[2] // weight.shape[2]),
        offset,
        windows.unfold(activations),
        *of_parents,
    )


def _check(
    windows: Windows,
    offset: Tensor | None,
    poses: Tensor,
    weight: Tensor,
    activations: Tensor,
    *of_parents: Tensor,
) -> int:
    """Raise ValueError unless all shapes fit; return the number of a pose's numbers."""
    rows = check_map(windows, poses, weight)
    check_shape("activations", activations, (*poses.shape[:2], *poses.shape[3:]))
    caps_in, types_out, _, columns = weight.shape
    for name, values in zip(("beta_a", "beta_u"), of_parents, strict=True):
        check_shape(name, values, (types_out,))
    if offset is not None:
        check_shape("offset", offset, (caps_in, rows * columns))
    return rows * columns


def check_map(windows: Windows, poses: Tensor, weight: Tensor) -> int:
    """Raise ValueError unless capsules and windows fit; return the rows of a pose."""
    if weight.ndim != 4:
        raise ValueError(
            "weight must have shape (caps_in, types_out, dim, columns), "
            f"got {tuple(weight.shape)}."
        )
    caps_in, dim = weight.shape[0], weight.shape[2]
    places = windows.kernel[0] * windows.kernel[1]
    fit = poses.ndim == 5 and poses.shape[1] * places == caps_in
    if not fit or not poses.shape[2] or poses.shape[2] % dim:
        raise ValueError(
            f"poses must have shape (batch, {caps_in / places:g}, rows * {dim}, "
            f"height, width), got {tuple(poses.shape)}."
        )
    return poses.shape[2] // dim
