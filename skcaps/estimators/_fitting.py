"""From data to a trained network."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from inspect import signature
from typing import Any, NamedTuple

import numpy as np
import torch

from skcaps.estimators import _inputs
from skcaps.estimators._callbacks import EpochTasks, fit_task
from skcaps.estimators._checkpoint import Checkpoint, find_key
from skcaps.estimators._convergence import (
    FEW_IMAGES,
    check_output,
    find_fault,
    warn_of_fault,
)
from skcaps.estimators._dataset import ImageDataset, find_batch_size
from skcaps.estimators._fitted import FittedNetwork
from skcaps.estimators._initialization import INITIALIZATIONS
from skcaps.estimators._labels import as_classes, check_presence, find_labels
from skcaps.estimators._machine import (
    PRECISIONS,
    Machine,
    compile_if,
    draw_seed,
    isolated_random_state,
    warn_without_bfloat16,
)
from skcaps.estimators._objective import (
    Objective,
    Settings,
    find_loss,
    find_reconstruction_weight,
)
from skcaps.estimators._range import input_range, warn_of_drift, warn_of_outliers
from skcaps.estimators._sources import find_sources
from skcaps.estimators._training import KeepState, build_net
from skcaps.estimators._weights import find_weights
from skcaps.nn import calibrate

# Enough for means of whole layers, and as few as a training step takes.
_CALIBRATION_IMAGES = 64


class Recipe(NamedTuple):
    """What differs between kinds of estimators, on the way from data to a network.

    Attributes
    ----------
    start : callable
        Takes an estimator, the first data and maybe `classes`, decides all that depends
        on them, and returns the data set.
    go_on : callable
        Takes an estimator and later data, and returns the data set.
    find_settings : callable
        Takes an estimator, the data set and whether it is all data of a training;
        returns the settings of an objective.
    objective : type
        Made of settings.
    find_fault : callable
        Takes the network, the data set and the learning rate; returns what shows that
        nothing was learned, or None.
    """

    start: Callable[..., ImageDataset]
    go_on: Callable[..., ImageDataset]
    find_settings: Callable[..., Any]
    objective: Callable[[Any], Any]
    find_fault: Callable[..., str | None]


def fit(estimator, X, y, *beside) -> None:
    """Train an estimator for all its epochs."""
    recipe = estimator._recipe
    with kept_if_failing(estimator), torch.inference_mode(False):
        if estimator.warm_start and is_fitted(estimator):
            dataset = recipe.go_on(estimator, X, y, *beside)
        else:
            dataset = recipe.start(estimator, X, y, *beside)
        with (
            _random_state(estimator._fitted),
            fit_task(estimator, estimator.max_epochs) as context,
        ):
            _train_by_schedule(estimator, dataset, EpochTasks(estimator, context))
        with _random_state(estimator._fitted):
            rate = estimator.learning_rate
            fault = recipe.find_fault(estimator.network_, dataset, rate)
    # What was trained is kept, also where warnings are errors.
    warn_of_fault(fault, estimator.learning_rate)


def partial_fit(estimator, X, y, classes, *beside) -> None:
    """Train an estimator for one pass."""
    recipe = estimator._recipe
    if estimator.early_stopping:
        raise ValueError(
            "partial_fit cannot hold out samples; set early_stopping=False."
        )
    if estimator.class_weight == "balanced":
        raise ValueError(
            'class_weight="balanced" needs all samples at once, and partial_fit sees a '
            "part; pass the weights that compute_class_weight finds as a dict."
        )
    classes = _check_classes(estimator, classes)
    with kept_if_failing(estimator), torch.inference_mode(False):
        if is_fitted(estimator):
            dataset = recipe.go_on(estimator, X, y, *beside)
        else:
            dataset = recipe.start(estimator, X, y, *beside, classes=classes)
        with _random_state(estimator._fitted):
            _train_one_pass(estimator, dataset)
            batch = dataset.sample(FEW_IMAGES)
            check_output(estimator.network_, batch, estimator.learning_rate)


def is_fitted(estimator) -> bool:
    """Return whether an estimator has a network."""
    return "_fitted" in vars(estimator)


def describe_architecture(estimator) -> dict:
    """Return those arguments of the network's builder that are parameters."""
    params = estimator.get_params(deep=False)
    arguments = signature(estimator._build_network).parameters
    chosen = {name: params[name] for name in arguments if name in params}
    # The layout decides it.
    chosen.pop("image_shape")
    return chosen


