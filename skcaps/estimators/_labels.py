"""Labels of any type: one for an image, or several."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from scipy import sparse
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d
from torch import Tensor

from skcaps.estimators._inputs import as_labels
from skcaps.functional import LOGITS, mask_by_label
from skcaps.nn import ROUTINGS, CapsuleNetwork


@dataclass(frozen=True, eq=False)
class Labels(ABC):
    """What labels are, and what activations of class capsules say about them.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
    kind : str
        What `y` has to be, of the class.
    """

    kind: ClassVar[str]
    classes: np.ndarray

    @property
    def n_capsules(self) -> int:
        """How many capsules stand for them."""
        return len(self.classes)

    @property
    def options(self) -> dict[str, Any]:
        """All else that they are made of."""
        return {}

    @classmethod
    @abstractmethod
    def of(cls, y) -> Labels:
        """Return the labels of checked `y` or of a list of all classes."""

    @abstractmethod
    def encode(self, y) -> np.ndarray:
        """Return class numbers (n_samples,), or the indicator.

        Raises
        ------
        ValueError
            If `y` has a label or a column that is not in `classes`.
        """

    @abstractmethod
    def to_rows(self, encoded: Tensor, dtype: torch.dtype) -> Tensor:
        """Return zeros and ones (batch, n_classes) from `encode`'s result."""

    @abstractmethod
    def mark(self, encoded: Tensor) -> tuple[Tensor, ...]:
        """Return what `decode` needs and a GPU would have to wait for."""

    @abstractmethod
    def decode(
        self,
        network: CapsuleNetwork,
        poses: Tensor,
        targets: Tensor,
        marks: tuple[Tensor, ...],
    ) -> Tensor:
        """Decode the capsules of the true classes to (batch, channels, height, width).

        Parameters
        ----------
        network : CapsuleNetwork
            With a decoder.
        poses : Tensor of shape (batch, n_classes, pose_dim)
        targets : Tensor of shape (batch, n_classes)
            Zeros and ones.
        marks : tuple of Tensor
            As from `mark`.
        """

    @abstractmethod
    def decide(self, found: Tensor) -> Tensor:
        """Return `encode`'s form of what activations (batch, n_classes) say."""

    @abstractmethod
    def to_labels(self, encoded: np.ndarray) -> np.ndarray:
        """Undo `encode`."""

    @abstractmethod
    def probabilities(self, found: Tensor, loss: str) -> Tensor:
        """Return probabilities (batch, n_classes) from activations, by their loss."""

    @abstractmethod
    def scores(self, found: Tensor, loss: str) -> Tensor:
        """Return what `decision_function` returns, from activations."""

    @abstractmethod
    def is_right(self, found: Tensor, targets: Tensor) -> Tensor:
        """Return for which samples the label, or the whole set of labels, is found."""

    def check(self, y):
        """Check labels that come after the first ones.

        Raises
        ------
        ValueError
            If an indicator comes where labels came before, or labels for an indicator.
        """
        y, kind = _check(y)
        if not isinstance(self, kind):
            raise ValueError(
                f"y must be {self.kind}, as in the first call, got "
                f"{kind.kind} of shape {y.shape}."
            )
        return y


class SingleLabel(Labels):
    """One class for each image."""

    kind = "a vector of labels"

    @classmethod
    def of(cls, y):
        return cls(np.unique(y))

    def encode(self, y):
        unknown = np.setdiff1d(y, self.classes)
        if len(unknown):
            raise ValueError(
                f"y has labels {unknown.tolist()} that are not in classes "
                f"{self.classes.tolist()}, which the first call to fit or partial_fit "
                "has set."
            )
        return np.searchsorted(self.classes, y).astype(np.int64)

    def to_rows(self, encoded, dtype):
        return to_one_hot(encoded, len(self.classes)).to(dtype)

    def mark(self, encoded):
        return ()

    def decode(self, network, poses, targets, marks):
        return network.reconstruct(mask_by_label(poses, targets))

    def decide(self, found):
        return found.argmax(1)

    def to_labels(self, encoded):
        return self.classes[encoded]

    def probabilities(self, found, loss):
        return LOGITS[loss](found).softmax(dim=1)

    def scores(self, found, loss):
        if len(self.classes) > 2:
            return found
        first, second = LOGITS[loss](found).unbind(dim=1)
        return second - first

    def is_right(self, found, targets):
        return found.argmax(1) == targets.argmax(1)


