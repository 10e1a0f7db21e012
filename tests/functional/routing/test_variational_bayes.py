import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.special import digamma, gammaln, multigammaln
from sklearn.mixture import BayesianGaussianMixture
from torch.nn.functional import batch_norm
from torch.testing import assert_close

from skcaps.functional import (
    matrix_votes,
    variational_bayes_from_votes,
    variational_bayes_routing,
    votes,
)

from . import _loops, _references, _windows
from ._cases import (
    arrays,
    assert_routed,
    each_shape,
    gradients,
    random_inputs,
)

each_number = pytest.mark.parametrize("iterations", [1, 2, 3, 5])
OTHER_PRIORS = {
    "weight_concentration": 0.3,
    "mean_precision": 2.0,
    "covariance": 0.7,
    "degrees_of_freedom": 9.5,
}


def _random_votes(shape, **changes):
    inputs = random_inputs("variational_bayes", shape)
    found = votes(inputs.pop("poses"), inputs.pop("weight"))
    return {"votes": found, **inputs, **changes}


# --- values ---------------------------------------------------------------------------


@each_shape
@each_number
@pytest.mark.parametrize("options", [{}, OTHER_PRIORS], ids=["default", "other"])
def test_equals_loop(shape, iterations, options):
    inputs = random_inputs("variational_bayes", shape)
    routed = variational_bayes_routing(**inputs, iterations=iterations, **options)
    inputs = arrays(inputs)
    seen = [_loops.votes(u, inputs["weight"]) for u in inputs["poses"]]
    expected = _loops.each_image(
        _loops.variational_bayes,
        seen,
        inputs["activations"],
        beta_a=inputs["beta_a"],
        beta_u=inputs["beta_u"],
        iterations=iterations,
        **options,
    )
    assert_routed(routed, *expected)


def test_default_number_of_iterations_is_three():
    inputs = random_inputs("variational_bayes")
    expected = variational_bayes_routing(**inputs, iterations=3)
    assert_routed(variational_bayes_routing(**inputs), *expected, tolerance=0)


def test_other_axes_may_come_before():
    inputs = _random_votes((6, 4, 3, 2, 5))
    routed = variational_bayes_from_votes(**inputs)
    split = inputs | {
        key: inputs[key].unflatten(0, (1, 2, 3)) for key in ("votes", "activations")
    }
    found = variational_bayes_from_votes(**split)
    assert_routed(found, *(part.unflatten(0, (1, 2, 3)) for part in routed))


def test_normalizations():
    inputs = random_inputs("variational_bayes")
    routed = variational_bayes_routing(**inputs)
    found = variational_bayes_routing(
        **inputs,
        pose_normalization=lambda poses: poses - 1,
        score_normalization=lambda scores: 2 * scores,
    )
    expected = torch.sigmoid(2 * torch.logit(routed.activations))
    assert_routed(found, routed.poses - 1, routed.coupling, expected)


# --- gradients ------------------------------------------------------------------------


def _plain(poses, weight, activations, beta_a, beta_u, iterations=3):
    """With the mean of the votes, and in couplings, not logarithms."""
    heard = torch.einsum("bid,ijde->bije", poses, weight)
    dim = heard.shape[3]
    coupling = torch.full_like(heard[..., 0], 1 / heard.shape[2])
    places = torch.arange(dim)
    for step in range(iterations):
        weights = (coupling * activations[:, :, None])[..., None]
        amounts = weights.sum(dim=1)
        kappa, nu = 1 + amounts, dim + 1 + amounts
        mean = (weights * heard).sum(dim=1) / amounts
        means = amounts * mean / kappa
        scales = 1 + (weights * (heard - mean[:, None]) ** 2).sum(dim=1)
        scales = scales + amounts / kappa * mean**2
        log_det = torch.digamma((nu - places) / 2).sum(dim=2)
        log_det = log_det + dim * math.log(2) - scales.log().sum(dim=2)
        alpha = 1 + amounts[..., 0]
        log_pi = alpha.digamma() - alpha.sum(dim=1, keepdim=True).digamma()
        if step < iterations - 1:
            distances = nu[:, None] * (heard - means[:, None]) ** 2 / scales[:, None]
            constant = log_pi + log_det / 2 - dim / kappa[..., 0] / 2
            rho = (constant[:, None] - distances.sum(dim=3) / 2).exp()
            coupling = rho / rho.sum(dim=2, keepdim=True)
    entropy = dim / 2 * math.log(2 * math.pi * math.e) - log_det / 2
    score = beta_a - (log_pi.exp() * entropy + beta_u)
    return means, coupling, score.sigmoid()


