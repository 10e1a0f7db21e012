"""Train both classifiers on small images and draw what their capsules hold."""

import argparse
import os
import time
from pathlib import Path

import joblib
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    cross_validate,
    train_test_split,
)

from skcaps import CapsNetClassifier, EfficientCapsNetClassifier
from skcaps.datasets import load_fashion_mnist, load_mnist
from skcaps.inspection import PoseSweepDisplay, ReconstructionDisplay

matplotlib.use("Agg")

CLASSIFIERS = {
    "CapsNet": CapsNetClassifier,
    "Efficient-CapsNet": EfficientCapsNetClassifier,
}
MNIST_LIKE = {"mnist": load_mnist, "fashion-mnist": load_fashion_mnist}
MNIST_EPOCHS = 5
FIRST_EPOCHS = 6
GRID_EPOCHS = 5
GRID_SAMPLES = 450
# Networks for images as small as the digits leave a second core idle.
N_JOBS = 2
DIMENSIONS_SHOWN = 6


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=["digits", *MNIST_LIKE], default="digits")
    parser.add_argument(
        "--data-home",
        help="folder that holds the folders mnist and fashion-mnist; by default the "
        "environment variable SKCAPS_DATA",
    )
    parser.add_argument(
        "--epochs",
        type=int,
        help=f"by default the estimators' own, for MNIST and the like {MNIST_EPOCHS}",
    )
    parser.add_argument(
        "--n-train", type=int, help="training images of MNIST; by default all"
    )
    parser.add_argument(
        "--folds",
        type=int,
        help="cross-validate on the digits in so many parts; else one is held out",
    )
    parser.add_argument("--output", type=Path, default=Path("demo_output"))
    return parser.parse_args()


def make_classifier(name, epochs, verbose):
    given = {} if epochs is None else {"max_epochs": epochs}
    return CLASSIFIERS[name](random_state=0, verbose=verbose, **given)


def cross_validated(name, X, y, arguments):
    """Print the accuracy; give the last fold's classifier and its held-out images."""
    folds = StratifiedKFold(arguments.folds, shuffle=True, random_state=0)
    found = cross_validate(
        make_classifier(name, arguments.epochs, verbose=0),
        X,
        y,
        cv=folds,
        n_jobs=N_JOBS,
        verbose=2,
        return_estimator=True,
        return_indices=True,
    )
    scores, seconds = found["test_score"], found["fit_time"]
    print(
        f"{name}: accuracy {scores.mean():.4f} +- {scores.std():.4f} in "
        f"{arguments.folds} folds, "
        f"{seconds.mean():.1f} seconds per fit"
    )
    held_out = found["indices"]["test"][-1]
    return found["estimator"][-1], X[held_out], y[held_out]


def search_iterations(X, y, epochs):
    """Print a grid search over the routing iterations, on a part of the images."""
    search = GridSearchCV(
        CapsNetClassifier(max_epochs=epochs or GRID_EPOCHS, random_state=0),
        {"routing_iterations": [1, 2, 3]},
        cv=3,
        refit=False,
        n_jobs=N_JOBS,
        verbose=2,
    )
    X, _, y, _ = train_test_split(
        X, y, train_size=min(GRID_SAMPLES, len(X) - 100), stratify=y, random_state=0
    )
    results = search.fit(X, y).cv_results_
    print(f"\nGrid search with {len(X)} images, {search.estimator.max_epochs} epochs:")
    print("routing_iterations  accuracy           seconds per fit")
    for iterations, mean, std, seconds in zip(
        results["param_routing_iterations"],
        results["mean_test_score"],
        results["std_test_score"],
        results["mean_fit_time"],
        strict=True,
    ):
        print(f"{iterations:<20}{mean:.4f} +- {std:.4f}   {seconds:.1f}")


def held_out_score(name, X, y, epochs):
    """Print the accuracy on a tenth of the training images; give the classifier."""
    X_train, X_valid, y_train, y_valid = train_test_split(
        X, y, test_size=0.1, stratify=y, random_state=0
    )
    start = time.perf_counter()
    classifier = make_classifier(name, epochs, verbose=1).fit(X_train, y_train)
    seconds = time.perf_counter() - start
    print(
        f"{name}: accuracy {classifier.score(X_valid, y_valid):.4f} on "
        f"{len(y_valid)} held-out images, fitted in {seconds:.1f} seconds"
    )
    return classifier, X_valid, y_valid


