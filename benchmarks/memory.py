"""Measure peak memory, each case in a process of its own.

What is reported is the largest resident size of the process, less that of a process
that only imports skcaps, and less that of an interpreter that imports nothing.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import jsonl
from files import write_whole

RESULTS = Path(__file__).parent / "results" / "memory"
MEMMAP_BYTES = 10 * 10**9
SUBSET = 2048


def interpreter():
    """Import nothing."""


def imports():
    """Import skcaps and its two classifiers."""
    import skcaps

    skcaps.CapsNetClassifier()


def train(name, shape, batch_size, n_batches=3, **parameters):
    import numpy as np

    import skcaps

    rng = np.random.default_rng(0)
    n = batch_size * n_batches
    X = rng.integers(0, 256, (n, *shape), dtype=np.uint8)
    classifier = getattr(skcaps, name)(
        batch_size=batch_size, max_epochs=1, random_state=0, **parameters
    )
    return classifier.fit(X, np.arange(n) % 10)


def capsnet_mnist():
    """CapsNet, 28x28x1, batch 128, training."""
    train("CapsNetClassifier", (1, 28, 28), 128)


def efficient_mnist():
    """Efficient-CapsNet, 28x28x1, batch 128, training."""
    train("EfficientCapsNetClassifier", (1, 28, 28), 128)


def capsnet_large():
    """CapsNet, 224x224x3, batch 16, training."""
    train("CapsNetClassifier", (3, 224, 224), 16)


def efficient_large():
    """Efficient-CapsNet, 224x224x3, batch 16, training."""
    train("EfficientCapsNetClassifier", (3, 224, 224), 16)


def capsnet_many_classes():
    """CapsNet, 28x28x1, 1,000 classes, batch 32, training."""
    import numpy as np

    from skcaps import CapsNetClassifier

    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (1000, 1, 28, 28), dtype=np.uint8)
    classifier = CapsNetClassifier(batch_size=32, max_epochs=1, random_state=0)
    classifier.partial_fit(X[:64], np.arange(64), classes=np.arange(1000))


def open_memmap():
    """Open a sparse file of ten gigabytes; only the pages that are read take memory."""
    import numpy as np

    path = Path(tempfile.gettempdir()) / "skcaps-memory-benchmark.npy"
    n = MEMMAP_BYTES // 784
    X = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(n, 784))
    path.unlink()
    return X


def memmap_fit():
    """Efficient-CapsNet, `fit` on a 10 GB uint8 memmap, a bounded number of batches."""
    import numpy as np
    from skorch.callbacks import Callback

    from skcaps import EfficientCapsNetClassifier

    class Stop(Callback):
        """End the training after some batches."""

        def on_batch_end(self, net, training=None, **kwargs):
            self.seen = getattr(self, "seen", 0) + 1
            net.stop_training |= self.seen * 128 >= SUBSET

    X = open_memmap()
    y = (np.arange(len(X)) % 10).astype(np.uint8)
    EfficientCapsNetClassifier(
        batch_size=128, max_epochs=1, random_state=0, callbacks=[Stop()]
    ).fit(X, y)


def memmap_predict():
    """Efficient-CapsNet, `predict` of 102,400 images of a 10 GB uint8 memmap."""
    predict_first(50 * SUBSET)


def memmap_predict_twice():
    """The same with 204,800 images."""
    predict_first(100 * SUBSET)


def predict_first(n):
    X = open_memmap()
    classifier = train("EfficientCapsNetClassifier", (784,), 128)
    classifier.predict(X[:n])


CASES = {
    case.__name__: case
    for case in (
        interpreter,
        imports,
        capsnet_mnist,
        efficient_mnist,
        capsnet_large,
        efficient_large,
        capsnet_many_classes,
        memmap_fit,
        memmap_predict,
        memmap_predict_twice,
    )
}


def peak_megabytes(name):
    """Run one case in a fresh process."""
    command = [sys.executable, __file__, "--case", name]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(out.split()[-1])


def make_table(rows):
    lines = ["| case | MB over imports | MB over the interpreter |", "|---|---|---|"]
    for row in rows:
        title = CASES[row["case"]].__doc__.rstrip(".")
        lines.append(
            f"| {title} | {row['over imports']:.0f} | {row['over interpreter']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=CASES, help="run it here and print its peak")
    measured = [name for name in CASES if name not in ("interpreter", "imports")]
    parser.add_argument("--only", nargs="+", default=measured, choices=measured)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.case:
        CASES[arguments.case]()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    bare, loaded = peak_megabytes("interpreter"), peak_megabytes("imports")
    rows = []
    for name in arguments.only:
        peak = peak_megabytes(name)
        over = {"over imports": peak - loaded, "over interpreter": peak - bare}
        rows.append({"case": name, **over})
        print(rows[-1], flush=True)
    # Not before: a process starts with the peak of the one that starts it.
    from settings import describe_machine

    machine = {"machine": describe_machine()}
    jsonl.write(arguments.output / "memory.jsonl", [machine, *rows])
    write_whole(arguments.output / "memory.md", make_table(rows).encode())


if __name__ == "__main__":
    main()
