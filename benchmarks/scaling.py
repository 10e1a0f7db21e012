"""Draw how time and memory of a training step grow with everything that can grow.

Each point is measured in a process of its own, so that its memory is its own.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import jsonl

RESULTS = Path(__file__).parent / "results" / "scaling"
BASE = {"batch": 32, "side": 28, "n_classes": 10, "iterations": 3}
CURVES = {
    "batch": ("capsnet", [8, 16, 32, 64, 128, 256]),
    "side": ("capsnet", [16, 28, 40, 64, 96, 128, 224]),
    "n_classes": ("capsnet", [2, 10, 32, 100, 320, 1000]),
    "iterations": ("capsnet", [1, 2, 3, 5, 10]),
    "children": ("layer", [72, 288, 1152, 4608, 20_000]),
    "efficient batch": ("efficient_capsnet", [8, 16, 32, 64, 128, 256, 512]),
    "efficient side": ("efficient_capsnet", [16, 28, 40, 64, 96, 128, 224]),
}
LABELS = {
    "batch": "images in a batch, CapsNet",
    "side": "side of an image, CapsNet",
    "n_classes": "classes, CapsNet",
    "iterations": "iterations, CapsNet",
    "children": "children, dynamic routing",
    "efficient batch": "images, Efficient-CapsNet",
    "efficient side": "side, Efficient-CapsNet",
}


def make_network_step(kind, batch, side, n_classes, iterations):
    import torch

    from skcaps.nn import capsnet, efficient_capsnet

    build = {"capsnet": capsnet, "efficient_capsnet": efficient_capsnet}[kind]
    network = build((1, side, side), n_classes, routing_iterations=iterations)
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    images = torch.rand(batch, 1, side, side)

    def step():
        optimizer.zero_grad()
        poses = network(images).poses
        drawn = network.reconstruct(poses)
        (poses.square().sum() + (drawn - images).square().sum()).backward()
        optimizer.step()

    return step


def make_layer_step(children, batch, n_classes, iterations):
    import torch

    from skcaps.nn import CapsuleLayer

    layer = CapsuleLayer(children, 8, n_classes, 16, iterations=iterations)
    poses = torch.rand(batch, children, 8, requires_grad=True)

    def step():
        layer.zero_grad()
        poses.grad = None
        layer(poses).poses.sum().backward()

    return step


def measure_here(curve, value):
    """Time a step in this process and print seconds and megabytes."""
    import torch

    import skcaps

    assert skcaps.CapsNetClassifier
    torch.manual_seed(0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kind = CURVES[curve][0]
    setting = {**BASE, curve.removeprefix("efficient "): value}
    if kind == "layer":
        setting.pop("side")
        step = make_layer_step(**setting)
    else:
        step = make_network_step(kind, **setting)
    seconds = []
    for _ in range(8):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = {"seconds": statistics.median(seconds[1:]), "MB": (peak - before) / 1024}
    print(json.dumps(result))


def measure(curve, value):
    command = [sys.executable, __file__, "--point", curve, str(value)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(out.splitlines()[-1])


def measure_curve(curve):
    values = CURVES[curve][1]
    points = []
    for value in values:
        points.append(measure(curve, value))
        print(curve, value, points[-1], flush=True)
    return {
        "values": values,
        "seconds": [point["seconds"] for point in points],
        "MB": [point["MB"] for point in points],
    }


def draw(rows, path):
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        2,
        len(rows),
        figsize=(3 * len(rows), 5),
        layout="constrained",
        sharey="row",
        squeeze=False,
    )
    for column, row in zip(axes.T, rows, strict=True):
        values = row["values"]
        for ax, key in zip(column, ("seconds", "MB"), strict=True):
            ax.loglog(values, row[key], marker="o")
            ax.set_xticks(values, map(str, values), rotation=45, fontsize=8)
            ax.minorticks_off()
            ax.grid(alpha=0.3)
        column[1].set_xlabel(LABELS[row["curve"]])
    axes[0, 0].set_ylabel("seconds of a step")
    axes[1, 0].set_ylabel("peak MB over the imports")
    figure.savefig(path, dpi=80)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--point", nargs=2, metavar=("CURVE", "VALUE"))
    parser.add_argument("--only", nargs="+", default=list(CURVES), choices=CURVES)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.point:
        measure_here(arguments.point[0], int(arguments.point[1]))
        return
    found = {curve: measure_curve(curve) for curve in arguments.only}
    # Not before: a process starts with the peak of the one that starts it.
    from settings import describe_machine

    path = arguments.output / "scaling.jsonl"
    # Curves measured before stay, so that they may be measured one by one.
    rows = {row["curve"]: row for row in jsonl.read(path)}
    for curve, measured in found.items():
        rows[curve] = {"curve": curve, **measured, "machine": describe_machine()}
    jsonl.write(path, rows.values())
    draw(rows.values(), path.with_suffix(".png"))


if __name__ == "__main__":
    main()
