"""Time and memory of capsule convolutions, beside whole votes through autograd.

``python benchmarks/capsule_convolution.py`` prints, for the two capsule convolutions of
the network {64, 8, 16, 16} at 28x28, processor milliseconds an image, forward and
backward, and the most memory that a training step holds beyond its start, each in
a process of its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import torch

from skcaps.functional import (
    Windows,
    em_convolution,
    em_from_votes,
    matrix_votes,
    variational_bayes_convolution,
    variational_bayes_from_votes,
)

# Types and side of the children, parents, stride.
LAYERS = ((8, 12, 16, 2), (16, 5, 16, 1))
ROUTINGS = {
    "em": (em_convolution, em_from_votes),
    "vb": (variational_bayes_convolution, variational_bayes_from_votes),
}
FORMS = ("skcaps", "plain")


def make_layer(types, side, parents, stride, batch):
    """Return windows, and tensors that want gradients."""
    torch.manual_seed(0)
    tensors = {
        "poses": torch.randn(batch, types, 16, side, side),
        "weight": 0.3 * torch.randn(9 * types, parents, 4, 4),
        "activations": torch.rand(batch, types, side, side),
        "beta_a": torch.zeros(parents),
        "beta_u": torch.zeros(parents),
    }
    tensors = {key: value.requires_grad_() for key, value in tensors.items()}
    return Windows((3, 3), (stride, stride)), tensors


def route_plainly(routing, windows, poses, weight, activations, **others):
    """Build all votes, and let autograd keep what it needs."""
    children = windows.unfold(poses)
    votes = matrix_votes(children.flatten(0, 2), weight)
    return ROUTINGS[routing][1](
        votes.unflatten(0, children.shape[:3]),
        windows.unfold(activations),
        log_softmax=windows.competition(*activations.shape[1:]),
        **others,
    )


def run(routing, form, batch):
    """Go through both layers once, forward and backward."""
    for layer in LAYERS:
        windows, tensors = make_layer(*layer, batch)
        if form == "plain":
            routed = route_plainly(routing, windows, **tensors)
        else:
            routed = ROUTINGS[routing][0](windows=windows, **tensors)
        (routed.poses.sum() + routed.activations.sum()).backward()


def peak():
    """Return the most memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(routing, form, batch, repeats):
    """Print milliseconds an image and MB."""
    run(routing, form, 1)
    before, times = peak(), []
    for _ in range(repeats):
        start = time.process_time()
        run(routing, form, batch)
        times.append(time.process_time() - start)
    milliseconds = 1000 * min(times) / batch
    print(
        f"{routing:3} {form:7} {milliseconds:7.1f} ms an image, "
        f"{peak() - before:6.0f} MB for {batch} images",
        flush=True,
    )


def main():
    """Measure every routing and form in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs=2, metavar=("ROUTING", "FORM"))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.only:
        torch.set_num_threads(1)
        measure(*arguments.only, arguments.batch, arguments.repeats)
        return
    sizes = ["--batch", str(arguments.batch), "--repeats", str(arguments.repeats)]
    for routing in ROUTINGS:
        for form in FORMS:
            command = [sys.executable, __file__, "--only", routing, form, *sizes]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
