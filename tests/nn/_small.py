"""Small networks and inputs for them."""

import pytest
import torch
from torch import nn

from skcaps.nn import ROUTINGS, capsnet, efficient_capsnet

BUILDERS = {"capsnet": capsnet, "efficient_capsnet": efficient_capsnet}
SMALL = {
    "capsnet": {"conv_channels": 8, "primary_capsules": 2},
    "efficient_capsnet": {"conv_channels": (4, 8, 8, 16)},
}

each_network = pytest.mark.parametrize("name", sorted(BUILDERS))
each_routing = pytest.mark.parametrize("routing", sorted(ROUTINGS))


def small(name, image_shape=(1, 12, 12), n_classes=3, **options):
    torch.manual_seed(0)
    return BUILDERS[name](image_shape, n_classes, **{**SMALL[name], **options})


def random_images(*shape, dtype=torch.float32):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def count(module):
    return sum(p.numel() for p in module.parameters())


def make_trunk(in_channels=1, out_channels=16):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3), nn.ReLU())
