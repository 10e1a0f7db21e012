"""Measure the accuracy of both classifiers with their default parameters.

``--validate`` trains on a part of the training images and scores another part of
them: every choice is made that way. Without it the test images are read, once, and the
result takes the place of the last one in a file, from which the table is written again.
"""

import argparse
import ast
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import jsonl
import numpy as np
from files import write_whole
from settings import describe_machine
from skorch.callbacks import Callback

from skcaps import CapsNetClassifier, EfficientCapsNetClassifier
from skcaps.datasets import load_fashion_mnist, load_mnist

PATH = Path(__file__).parent / "results" / "accuracy" / "accuracy.jsonl"
N_VALIDATION = 5000


@dataclass(frozen=True)
class Experiment:
    """What is trained on what, for how many epochs."""

    title: str
    classifier: type
    load: object
    max_epochs: int
    n_train: int = 60_000


EXPERIMENTS = {
    "mnist-efficient": Experiment(
        "MNIST, Efficient-CapsNet", EfficientCapsNetClassifier, load_mnist, 10
    ),
    "mnist-10k-capsnet": Experiment(
        "MNIST, first 10,000 training images, CapsNet",
        CapsNetClassifier,
        load_mnist,
        8,
        n_train=10_000,
    ),
    "fashion-efficient": Experiment(
        "Fashion-MNIST, Efficient-CapsNet",
        EfficientCapsNetClassifier,
        load_fashion_mnist,
        10,
    ),
}


class PrintEpoch(Callback):
    """Print one line for each epoch."""

    def on_epoch_end(self, net, **kwargs):
        """Print what the epoch reached."""
        row = net.history[-1]
        print(
            f"epoch {row['epoch']:2d}/{net.max_epochs}  loss {row['train_loss']:.4f}  "
            f"accuracy {row['train_accuracy']:.4f}  {row['dur']:.0f} s",
            flush=True,
        )


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiments", nargs="+", choices=[*EXPERIMENTS, "all"])
    parser.add_argument("--validate", action="store_true")
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="parameters to try, only with --validate",
    )
    parser.add_argument("--random-state", type=int, default=0)
    parser.add_argument("--data-home", help="by default SKCAPS_DATA")
    arguments = parser.parse_args()
    if arguments.set and not arguments.validate:
        parser.error("--set needs --validate: the test images see defaults only")
    return arguments


def make_classifier(experiment, arguments):
    given = {"max_epochs": experiment.max_epochs}
    for assignment in arguments.set:
        name, value = assignment.split("=", 1)
        given[name] = ast.literal_eval(value)
    return experiment.classifier(
        random_state=arguments.random_state, callbacks=[PrintEpoch()], **given
    )


def split_training_images(experiment, arguments):
    """Return training and validation images, both from the training set."""
    X, y = experiment.load(data_home=arguments.data_home, return_X_y=True)
    n_train = min(experiment.n_train, len(X) - N_VALIDATION)
    valid = slice(len(X) - N_VALIDATION, None)
    return X[:n_train], y[:n_train], X[valid], y[valid]


def load_both_sets(experiment, arguments):
    """Return the experiment's training images and the test images."""
    X, y = experiment.load(data_home=arguments.data_home, return_X_y=True)
    X_test, y_test = experiment.load(
        subset="test", data_home=arguments.data_home, return_X_y=True
    )
    return X[: experiment.n_train], y[: experiment.n_train], X_test, y_test


def measure(experiment, arguments):
    """Train, score, and give what a reader needs to judge the figure."""
    load = split_training_images if arguments.validate else load_both_sets
    X, y, X_scored, y_scored = load(experiment, arguments)
    classifier = make_classifier(experiment, arguments)
    start = time.perf_counter()
    classifier.fit(X, y)
    seconds = time.perf_counter() - start
    wrong = int(np.sum(classifier.predict(X_scored) != y_scored))
    part = "validation" if arguments.validate else "test"
    print(
        f"{experiment.title}: {wrong} of {len(y_scored)} {part} images wrong, error "
        f"{100 * wrong / len(y_scored):.2f} %, fitted in {seconds:.0f} s",
        flush=True,
    )
    durations = [row["duration"] for row in classifier.history_]
    return {
        "n_train": len(y),
        "n_test": len(y_scored),
        "wrong": wrong,
        "epochs": len(durations),
        "epoch_seconds": round(statistics.median(durations), 1),
        "fit_seconds": round(seconds, 1),
        "n_parameters": classifier.n_parameters_,
        "parameters": describe_parameters(classifier),
        "machine": describe_machine(),
    }


def describe_parameters(classifier):
    params = classifier.get_params(deep=False)
    return {name: value for name, value in params.items() if name != "callbacks"}


def keep(name, found):
    """Put a result in the place of the last one of its experiment."""
    rows = {row["name"]: row for row in jsonl.read(PATH)}
    rows[name] = {"name": name, **found}
    jsonl.write(PATH, rows.values())


def make_table(rows):
    rows = {row["name"]: row for row in rows}
    lines = [
        "| data and network | trained on | epochs | test error | accuracy | an epoch |",
        "|---|---|---|---|---|---|",
    ]
    for name, experiment in EXPERIMENTS.items():
        if name in rows:
            found = rows[name]
            share = found["wrong"] / found["n_test"]
            lines.append(
                f"| {experiment.title} | {found['n_train']:,} | {found['epochs']} "
                f"| {100 * share:.2f} % | {1 - share:.4f} "
                f"| {found['epoch_seconds']:.0f} s |"
            )
    return "\n".join(lines) + "\n"


def main():
    arguments = parse_arguments()
    chosen = arguments.experiments
    for name in EXPERIMENTS if "all" in chosen else chosen:
        print(f"\n{name}", flush=True)
        found = measure(EXPERIMENTS[name], arguments)
        if not arguments.validate:
            keep(name, found)
            table = make_table(jsonl.read(PATH))
            write_whole(PATH.with_name("table.md"), table.encode())


if __name__ == "__main__":
    main()