@each_shape
@each_number
def test_gradients_equal_those_of_the_plain_form(shape, iterations):
    inputs = random_inputs("variational_bayes", shape)

    def route(**leaves):
        return variational_bayes_routing(**leaves, iterations=iterations)

    expected = gradients(
        lambda **leaves: _plain(**leaves, iterations=iterations), inputs
    )
    assert_close(gradients(route, inputs), expected, rtol=1e-9, atol=1e-9)


@each_number
def test_gradcheck(iterations):
    inputs = random_inputs("variational_bayes", (2, 3, 2, 2, 2))
    leaves = [x.requires_grad_() for x in inputs.values()]

    def function(*leaves):
        named = dict(zip(inputs, leaves, strict=True))
        return tuple(variational_bayes_routing(**named, iterations=iterations))

    assert torch.autograd.gradcheck(function, leaves)


def test_second_derivative():
    inputs = random_inputs("variational_bayes", (1, 3, 2, 2, 2))
    leaves = [x.requires_grad_() for x in inputs.values()]

    def function(*leaves):
        named = dict(zip(inputs, leaves, strict=True))
        return tuple(variational_bayes_routing(**named))

    assert torch.autograd.gradgradcheck(function, leaves)


# --- laws -----------------------------------------------------------------------------


def _starting_with(logits):
    """A log softmax that begins with these logits in place of zeros."""
    starts = iter([logits])
    return lambda found: (found + next(starts, 0)).log_softmax(dim=-1)


@pytest.mark.parametrize("priors", [{}, OTHER_PRIORS], ids=["default", "other"])
def test_step_is_that_of_a_bayesian_gaussian_mixture(priors):
    rng = np.random.default_rng(0)
    caps_in, caps_out, dim = 30, 4, 5
    X, logits = rng.normal(size=(caps_in, dim)), rng.normal(size=(caps_in, caps_out))
    mixture = BayesianGaussianMixture(
        n_components=caps_out,
        covariance_type="diag",
        weight_concentration_prior_type="dirichlet_distribution",
    )
    mixture.weight_concentration_prior_ = priors.get("weight_concentration", 1.0)
    mixture.mean_precision_prior_ = priors.get("mean_precision", 1.0)
    mixture.mean_prior_ = np.zeros(dim)
    mixture.degrees_of_freedom_prior_ = priors.get("degrees_of_freedom", dim + 1)
    mixture.covariance_prior_ = np.full(dim, priors.get("covariance", 1.0))
    mixture.reg_covar = 0.0
    mixture.n_features_in_ = dim
    shares = np.array([_loops.softmax(row) for row in logits])
    mixture._m_step(X, np.log(shares))

    beta = torch.zeros(caps_out).double()
    options = {"beta_a": beta, "beta_u": beta, **priors}
    inputs = (
        torch.from_numpy(X)[None, :, None].expand(1, -1, caps_out, -1),
        torch.ones(1, caps_in).double(),
    )
    first, second = (
        variational_bayes_from_votes(
            *inputs,
            **options,
            iterations=iterations,
            log_softmax=_starting_with(torch.from_numpy(logits)),
        )
        for iterations in (1, 2)
    )
    assert_close(first.coupling[0].numpy(), shares, rtol=0, atol=1e-12)
    assert_close(first.poses[0].numpy(), mixture.means_, rtol=0, atol=1e-12)
    expected = mixture.predict_proba(X)
    assert_close(second.coupling[0].numpy(), expected, rtol=0, atol=1e-12)


def _digammas(freedom, dim):
    return digamma((freedom[:, None] - np.arange(dim)) / 2).sum(axis=1)


