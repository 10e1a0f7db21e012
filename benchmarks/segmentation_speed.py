"""Time and memory of SegCaps: a training step, large images, and tiles.

The step is timed beside the plain form, which writes the routing of the released code
in torch as it stands there: all votes are routed, and every step of it is recorded.
Both take turns, and the time is that of the processor. The memory is the largest that
a process of its own has had, less what it had before.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from skcaps.estimators._tiles import run_in_tiles
from skcaps.nn import ConvCapsules, ConvTransposeCapsules, segcaps

SIDE = 64


def route_plainly(votes, bias, iterations):
    """Route votes (batch, caps_in, rows, columns, caps_out, dim)."""
    logits = votes.new_zeros(votes.shape[:-1])
    by_number = votes.permute(5, 0, 1, 2, 3, 4)
    for _ in range(iterations):
        coupled = torch.softmax(logits, dim=-1) * by_number
        total = coupled.permute(1, 2, 3, 4, 5, 0).sum(dim=1) + bias
        norm = total.norm(dim=-1, keepdim=True)
        poses = total / norm * (norm**2 / (1 + norm**2))
        copies = poses.unsqueeze(1).repeat(1, votes.shape[1], 1, 1, 1, 1)
        logits = logits + (votes * copies).sum(dim=-1)
    return poses


class PlainCapsules(nn.Module):
    """A layer with the weights of another one."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, poses):
        layer, stride = self.layer, self.layer.stride
        children = poses.flatten(0, 1)
        if isinstance(layer, ConvTransposeCapsules):
            kernel = layer.weight.flatten(1, 2)
            maps = functional.conv_transpose2d(children, kernel, None, stride, 1)
        else:
            kernel = layer.weight.flatten(0, 1)
            n_zeros = max(kernel.shape[-1] - stride, 0)
            before, after = n_zeros // 2, n_zeros - n_zeros // 2
            children = functional.pad(children, (before, after, before, after))
            maps = functional.conv2d(children, kernel, None, stride)
        votes = maps.unflatten(1, layer.bias.shape).unflatten(0, poses.shape[:2])
        votes = votes.permute(0, 1, 4, 5, 2, 3)
        found = route_plainly(votes, layer.bias, layer.iterations).permute(
            0, 3, 4, 1, 2
        )
        return Found(found, found.norm(dim=2))


class Found:
    """Poses and activations, as a layer returns them."""

    def __init__(self, poses, activations):
        self.poses, self.activations = poses, activations


def make_plain(network):
    """Return a function that does what a network does, in the plain form."""

    def replace(module):
        for name, child in module.named_children():
            if isinstance(child, ConvCapsules | ConvTransposeCapsules):
                setattr(module, name, PlainCapsules(child))
            else:
                replace(child)

    replace(network)
    return lambda images: network.classes(network.trunk(images)).activations


def make_steps(variant, batch):
    """Return a training step of each form, and check that they agree."""
    steps, losses = {}, {}
    for form in ("plain", "skcaps"):
        torch.manual_seed(0)
        network = segcaps((1, SIDE, SIDE), 1, variant=variant, decoder=None)
        images = torch.rand(batch, 1, SIDE, SIDE)
        if form == "plain":
            find = make_plain(network)
        else:
            find = lambda images, network=network: network(images).activations  # noqa: E731

        def step(find=find, network=network, images=images):
            network.zero_grad()
            loss = find(images).square().mean()
            loss.backward()
            return loss.item()

        steps[form], losses[form] = step, step()
    torch.testing.assert_close(losses["plain"], losses["skcaps"], rtol=1e-4, atol=0)
    return steps


def time_steps(variant, batch, rounds):
    """Return the fewest CPU seconds of a patch, by form."""
    steps = make_steps(variant, batch)
    found = {form: [] for form in steps}
    for _ in range(rounds):
        for form, step in steps.items():
            begin = time.process_time()
            step()
            found[form].append(time.process_time() - begin)
    return {form: min(times) / batch for form, times in found.items()}


def measure_memory(task, variant, side):
    """Return the MB that a task takes in a process of its own."""
    command = [sys.executable, __file__, "--task", task]
    command += ["--variant", variant, "--side", str(side)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(run.stdout)


def run_task(task, variant, side):
    """Train a step, or predict in tiles, and print the memory of it."""
    network = segcaps((1, side, side), 1, variant=variant)
    images = torch.rand(1, 1, side, side)
    before = read_memory("VmRSS")
    if task == "train":
        routed = network(images)
        decoded = network.reconstruct(routed.poses)
        (routed.activations.mean() + decoded.mean()).backward()
    else:
        with torch.inference_mode():
            run_in_tiles(lambda tile: network(tile).activations, images, network, 256)
    print(read_memory("VmHWM") - before)


def read_memory(name):
    """Return the memory of this process in MB; Linux counts it."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith(name))
    return int(line.split()[1]) / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--task", choices=["train", "predict"])
    parser.add_argument("--variant", default="r3")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.task:
        run_task(arguments.task, arguments.variant, arguments.side)
        return
    print(
        f"| variant | patches | plain, CPU s a {SIDE}x{SIDE} patch | skcaps | share |"
    )
    print("|---|---|---|---|---|")
    for variant in ("r3", "r1", "encoder", "basic"):
        for batch in (1, 4):
            found = time_steps(variant, batch, arguments.rounds)
            plain, own = found["plain"], found["skcaps"]
            cells = variant, batch, f"{plain:.3f}", f"{own:.3f}", f"{own / plain:.2f}"
            print("|", " | ".join(map(str, cells)), "|", flush=True)
    print(f"\n| variant | MB, a training step at {arguments.side} | MB, tiles |")
    print("|---|---|---|")
    for variant in ("r3", "encoder"):
        found = [
            measure_memory(task, variant, arguments.side)
            for task in ("train", "predict")
        ]
        print(f"| {variant} | {found[0]:.0f} | {found[1]:.0f} |", flush=True)


if __name__ == "__main__":
    main()
