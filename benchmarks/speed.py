"""Time training and prediction against the convolutions alone, in one run.

Every figure is a ratio of medians. The contestants take turns, so that whatever else
the machine does falls on all alike. Images are random: time does not depend on them.
"""

import argparse
import statistics
import time
from functools import partial
from pathlib import Path

import jsonl
import numpy as np
import textbook
import torch
from files import write_whole
from settings import describe_machine, has_bfloat16, processor_folder
from skorch.callbacks import Callback
from torch import nn

from skcaps import CapsNetClassifier, EfficientCapsNetClassifier
from skcaps.functional import (
    lengths,
    margin_loss,
    mask_by_label,
    reconstruction_loss,
)

RESULTS = Path(__file__).parent / "results" / "speed" / processor_folder()
BATCH = 128
CLASSIFIERS = {
    "capsnet": CapsNetClassifier,
    "efficient": EfficientCapsNetClassifier,
}
TEXTBOOKS = {"capsnet": textbook.CapsNet, "efficient": textbook.EfficientCapsNet}
# What each bar is, as (network, precision, measure) -> the largest value allowed.
BARS = {
    ("capsnet", "float32", "fit step / floor"): 1.15,
    ("capsnet", "bfloat16", "fit step / floor"): 1.20,
    ("efficient", "bfloat16", "fit step / textbook float32"): 0.5,
    ("capsnet", "float32", "predict / floor"): 1.10,
    ("capsnet", "bfloat16", "predict / floor"): 1.10,
    ("efficient", "float32", "predict / floor"): 1.10,
    ("efficient", "bfloat16", "predict / floor"): 1.10,
    ("efficient", "float32", "network, 1 image, ms"): 1.2,
    ("efficient", "float32", "overhead ms"): 1.0,
    ("efficient", "float32", "epoch / bare steps"): 1.05,
    ("efficient", "bfloat16", "epoch / bare steps"): 1.05,
}
# As many as MNIST has.
EPOCH_IMAGES = 60_000


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


def floor_step(name, precision):
    """Make a function that runs the convolutions forward and backward."""
    convs, images = floor_convolutions(name), torch.rand(BATCH, 1, 28, 28)

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


def time_training(name, precision, arguments):
    found = take_turns(
        {
            "floor": partial(call_seconds, floor_step(name, precision)),
            "textbook float32": partial(call_seconds, textbook_step(name)),
            "bare step": partial(call_seconds, bare_step(name, precision)),
            "fit step": partial(fit_seconds, name, precision),
        },
        arguments.rounds,
        arguments.calls,
    )
    return {
        **{f"{key} ms": 1e3 * value for key, value in found.items()},
        "images per second": BATCH / found["fit step"],
        "fit step / floor": found["fit step"] / found["floor"],
        "fit step / bare step": found["fit step"] / found["bare step"],
        "fit step / textbook float32": found["fit step"] / found["textbook float32"],
    }


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


def time_epoch(name, precision):
    """Time a whole `fit` of one epoch against as many bare steps."""
    X, y = random_images(EPOCH_IMAGES)
    turns = BareSteps(bare_step(name, precision))
    classifier = CLASSIFIERS[name](
        precision=precision,
        max_epochs=1,
        batch_size=BATCH,
        random_state=0,
        callbacks=[turns],
    )
    (seconds,) = call_seconds(lambda: classifier.fit(X, y), 1)
    epoch = seconds - sum(turns.seconds)
    # Means, not medians: an epoch is the sum of its steps, slow ones too.
    bare = statistics.fmean(turns.seconds) * EPOCH_IMAGES / BATCH
    return {"epoch s": epoch, "epoch / bare steps": epoch / bare}


def fitted(name, precision):
    X, y = random_images(BATCH)
    return CLASSIFIERS[name](precision=precision, max_epochs=1, random_state=0).fit(
        X, y
    )


def time_prediction(name, precision, arguments):
    """Time one batch, as flat rows that are checked like any input."""
    classifier, convs = fitted(name, precision), floor_convolutions(name)
    rows = random_images(BATCH)[0].reshape(BATCH, -1)
    images = torch.rand(BATCH, 1, 28, 28)

    @torch.inference_mode()
    def floor():
        with autocast(precision):
            convs(images)

    found = take_turns(
        {
            "floor": partial(call_seconds, floor),
            "predict": partial(call_seconds, lambda: classifier.predict_proba(rows)),
        },
        arguments.rounds,
        arguments.calls,
    )
    return {
        "predict floor ms": 1e3 * found["floor"],
        "predict ms": 1e3 * found["predict"],
        "predict / floor": found["predict"] / found["floor"],
    }


def time_one_image(name, arguments):
    """Time `predict_proba` of a single image and the network alone."""
    classifier = fitted(name, "float32")
    row = random_images(1)[0].reshape(1, -1)
    image = torch.rand(1, 1, 28, 28)

    @torch.inference_mode()
    def network():
        classifier.network_(image)

    found = take_turns(
        {
            "network": partial(call_seconds, network),
            "predict": partial(call_seconds, lambda: classifier.predict_proba(row)),
        },
        arguments.rounds,
        100,
    )
    return {
        "network, 1 image, ms": 1e3 * found["network"],
        "predict_proba, 1 image, ms": 1e3 * found["predict"],
        "overhead ms": 1e3 * (found["predict"] - found["network"]),
    }


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=list(CLASSIFIERS))
    parser.add_argument(
        "--precisions", nargs="+", default=["float32", "bfloat16"], metavar="PRECISION"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=4, help="calls in each round")
    parser.add_argument(
        "--output", type=Path, default=RESULTS, help="folder of the results"
    )
    return parser.parse_args()


def show(found):
    for key, value in found.items():
        print(f"  {key:<28}{value:10.3f}", flush=True)


def make_table(rows):
    lines = ["| network | precision | measure | value | bar |", "|---|---|---|---|---|"]
    for row in rows:
        name, precision = row["network"], row["precision"]
        for key, value in row["measured"].items():
            bar = BARS.get((name, precision, key), "")
            lines.append(f"| {name} | {precision} | {key} | {value:.3f} | {bar} |")
    return "\n".join(lines) + "\n"


def main():
    arguments = parse_arguments()
    rows = []
    for name in arguments.networks:
        for precision in arguments.precisions:
            if precision == "bfloat16" and not has_bfloat16("cpu"):
                print("\nThis processor has no instructions for bfloat16.")
                continue
            print(f"\n{name}, {precision}, batch {BATCH}", flush=True)
            found = time_training(name, precision, arguments)
            found |= time_prediction(name, precision, arguments)
            if precision == "float32":
                found |= time_one_image(name, arguments)
            if name == "efficient":
                found |= time_epoch(name, precision)
            show(found)
            rows.append({"network": name, "precision": precision, "measured": found})
    machine = {"machine": describe_machine()}
    jsonl.write(arguments.output / "speed.jsonl", [machine, *rows])
    write_whole(arguments.output / "speed.md", make_table(rows).encode())


if __name__ == "__main__":
    main()
