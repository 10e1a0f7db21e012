"""From images and masks to a trained network."""

from __future__ import annotations

import numpy as np
import torch

from skcaps.estimators import _inputs
from skcaps.estimators._convergence import check_output
from skcaps.estimators._fitting import (
    Recipe,
    check_same_network,
    go_on,
    publish,
)
from skcaps.estimators._machine import Machine
from skcaps.estimators._map_objective import MapObjective, MapSettings
from skcaps.estimators._masks import find_masks
from skcaps.estimators._patches import PatchDataset
from skcaps.estimators._range import input_range, warn_of_drift, warn_of_outliers

_IMAGES = 16


def _start(estimator, X, y, classes=None) -> PatchDataset:
    """Check the first images and masks, and decide all that depends on them."""
    machine = Machine.find(estimator.get_params(deep=False))
    rows, masks, layout, is_flat = _inputs.check_fit_masks(estimator, X, y)
    labels = find_masks(
        masks,
        classes,
        background=estimator.background_label,
        ignored=estimator.ignore_label,
        flat=is_flat,
    )
    bounds = input_range(rows)
    warn_of_outliers(rows, bounds)
    dataset = PatchDataset(
        rows,
        labels.encode(masks),
        None,
        layout=layout,
        input_range=bounds,
        labels=labels,
        machine=machine,
        patch_size=estimator.patch_size,
    )
    publish(
        estimator, dataset, machine, estimator.loss, lambda network, architecture: None
    )
    return dataset


def _go_on(estimator, X, y) -> PatchDataset:
    """Check later images and masks against what the first decided."""
    fitted = estimator._fitted
    check_same_network(estimator, fitted)
    rows, masks = _inputs.check_more_masks(estimator, X, y, fitted.layout)
    warn_of_drift(rows, fitted.input_range)
    return PatchDataset(
        rows,
        fitted.labels.encode(masks),
        None,
        layout=fitted.layout,
        input_range=fitted.input_range,
        labels=fitted.labels,
        machine=go_on(estimator, estimator.loss),
        patch_size=estimator.patch_size,
    )


def _find_settings(estimator, dataset, is_whole) -> MapSettings:
    return MapSettings(
        dataset.labels,
        estimator.loss,
        estimator.reconstruction_weight,
        _find_class_weight(estimator.class_weight, dataset),
        estimator._fitted.machine.in_bfloat16,
    )


def _find_class_weight(class_weight, dataset) -> tuple[float, ...] | None:
    """Return weights of the background and each capsule, of mean 1 over the pixels."""
    if class_weight is None:
        return None
    labels = dataset.labels
    n_classes = len(labels.classes)
    encoded = dataset.encoded[dataset.indices].numpy()
    counts = np.bincount(encoded[encoded >= 0], minlength=n_classes)
    if isinstance(class_weight, str):
        weights = 1 / np.maximum(counts, 1)
    else:
        weights = _read_class_weight(class_weight, labels)
    total = counts @ weights
    if not total or not weights[1:].any():
        raise ValueError(
            f"class_weight={class_weight!r} must have a positive weight for a class of "
            "y other than the background, got none: nothing would be learned."
        )
    return tuple((weights * counts.sum() / total).tolist())


def _read_class_weight(class_weight, labels) -> np.ndarray:
    known = labels.classes.tolist()
    for label, weight in class_weight.items():
        if label not in known:
            raise ValueError(
                f"class_weight must name labels of y, {known}, got {label!r}."
            )
        is_number = isinstance(weight, (int, float, np.number))
        if not (is_number and 0 <= weight < np.inf):
            raise ValueError(
                "class_weight must hold finite numbers that are not negative, got "
                f"{weight!r} for class {label!r}."
            )
    by_place = np.array([class_weight.get(label, 1.0) for label in known], dtype=float)
    return by_place[labels.order]


@torch.no_grad()
def _find_fault(network, dataset, learning_rate) -> str | None:
    """Say how the lengths show that nothing was learned, if they do."""
    batch = dataset.sample(_IMAGES)
    found = check_output(network, batch, learning_rate)
    masks = batch.targets
    decided = torch.unique(dataset.labels.decide(found)[masks >= 0])
    kinds = torch.unique(masks[masks >= 0])
    if len(decided) == 1 < len(kinds):
        label = dataset.labels.to_labels(decided.cpu().numpy()).tolist()[0]
        return (
            f"all pixels of {len(masks)} training patches are called {label!r}, and "
            f"they have {len(kinds)} classes"
        )
    return None


SEGMENTATION = Recipe(_start, _go_on, _find_settings, MapObjective, _find_fault)
