"""Slow NumPy versions of routing on a map: children and parents have positions."""

import math

import numpy as np
from scipy.special import digamma

from ._loops import sigmoid


def pairs(shape, kernel, stride, padding):
    """Yield (window, place in it, child), each as numbers of rows, columns and type."""
    types, height, width = shape
    rows, columns = (
        (side + 2 * padding - kernel) // stride + 1 for side in (height, width)
    )
    for row in range(rows):
        for column in range(columns):
            place = 0
            for y in range(kernel):
                for x in range(kernel):
                    for kind in range(types):
                        at = (row * stride + y - padding, column * stride + x - padding)
                        if 0 <= at[0] < height and 0 <= at[1] < width:
                            yield (row, column), place, (kind, *at)
                        place += 1


def votes(poses, weight, windows):
    """Of every child for every parent that sees it: (window, parent), child -> D."""
    found = {}
    for window, place, child in windows:
        kind, row, column = child
        matrix = poses[kind, :, row, column].reshape(-1, weight.shape[2])
        for j in range(weight.shape[1]):
            found[(*window, j), child] = (matrix @ weight[place, j]).ravel()
    return found


def _softmax(logits):
    """Of each child over all its parents."""
    couplings = {}
    for child in {child for _, child in logits}:
        mine = {pair: value for pair, value in logits.items() if pair[1] == child}
        highest = max(mine.values())
        total = math.fsum(math.exp(value - highest) for value in mine.values())
        for pair, value in mine.items():
            couplings[pair] = math.exp(value - highest) / total
    return couplings


def _by_parent(seen):
    parents = {}
    for pair in seen:
        parents.setdefault(pair[0], []).append(pair)
    return parents


def em(
    seen,
    activations,
    beta_a,
    beta_u,
    iterations=3,
    inverse_temperature=0.01,
    variance_floor=5e-4,
):
    """Procedure 1 of Hinton et al. (2018), with the text below it on convolutions."""
    coupling = _softmax(dict.fromkeys(seen, 0.0))
    for t in range(1, iterations + 1):
        means, active, logits = {}, {}, {}
        for parent, mine in _by_parent(seen).items():
            j = parent[2]
            weights = {pair: coupling[pair] * activations[pair[1]] for pair in mine}
            amount = math.fsum(weights.values())
            mean = sum(weights[pair] * seen[pair] for pair in mine) / amount
            squares = sum(weights[pair] * (seen[pair] - mean) ** 2 for pair in mine)
            variance = np.maximum(squares / amount, variance_floor)
            cost = np.sum(beta_u[j] + np.log(variance) / 2) * amount
            temper = inverse_temperature * (1 - 0.95**t)
            means[parent], active[parent] = mean, sigmoid(temper * (beta_a[j] - cost))
            for pair in mine:
                distance = np.sum((seen[pair] - mean) ** 2 / variance)
                density = -np.sum(np.log(2 * np.pi * variance)) / 2 - distance / 2
                logits[pair] = math.log(active[parent]) + density
        if t < iterations:
            coupling = _softmax(logits)
    return means, coupling, active


def variational_bayes(seen, activations, beta_a, beta_u, iterations=3):
    """Algorithm 1 of Ribeiro et al. (2020), alpha summed over the types of a window."""
    coupling = _softmax(dict.fromkeys(seen, 0.0))
    n_types = len(beta_a)
    for t in range(1, iterations + 1):
        means, active, logits = {}, {}, {}
        by_parent = _by_parent(seen)
        amounts = {
            parent: math.fsum(coupling[pair] * activations[pair[1]] for pair in mine)
            for parent, mine in by_parent.items()
        }
        for parent, mine in by_parent.items():
            j, amount = parent[2], amounts[parent]
            weights = {pair: coupling[pair] * activations[pair[1]] for pair in mine}
            mean = sum(weights[pair] * seen[pair] for pair in mine) / amount
            dim = len(mean)
            kappa, nu = 1 + amount, dim + 1 + amount
            scale = 1 + sum(weights[pair] * (seen[pair] - mean) ** 2 for pair in mine)
            scale = scale + amount / kappa * mean**2
            means[parent] = amount * mean / kappa
            total = sum(1 + amounts[(*parent[:2], k)] for k in range(n_types))
            log_pi = digamma(1 + amount) - digamma(total)
            log_det = math.fsum(digamma((nu - d) / 2) for d in range(dim))
            log_det += dim * math.log(2) - np.log(scale).sum()
            entropy = dim / 2 * math.log(2 * math.pi * math.e) - log_det / 2
            score = beta_a[j] - (math.exp(log_pi) * entropy + beta_u[j])
            active[parent] = sigmoid(score)
            for pair in mine:
                distance = np.sum((seen[pair] - means[parent]) ** 2 / scale)
                logits[pair] = log_pi + log_det / 2 - dim / 2 * math.log(2 * math.pi)
                logits[pair] -= (dim / kappa + nu * distance) / 2
        if t < iterations:
            coupling = _softmax(logits)
    return means, coupling, active