def _start_with(estimator, X, y, sample_weight, sources, classes=None) -> ImageDataset:
    """Check the first images and labels, decide all that depends on them."""
    params = estimator.get_params(deep=False)
    machine = Machine.find(params)
    rows, y, layout = _inputs.check_fit_input(estimator, X, y)
    y, labels = find_labels(y, classes)
    loss = find_loss(estimator.loss, estimator.routing, labels)
    check_presence(loss, estimator.routing, labels)
    weights = find_weights(sample_weight, estimator.class_weight, rows, y)
    bounds = input_range(rows, weights)
    warn_of_outliers(rows, bounds, weights)
    encoded = labels.encode(y)
    dataset = ImageDataset(
        rows,
        encoded,
        weights,
        layout=layout,
        input_range=bounds,
        labels=labels,
        machine=machine,
        sources=find_sources(
            sources, encoded, layout=layout, input_range=bounds, labels=labels
        ),
    )
    is_calibrated = INITIALIZATIONS[estimator.initialization]

    def initialize(network, architecture):
        if is_calibrated(estimator._build_network, **architecture):
            batch = dataset.sample(_CALIBRATION_IMAGES)
            calibrate(network, batch.images, batch.targets, batch.sample_weight)

    publish(estimator, dataset, machine, loss, initialize)
    return dataset


def publish(estimator, dataset, machine, loss, initialize) -> None:
    """Build a network for a data set, and keep it with all that belongs to it.

    Parameters
    ----------
    estimator : object
    dataset : ImageDataset
        The first.
    machine : Machine
    loss : str
        What it is trained by.
    initialize : callable
        Takes the network and the arguments it was built with, and may change its
        values.
    """
    architecture = {
        **describe_architecture(estimator),
        "image_shape": dataset.layout.shape,
        "n_classes": dataset.labels.n_capsules,
    }
    seed = draw_seed(estimator.random_state)
    with isolated_random_state(seed, 0, machine.device):
        network = estimator._build_network(**architecture).to(machine.dtype)
        machine.place(network)
        initialize(network, architecture)
    fitted = FittedNetwork(
        network,
        architecture,
        dataset.layout,
        dataset.input_range,
        dataset.labels,
        machine,
        loss,
        seed,
        n_trainings=1,
    )
    vars(estimator).pop("net_", None)
    vars(estimator).update(_fitted=fitted, history_=[], n_epochs_=0)


def _continue_with(estimator, X, y, sample_weight, sources) -> ImageDataset:
    """Check later images and labels against what the first decided."""
    fitted = estimator._fitted
    check_same_network(estimator, fitted)
    rows, y = _inputs.check_more_input(estimator, X, y, fitted.layout)
    warn_of_drift(rows, fitted.input_range)
    y = fitted.labels.check(y)
    loss = find_loss(estimator.loss, estimator.routing, fitted.labels)
    check_presence(loss, estimator.routing, fitted.labels)
    weights = find_weights(sample_weight, estimator.class_weight, rows, y)
    encoded = fitted.labels.encode(y)
    belonging = {
        "layout": fitted.layout,
        "input_range": fitted.input_range,
        "labels": fitted.labels,
    }
    return ImageDataset(
        rows,
        encoded,
        weights,
        machine=go_on(estimator, loss),
        sources=find_sources(sources, encoded, **belonging),
        **belonging,
    )


def go_on(estimator, loss) -> Machine:
    """Count one more training, and return the machine that it runs on."""
    fitted = estimator._fitted
    machine = fitted.machine.follow(estimator.get_params(deep=False))
    estimator._fitted = replace(
        fitted,
        machine=machine,
        loss=loss,
        n_trainings=fitted.n_trainings + 1,
    )
    return machine


def check_same_network(estimator, fitted: FittedNetwork) -> None:
    """Raise a ValueError if parameters no longer describe the trained network."""
    changed = [
        name
        for name, value in describe_architecture(estimator).items()
        if _as_tuples(value) != _as_tuples(fitted.architecture[name])
    ]
    if PRECISIONS[estimator.precision] != fitted.machine.dtype:
        changed.append("precision")
    if changed:
        raise ValueError(
            f"The parameters {', '.join(changed)} have changed since the first "
            "training, and its network does not fit them; set them back, or clone the "
            "estimator to begin anew."
        )


def _as_tuples(value):
    """Return lists as tuples, at any depth: a grid may hold either."""
    if isinstance(value, (list, tuple)):
        return tuple(map(_as_tuples, value))
    return value


def _train_by_schedule(estimator, dataset, tasks) -> None:
    checkpoint = None
    if estimator.checkpoint is not None:
        params = estimator.get_params(deep=False)
        key = find_key(params, estimator._fitted, dataset)
        checkpoint = Checkpoint(estimator.checkpoint, key)
        seed = checkpoint.find_seed(estimator._fitted.seed)
        estimator._fitted = replace(estimator._fitted, seed=seed)
    valid, seed = None, estimator._fitted.seed
    if estimator.early_stopping:
        dataset, valid = dataset.split(estimator.validation_fraction, seed)
    kept = None if checkpoint is None else KeepState(checkpoint, seed)
    estimator.net_ = _net(estimator, dataset, valid, tasks, kept)
    n_before = 0 if checkpoint is None else checkpoint.n_epochs
    _train(estimator, dataset, estimator.max_epochs - n_before)
    if checkpoint is not None:
        checkpoint.remove()