def _bound(heard, active, coupling, following):
    """The evidence lower bound for the default priors.

    The posteriors are those that `coupling` makes, and the children are coupled by
    `following`; each counts as `active` of a child.
    """
    caps_out, dim = heard.shape[1:]
    weights = coupling * active[:, None]
    amounts = weights.sum(axis=0)
    alpha, kappa, nu = 1 + amounts, 1 + amounts, dim + 1 + amounts
    means = np.einsum("ij,ijd->jd", weights, heard) / kappa[:, None]
    squares = (heard - means) ** 2
    scales = 1 + np.einsum("ij,ijd->jd", weights, squares) + means**2
    log_pi = digamma(alpha) - digamma(alpha.sum())
    log_det = _digammas(nu, dim) + dim * np.log(2) - np.log(scales).sum(axis=1)
    distances = dim / kappa + nu * (squares / scales).sum(axis=2)
    logs = log_pi + (log_det - dim * np.log(2 * np.pi) - distances) / 2
    expected = (active[:, None] * following * (logs - np.log(following))).sum()
    dirichlet = gammaln(alpha.sum()) - gammaln(alpha).sum() - gammaln(caps_out)
    dirichlet += ((alpha - 1) * log_pi).sum()
    # The mean's, given the precision.
    gauss = dim * (1 / kappa - 1 + np.log(kappa)) + nu * (means**2 / scales).sum(axis=1)
    wishart = [
        (dim + 1) / 2 * np.log(scales[j]).sum()
        + nu[j] / 2 * ((1 / scales[j]).sum() - dim)
        + multigammaln((dim + 1) / 2, dim)
        - multigammaln(nu[j] / 2, dim)
        + (nu[j] - dim - 1) / 2 * _digammas(nu[j : j + 1], dim)[0]
        for j in range(caps_out)
    ]
    return expected - dirichlet - gauss.sum() / 2 - sum(wishart)


@pytest.mark.parametrize("seed", range(8))
def test_the_bound_never_falls(seed):
    rng = np.random.default_rng(seed)
    heard, active = rng.normal(size=(12, 3, 4)), rng.uniform(size=12)
    beta = torch.zeros(3).double()
    start = torch.from_numpy(rng.normal(size=(12, 3)))
    couplings = [
        variational_bayes_from_votes(
            torch.from_numpy(heard)[None],
            torch.from_numpy(active)[None],
            beta_a=beta,
            beta_u=beta,
            iterations=iterations,
            log_softmax=_starting_with(start),
        )
        .coupling[0]
        .numpy()
        for iterations in range(1, 12)
    ]
    bounds = []
    for now, then in pairwise(couplings):
        bounds += [
            _bound(heard, active, now, now),
            _bound(heard, active, now, then),
        ]
    assert (np.diff(bounds) > -1e-12).all()
    assert bounds[-1] > bounds[0]


def test_without_a_prior_of_the_mean_it_is_that_of_the_votes():
    inputs = _random_votes((2, 6, 3, 4, 5))
    shares = inputs["activations"] / inputs["activations"].sum(dim=1, keepdim=True)
    expected = torch.einsum("bi,bijd->bjd", shares, inputs["votes"])
    routed = variational_bayes_from_votes(**inputs, iterations=1, mean_precision=1e-14)
    assert_close(routed.poses, expected, rtol=0, atol=1e-12)


def test_without_activations_it_is_the_prior():
    inputs = _random_votes((2, 6, 3, 4, 5), activations=torch.zeros(2, 6).double())
    routed = variational_bayes_from_votes(**inputs)
    assert not routed.poses.any()
    log_pi = digamma(1) - digamma(3)
    entropy = 5 / 2 * math.log(math.pi * math.e)
    entropy -= digamma((6 - np.arange(5)) / 2).sum() / 2
    scores = inputs["beta_a"] - inputs["beta_u"] - math.exp(log_pi) * entropy
    assert_close(routed.activations, scores.sigmoid().expand(2, -1))


# --- what the authors' code computes --------------------------------------------------

INPUTS = ("poses", "W", "activations", "beta_u", "beta_a")


