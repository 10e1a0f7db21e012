"""Measure how far the probabilities of held-out images can be believed, by four rules.

Lengths over their sum, `predict_proba`, and both a `CalibratedClassifierCV` with one
number, a temperature: that of the lengths, which are the scores that it takes from a
classifier, and that of the logarithms of `predict_proba`. It is found on four fifths of
the held-out images for the last fifth. All images come from the training files. The
calibration error is that of the class predicted: the difference between its probability
and how often it is right, a mean over 15 bins of equal width, weighted by their images.
Needs scikit-learn 1.8. Rows that are in the CSV file already are not measured again.
"""

import argparse
import functools
import io
import statistics
from pathlib import Path

import numpy as np
import rows
from files import write_whole
from matplotlib.figure import Figure
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_predict, train_test_split

from skcaps import CapsNetClassifier, EfficientCapsNetClassifier
from skcaps.datasets import load_fashion_mnist, load_mnist

PATH = Path(__file__).parent / "results" / "probabilities" / "probabilities.csv"
FIELDS = (
    "set",
    "model",
    "loss",
    "seed",
    "rule",
    "accuracy",
    "log_loss",
    "calibration_error",
    # One number for each bin: images, the sum of their probabilities, how many are
    # right.
    "images",
    "expected",
    "right",
)
MEANS = {
    "accuracy": "accuracy",
    "log_loss": "log loss",
    "calibration_error": "calibration error",
}
N_BINS = 15
# Fewer images in a bin make no dot.
LEAST = 20


def digits(seed):
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(
        X, y, test_size=1 / 3, stratify=y, random_state=seed
    )
    return X, y, X_test, y_test


def five_thousand(load):
    X, y = load(return_X_y=True)
    return X[:5000], y[:5000], X[50_000:], y[50_000:]


SETS = {
    "digits": digits,
    "MNIST": lambda seed: five_thousand(load_mnist),
    "Fashion-MNIST": lambda seed: five_thousand(load_fashion_mnist),
}
MODELS = {
    "CapsNet": CapsNetClassifier,
    "Efficient-CapsNet": EfficientCapsNetClassifier,
}
CASES = (
    ("digits", "Efficient-CapsNet", "margin"),
    ("digits", "CapsNet", "margin"),
    ("MNIST", "Efficient-CapsNet", "margin"),
    ("Fashion-MNIST", "Efficient-CapsNet", "margin"),
    ("digits", "Efficient-CapsNet", "cross_entropy"),
)


def share_of_sum(classifier, X, y):
    lengths = classifier.lengths(X)
    return lengths / lengths.sum(axis=1, keepdims=True)


class ProbabilitiesAlone(ClassifierMixin, BaseEstimator):
    """A fitted classifier without scores, which would be what is calibrated."""

    def __init__(self, classifier):
        self.classifier = classifier
        self.classes_ = classifier.classes_

    def fit(self, X, y):
        """Be taken for an estimator."""
        return self

    def predict(self, X):
        return self.classifier.predict(X)

    def predict_proba(self, X):
        return self.classifier.predict_proba(X)


def calibrated(classifier, X, y):
    """Calibrate on parts of the images for the others; the network stays as it is."""
    calibrator = CalibratedClassifierCV(
        FrozenEstimator(classifier), method="temperature"
    )
    found = cross_val_predict(calibrator, X, y, method="predict_proba")
    # Computed as float32, returned as float64, whose sums are not close enough to one
    # for log_loss.
    return found.astype(np.float32)


RULES = {
    "lengths / sum": share_of_sum,
    "predict_proba": lambda classifier, X, y: classifier.predict_proba(X),
    "calibrated lengths": calibrated,
    "calibrated predict_proba": lambda classifier, X, y: calibrated(
        ProbabilitiesAlone(classifier), X, y
    ),
}
COLOURS = {
    "lengths / sum": "C1",
    "predict_proba": "C0",
    "calibrated predict_proba": "C2",
}


@functools.lru_cache(maxsize=1)
def train(set_name, model, loss, seed):
    X, y, X_test, y_test = SETS[set_name](seed)
    classifier = MODELS[model](loss=loss, random_state=seed).fit(X, y)
    return classifier, X_test, y_test


