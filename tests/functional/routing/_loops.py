"""Slow NumPy versions of the routings, written from the papers' equations.

One image, one loop for each index and float64, so that each line can be held against
its equation. i runs over children, j and k over parents, d over dimensions.
"""

import math

import numpy as np
from scipy.special import digamma


def softmax(logits):
    highest = max(logits)
    powers = [math.exp(logit - highest) for logit in logits]
    return np.array([power / math.fsum(powers) for power in powers])


def inner(first, second):
    return math.fsum(x * y for x, y in zip(first, second, strict=True))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def votes(children, weight):
    """Products of rows and matrices, (caps_in, caps_out, dim_out)."""
    caps_in, caps_out, _, dim_out = weight.shape
    out = np.zeros((caps_in, caps_out, dim_out))
    for i in range(caps_in):
        for j in range(caps_out):
            for d in range(dim_out):
                out[i, j, d] = inner(children[i], weight[i, j, :, d])
    return out


def matrix_votes(children, weight):
    """Products of 2-D matrices, (caps_in, caps_out, rows * columns)."""
    caps_in, caps_out, dim, columns = weight.shape
    out = np.zeros((caps_in, caps_out, children.shape[1] // dim * columns))
    for i in range(caps_in):
        for j in range(caps_out):
            out[i, j] = (children[i].reshape(-1, dim) @ weight[i, j]).ravel()
    return out


def map_votes(children, weight, stride=1):
    """A convolution for each type of children, (caps_in, caps_out, dim, rows, columns).

    Children are (caps_in, dim_in, height, width), with zeros around them.
    """
    caps_in, _, *sides = children.shape
    caps_out, dim_out, dim_in, kernel, _ = weight.shape
    outputs = [math.ceil(side / stride) for side in sides]
    before = [
        max((n - 1) * stride + kernel - side, 0) // 2
        for n, side in zip(outputs, sides, strict=True)
    ]
    out = np.zeros((caps_in, caps_out, dim_out, *outputs))
    for i, j, e, row, column in np.ndindex(*out.shape):
        for d, a, b in np.ndindex(dim_in, kernel, kernel):
            y, x = row * stride + a - before[0], column * stride + b - before[1]
            if 0 <= y < sides[0] and 0 <= x < sides[1]:
                out[i, j, e, row, column] += (
                    weight[j, e, d, a, b] * children[i, d, y, x]
                )
    return out


def transposed_map_votes(children, weight, stride=2):
    """Every child adds to all parents that it reaches; weight has dim_in first."""
    caps_in, _, *sides = children.shape
    _, caps_out, dim_out, kernel, _ = weight.shape
    before = (kernel - stride) // 2
    out = np.zeros((caps_in, caps_out, dim_out, *(stride * side for side in sides)))
    for i, d, y, x in np.ndindex(*children.shape):
        for j, e, a, b in np.ndindex(caps_out, dim_out, kernel, kernel):
            row, column = y * stride + a - before, x * stride + b - before
            if 0 <= row < out.shape[3] and 0 <= column < out.shape[4]:
                out[i, j, e, row, column] += (
                    weight[d, j, e, a, b] * children[i, d, y, x]
                )
    return out


def locally_constrained(votes, bias, iterations=3):
    """Algorithm 1 of LaLonde and Bagci (2018), pixel by pixel."""
    caps_in, caps_out, dim, rows, columns = votes.shape
    poses = np.zeros((caps_out, dim, rows, columns))
    couplings = np.zeros((caps_in, caps_out, rows, columns))
    for y, x in np.ndindex(rows, columns):
        here = votes[..., y, x]
        logits = np.zeros((caps_in, caps_out))
        for _ in range(iterations):
            coupling = np.array([softmax(logits[i]) for i in range(caps_in)])
            for j in range(caps_out):
                total = sum(coupling[i, j] * here[i, j] for i in range(caps_in))
                total = total + bias[j]
                norm = math.sqrt(inner(total, total))
                poses[j, :, y, x] = total * norm / (1 + norm**2)
            for i in range(caps_in):
                for j in range(caps_out):
                    logits[i, j] += inner(here[i, j], poses[j, :, y, x])
        couplings[..., y, x] = coupling
    return poses, couplings


def em(
    votes,
    activations,
    beta_a,
    beta_u,
    iterations=3,
    inverse_temperature=0.01,
    variance_floor=5e-4,
):
    """Procedure 1 of Hinton et al. (2018)."""
    caps_in, caps_out, dim = votes.shape
    coupling = np.full((caps_in, caps_out), 1 / caps_out)
    means, variances = np.zeros((caps_out, dim)), np.zeros((caps_out, dim))
    parents = np.zeros(caps_out)
    for t in range(iterations):
        for j in range(caps_out):
            weights = [coupling[i, j] * activations[i] for i in range(caps_in)]
            amount = math.fsum(weights)
            cost = 0.0
            for d in range(dim):
                seen = [weights[i] * votes[i, j, d] for i in range(caps_in)]
                means[j, d] = math.fsum(seen) / amount
                spread = [
                    weights[i] * (votes[i, j, d] - means[j, d]) ** 2
                    for i in range(caps_in)
                ]
                variances[j, d] = max(math.fsum(spread) / amount, variance_floor)
                cost += (beta_u[j] + math.log(variances[j, d]) / 2) * amount
            temper = inverse_temperature * (1 - 0.95 ** (t + 1))
            parents[j] = sigmoid(temper * (beta_a[j] - cost))
        if t == iterations - 1:
            return means, coupling, parents
        for i in range(caps_in):
            logits = np.zeros(caps_out)
            for j in range(caps_out):
                logits[j] = math.log(parents[j])
                for d in range(dim):
                    distance = (votes[i, j, d] - means[j, d]) ** 2 / variances[j, d]
                    logits[j] -= distance / 2
                    logits[j] -= math.log(2 * math.pi * variances[j, d]) / 2
            coupling[i] = softmax(logits)
    raise AssertionError


def variational_bayes(
    votes,
    activations,
    beta_a,
    beta_u,
    iterations=3,
    weight_concentration=1.0,
    mean_precision=1.0,
    covariance=1.0,
    degrees_of_freedom=None,
):
    """Algorithm 1 of Ribeiro et al. (2020), with the mean of the votes and no guard."""
    caps_in, caps_out, dim = votes.shape
    freedom = dim + 1 if degrees_of_freedom is None else degrees_of_freedom
    coupling = np.full((caps_in, caps_out), 1 / caps_out)
    for t in range(iterations):
        weights = coupling * activations[:, None]
        amounts = np.array([math.fsum(weights[:, j]) for j in range(caps_out)])
        alpha = weight_concentration + amounts
        kappa, nu = mean_precision + amounts, freedom + amounts
        means, scales = np.zeros((caps_out, dim)), np.zeros((caps_out, dim))
        for j in range(caps_out):
            for d in range(dim):
                seen = [weights[i, j] * votes[i, j, d] for i in range(caps_in)]
                mean = math.fsum(seen) / amounts[j]
                means[j, d] = amounts[j] * mean / kappa[j]
                scales[j, d] = covariance
                for i in range(caps_in):
                    scales[j, d] += weights[i, j] * (votes[i, j, d] - mean) ** 2
                scales[j, d] += mean_precision * amounts[j] / kappa[j] * mean**2
        log_pi = digamma(alpha) - digamma(math.fsum(alpha))
        log_det = np.array(
            [
                math.fsum(digamma((nu[j] - d) / 2) for d in range(dim))
                + dim * math.log(2)
                - math.fsum(math.log(scales[j, d]) for d in range(dim))
                for j in range(caps_out)
            ]
        )
        if t < iterations - 1:
            for i in range(caps_in):
                logits = np.zeros(caps_out)
                for j in range(caps_out):
                    distance = dim / kappa[j]
                    for d in range(dim):
                        squared = (votes[i, j, d] - means[j, d]) ** 2
                        distance += nu[j] * squared / scales[j, d]
                    logits[j] = log_pi[j] + log_det[j] / 2 - distance / 2
                    logits[j] -= dim / 2 * math.log(2 * math.pi)
                coupling[i] = softmax(logits)
    parents = np.zeros(caps_out)
    for j in range(caps_out):
        entropy = dim / 2 * math.log(2 * math.pi * math.e) - log_det[j] / 2
        parents[j] = sigmoid(beta_a[j] - (math.exp(log_pi[j]) * entropy + beta_u[j]))
    return means, coupling, parents


def self_routing(votes, children, activations, weight_route, bias_route):
    """Section 3 of Hahn et al. (2019)."""
    caps_in, caps_out, dim = votes.shape
    coupling = np.zeros((caps_in, caps_out))
    for i in range(caps_in):
        logits = [
            inner(children[i], weight_route[i, :, j]) + bias_route[i, j]
            for j in range(caps_out)
        ]
        coupling[i] = softmax(logits)
    poses, parents = np.zeros((caps_out, dim)), np.zeros(caps_out)
    for j in range(caps_out):
        weights = [activations[i] * coupling[i, j] for i in range(caps_in)]
        for i in range(caps_in):
            poses[j] += weights[i] * votes[i, j] / math.fsum(weights)
        parents[j] = math.fsum(weights) / math.fsum(activations)
    return poses, coupling, parents


def inverted_attention(
    votes,
    norm_weight,
    norm_bias,
    score_weight,
    score_bias,
    iterations=2,
    norm_eps=1e-5,
):
    """Algorithm 1 of Tsai et al. (2020), for one layer."""
    caps_in, caps_out, dim = votes.shape
    coupling = np.full((caps_in, caps_out), 1 / caps_out)
    for t in range(iterations):
        poses = np.zeros((caps_out, dim))
        for j in range(caps_out):
            for i in range(caps_in):
                poses[j] += coupling[i, j] * votes[i, j]
            mean = math.fsum(poses[j]) / dim
            variance = math.fsum((x - mean) ** 2 for x in poses[j]) / dim
            poses[j] = (poses[j] - mean) / math.sqrt(variance + norm_eps)
            poses[j] = norm_weight * poses[j] + norm_bias
        if t < iterations - 1:
            for i in range(caps_in):
                logits = [
                    inner(votes[i, j], poses[j]) / math.sqrt(dim)
                    for j in range(caps_out)
                ]
                coupling[i] = softmax(logits)
    parents = [
        sigmoid(inner(poses[j], score_weight) + score_bias) for j in range(caps_out)
    ]
    return poses, coupling, np.array(parents)


def each_image(route, *batches, **parameters):
    """Route every image of some batches; return poses, coupling and activations."""
    images = [route(*image, **parameters) for image in zip(*batches, strict=True)]
    return tuple(np.array(part) for part in zip(*images, strict=True))