def outside_log_space(numbers=None):
    """Differences 1 and 2 of the released code.

    Couplings start with 1 / J at each position, and exp(logits) is divided by its sum
    over all parents of a child or 1e-11, whichever is larger.
    """
    steps = iter(range(100))

    def log_softmax(logits):
        if next(steps) == 0:
            return logits.log_softmax(dim=-1)
        if numbers is None:
            whole = logits.log_softmax(dim=-1)
        else:
            whole = _windows.over_all_parents(numbers)(logits)
        log_sums = (logits - whole).clamp(min=math.log(1e-11))
        return logits - log_sums

    return log_softmax


def _route_stored(values, heard, active, iterations, log_softmax):
    kept = []

    def keep(scores):
        kept.append(scores)
        return scores

    routed = variational_bayes_from_votes(
        heard,
        active,
        beta_a=values["beta_a"],
        beta_u=values["beta_u"],
        iterations=iterations,
        score_normalization=keep,
        log_softmax=log_softmax,
    )
    logits = kept[0] if kept[0].ndim == 2 else kept[0].movedim(-1, 1)
    assert_close(routed.activations, kept[0].sigmoid())
    found = {"poses": _references.as_stored(values, routed.poses), "logits": logits}
    return found, routed.coupling


def _compare(values, inputs, iterations, variant, found, coupling):
    prefix = f"t{iterations}/{variant}_"
    stored = found
    if variant == "code":
        stored = {f"{key}_raw": value for key, value in found.items()}
    _references.compare(values, prefix, **stored, couplings=coupling)
    _references.compare_gradients(values, prefix, inputs, **found)


@pytest.mark.parametrize("iterations", [1, 2, 3])
@pytest.mark.parametrize("variant", ["paper", "code"])
def test_reference(references, iterations, variant):
    values = references("vb_fc", "fc_a")
    inputs = _references.leaves(values, *INPUTS)
    found, coupling = _route_stored(
        values,
        matrix_votes(values["poses"].flatten(2), values["W"]),
        values["activations"],
        iterations,
        outside_log_space()
        if variant == "code"
        else lambda logits: logits.log_softmax(dim=-1),
    )
    _compare(values, inputs, iterations, variant, found, coupling)


@pytest.mark.parametrize(("case", "iterations"), _references.CONVOLUTIONS)
@pytest.mark.parametrize("variant", ["paper", "code"])
def test_reference_of_a_convolution(references, case, iterations, variant):
    values = references(f"vb_{case}", case)
    inputs = _references.leaves(values, *INPUTS)
    numbers = _references.child_numbers(values)
    found, coupling = _route_stored(
        values,
        _references.unfolded_votes(values),
        _windows.unfold(values["activations"], *_references.sizes(values)),
        iterations,
        outside_log_space(numbers)
        if variant == "code"
        else _windows.over_all_parents(numbers),
    )
    _compare(values, inputs, iterations, variant, found, coupling)


@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_reference_with_batch_normalization(references, iterations):
    values = references("vb_fc", "fc_a")
    routed = variational_bayes_from_votes(
        matrix_votes(values["poses"].flatten(2), values["W"]),
        values["activations"],
        beta_a=values["beta_a"],
        beta_u=values["beta_u"],
        iterations=iterations,
        pose_normalization=lambda poses: batch_norm(poses, None, None, training=True),
        score_normalization=lambda x: batch_norm(x, None, None, training=True),
        log_softmax=outside_log_space(),
    )
    _references.compare(
        values,
        f"t{iterations}/code_",
        poses_batchnorm=_references.as_stored(values, routed.poses),
        activations_batchnorm=routed.activations,
    )


# --- errors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prior", "value", "bound"),
    [
        ("weight_concentration", 0.0, 0),
        ("mean_precision", -1.0, 0),
        ("covariance", 0.0, 0),
        ("degrees_of_freedom", 4, 4),
        ("degrees_of_freedom", math.nan, 4),
    ],
)
def test_priors_too_low(prior, value, bound):
    inputs = random_inputs("variational_bayes")
    message = rf"^{prior} must be above {bound}, got {value}\."
    with pytest.raises(ValueError, match=message):
        variational_bayes_routing(**inputs, **{prior: value})