def save_and_load(classifier, X, path):
    joblib.dump(classifier, path)
    loaded = joblib.load(path)
    same = np.array_equal(loaded.predict_proba(X), classifier.predict_proba(X))
    print(
        f"\nSaved and loaded {path}, {os.path.getsize(path) / 1e6:.1f} MB; "
        f"predict_proba is {'identical' if same else 'DIFFERENT'}"
    )


def first_of_each_class(y):
    return np.unique(y, return_index=True)[1]


def write_figure(figure, path):
    figure.savefig(path, dpi=150)
    plt.close(figure)
    print(f"Wrote {path}")


def draw_reconstructions(fitted, path):
    figure, axes = plt.subplots(
        len(fitted),
        figsize=(7.5, 2.15 * len(fitted)),
        layout="constrained",
        squeeze=False,
    )
    for ax, (name, (classifier, X, y)) in zip(axes[:, 0], fitted.items(), strict=True):
        shown = first_of_each_class(y)
        ReconstructionDisplay.from_estimator(classifier, X[shown], y[shown], ax=ax)
        ax.set_title(f"{name}: held-out images, reconstructed from one capsule each")
    write_figure(figure, path)


def draw_pose_sweep(name, classifier, X, y, path):
    display = PoseSweepDisplay.from_estimator(
        classifier, X[:1], y[:1], n_dimensions=DIMENSIONS_SHOWN
    )
    display.ax_.set_title(
        f"{name}: one image, and the {DIMENSIONS_SHOWN} dimensions of its pose "
        "that change it most"
    )
    write_figure(display.figure_, path)


def draw_figures(fitted, output):
    draw_reconstructions(fitted, output / "reconstructions.png")
    name = next(iter(fitted))
    draw_pose_sweep(name, *fitted[name], output / "pose_sweep.png")


def first_look(X, y, output):
    """Train for a few seconds, print the accuracy and write a picture."""
    X_train, X_valid, y_train, y_valid = train_test_split(
        X, y, test_size=0.2, stratify=y, random_state=0
    )
    name = "Efficient-CapsNet"
    classifier = make_classifier(name, FIRST_EPOCHS, verbose=1).fit(X_train, y_train)
    print(
        f"{name}, {FIRST_EPOCHS} epochs: accuracy "
        f"{classifier.score(X_valid, y_valid):.4f} on {len(y_valid)} held-out images"
    )
    fitted = {name: (classifier, X_valid, y_valid)}
    draw_reconstructions(fitted, output / "reconstructions.png")


def run_digits(arguments):
    X, y = load_digits(return_X_y=True)
    print(f"scikit-learn's digits: {len(X)} images of 8x8 pixels\n")
    first_look(X, y, arguments.output)
    print("\nBoth networks, with all their epochs:")
    if arguments.folds:
        fitted = {name: cross_validated(name, X, y, arguments) for name in CLASSIFIERS}
    else:
        fitted = {
            name: held_out_score(name, X, y, arguments.epochs) for name in CLASSIFIERS
        }
    search_iterations(X, y, arguments.epochs)
    return fitted


def run_mnist(arguments):
    load = MNIST_LIKE[arguments.data]
    X, y = load(data_home=arguments.data_home, return_X_y=True)
    if arguments.n_train is not None and arguments.n_train < len(X):
        X, _, y, _ = train_test_split(
            X, y, train_size=arguments.n_train, stratify=y, random_state=0
        )
    print(f"{arguments.data}: {len(X)} training images of 28x28 pixels\n")
    epochs = arguments.epochs or MNIST_EPOCHS
    return {name: held_out_score(name, X, y, epochs) for name in CLASSIFIERS}


def score_test_images(fitted, arguments):
    load = MNIST_LIKE[arguments.data]
    X, y = load(subset="test", data_home=arguments.data_home, return_X_y=True)
    print()
    for name, (classifier, _, _) in fitted.items():
        print(f"{name}: accuracy {classifier.score(X, y):.4f} on {len(y)} test images")


def main():
    arguments = parse_arguments()
    arguments.output.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    fitted = (run_digits if arguments.data == "digits" else run_mnist)(arguments)
    classifier, X, _ = next(iter(fitted.values()))
    save_and_load(classifier, X, arguments.output / "capsnet.joblib")
    draw_figures(fitted, arguments.output)
    if arguments.data in MNIST_LIKE:
        score_test_images(fitted, arguments)
    print(f"\n{time.perf_counter() - start:.0f} seconds in all")


if __name__ == "__main__":
    main()