def sum_bins(probabilities, right):
    """Return images, sum of probabilities and number of right ones of each bin."""
    bins = np.minimum((probabilities * N_BINS).astype(int), N_BINS - 1)
    return [
        np.bincount(bins, weights, minlength=N_BINS)
        for weights in (None, probabilities, right)
    ]


def measure(set_name, model, loss, seed, rule):
    classifier, X, y = train(set_name, model, loss, int(seed))
    probabilities = RULES[rule](classifier, X, y)
    right = probabilities.argmax(axis=1) == y
    images, expected, n_right = sum_bins(probabilities.max(axis=1), right)
    return (
        f"{right.mean():.4f}",
        f"{log_loss(y, probabilities):.4f}",
        f"{np.abs(n_right - expected).sum() / len(y):.4f}",
        " ".join(str(count) for count in images),
        " ".join(f"{total:.2f}" for total in expected),
        " ".join(f"{count:.0f}" for count in n_right),
    )


def select(measured, case, rule):
    """Return the rows of all seeds."""
    key = (*case, rule)
    return [
        row
        for row in measured
        if (row["set"], row["model"], row["loss"], row["rule"]) == key
    ]


def make_table(measured):
    """Return means over the seeds, one line for each rule of each network."""
    header = ("images", "network", "rule", "seeds", *MEANS.values())
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    for case in CASES:
        for rule in RULES:
            if found := select(measured, case, rule):
                means = (
                    f"{statistics.mean(float(row[field]) for row in found):.3f}"
                    for field in MEANS
                )
                cells = (case[0], describe(case), rule, str(len(found)), *means)
                lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def describe(case):
    """Return the network, and its loss if that is not the default one."""
    _, model, loss = case
    return model if loss == "margin" else f"{model}, {loss.replace('_', ' ')}"


def draw(measured):
    """Draw how often the predicted class is right over its probability, by bins."""
    figure = Figure(figsize=(9, 6.2), layout="constrained")
    *panels, corner = figure.subplots(2, 3, sharex=True, sharey=True).flat
    for ax, case in zip(panels, CASES, strict=True):
        ax.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1)
        for rule, colour in COLOURS.items():
            if found := select(measured, case, rule):
                draw_rule(ax, found, colour)
        ax.set_title(f"{case[0]}\n{describe(case)}", fontsize=10)
        ax.grid(alpha=0.3)
    for rule, colour in COLOURS.items():
        corner.plot([], [], "o-", color=colour, label=rule)
    corner.plot([], [], "--", color="0.6", label="as often as it says")
    corner.legend(loc="center", frameon=False)
    corner.axis("off")
    for ax in panels[::3]:
        ax.set_ylabel("how often it is right")
    for ax in panels[-3:]:
        ax.set_xlabel("probability of the predicted class")
        ax.tick_params(labelbottom=True)
    return figure


def draw_rule(ax, found, colour):
    """Draw a dot for each bin, with an area that grows with its share of the images."""
    images, expected, right = (
        np.sum([np.array(row[field].split(), float) for row in found], axis=0)
        for field in ("images", "expected", "right")
    )
    shares = images / images.sum()
    enough = images >= LEAST
    x, y = expected[enough] / images[enough], right[enough] / images[enough]
    ax.plot(x, y, color=colour, alpha=0.6, linewidth=1)
    ax.scatter(x, y, 6 + 150 * shares[enough], color=colour, alpha=0.8, linewidths=0)


def write(measured):
    write_whole(PATH.with_suffix(".md"), make_table(measured).encode())
    file = io.BytesIO()
    draw(measured).savefig(file, format="png", dpi=100, metadata={"Software": None})
    write_whole(PATH.with_suffix(".png"), file.getvalue())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        for case in CASES:
            if case[0] not in arguments.sets:
                continue
            for rule in RULES:
                rows.add(PATH, FIELDS, (*case, str(seed), rule), measure)
    write(rows.read(PATH))


if __name__ == "__main__":
    main()
