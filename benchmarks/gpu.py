"""Check and time skcaps on a GPU: one command, one table, under eight minutes.

``--device cpu --n-train 512`` rehearses every part where there is no GPU. The images
are MNIST's where SKCAPS_DATA names them, else random: time does not depend on them.
"""

import argparse
import os
import pickle
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import jsonl
import numpy as np
import torch
from files import write_whole
from settings import describe_machine
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback

from skcaps import CapsNetClassifier, EfficientCapsNetClassifier
from skcaps.datasets import load_mnist
from skcaps.functional import lengths
from skcaps.nn import ROUTINGS

RESULTS = Path(__file__).parent / "results" / "gpu"
# Relative, of values and gradients in float32; and of probabilities, for which a GPU
# may run convolutions in TF32.
ROUTING_TOLERANCE = 1e-4
PROBABILITY_TOLERANCE = 1e-2
# Classifier, batch size, precision, compiled, aim in seconds for 60,000 images.
EPOCHS = {
    "CapsNet, batch 128, float32": (CapsNetClassifier, 128, "float32", False, None),
    "CapsNet, batch 128, bfloat16": (CapsNetClassifier, 128, "bfloat16", False, 3.0),
    "CapsNet, batch 128, bfloat16, compiled": (
        CapsNetClassifier,
        128,
        "bfloat16",
        True,
        3.0,
    ),
    "Efficient-CapsNet, batch 512, float32": (
        EfficientCapsNetClassifier,
        512,
        "float32",
        False,
        1.0,
    ),
    "Efficient-CapsNet, batch 512, bfloat16, compiled": (
        EfficientCapsNetClassifier,
        512,
        "bfloat16",
        True,
        1.0,
    ),
    "Efficient-CapsNet, batch 16, float32": (
        EfficientCapsNetClassifier,
        16,
        "float32",
        False,
        8.0,
    ),
    "Efficient-CapsNet, batch 16, float32, compiled": (
        EfficientCapsNetClassifier,
        16,
        "float32",
        True,
        8.0,
    ),
}
# Multiply-adds of each convolution for one 28x28 image, forward.
MULTIPLY_ADDS = {
    CapsNetClassifier: (400 * 81 * 256, 36 * 81 * 256 * 256),
    EfficientCapsNetClassifier: (
        576 * 25 * 32,
        484 * 288 * 64,
        400 * 576 * 64,
        81 * 576 * 128,
        81 * 128,
    ),
}
# Numbers in the feature maps of one 28x28 image.
MAP_SIZES = {
    CapsNetClassifier: 400 * 256 + 36 * 256,
    EfficientCapsNetClassifier: 576 * 32 + 484 * 64 + 400 * 64 + 81 * 128,
}
# A map is written, read by the next layer and read again for the gradient, which is
# written and read.
MAP_PASSES = 5
# A weight is read forward and backward and changed; its gradient is written and read;
# Adam's two moments are read and written.
WEIGHT_PASSES = 10
BYTES = {"float32": 4, "bfloat16": 2}
PRODUCT_SIZES = {"cuda": 8192, "cpu": 512}


class EpochClock(Callback):
    """Note when each epoch ends, after the device has finished it."""

    def on_train_begin(self, net, **kwargs):
        """Start."""
        self.ends = [time.perf_counter()]

    def on_epoch_end(self, net, **kwargs):
        """Wait for the device and note the time."""
        synchronize(net.device)
        self.ends.append(time.perf_counter())


def synchronize(device):
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def check_routings(device):
    """Compare every routing, values and gradients, with the CPU."""
    generator = torch.Generator().manual_seed(0)
    poses = torch.randn(64, 128, 8, generator=generator)
    weight = 0.1 * torch.randn(128, 10, 8, 16, generator=generator)

    def run(routing, where):
        leaves = [x.to(where).requires_grad_() for x in (poses, weight)]
        torch.manual_seed(0)
        routed = routing(128, 8, 10, 16).to(where)(*leaves)
        if routed.activations is None:
            routed = routed._replace(activations=lengths(routed.poses))
        (routed.poses.square().sum() + routed.activations.square().sum()).backward()
        return [x.detach().cpu() for x in (*routed, *(p.grad for p in leaves))]

    differences = {}
    for name, routing in ROUTINGS.items():
        pairs = zip(run(routing, "cpu"), run(routing, device), strict=True)
        differences[name] = max(
            ((one - other).abs().max() / one.abs().max()).item() for one, other in pairs
        )
    return differences


def check_pickle(device):
    """Fit on the device, load where CUDA is hidden, and compare the probabilities."""
    X, y = load_digits(return_X_y=True)
    classifier = EfficientCapsNetClassifier(
        device=device, max_epochs=2, random_state=0
    ).fit(X, y)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "fitted.pickle", Path(folder) / "proba.npy"
        source.write_bytes(pickle.dumps(classifier))
        code = (
            "import pickle, sys, warnings, numpy as np\n"
            "from sklearn.datasets import load_digits\n"
            "warnings.simplefilter('ignore')\n"
            "clf = pickle.load(open(sys.argv[1], 'rb'))\n"
            "X = load_digits(return_X_y=True)[0]\n"
            "np.save(sys.argv[2], clf.predict_proba(X))\n"
        )
        subprocess.run(
            [sys.executable, "-c", code, str(source), str(target)],
            check=True,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        )
        return float(np.abs(np.load(target) - classifier.predict_proba(X)).max())


