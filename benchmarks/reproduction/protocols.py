"""How each kind of experiment trains and what it measures.

Each protocol trains on training images, looks at held-out training images, and reads
the test images once, after that.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from reproduction import data
from reproduction.matching import StopAtAccuracy
from reproduction.metrics import (
    anomaly_auc,
    error_percent,
    partial_error_percent,
    set_error_percent,
    top_two,
)
from reproduction.networks import NETWORKS

# The entropy of couplings is measured on the first test images.
N_ENTROPY = 1000


@dataclass(frozen=True)
class Run:
    """One cell of an experiment with one seed.

    Attributes
    ----------
    source : str
        Which images, see `reproduction.data`.
    cell : Cell
    profile : Profile
    seed : int
    machine : dict
        The classifiers' parameters `device` and `precision`.
    data_home : str or None
    """

    source: str
    cell: Any
    profile: Any
    seed: int
    machine: dict
    data_home: str | None

    def parameters(self):
        """Return the classifier's parameters: the cell's own come last."""
        return {
            "max_epochs": self.profile.epochs_of(self.cell),
            **self.profile.parameters.get(self.cell.network, {}),
            **self.cell.parameters,
            **self.machine,
            "random_state": self.seed,
        }

    def fit(self, X, y, given=None, **more):
        """Train the cell's classifier; return it and its sizes.

        A decoder takes what is given of the images that lie over each other.
        """
        classifier = NETWORKS[self.cell.network](**self.parameters(), **more)
        for callback in more.get("callbacks", ()):
            callback.classifier = classifier
        has_decoder = "decoder" in classifier.get_params()
        classifier.fit(X, y, **(given or {} if has_decoder else {}))
        return classifier, {
            "n_train": len(y),
            "n_parameters": classifier.n_parameters_,
        }

    def training(self):
        """Load the images to train on."""
        return data.load_training(self.source, self.profile, self.seed, self.data_home)

    def test(self, source=None):
        """Load the test images."""
        return data.load_test(source or self.source, self.profile, self.data_home)


def classify(run):
    """Measure the errors of one label for each image."""
    train = run.training()
    if run.cell.n_each is not None:
        n_each = min(run.cell.n_each, run.profile.n_each_max)
        train = data.take_of_each_class(train, n_each, run.seed)
    classifier, facts = run.fit(train.X, train.y)
    metrics = {"validation_error": _validation_error(classifier, train)}
    test = run.test()
    metrics["test_error"] = error_percent(test.y, classifier.predict(test.X))
    return {**facts, "test_data": test.description, "metrics": metrics}


def route(run):
    """Measure the errors and how evenly the routing spreads."""
    train = run.training()
    classifier, facts = run.fit(train.X, train.y)
    metrics = {"validation_error": _validation_error(classifier, train)}
    test = run.test()
    metrics["test_error"] = error_percent(test.y, classifier.predict(test.X))
    entropy = classifier.coupling_entropy(test.X[:N_ENTROPY])
    metrics["coupling_entropy"] = float(np.mean(entropy, dtype=np.float64))
    return {**facts, "test_data": test.description, "metrics": metrics}


def separate_digits(run):
    """Measure both published errors on two digits over each other."""
    digits = run.training()
    X, y, given = data.pair_digits(digits.X, digits.y, run.profile.n_pairs, run.seed)
    classifier, facts = run.fit(X, y, given)
    X, y, _ = data.pair_digits(
        digits.X_valid, digits.y_valid, len(digits.y_valid), run.seed
    )
    errors = _pair_errors(classifier, X, y)
    metrics = {f"validation_{name}": error for name, error in errors.items()}
    found, sizes = [], []
    for X_test, y_test in data.iter_test_pairs(run.profile, run.data_home):
        found.append(_pair_errors(classifier, X_test, y_test))
        sizes.append(len(y_test))
    for name in errors:
        values = [errors[name] for errors in found]
        metrics[f"test_{name}"] = float(np.average(values, weights=sizes))
    return {**facts, "test_data": f"{sum(sizes):,} test pairs", "metrics": metrics}


def stand_affine_maps(run):
    """Train on shifted digits to a wanted accuracy, then test on affine ones."""
    train = run.training()
    profile = run.profile
    stop = StopAtAccuracy(
        profile.wanted_accuracy, train.X_valid, train.y_valid, profile.n_between_scores
    )
    classifier, facts = run.fit(train.X, train.y, callbacks=[stop])
    metrics = {
        "validation_error": 100 * (1 - stop.found[-1]),
        "epochs": stop.n_seen / len(train.y),
        "reached": float(stop.is_reached),
    }
    clean, affine = run.test("shifted"), run.test()
    metrics["clean_error"] = error_percent(clean.y, classifier.predict(clean.X))
    metrics["affine_error"] = error_percent(affine.y, classifier.predict(affine.X))
    return {**facts, "test_data": affine.description, "metrics": metrics}


def find_anomalies(run):
    """Tell Fashion-MNIST from MNIST by reconstruction and by the longest capsule."""
    train = run.training()
    classifier, facts = run.fit(train.X, train.y)
    metrics = {"validation_error": _validation_error(classifier, train)}
    digits, clothes = run.test("mnist"), run.test("fashion")
    metrics["test_error"] = error_percent(digits.y, classifier.predict(digits.X))
    metrics["auc_reconstruction"] = anomaly_auc(
        classifier.reconstruction_error(digits.X),
        classifier.reconstruction_error(clothes.X),
    )
    metrics["auc_length"] = anomaly_auc(
        -classifier.lengths(digits.X).max(axis=1),
        -classifier.lengths(clothes.X).max(axis=1),
    )
    text = f"{digits.description} of MNIST, {clothes.description} of Fashion-MNIST"
    return {**facts, "test_data": text, "metrics": metrics}


PROTOCOLS = {
    "classify": classify,
    "route": route,
    "separate_digits": separate_digits,
    "stand_affine_maps": stand_affine_maps,
    "find_anomalies": find_anomalies,
}


def _validation_error(classifier, train):
    if train.X_valid is None:
        return None
    return error_percent(train.y_valid, classifier.predict(train.X_valid))


def _pair_errors(classifier, X, y):
    chosen = top_two(classifier.decision_function(X))
    return {
        "set_error": set_error_percent(y, chosen),
        "partial_error": partial_error_percent(y, chosen),
    }
