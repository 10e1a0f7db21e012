"""Slow NumPy versions of the functions, written from the papers' formulas.

One loop for each index and float64 throughout, so that each line can be held against
its equation. i runs over children, j and k over parents, d and e over dimensions.
"""

import math

import numpy as np


def length(vector):
    return math.sqrt(sum(float(x) ** 2 for x in vector))


def squash(vector):
    norm = length(vector)
    if norm == 0:
        return np.zeros_like(vector)
    return norm**2 / (1 + norm**2) * vector / norm


def squash_exp(vector):
    norm = length(vector)
    if norm == 0:
        return np.zeros_like(vector)
    return (1 - math.exp(-norm)) * vector / norm


def each(function, vectors):
    """Apply a function of one vector to every vector of an array."""
    flat = vectors.reshape(-1, vectors.shape[-1])
    results = np.array([function(vector) for vector in flat])
    return results.reshape(vectors.shape[:-1] + results.shape[1:])


def softmax(logits):
    powers = [math.exp(logit) for logit in logits]
    return np.array([power / sum(powers) for power in powers])


def inner(first, second):
    return sum(float(x) * float(y) for x, y in zip(first, second, strict=True))


def votes(children, weight):
    """Votes of one sample, (caps_in, caps_out, dim_out)."""
    caps_in, caps_out, dim_in, dim_out = weight.shape
    out = np.zeros((caps_in, caps_out, dim_out))
    for i in range(caps_in):
        for j in range(caps_out):
            for e in range(dim_out):
                for d in range(dim_in):
                    out[i, j, e] += children[i, d] * weight[i, j, d, e]
    return out


def _parents(votes, coupling, bias, squash):
    caps_in, caps_out, dim_out = votes.shape
    parents = np.zeros((caps_out, dim_out))
    for j in range(caps_out):
        total = np.zeros(dim_out)
        for i in range(caps_in):
            total += coupling[i, j] * votes[i, j]
        if bias is not None:
            total += bias[j]
        parents[j] = squash(total)
    return parents


def dynamic(votes, prior, bias, squash, iterations, leaky=False):
    """Procedure 1 of Sabour et al. (2017) for one sample.

    Leaky, as in its released code: the softmax sees one logit more, which stays 0.
    """
    caps_in, caps_out, _ = votes.shape
    logits = np.zeros((caps_in, caps_out))
    for _ in range(iterations):
        coupling = np.zeros((caps_in, caps_out))
        for i in range(caps_in):
            seen = [*logits[i], 0.0] if leaky else logits[i]
            coupling[i] = softmax(seen)[:caps_out]
        parents = _parents(votes, coupling, bias, squash)
        for i in range(caps_in):
            for j in range(caps_out):
                logits[i, j] += inner(votes[i, j], parents[j])
    return parents, coupling


def self_attention(votes, prior, bias, squash):
    """Self-attention routing of Mazzia et al. (2021) for one sample."""
    caps_in, caps_out, dim_out = votes.shape
    attention = np.zeros((caps_in, caps_out))
    for j in range(caps_out):
        for i in range(caps_in):
            for other in range(caps_in):
                attention[i, j] += inner(votes[i, j], votes[other, j])
            attention[i, j] /= math.sqrt(dim_out)
    coupling = np.array([softmax(attention[i]) for i in range(caps_in)])
    if prior is not None:
        coupling = coupling + prior
    return _parents(votes, coupling, bias, squash), coupling


def uniform(votes, prior, bias, squash):
    caps_in, caps_out, _ = votes.shape
    coupling = np.full((caps_in, caps_out), 1 / caps_out)
    return _parents(votes, coupling, bias, squash), coupling


def learned(votes, prior, bias, squash):
    coupling = np.array([softmax(row) for row in prior])
    return _parents(votes, coupling, bias, squash), coupling


ROUTINGS = {
    "dynamic": dynamic,
    "self_attention": self_attention,
    "uniform": uniform,
    "learned": learned,
}


def route(name, poses, weight, prior, bias, squash, **options):
    """Route every sample of a batch; return poses and coupling."""
    samples = [
        ROUTINGS[name](votes(children, weight), prior, bias, squash, **options)
        for children in poses
    ]
    return tuple(np.array(part) for part in zip(*samples, strict=True))


def margin(lengths, targets, m_plus=0.9, m_minus=0.1, down_weight=0.5):
    """Equation 4 of Sabour et al. (2017) for one sample."""
    loss = 0.0
    for k in range(len(lengths)):
        if targets[k] == 1:
            loss += max(0, m_plus - lengths[k]) ** 2
        else:
            loss += down_weight * max(0, lengths[k] - m_minus) ** 2
    return loss


def spread(lengths, targets, margin=0.9):
    """Equation 3 of Hinton et al. (2018) for one sample, once for each true class."""
    loss = 0.0
    for t in range(len(lengths)):
        for i in range(len(lengths)):
            if targets[t] == 1 and targets[i] == 0:
                loss += max(0, margin - (lengths[t] - lengths[i])) ** 2
    return loss


def cross_entropy(lengths, targets, scale=10.0):
    shares = softmax(scale * lengths)
    true = [k for k in range(len(lengths)) if targets[k] == 1]
    return sum(-math.log(shares[k]) for k in true) / max(len(true), 1)


LOSSES = {"margin": margin, "spread": spread, "cross_entropy": cross_entropy}


def average(losses, sample_weight=None):
    """Weighted sum of the samples' losses over their number."""
    if sample_weight is None:
        sample_weight = np.ones(len(losses))
    return inner(losses, sample_weight) / len(losses)


def reconstruction(reconstruction, image):
    pairs = zip(reconstruction.ravel(), image.ravel(), strict=True)
    return sum((x - y) ** 2 for x, y in pairs)