def _train_one_pass(estimator, dataset) -> None:
    # The optimiser goes on as long as no parameter changes.
    params = estimator.get_params(deep=False)
    net = getattr(estimator, "net_", None)
    if net is None or net.stream != params:
        estimator.net_ = _net(estimator, dataset, None, None)
    _train(estimator, dataset, 1)


def _train(estimator, dataset, epochs) -> None:
    net = estimator.net_
    before = len(net.epochs())
    try:
        net.train(dataset, epochs)
    finally:
        for row in net.epochs()[before:]:
            row = {**row, "epoch": len(estimator.history_) + 1}
            estimator.history_ = [*estimator.history_, row]
        estimator.n_epochs_ = sum("fraction" not in r for r in estimator.history_)
        estimator.loss_curve_ = [row["train_loss"] for row in estimator.history_]


def _net(estimator, dataset, valid, tasks, kept=None):
    fitted = estimator._fitted
    machine = fitted.machine
    warn_without_bfloat16(machine.device, machine.precision)
    # The device and `compile` may have changed since the last training.
    machine.place(fitted.network)
    recipe = estimator._recipe
    settings = recipe.find_settings(estimator, dataset, tasks is not None)
    before = getattr(estimator, "net_", None)
    # The one before may be compiled.
    if before is not None and before.criterion.settings == settings:
        objective = before.criterion
    else:
        objective = recipe.objective(settings)
    compile_if(machine.compiled, objective)
    return build_net(
        fitted.network,
        objective,
        estimator.get_params(deep=False),
        device=machine.device,
        batch_size=find_batch_size(estimator.batch_size, len(dataset)),
        n_images=len(dataset),
        valid=valid,
        tasks=tasks,
        kept=kept,
    )


def _find_settings(estimator, dataset, is_whole) -> Settings:
    if dataset.sources is not None and estimator.augmentation is not None:
        raise ValueError(
            "augmentation would change the images and leave the sources as they are; "
            "set augmentation=None, or change both before fit."
        )
    fitted = estimator._fitted
    return Settings(
        fitted.labels,
        fitted.loss,
        reconstruction_weight=find_reconstruction_weight(
            estimator.reconstruction_weight, fitted.layout.shape
        ),
        weight_scale=1 / dataset.mean_weight() if is_whole else 1.0,
        in_bfloat16=fitted.machine.in_bfloat16,
    )


def _random_state(fitted: FittedNetwork):
    return isolated_random_state(fitted.seed, fitted.n_trainings, fitted.machine.device)


@contextmanager
def kept_if_failing(estimator):
    """Give an estimator back its attributes and weights if a block raises an error.

    An interrupt by the user keeps what was trained until then, if anything was.
    """
    before = dict(vars(estimator))
    steps = _steps(estimator)
    fitted = before.get("_fitted")
    weights = {} if fitted is None else copy.deepcopy(fitted.network.state_dict())
    try:
        yield
    except BaseException as error:
        has_trained = _steps(estimator) not in (None, steps)
        if has_trained and not isinstance(error, Exception):
            raise
        if fitted is not None and _put_back(estimator._fitted, fitted, weights):
            # Its optimiser has followed the training that failed.
            before.pop("net_", None)
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def _steps(estimator):
    """Return which training was the last, and its number of steps, if it has any."""
    net = vars(estimator).get("net_")
    n_steps = 0 if net is None else net.optimizer_.n_steps
    return (id(net), n_steps) if n_steps else None


def _put_back(after: FittedNetwork, before: FittedNetwork, weights: dict) -> bool:
    """Move a network back and give it its weights; return whether it had others."""
    has_moved = after.machine.device != before.machine.device
    if has_moved:
        before.network.to(before.machine.device)
    if not has_moved and _has_values(before.network, weights):
        return False
    before.network.load_state_dict(weights)
    return True


def _has_values(network, weights):
    found = network.state_dict()
    return all(torch.equal(found[name], value) for name, value in weights.items())


def _check_classes(estimator, classes):
    """Hold scikit-learn's rules for `partial_fit`'s classes, and return them sorted."""
    if classes is not None:
        classes = as_classes(classes)
    elif not is_fitted(estimator):
        raise ValueError("classes must be passed on the first call to partial_fit.")
    if is_fitted(estimator) and classes is not None:
        before = estimator.classes_
        if not np.array_equal(before, classes):
            raise ValueError(
                f"classes={classes.tolist()} is not the same as in the first call: "
                f"{before.tolist()}."
            )
    return classes


CLASSIFICATION = Recipe(
    _start_with, _continue_with, _find_settings, Objective, find_fault
)
