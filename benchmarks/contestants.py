"""What takes turns in `speed.py`: convolutions alone, a textbook's network, skcaps."""

import statistics
import time

import numpy as np
import textbook
import torch
from skorch.callbacks import Callback
from torch import nn

from skcaps import CapsNetClassifier, EfficientCapsNetClassifier
from skcaps.functional import (
    lengths,
    margin_loss,
    mask_by_label,
    reconstruction_loss,
)
from skcaps.nn import CapsuleLayer, capsnet, efficient_capsnet

BATCH = 128
CLASSIFIERS = {
    "capsnet": CapsNetClassifier,
    "efficient": EfficientCapsNetClassifier,
}
NETWORKS = {"capsnet": capsnet, "efficient": efficient_capsnet}
TEXTBOOKS = {"capsnet": textbook.CapsNet, "efficient": textbook.EfficientCapsNet}


def floor_convolutions(name):
    """Return the convolutions of a network, one after the other, and nothing else."""
    if name == "capsnet":
        return nn.Sequential(nn.Conv2d(1, 256, 9), nn.Conv2d(256, 256, 9, 2))
    sizes = [(1, 32, 5, 1), (32, 64, 3, 1), (64, 64, 3, 1), (64, 128, 3, 2)]
    return nn.Sequential(
        *(nn.Conv2d(*size) for size in sizes), nn.Conv2d(128, 128, 9, groups=128)
    )


def autocast(precision):
    """Run convolutions in a precision; `main` leaves out what would be imitated."""
    return torch.autocast("cpu", torch.bfloat16, precision == "bfloat16")


def floor_step(name, precision, layout=torch.contiguous_format):
    """Make a function that runs the convolutions forward and backward."""
    convs = floor_convolutions(name).to(memory_format=layout)
    images = torch.rand(BATCH, 1, 28, 28).to(memory_format=layout)

    def step():
        convs.zero_grad(set_to_none=True)
        with autocast(precision):
            out = convs(images)
        out.backward(torch.ones_like(out))

    return step


def textbook_step(name):
    """Make a function that takes a whole training step of the textbook's module."""
    network = TEXTBOOKS[name]()
    optimizer = torch.optim.Adam(network.parameters())
    images, labels = torch.rand(BATCH, 1, 28, 28), torch.arange(BATCH) % 10

    def step():
        optimizer.zero_grad()
        textbook.loss_of(network, images, labels).backward()
        optimizer.step()

    return step


def bare_step(name, precision):
    """Make a function that takes a training step of skcaps without its `fit`."""
    X, y = random_images(BATCH)
    classifier = CLASSIFIERS[name](
        precision=precision, max_epochs=1, batch_size=BATCH, random_state=0
    ).fit(X, y)
    network = classifier.network_.train()
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    images = torch.from_numpy(X / 255).float()
    targets = nn.functional.one_hot(torch.from_numpy(y), 10).float()

    def step():
        optimizer.zero_grad()
        with autocast(precision):
            poses = network(images).poses
            decoded = network.reconstruct(mask_by_label(poses, targets))
            error = reconstruction_loss(decoded.to(images.dtype), images)
            loss = margin_loss(lengths(poses), targets) + 0.0005 * error
        loss.backward()
        optimizer.step()

    return step


def random_images(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 1, 28, 28), dtype=np.uint8), np.arange(n) % 10


class BatchClock(Callback):
    """Note when each training batch ends."""

    def on_train_begin(self, net, **kwargs):
        """Forget the last training."""
        self.ends = []

    def on_batch_end(self, net, training=None, **kwargs):
        """Note the time."""
        if training:
            self.ends.append(time.perf_counter())


def fit_seconds(name, precision, n_steps):
    """Time the steps of a `fit`, everything between two of them included."""
    X, y = random_images(BATCH * (n_steps + 1))
    clock = BatchClock()
    CLASSIFIERS[name](
        precision=precision,
        max_epochs=1,
        batch_size=BATCH,
        random_state=0,
        callbacks=[clock],
    ).fit(X, y)
    return np.diff(clock.ends).tolist()


def call_seconds(function, n_calls):
    seconds = []
    for _ in range(n_calls):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return seconds


def take_turns(contestants, rounds, n_calls):
    """Return each contestant's median seconds.

    Parameters
    ----------
    contestants : dict of str to callable
        Each takes a number of calls and gives the seconds of each.
    """
    for measure in contestants.values():
        measure(1)
    seconds = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, measure in contestants.items():
            seconds[name] += measure(n_calls)
    return {name: statistics.median(found) for name, found in seconds.items()}


def fitted(name, precision):
    """Return a classifier after one step."""
    X, y = random_images(BATCH)
    return CLASSIFIERS[name](precision=precision, max_epochs=1, random_state=0).fit(
        X, y
    )


def routing_step():
    """Make a function that runs CapsNet's dynamic routing forward and backward."""
    layer, poses = CapsuleLayer(1152, 8, 10, 16), torch.rand(BATCH, 1152, 8)
    poses.requires_grad_()

    def step():
        layer.zero_grad()
        poses.grad = None
        layer(poses).poses.sum().backward()

    return step


def decoded_step(name, decoder, shape=(3, 224, 224), n_images=8):
    """Make a function that runs a network forward and backward on large images."""
    network = NETWORKS[name](shape, 10, decoder=decoder)
    images = torch.rand(n_images, *shape)

    def step():
        network.zero_grad()
        poses = network(images).poses
        loss = poses.square().sum()
        if decoder is not None:
            loss = loss + network.reconstruct(poses).square().mean()
        loss.backward()

    return step


class BareSteps(Callback):
    """Take bare steps between those of a `fit`, so that both see the same machine.

    Parameters
    ----------
    step : callable
    every : int
        Steps of the `fit` between two turns.
    n_calls : int
        Bare steps in a turn.
    """

    def __init__(self, step, every=20, n_calls=3):
        self.step = step
        self.every = every
        self.n_calls = n_calls

    def on_train_begin(self, net, **kwargs):
        """Forget the last training."""
        self.n_batches = 0
        self.seconds = []

    def on_batch_end(self, net, training=None, **kwargs):
        """Take a turn."""
        self.n_batches += 1
        if self.n_batches % self.every == 0:
            self.seconds += call_seconds(self.step, self.n_calls)
