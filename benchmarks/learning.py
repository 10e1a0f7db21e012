"""Measure whether classifiers with their default parameters learn, on many small sets.

Every cell is the accuracy on held-out images of trainings that differ in their seed
alone. The defaults were chosen on other splits of the same small sets, with one to
three seeds, so these figures are no test of data never seen. Results go to a CSV file,
one line a training, from which the table is written again; a training that is there
already is not repeated.
"""

import argparse
import os
import statistics
import time
import warnings
from pathlib import Path

import numpy as np
import rows
from files import write_whole
from reproduction.cnn import CNNClassifier
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from skcaps import CapsNetClassifier, EfficientCapsNetClassifier
from skcaps.datasets import load_fashion_mnist, load_mnist

RESULTS = Path(__file__).parent / "results" / "learning"
FIELDS = ("set", "model", "seed", "accuracy", "warned", "seconds")


def split(X, y, seed, test_size=1 / 3):
    """Split anew for each seed, since the sets are small."""
    X, X_test, y, y_test = train_test_split(
        X, y, test_size=test_size, stratify=y, random_state=seed
    )
    return X, y, X_test, y_test


def digits(n_classes, seed):
    return split(*load_digits(n_class=n_classes, return_X_y=True), seed)


def two_digits(seed, *, inverted=False):
    X, y = load_mnist(return_X_y=True)
    X, y = X[y < 2], y[y < 2]
    X = 255 - X if inverted else X
    start = 160 * seed
    return (
        X[start : start + 160],
        y[start : start + 160],
        X[2000:4000],
        y[2000:4000],
    )


def thousand(load, seed):
    X, y = load(return_X_y=True)
    part = slice(1000 * seed, 1000 * (seed + 1))
    return X[part], y[part], X[50_000:52_000], y[50_000:52_000]


def faces(seed):
    """Read scikit-image's faces, which are no requirement of skcaps."""
    from skimage.data import lfw_subset

    return split(lfw_subset(), np.repeat([1, 0], 100), seed, test_size=80)


def table(load, seed):
    X, y = load(return_X_y=True)
    X, y, X_test, y_test = split(X, y, seed)
    scaler = MinMaxScaler().fit(X)
    return scaler.transform(X), y, scaler.transform(X_test), y_test


def binary(seed):
    X, y, X_test, y_test = digits(10, seed)
    return (X > 7).astype(np.uint8), y, (X_test > 7).astype(np.uint8), y_test


def hot_pixel(seed):
    X, y, X_test, y_test = digits(10, seed)
    X, X_test = X / 16, X_test / 16
    X[0, 0] = 100
    return X, y, X_test, y_test


def coloured(n_colours, seed):
    """Make classes of scikit-learn's digits, 16x16, in one of some colours."""
    X, y = load_digits(return_X_y=True)
    palette = np.array(
        [[1, 0, 0], [0, 0, 1], [0, 1, 0], [1, 1, 0], [0, 1, 1], [1, 0, 1]]
    )
    colour = np.random.default_rng(seed).integers(n_colours, size=len(y))
    large = X.reshape(-1, 8, 8).repeat(2, axis=1).repeat(2, axis=2)
    return split(
        large[:, None] * palette[colour][:, :, None, None],
        y * n_colours + colour,
        seed,
    )


def synthetic(n_classes, seed):
    """Make 30 noisy copies of a random pattern for each class."""
    rng = np.random.default_rng(seed)
    patterns = rng.random((n_classes, 12, 12))
    y = np.repeat(np.arange(n_classes), 30)
    return split(patterns[y] + rng.normal(0, 0.5, (len(y), 12, 12)), y, seed)


SETS = {
    **{
        f"digits, {n} classes": (lambda seed, n=n: digits(n, seed))
        for n in (2, 3, 4, 5, 7, 10)
    },
    "MNIST 0 and 1": two_digits,
    "MNIST 0 and 1, inverted": lambda seed: two_digits(seed, inverted=True),
    "face or not": faces,
    "breast cancer": lambda seed: table(load_breast_cancer, seed),
    "wine": lambda seed: table(load_wine, seed),
    "iris": lambda seed: table(load_iris, seed),
    "binary digits, uint8": binary,
    "one hot pixel": hot_pixel,
    "coloured digits, 20 classes": lambda seed: coloured(2, seed),
    "coloured digits, 60 classes": lambda seed: coloured(6, seed),
    "patterns, 20 classes": lambda seed: synthetic(20, seed),
    "patterns, 60 classes": lambda seed: synthetic(60, seed),
    "MNIST, one epoch": lambda seed: thousand(load_mnist, seed),
    "Fashion-MNIST, one epoch": lambda seed: thousand(load_fashion_mnist, seed),
}


