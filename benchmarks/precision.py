"""Compare the error of bfloat16 with that of float32, over several seeds.

Both train on the first MNIST training images and are scored on all the others; the test
images are not read.
"""

import argparse
import time
from pathlib import Path

import jsonl
import numpy as np
from settings import describe_machine, has_bfloat16

from skcaps import CapsNetClassifier, EfficientCapsNetClassifier
from skcaps.datasets import load_mnist

RESULTS = Path(__file__).parent / "results" / "precision"
CLASSIFIERS = {
    "capsnet": CapsNetClassifier,
    "efficient": EfficientCapsNetClassifier,
}
PRECISIONS = ("float32", "bfloat16")


def error_percent(kind, precision, seed, X, y, arguments):
    classifier = kind(
        precision=precision, max_epochs=arguments.epochs, random_state=seed
    )
    start = time.perf_counter()
    classifier.fit(X[: arguments.n_train], y[: arguments.n_train])
    seconds = time.perf_counter() - start
    error = 100 * (1 - classifier.score(X[arguments.n_train :], y[arguments.n_train :]))
    print(f"{precision}, seed {seed}: error {error:.3f} %, {seconds:.0f} s", flush=True)
    return error


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=CLASSIFIERS, default="efficient")
    parser.add_argument("--n-train", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data-home", help="by default SKCAPS_DATA")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if not has_bfloat16("auto"):
        parser.error("this processor has no instructions for bfloat16")
    X, y = load_mnist(data_home=arguments.data_home, return_X_y=True)
    kind = CLASSIFIERS[arguments.network]
    errors = {
        precision: [
            error_percent(kind, precision, seed, X, y, arguments)
            for seed in range(arguments.seeds)
        ]
        for precision in PRECISIONS
    }
    means = {precision: float(np.mean(found)) for precision, found in errors.items()}
    deviation = float(np.std(errors["float32"], ddof=1))
    difference = means["bfloat16"] - means["float32"]
    print(
        f"bfloat16 {means['bfloat16']:.3f} %, float32 {means['float32']:.3f} %, "
        f"difference {difference:+.3f}, one standard deviation {deviation:.3f}"
    )
    settings = {
        "n_train": arguments.n_train,
        "n_scored": len(X) - arguments.n_train,
        "epochs": arguments.epochs,
        "machine": describe_machine(),
    }
    rows = [{"precision": key, "errors": found} for key, found in errors.items()]
    jsonl.write(arguments.output / f"{arguments.network}.jsonl", [settings, *rows])


if __name__ == "__main__":
    main()
