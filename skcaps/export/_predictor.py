"""A fitted classifier as one torch module."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from skcaps.estimators._fitted import FittedNetwork, class_activations
from skcaps.estimators._machine import compile_if
from skcaps.estimators._range import to_unit


class Predictor(nn.Module):
    """From a user's images to class numbers and probabilities.

    It does what `predict_proba` does, in float32 on the CPU and in torch's operators
    alone, without the checks of `X`.

    Parameters
    ----------
    fitted : FittedNetwork
        Its network is copied, without the decoder.
    """

    def __init__(self, fitted: FittedNetwork) -> None:
        super().__init__()
        network = copy.copy(fitted.network)
        network._modules = {**network._modules, "decoder": None}
        self.network = copy.deepcopy(network).to("cpu", torch.float32).eval()
        compile_if(False, self.network)
        self.input_range, self.layout = fitted.input_range, fitted.layout
        self.labels, self.loss = fitted.labels, fitted.loss

    def forward(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `Labels.decide` and `Labels.probabilities` do, of any batch."""
        unit = to_unit(X.flatten(1), self.input_range).float()
        found = class_activations(self.network(self.layout.to_images(unit)))
        decided = self.labels.decide(found).long()
        return decided, self.labels.probabilities(found, self.loss)
