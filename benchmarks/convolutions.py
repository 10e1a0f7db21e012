"""Time CapsNet's two convolutions: torch's own, in both layouts, and as products.

The contestants take turns, and so does a plain product of large matrices, whose rate
says what the processor can do.
"""

import argparse
import statistics
import time
from pathlib import Path

import jsonl
import torch
from files import write_whole
from settings import describe_machine, has_bfloat16, processor_folder
from torch import nn

from skcaps.nn import capsnet

RESULTS = Path(__file__).parent / "results" / "convolutions" / processor_folder()
# The network hands its convolutions so many images at a time.
BATCH = 64
# Channels in and out, kernel, stride, side of the image.
LAYERS = {"stem": (1, 256, 9, 1, 28), "primary capsules": (256, 256, 9, 2, 20)}
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
PRODUCT, PRODUCT_SIDE = "a plain product", 2048


def make_torchs(layer):
    """Return torch's own module of a layer's sizes."""
    n_in, n_out, kernel, stride, _ = LAYERS[layer]
    return nn.Conv2d(n_in, n_out, kernel, stride)


def find_capsnets(layer):
    """Return the network's module, which computes the same by products."""
    modules = capsnet((1, 28, 28), 10, decoder=None).modules()
    found = [module for module in modules if isinstance(module, nn.Conv2d)]
    return dict(zip(LAYERS, found, strict=True))[layer]


CONTESTANTS = {
    "torch": (make_torchs, torch.contiguous_format),
    "torch, channels last": (make_torchs, torch.channels_last),
    "products": (find_capsnets, torch.channels_last),
}


def make_step(contestant, layer, dtype):
    """Make a function that gives the seconds of a forward and of a backward pass."""
    make, memory_format = CONTESTANTS[contestant]
    n_in, *_, side = LAYERS[layer]
    convolve = make(layer).to(dtype)
    images = torch.rand(BATCH, n_in, side, side, dtype=dtype)
    for tensor in (images, convolve.weight):
        tensor.data = tensor.data.contiguous(memory_format=memory_format)
    # Images have no gradient, feature maps have one.
    images.requires_grad_(layer != "stem")

    def step():
        images.grad = None
        convolve.zero_grad(set_to_none=True)
        start = time.perf_counter()
        maps = convolve(images)
        middle = time.perf_counter()
        maps.backward(torch.ones_like(maps))
        return middle - start, time.perf_counter() - middle

    return step


def time_layer(layer, dtype, rounds):
    """Return the median milliseconds of each contestant's passes, and a product's."""
    # Products are for float32: compare them with bfloat16 across the table.
    names = [name for name in CONTESTANTS if name != "products" or dtype.itemsize == 4]
    steps = {name: make_step(name, layer, dtype) for name in names}
    steps[PRODUCT] = make_product(dtype)
    seconds = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            # The second of two calls finds its own memory.
            step()
            if turn:
                seconds[name].append(step())
    return {
        name: [1e3 * statistics.median(column) for column in zip(*found, strict=True)]
        for name, found in seconds.items()
    }


def make_product(dtype):
    left, right = (torch.rand(PRODUCT_SIDE, PRODUCT_SIDE, dtype=dtype) for _ in "ab")
    out = torch.empty_like(left)

    def step():
        start = time.perf_counter()
        torch.mm(left, right, out=out)
        return (time.perf_counter() - start,)

    return step


def gigaflops_of(name, layer):
    """Return the billions of operations of a forward and of a backward pass."""
    if name == PRODUCT:
        return (2e-9 * PRODUCT_SIDE**3,)
    n_in, n_out, kernel, stride, side = LAYERS[layer]
    outputs = BATCH * ((side - kernel) // stride + 1) ** 2
    forward = 2e-9 * outputs * n_out * n_in * kernel**2
    return forward, forward * (1 if layer == "stem" else 2)


def make_table(rows):
    lines = [
        "| precision | layer | by | forward ms | backward ms | GFLOP/s as plain sums |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        times = row["milliseconds"]
        work = gigaflops_of(row["by"], row["layer"])
        rates = [f"{1e3 * w / ms:.0f}" for w, ms in zip(work, times, strict=True)]
        numbers = [f"{ms:.1f}" for ms in times] + [""] * (2 - len(times))
        cells = [row["precision"], row["layer"], row["by"], *numbers, ", ".join(rates)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    rows = []
    for precision, dtype in PRECISIONS.items():
        if precision == "bfloat16" and not has_bfloat16("cpu"):
            print("This processor has no instructions for bfloat16.")
            continue
        for layer in LAYERS:
            found = time_layer(layer, dtype, arguments.rounds)
            setting = {"precision": precision, "layer": layer}
            rows += [
                {**setting, "by": name, "milliseconds": times}
                for name, times in found.items()
            ]
    table = make_table(rows)
    print(table)
    machine = {"machine": describe_machine()}
    jsonl.write(arguments.output / "convolutions.jsonl", [machine, *rows])
    write_whole(arguments.output / "convolutions.md", table.encode())


if __name__ == "__main__":
    main()
