"""What every fitted estimator knows of its network, and how it is kept in files."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import ClassVar

import torch
from sklearn.utils.validation import check_is_fitted

from skcaps.estimators import _fitting, _inputs, _state
from skcaps.estimators._callbacks import CallbackSupportMixin
from skcaps.estimators._documentation import page_template
from skcaps.estimators._range import warn_of_drift


class ServedNetwork(CallbackSupportMixin):
    """Read fitted attributes from the network, and pickle them as plain values.

    A subclass names the function that builds its network, the recipe by which it is
    trained, and the further arguments of its `fit`.
    """

    _build_network: Callable
    _recipe: ClassVar[_fitting.Recipe]
    _fit_arguments: ClassVar[tuple[str, ...]] = ()
    # Of the link in scikit-learn's HTML representation.
    _doc_link_module = "skcaps"

    @property
    def _doc_link_template(self):
        return page_template()

    def _refuse(self, unknown):
        if not unknown:
            return
        name = next(iter(unknown))
        raise TypeError(
            f"{type(self).__name__}.fit got an unexpected argument {name!r}"
            f"{_hint(name, self._fit_arguments, self.get_params(deep=False))}."
        )

    def _checked(self):
        check_is_fitted(self)
        return vars(self)["_fitted"]

    def _rows(self, X):
        fitted = self._checked()
        rows = _inputs.check_input(self, X, fitted.layout)
        warn_of_drift(rows, fitted.input_range)
        return rows

    @property
    def network_(self):
        """The trained `skcaps.nn.CapsuleNetwork`."""
        return self._checked().network

    @property
    def classes_(self):
        """The labels, sorted, of shape (n_classes,)."""
        return self._checked().labels.classes

    @property
    def image_shape_(self):
        """Channels, height and width of the images."""
        return self._checked().layout.shape

    @property
    def input_range_(self):
        """The values that become 0 and 1 inside the network."""
        return self._checked().input_range

    @property
    def device_(self):
        """The device, as a string."""
        return str(self._checked().machine.device)

    @property
    def n_parameters_(self):
        """The number of trainable parameters."""
        parameters = self._checked().network.parameters()
        return sum(p.numel() for p in parameters if p.requires_grad)

    def __sklearn_is_fitted__(self):
        return _fitting.is_fitted(self)

    def __getstate__(self):
        return _state.get_state(super().__getstate__())

    def __setstate__(self, state):
        with torch.inference_mode(False):
            super().__setstate__(_state.set_state(state, self._build_network))


def _hint(name, own, parameters):
    """Return what a wrong name of an argument of `fit` was likely meant to be."""
    if close := difflib.get_close_matches(name, own, cutoff=0.75):
        return f"; the argument is {close[0]}"
    longer = [known for known in parameters if known.endswith(f"_{name}")]
    if close := longer or difflib.get_close_matches(name, parameters, cutoff=0.75):
        return f"; pass {close[0]} to the constructor"
    return ""
