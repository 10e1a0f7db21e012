"""Both networks as a textbook writes them: what the speed benchmark compares with.

The votes are built, all tensors are contiguous, and nothing is fused.
"""

import torch
from torch import nn
from torch.nn import functional as F


def squash(s):
    norm = s.norm(dim=-1, keepdim=True)
    return norm**2 / (1 + norm**2) * s / (norm + 1e-8)


def squash_exp(s):
    norm = s.norm(dim=-1, keepdim=True)
    return (1 - 1 / torch.exp(norm)) * s / (norm + 1e-8)


class Decoder(nn.Sequential):
    """512, 1024 and one sigmoid for each pixel."""

    def __init__(self):
        super().__init__(
            nn.Linear(160, 512),
            nn.ReLU(),
            nn.Linear(512, 1024),
            nn.ReLU(),
            nn.Linear(1024, 784),
            nn.Sigmoid(),
        )


class CapsNet(nn.Module):
    """Sabour, Frosst, Hinton (2017), for 28x28 images and ten classes."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 256, 9)
        self.primary = nn.Conv2d(256, 256, 9, stride=2)
        self.weight = nn.Parameter(0.1 * torch.randn(1152, 10, 8, 16))
        self.decoder = Decoder()

    def forward(self, images):
        maps = self.primary(F.relu(self.stem(images)))
        poses = maps.view(-1, 32, 8, 36).permute(0, 1, 3, 2).reshape(-1, 1152, 8)
        votes = torch.einsum("bik,ijkl->bijl", squash(poses), self.weight)
        logits = votes.new_zeros(votes.shape[:3])
        for iteration in range(3):
            coupling = logits.softmax(dim=2)
            parents = squash((coupling[..., None] * votes).sum(dim=1))
            if iteration < 2:
                logits = logits + (votes * parents[:, None]).sum(dim=-1)
        return parents


class EfficientCapsNet(nn.Module):
    """Mazzia, Salvetti, Chiaberge (2021), for 28x28 images and ten classes."""

    def __init__(self):
        super().__init__()
        channels = (1, 32, 64, 64, 128)
        layers = []
        for index, (kernel, stride) in enumerate([(5, 1), (3, 1), (3, 1), (3, 2)]):
            layers += [
                nn.Conv2d(channels[index], channels[index + 1], kernel, stride),
                nn.ReLU(),
                nn.BatchNorm2d(channels[index + 1], eps=1e-3, momentum=0.01),
            ]
        self.stem = nn.Sequential(*layers)
        self.primary = nn.Conv2d(128, 128, 9, groups=128)
        self.weight = nn.Parameter(0.1 * torch.randn(16, 10, 8, 16))
        self.prior = nn.Parameter(torch.zeros(16, 10))
        self.decoder = Decoder()

    def forward(self, images):
        poses = squash_exp(self.primary(self.stem(images)).view(-1, 16, 8))
        votes = torch.einsum("bik,ijkl->bjil", poses, self.weight)
        attention = (votes @ votes.transpose(2, 3)).sum(dim=-1) / 4
        coupling = attention.softmax(dim=1) + self.prior.T
        return squash_exp((coupling[..., None] * votes).sum(dim=2))


def loss_of(network, images, labels):
    """Margin loss and reconstruction error, averaged over the batch."""
    poses = network(images)
    lengths = poses.norm(dim=-1)
    targets = F.one_hot(labels, 10).float()
    margin = (
        targets * F.relu(0.9 - lengths) ** 2
        + 0.5 * (1 - targets) * F.relu(lengths - 0.1) ** 2
    )
    drawn = network.decoder((poses * targets[..., None]).flatten(1))
    error = (drawn - images.flatten(1)).square().sum(dim=1)
    return (margin.sum(dim=1) + 0.0005 * error).mean()