def linear(random_state, max_epochs=None):
    """Make logistic regression, by the call that the others have."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def cnn(architecture, max_epochs=20, **options):
    def make(random_state, max_epochs=max_epochs):
        return CNNClassifier(
            architecture=architecture,
            max_epochs=max_epochs,
            random_state=random_state,
            **options,
        )

    return make


def capsules(kind, **options):
    return lambda random_state, **given: kind(
        random_state=random_state, **options, **given
    )


MODELS = {
    "CapsNet": capsules(CapsNetClassifier),
    "Efficient-CapsNet": capsules(EfficientCapsNetClassifier),
    # CapsNet's trunk, batches and epochs, and dense layers of as many weights; its rate
    # was not searched.
    "CNN as large as CapsNet": cnn("large", batch_size=32, learning_rate=5e-4),
    # Efficient-CapsNet's trunk, batches, epochs and rate, and dense layers of as many
    # weights.
    "CNN as large as Efficient-CapsNet": cnn("small", max_epochs=30),
    "plain CNN": cnn("plain", batch_size=32, learning_rate_decay=1.0),
    "logistic regression": linear,
}
for short, kind in {
    "CapsNet": CapsNetClassifier,
    "Efficient": EfficientCapsNetClassifier,
}.items():
    for routing in ("dynamic", "self_attention", "uniform", "learned"):
        for hidden in ((), ((16, 8),)):
            for decoder in ("dense", "conv"):
                name = f"{short}, {routing}, {len(hidden)} hidden, {decoder}"
                MODELS[name] = capsules(
                    kind, routing=routing, hidden_capsules=hidden, decoder=decoder
                )


def measure(set_name, model, seed):
    seed = int(seed)
    X, y, X_test, y_test = SETS[set_name](seed)
    given = {"max_epochs": 1} if "one epoch" in set_name else {}
    flatten = model == "logistic regression"
    classifier = MODELS[model](random_state=seed, **given)
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        classifier.fit(X.reshape(len(X), -1) if flatten else X, y)
    seconds = time.perf_counter() - start
    X_test = X_test.reshape(len(X_test), -1) if flatten else X_test
    warned = any("learned nothing" in str(found.message) for found in caught)
    accuracy = float(np.mean(classifier.predict(X_test) == y_test))
    return f"{accuracy:.4f}", int(warned), f"{seconds:.1f}"


def write_table(measured, path):
    models = list(dict.fromkeys(row["model"] for row in measured))
    lines = [
        "| held-out accuracy, lowest / mean (seeds) | " + " | ".join(models) + " |",
        "|---" * (len(models) + 1) + "|",
    ]
    for name in dict.fromkeys(row["set"] for row in measured):
        cells = []
        for model in models:
            found = [
                float(row["accuracy"])
                for row in measured
                if (row["set"], row["model"]) == (name, model)
            ]
            cells.append(
                f"{min(found):.3f} / {statistics.mean(found):.3f} ({len(found)})"
                if found
                else ""
            )
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    write_whole(path, ("\n".join(lines) + "\n").encode())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument(
        "--models", nargs="+", default=list(MODELS)[:6], choices=list(MODELS)
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--name", default="defaults", help="of the files written")
    arguments = parser.parse_args()
    path = RESULTS / f"{arguments.name}.csv"
    for seed in arguments.seeds:
        for set_name in arguments.sets:
            for model in arguments.models:
                rows.add(path, FIELDS, (set_name, model, str(seed)), measure)
    write_table(rows.read(path), path.with_suffix(".md"))


if __name__ == "__main__":
    if "SKCAPS_DATA" not in os.environ:
        print("SKCAPS_DATA is not set: MNIST and Fashion-MNIST are downloaded.")
    main()