class MultiLabel(Labels):
    """Any number of classes for each image; they are the columns of an indicator."""

    kind = "an indicator of zeros and ones"

    @classmethod
    def of(cls, y):
        return cls(np.arange(y.shape[1]) if np.ndim(y) == 2 else np.unique(y))

    def encode(self, y):
        if y.shape[1] != len(self.classes):
            raise ValueError(
                f"y must have {len(self.classes)} columns, one for each class, got "
                f"{y.shape[1]}."
            )
        return y

    def to_rows(self, encoded, dtype):
        return encoded.to(dtype)

    def mark(self, encoded):
        """Return samples and labels of every one in the indicator."""
        return torch.nonzero(encoded, as_tuple=True)

    def decode(self, network, poses, targets, marks):
        """Decode every true class by itself and add the images of a sample.

        So that one digit of two that overlap can later be decoded alone. The sum is
        clipped at 1, as the images are; an image without labels is zero.
        """
        parts = self.decode_parts(network, poses, marks)
        whole = parts.new_zeros((len(poses), *parts.shape[1:]))
        whole = whole.index_add(0, marks[0], parts)
        # The gradient passes, so that a sum that is too large becomes smaller.
        return whole + (whole.clamp(max=1) - whole).detach()

    def decode_parts(self, network, poses, marks):
        """Decode every true class by itself, (marks, channels, height, width)."""
        samples, labels = marks
        alone = to_one_hot(labels, poses.shape[1])
        return network.reconstruct(mask_by_label(poses[samples], alone))

    def decide(self, found):
        return found > 0.5

    def to_labels(self, encoded):
        return encoded.astype(int)

    def probabilities(self, found, loss):
        return found

    def scores(self, found, loss):
        return found - 0.5

    def is_right(self, found, targets):
        return ((found > 0.5) == targets.bool()).all(1)


KINDS: dict[str, type[SingleLabel] | type[MultiLabel]] = {
    "single": SingleLabel,
    "multi": MultiLabel,
}


def find_labels(y, classes=None) -> tuple[np.ndarray, Labels]:
    """Check the first labels, and find the classes where they are not given.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or (n_samples, n_classes)
        Labels, or an indicator of zeros and ones.
    classes : array-like of shape (n_classes,), optional
        All labels that will ever come.

    Returns
    -------
    y : ndarray
        A vector of labels, or a uint8 indicator.
    labels : Labels

    Raises
    ------
    ValueError
        If `y` is continuous, has several columns that are no indicator, or has fewer
        than two classes.
    """
    y, kind = _check(y)
    labels = kind.of(y if classes is None else classes)
    if len(labels.classes) < 2:
        raise ValueError(
            "y must hold at least 2 classes, since capsules compete for the image; got "
            f"1 class: {labels.classes.tolist()}."
        )
    return y, labels


def as_classes(classes) -> np.ndarray:
    """Return the classes that `partial_fit` was told, sorted.

    Raises
    ------
    ValueError
        If they are no labels in one row, or one is missing.
    """
    if isinstance(classes, (set, frozenset)):
        classes = list(classes)
    labels = as_labels(classes, "classes")
    is_missing = labels.dtype.kind in "fmM" and (labels != labels).any()
    if labels.ndim != 1 or is_missing:
        raise ValueError(
            "classes must be all labels in one row, none of them missing, got "
            f"{classes!r}."
        )
    return np.unique(labels)


def _check(y) -> tuple[np.ndarray, type[Labels]]:
    check_classification_targets(y)
    kind = type_of_target(y, input_name="y")
    if kind == "multilabel-indicator":
        y = y.toarray() if sparse.issparse(y) else np.asarray(y)
        values = np.unique(y)
        if not np.isin(values, [0, 1]).all():
            raise ValueError(
                "y must be an indicator of zeros and ones if it has several columns, "
                f"got the values {values.tolist()}."
            )
        return y.astype(np.uint8), MultiLabel
    if kind == "multiclass-multioutput":
        raise ValueError(
            "y must be a vector of labels or an indicator of zeros and ones, got "
            f"several columns of labels, shape {np.shape(y)} (multiclass-multioutput); "
            "fit one classifier for each column with MultiOutputClassifier."
        )
    return column_or_1d(y, warn=True), SingleLabel


def allows_several(loss: str, routing: str) -> bool:
    """Return whether an image may have several classes; see `check_presence`."""
    shared = getattr(ROUTINGS.get(routing), "shares_presence", False)
    return loss != "cross_entropy" and not shared


def check_presence(loss: str, routing: str, labels: Labels) -> None:
    """Raise a ValueError for what makes the classes of an image share one presence.

    None of several could then have an activation above 0.5.
    """
    if not isinstance(labels, MultiLabel):
        return
    if loss == "cross_entropy":
        raise ValueError(
            'loss="cross_entropy" needs one class for each image, and y is an '
            'indicator of several; use loss="margin".'
        )
    if ROUTINGS[routing].shares_presence:
        raise ValueError(
            f"routing={routing!r} shares one presence among the classes, and y is an "
            "indicator of several for an image; use another routing."
        )


def to_one_hot(labels: Tensor, n_classes: int) -> Tensor:
    """Return which class each label is; unlike torch's own, it reads no value."""
    return labels.unsqueeze(1) == torch.arange(n_classes, device=labels.device)