def check_grid_search(device):
    """Search over the routing iterations on the device."""
    X, y = load_digits(return_X_y=True)
    search = GridSearchCV(
        CapsNetClassifier(device=device, max_epochs=5, random_state=0),
        {"routing_iterations": [1, 3]},
        cv=3,
        error_score="raise",
    )
    start = time.perf_counter()
    search.fit(X, y)
    return {
        "accuracy": search.cv_results_["mean_test_score"].tolist(),
        "seconds": time.perf_counter() - start,
    }


def median_seconds(function, device, n_calls=10):
    function()
    synchronize(device)
    seconds = []
    for _ in range(n_calls):
        start = time.perf_counter()
        function()
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


@contextmanager
def tf32():
    """Let products use what cuDNN's convolutions use by default."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def measure_device(device, size):
    """Return the bytes per second of a copy, and the FLOP/s of products."""
    source = torch.rand(size * size * 4, device=device)
    target = torch.empty_like(source)
    copy = median_seconds(lambda: target.copy_(source), device)
    found = {"bytes per second": 2 * source.numel() * 4 / copy}
    for precision in BYTES:
        dtype = getattr(torch, precision)
        matrix = torch.rand(size, size, device=device, dtype=dtype)
        with tf32():
            product = median_seconds(lambda m=matrix: m @ m, device)
        found[precision] = 2 * size**3 / product
    return found


def floors(name, n_images, n_parameters, peaks):
    """Return the seconds of an epoch that arithmetic and memory, without a cache, take.

    Maps and weights of small batches fit into the cache of a large card.
    """
    kind, batch_size, precision, _, _ = EPOCHS[name]
    first, *others = MULTIPLY_ADDS[kind]
    # Forward, and the gradients of weights and inputs; images have no gradient.
    operations = 2 * n_images * (2 * first + 3 * sum(others))
    moved = MAP_PASSES * MAP_SIZES[kind] * BYTES[precision] * n_images
    n_steps = -(-n_images // batch_size)
    moved += WEIGHT_PASSES * n_parameters * BYTES["float32"] * n_steps
    return {
        "arithmetic floor s": operations / peaks[precision],
        "memory floor s": moved / peaks["bytes per second"],
    }


def time_epochs(name, X, y, device):
    """Return the seconds of the epochs of one fit, and the number of parameters."""
    kind, batch_size, precision, compiled, _ = EPOCHS[name]
    clock = EpochClock()
    classifier = kind(
        device=device,
        batch_size=batch_size,
        precision=precision,
        compile=compiled,
        max_epochs=3,
        callbacks=[clock],
        random_state=0,
    ).fit(X, y)
    return np.diff(clock.ends).tolist(), classifier.n_parameters_


def epoch_row(name, X, y, device, peaks):
    """Measure one line of the table; the first epoch warms up."""
    on_gpu = torch.device(device).type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    (first, *others), n_parameters = time_epochs(name, X, y, device)
    row = {
        "training": name,
        "first epoch s": first,
        "epoch s": min(others),
        **floors(name, len(X), n_parameters, peaks),
        "aim s": EPOCHS[name][-1],
        "images per second": len(X) / min(others),
    }
    if on_gpu:
        row["peak GB"] = torch.cuda.max_memory_allocated(device) / 1e9
    return row


def load_images(n_train, data_home):
    try:
        X, y = load_mnist(
            data_home=data_home, download_if_missing=False, return_X_y=True
        )
    except (FileNotFoundError, ValueError):
        rng = np.random.default_rng(0)
        X = rng.integers(0, 256, (60_000, 784), dtype=np.uint8)
        y = np.arange(60_000) % 10
    return X[:n_train], y[:n_train]


def make_table(rows):
    lines = [
        "| training | epoch s | aim s | arithmetic floor s | memory floor s "
        "| images/s |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        aim = "" if row["aim s"] is None else f"{row['aim s']:g}"
        lines.append(
            f"| {row['training']} | {row['epoch s']:.2f} | {aim} "
            f"| {row['arithmetic floor s']:.3f} | {row['memory floor s']:.3f} "
            f"| {row['images per second']:,.0f} |"
        )
    return "\n".join(lines) + "\n"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--n-train", type=int, default=60_000)
    parser.add_argument("--data-home", help="by default SKCAPS_DATA")
    parser.add_argument("--only", nargs="+", default=list(EPOCHS), choices=EPOCHS)
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    device = arguments.device
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        sys.exit("torch sees no CUDA device; rehearse with --device cpu --n-train 512")
    found = {"machine": describe_machine(), "routings": check_routings(device)}
    print("largest relative difference from the CPU:", found["routings"])
    found["pickle difference"] = check_pickle(device)
    print("fitted here, loaded without CUDA, differs by", found["pickle difference"])
    found["grid search"] = check_grid_search(device)
    print("grid search:", found["grid search"], flush=True)
    found["device"] = measure_device(device, PRODUCT_SIZES[torch.device(device).type])
    print("measured:", found["device"], flush=True)
    X, y = load_images(arguments.n_train, arguments.data_home)
    rows = []
    for name in arguments.only:
        rows.append(epoch_row(name, X, y, device, found["device"]))
        print(rows[-1], flush=True)
    table = make_table(rows)
    print(table)
    jsonl.write(arguments.output / "gpu.jsonl", [found, *rows])
    write_whole(arguments.output / "gpu.md", table.encode())
    if max(found["routings"].values()) > ROUTING_TOLERANCE:
        sys.exit(f"a routing differs by more than {ROUTING_TOLERANCE}")
    if found["pickle difference"] > PROBABILITY_TOLERANCE:
        sys.exit(f"probabilities differ by more than {PROBABILITY_TOLERANCE}")


if __name__ == "__main__":
    main()
