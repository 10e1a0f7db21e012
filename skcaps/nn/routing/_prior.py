"""Routings that have a number for each pair of a child and a parent."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from skcaps.nn.routing._routing import Routing


class RoutingWithPrior(Routing):
    """One number more for each pair of a child and a parent."""

    def __init__(
        self, in_caps: int, in_dim: int, out_caps: int, out_dim: int, **options: Any
    ) -> None:
        super().__init__(in_caps, in_dim, out_caps, out_dim, **options)
        self.prior = nn.Parameter(torch.zeros(in_caps, out_caps))
