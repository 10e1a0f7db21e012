"""Compare every routing on one trunk, that of Efficient-CapsNet, with all defaults.

Scikit-learn's digits in five folds, with the same folds, trunk, loss and steps for each
routing. The entropy is `coupling_entropy`: 1 where the routing decides nothing. Rows
that are in the CSV file already are not measured again. The picture shows the couplings
of one held-out image.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import rows
from files import write_whole
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold

from skcaps import EfficientCapsNetClassifier
from skcaps.nn import ROUTINGS

FOLDER = Path(__file__).parent / "results" / "learning"
PATH = FOLDER / "routings-digits.csv"
FIELDS = ("routing", "fold", "accuracy", "log_loss", "entropy", "predict_ms", "size")
IMAGE = 3


def split(fold):
    """Return training and held-out images and labels of a fold."""
    X, y = load_digits(return_X_y=True)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    train, test = list(folds.split(X, y))[int(fold)]
    return X[train], y[train], X[test], y[test]


def measure(routing, fold):
    X, y, X_test, y_test = split(fold)
    classifier = EfficientCapsNetClassifier(routing=routing, random_state=int(fold))
    classifier.fit(X, y)
    start = time.perf_counter()
    proba = classifier.predict_proba(X_test)
    seconds = time.perf_counter() - start
    return (
        f"{np.mean(proba.argmax(axis=1) == y_test):.4f}",
        f"{log_loss(y_test, proba):.4f}",
        f"{classifier.coupling_entropy(X_test).mean():.3f}",
        f"{1e3 * seconds / len(X_test):.3f}",
        classifier.n_parameters_,
    )


def write_table(measured):
    header = ("routing", "accuracy", "log loss", "entropy", "ms an image", "parameters")
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    for routing in ROUTINGS:
        found = [row for row in measured if row["routing"] == routing]
        if found:
            lines.append(f"| `{routing}` | {' | '.join(_summary(found))} |")
    write_whole(PATH.with_suffix(".md"), ("\n".join(lines) + "\n").encode())


def _summary(found):
    def mean(name):
        return statistics.fmean(float(row[name]) for row in found)

    accuracies = [float(row["accuracy"]) for row in found]
    spread = statistics.stdev(accuracies) if len(found) > 1 else 0
    return (
        f"{mean('accuracy'):.4f} ± {spread:.4f}",
        f"{mean('log_loss'):.3f}",
        f"{mean('entropy'):.2f}",
        f"{mean('predict_ms'):.2f}",
        f"{int(found[0]['size']):,}",
    )


def draw(path):
    """Draw which classes the capsules of one image are sent to, by each routing."""
    X, y, X_test, y_test = split(0)
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    axes = figure.subplots(2, len(ROUTINGS) // 2 + 1)
    first, *others = axes.flat
    first.imshow(X_test[IMAGE].reshape(8, 8), cmap="gray_r")
    first.set(title=f"held-out {y_test[IMAGE]}", xticks=[], yticks=[])
    for axis, routing in zip(others, ROUTINGS, strict=False):
        classifier = EfficientCapsNetClassifier(routing=routing, random_state=0)
        couplings = classifier.fit(X, y).couplings(X_test[IMAGE : IMAGE + 1])[0]
        shown = axis.imshow(couplings, vmin=0, vmax=1, aspect="auto", cmap="viridis")
        axis.set(title=routing, xticks=range(0, 10, 3), yticks=[0, 15])
    for axis in others[len(ROUTINGS) :]:
        axis.axis("off")
    figure.supxlabel("class")
    figure.supylabel("primary capsule")
    figure.colorbar(shown, ax=axes, label="coupling", shrink=0.8)
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--routings", nargs="+", default=list(ROUTINGS))
    parser.add_argument("--folds", nargs="+", default=list("01234"))
    parser.add_argument("--picture", action="store_true", help="draw it as well")
    arguments = parser.parse_args()
    for fold in arguments.folds:
        for routing in arguments.routings:
            rows.add(PATH, FIELDS, (routing, fold), measure)
    write_table(rows.read(PATH))
    if arguments.picture:
        draw(PATH.with_suffix(".png"))


if __name__ == "__main__":
    main()
