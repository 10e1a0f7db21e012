"""Measure whether decoders reconstruct images better than the means of their classes.

Classifiers have their default parameters but for the decoder and its weight: "auto", by
the mean over an image, or the papers' 0.0005 for its sum, which is the same at 28x28.
Errors are sums of squared differences of values from 0 to 1, a mean over the images,
and the means of the classes are those of the training images. A decoder that died has
the error of a black image and the largest value 0. Rows that are in the CSV file are
not measured again.
"""

import argparse
import itertools
from pathlib import Path

import numpy as np
import rows
from files import write_whole
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skcaps import CapsNetClassifier, EfficientCapsNetClassifier
from skcaps.datasets import load_mnist

PATH = Path(__file__).parent / "results" / "learning" / "decoders.csv"
CLASSIFIERS = {
    "CapsNet": CapsNetClassifier,
    "Efficient-CapsNet": EfficientCapsNetClassifier,
}
FIELDS = (
    "set",
    "model",
    "decoder",
    "weight",
    "seed",
    "error_train",
    "class_means_train",
    "error",
    "class_means",
    "black",
    "largest",
    "accuracy",
)


def digits(seed):
    X, y = load_digits(return_X_y=True)
    return split(X / 16, y, seed)


def mnist(seed):
    X, y = load_mnist(return_X_y=True)
    start = 1500 * seed
    return split(X[start : start + 1500] / 255, y[start : start + 1500], seed)


def squares(size, seed, n_images=300):
    """Make colour images of one square, anywhere, whose colour is the class."""
    rng = np.random.default_rng(seed)
    images = np.zeros((n_images, 3, size, size))
    y = rng.integers(3, size=n_images)
    corners = rng.integers(size - size // 4, size=(n_images, 2))
    for image, colour, (top, left) in zip(images, y, corners, strict=True):
        image[colour, top : top + size // 4, left : left + size // 4] = 1
    return split(images, y, seed)


def split(X, y, seed):
    return train_test_split(X, y, test_size=1 / 3, stratify=y, random_state=seed)


SETS = {
    "digits, 8x8": digits,
    "MNIST, 28x28": mnist,
    "colour, 20x20": lambda seed: squares(20, seed),
    "colour, 64x64": lambda seed: squares(64, seed),
}


def squared_error(images, others):
    difference = (images - others).reshape(len(images), -1)
    return np.square(difference).sum(axis=1).mean()


def measure(set_name, model, decoder, weight, seed):
    seed = int(seed)
    weight = weight if weight == "auto" else float(weight)
    X, X_test, y, y_test = SETS[set_name](seed)
    classifier = CLASSIFIERS[model](
        decoder=decoder, reconstruction_weight=weight, random_state=seed
    ).fit(X, y)
    means = np.stack([X[y == label].mean(axis=0) for label in np.unique(y)])
    decoded = classifier.reconstruct(X_test, y_test)
    found = (
        squared_error(X, classifier.reconstruct(X, y)),
        squared_error(X, means[y]),
        squared_error(X_test, decoded),
        squared_error(X_test, means[y_test]),
        squared_error(X_test, np.zeros_like(X_test)),
        decoded.max(),
        classifier.score(X_test, y_test),
    )
    return [f"{value:.3f}" for value in found]


def write_table(measured):
    header = (
        "set",
        "network",
        "decoder",
        "weight",
        "seed",
        "error of training images",
        "class means",
        "error of others",
        "class means",
        "black",
        "largest value",
        "accuracy",
    )
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    lines += [
        "| " + " | ".join(row[name] for name in FIELDS) + " |" for row in measured
    ]
    write_whole(PATH.with_suffix(".md"), ("\n".join(lines) + "\n").encode())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--decoders", nargs="+", default=["dense", "conv"])
    parser.add_argument("--weights", nargs="+", default=["auto", "0.0005"])
    parser.add_argument("--seeds", nargs="+", default=["0", "1"])
    arguments = parser.parse_args()
    for key in itertools.product(
        arguments.sets,
        CLASSIFIERS,
        arguments.decoders,
        arguments.weights,
        arguments.seeds,
    ):
        rows.add(PATH, FIELDS, key, measure)
    write_table(rows.read(PATH))


if __name__ == "__main__":
    main()
