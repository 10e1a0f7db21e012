"""CapsNet with couplings that are drawn once and never change."""

import torch

from skcaps import CapsNetClassifier


class RandomCouplingsClassifier(CapsNetClassifier):
    """CapsNet whose couplings are the softmax of standard normal numbers.

    It is the learned routing, with its prior drawn at random and left out of training.
    """

    def _build_network(self, dataset):
        super()._build_network(dataset)
        prior = self.network_.layers[-1].routing.prior
        with self._random_state(), torch.no_grad():
            # Drawn on the CPU, so that every device has the same couplings.
            prior.copy_(torch.randn(prior.shape, device="cpu"))
        prior.requires_grad_(False)
        self.n_parameters_ -= prior.numel()
        self._step += 1
