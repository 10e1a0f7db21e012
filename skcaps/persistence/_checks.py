"""Whether all that a file holds belongs to one fitted classifier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from inspect import signature
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import (
    Interval,
    StrOptions,
    validate_parameter_constraints,
)

from skcaps.estimators._machine import PRECISIONS
from skcaps.estimators._state import KINDS
from skcaps.functional import LOSSES, MAP_LOSSES

# The networks read images to maps of at most 12 places, by strides that are no longer
# than the kernel in the first layer, and at most 2 in each other.
_SIDE_PER_KERNEL = 32

_AXES = ["channels", "height", "width"]
_COUNT = Interval(Integral, 0, None, closed="left")
_POSITIVE = Interval(Integral, 1, None, closed="left")
# What `fit` leaves behind.
_FITTED: dict[str, list[Any]] = {
    "n_features_in_": [_POSITIVE],
    "history_": [list],
    "n_epochs_": [_COUNT],
    "loss_curve_": [list],
    "_description": [dict],
}
_IF_THERE: dict[str, list[Any]] = {
    "feature_names_in_": [np.ndarray],
    "_sklearn_output_config": [dict],
}
_DESCRIPTION: dict[str, list[Any]] = {
    "architecture": [dict],
    "image_shape": [tuple],
    "axes": [tuple],
    "input_range": [tuple],
    "labels": [StrOptions(set(KINDS))],
    "classes": [np.ndarray],
    "precision": [StrOptions(set(PRECISIONS))],
    "loss": [StrOptions({*LOSSES, *MAP_LOSSES})],
    "seed": [_COUNT],
    "n_trainings": [_POSITIVE],
}


_MASK_OPTIONS: dict[str, list[Any]] = {
    "background": [_COUNT],
    "ignored": [str, Integral, None],
    "flat": ["boolean"],
}


def check_state(
    estimator: Any, fitted: dict[str, Any], weights: dict[str, np.ndarray]
) -> None:
    """Raise a ValueError unless parameters, attributes and weights fit together.

    Nothing is built, so that no file asks for a network that it does not hold.

    Parameters
    ----------
    estimator : object
        A classifier with its parameters, fitted or not.
    fitted : dict
        Its attributes, as plain values.
    weights : dict of ndarray

    Examples
    --------
    >>> import skcaps
    >>> from skcaps.persistence._checks import check_state
    >>> check_state(skcaps.CapsNetClassifier(), {"history_": []}, {})
    Traceback (most recent call last):
    ValueError: The fitted attributes must include n_features_in_, n_epochs_, ...
    """
    estimator._validate_params()
    _check_table("fitted attributes", fitted, _FITTED)
    validate_parameter_constraints(_IF_THERE, fitted, "fitted attributes")
    _check_names(estimator, fitted)
    _check_history(fitted)
    description = fitted["_description"]
    _check_table("description", description, _DESCRIPTION)
    _check_features(fitted, description)
    _check_input_range(description["input_range"])
    _check_classes(description)
    _check_label_options(description)
    _check_architecture(estimator, description)
    _check_weights(description["architecture"], weights)


def _check_table(
    what: str, values: dict[str, Any], constraints: dict[str, list[Any]]
) -> None:
    missing = [name for name in constraints if name not in values]
    if missing:
        raise ValueError(
            f"The {what} must include {', '.join(missing)}, got only "
            f"{', '.join(values)}."
        )
    validate_parameter_constraints(constraints, values, what)


def _check_names(estimator: Any, fitted: dict[str, Any]) -> None:
    """Attributes of the user's own may come along, but take no other's place."""
    taken = {*estimator.get_params(deep=False), "_fitted", "_weights", "net_"}
    wrong = [name for name in fitted if name in taken or hasattr(type(estimator), name)]
    if wrong:
        raise ValueError(
            f"The fitted attributes must not replace what the class defines, got "
            f"{', '.join(wrong)}."
        )


def _check_history(fitted: dict[str, Any]) -> None:
    history = fitted["history_"]
    if not all(isinstance(row, dict) and "train_loss" in row for row in history):
        raise ValueError("history_ must hold a dict with train_loss for each epoch.")
    losses = [row["train_loss"] for row in history]
    if not np.array_equal(fitted["loss_curve_"], losses, equal_nan=True):
        raise ValueError(
            "loss_curve_ must hold the train_loss of each row of history_."
        )
    whole = sum("fraction" not in row for row in history)
    if fitted["n_epochs_"] != whole:
        raise ValueError(
            f"n_epochs_ must be {whole}, the whole epochs in history_, got "
            f"{fitted['n_epochs_']}."
        )


def _check_features(fitted: dict[str, Any], description: dict[str, Any]) -> None:
    shape, n_features = description["image_shape"], fitted["n_features_in_"]
    whole = all(isinstance(side, int) and side > 0 for side in shape)
    if len(shape) != 3 or not whole or math.prod(shape) != n_features:
        raise ValueError(
            f"image_shape must be (channels, height, width) of the {n_features} "
            f"features, got {shape}."
        )
    if sorted(description["axes"]) != _AXES:
        raise ValueError(f"axes must be those of an image, got {description['axes']}.")
    names = fitted.get("feature_names_in_")
    if names is not None and (
        names.shape != (n_features,) or not all(isinstance(name, str) for name in names)
    ):
        raise ValueError(
            f"feature_names_in_ must hold {n_features} strings, got an array of the "
            f"shape {names.shape}."
        )


def _check_input_range(bounds: tuple[Any, ...]) -> None:
    numbers = [bound for bound in bounds if isinstance(bound, Real)]
    finite = len(bounds) == len(numbers) == 2 and all(map(math.isfinite, numbers))
    if not finite or bounds[0] > bounds[1]:
        raise ValueError(f"input_range must be two ascending numbers, got {bounds}.")


def _check_classes(description: dict[str, Any]) -> None:
    classes = description["classes"]
    if classes.ndim != 1 or len(classes) < 2:
        raise ValueError(f"classes must be two or more, got the shape {classes.shape}.")
    # The places in order if they are sorted and no label comes twice.
    _, places = np.unique(classes, return_index=True)
    if not np.array_equal(places, np.arange(len(classes))):
        raise ValueError("classes must be sorted, each once.")


def _check_label_options(description: dict[str, Any]) -> None:
    options = description.get("label_options", {})
    if description["labels"] != "mask":
        if options != {}:
            raise ValueError(f"label_options must be empty, got {options}.")
        return
    _check_table("label_options", options, _MASK_OPTIONS)
    n_classes = len(description["classes"])
    if len(options) > len(_MASK_OPTIONS) or options["background"] >= n_classes:
        raise ValueError(
            f"label_options must name one of {n_classes} classes as background, got "
            f"{options}."
        )


def _check_architecture(estimator: Any, description: dict[str, Any]) -> None:
    architecture = description["architecture"]
    params = estimator.get_params(deep=False)
    arguments = signature(estimator._build_network).parameters
    decided = {
        "image_shape": description["image_shape"],
        "n_classes": KINDS[description["labels"]](
            description["classes"], **description.get("label_options", {})
        ).n_capsules,
    }
    expected = {name for name in arguments if name in params or name in decided}
    if architecture.keys() != expected:
        raise ValueError(
            f"architecture must describe {', '.join(sorted(expected))}, got "
            f"{', '.join(sorted(architecture))}."
        )
    for name, value in decided.items():
        if architecture[name] != value:
            raise ValueError(
                f"{name} of the architecture must be {value}, got {architecture[name]}."
            )
    chosen = {name: architecture[name] for name in expected - decided.keys()}
    type(estimator)(**chosen)._validate_params()


def _check_weights(
    architecture: dict[str, Any], weights: dict[str, np.ndarray]
) -> None:
    _check_size(architecture, weights)
    wrong = [
        name
        for name, array in weights.items()
        if array.dtype.kind == "f" and not np.isfinite(array).all()
    ]
    if wrong:
        raise ValueError(
            f"The weights must be finite, got others in {', '.join(wrong)}."
        )


def _check_size(architecture: dict[str, Any], weights: dict[str, np.ndarray]) -> None:
    """Raise a ValueError where even a network without values takes endless time.

    Whether each array has its shape is found out by building one. What is bounded here
    is the number of its layers and the search for strides.
    """
    n_convolutions, n_hidden = (
        len(part) if isinstance(part := architecture.get(name), Sequence) else 1
        for name in ("conv_channels", "hidden_capsules")
    )
    n_layers = n_convolutions + n_hidden
    if n_layers > len(weights):
        raise ValueError(
            f"The weights must be those of {n_layers} layers, got {len(weights)}."
        )
    kernels = [
        max(array.shape[2:])
        for name, array in weights.items()
        if name.startswith("stem.") and array.ndim == 4 and array.size
    ]
    if "stem" not in architecture:
        return
    longest = max(kernels, default=0)
    sides = architecture["image_shape"]
    if max(sides[1:]) > _SIDE_PER_KERNEL * longest * 2**n_convolutions:
        raise ValueError(
            f"The weights must be those of a network for images of the shape {sides}, "
            f"got none whose first kernels have more than {longest} pixels."
        )
