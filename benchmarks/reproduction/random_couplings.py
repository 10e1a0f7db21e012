"""CapsNet with couplings that are drawn once and never change."""

import functools

import torch

from skcaps import CapsNetClassifier
from skcaps.nn import capsnet


@functools.wraps(capsnet)
def random_couplings(*args, **options):
    """Build a CapsNet and draw the logits of its learned couplings for good."""
    network = capsnet(*args, **options)
    prior = network.layers[-1].routing.prior.requires_grad_(False)
    prior.copy_(torch.randn(prior.shape))
    return network


class RandomCouplingsClassifier(CapsNetClassifier):
    """CapsNet whose couplings are the softmax of standard normal numbers.

    It is the learned routing, with its prior drawn at random and left out of training.
    """

    _build_network = staticmethod(random_couplings)
