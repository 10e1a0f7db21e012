"""Loss and accuracy over the epochs."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support

from skcaps.inspection._checks import check_estimator
from skcaps.inspection._drawing import COLOURS

MEASURES = ("loss", "accuracy")
_MARKERS = "osD^vPX"
# About as many marks stand on a curve.
_MANY = 10
# By this the curves are counted that are in an axes already.
_TRAINING = "skcaps training"


class _Part(NamedTuple):
    name: str
    style: dict[str, Any]


PARTS = {
    "train": _Part("training", {"linestyle": "-", "gid": _TRAINING}),
    "valid": _Part("validation", {"linestyle": "--", "fillstyle": "none"}),
}


class TrainingDisplay:
    """Show how loss and accuracy went over the epochs.

    Use `from_estimator` to make one from a fitted estimator. To compare several, draw
    each of them into the axes of the first.

    Parameters
    ----------
    history : list of dict
        One for each epoch, with "train_loss" and "train_accuracy", and if a part was
        held out "valid_loss" and "valid_accuracy". An epoch that was stopped half-way
        has the "fraction" of the images that it has seen, and ends there.
    name : str, default=None
        Of the estimator, for the legend.

    Attributes
    ----------
    ax_ : ndarray of shape (2,) of matplotlib Axes
        The axes of the loss and of the accuracy.
    figure_ : matplotlib Figure
        Their figure.
    lines_ : dict of str to matplotlib Line2D
        The curves by their names in `history`.

    See Also
    --------
    sklearn.model_selection.LearningCurveDisplay : Show scores over the number of
        training samples.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from skcaps.inspection import TrainingDisplay
    >>> history = [{"train_loss": 0.5 / n, "train_accuracy": 1 - 0.5 / n}
    ...            for n in range(1, 6)]
    >>> display = TrainingDisplay(history).plot()
    >>> [ax.get_ylabel() for ax in display.ax_]
    ['loss', 'accuracy']
    >>> plt.close(display.figure_)
    """

    def __init__(self, history, *, name=None):
        self.history = history
        self.name = name

    @classmethod
    def from_estimator(cls, estimator, *, name=None, ax=None, line_kw=None):
        """Show the training of a fitted estimator.

        Parameters
        ----------
        estimator : object
            A fitted estimator of skcaps.
        name : str, default=None
            For the legend; by default the name of the class.
        ax : matplotlib Axes or array-like of two, default=None
            Where to plot loss and accuracy. One is divided into two. The `ax_` of
            another display compares both. By default in a new figure.
        line_kw : dict, default=None
            Passed to matplotlib's `plot` for all curves.

        Returns
        -------
        display : TrainingDisplay
            The display, plotted.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If `estimator` has no `history_`, such as a pipeline that holds one.
        ValueError
            If `ax` holds another number of axes than one or two.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> import matplotlib.pyplot as plt
        >>> from sklearn.datasets import load_digits
        >>> from skcaps import EfficientCapsNetClassifier
        >>> from skcaps.inspection import TrainingDisplay
        >>> X, y = load_digits(n_class=2, return_X_y=True)
        >>> short, long = [
        ...     EfficientCapsNetClassifier(max_epochs=n, random_state=0).fit(X, y)
        ...     for n in (1, 2)
        ... ]
        >>> display = TrainingDisplay.from_estimator(short, name="1 epoch")
        >>> both = TrainingDisplay.from_estimator(long, name="2", ax=display.ax_)
        >>> both.figure_ is display.figure_
        True
        >>> plt.close(both.figure_)
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_estimator(estimator, "history_")
        name = type(estimator).__name__ if name is None else name
        return cls(estimator.history_, name=name).plot(ax=ax, line_kw=line_kw)

    def plot(self, ax=None, *, line_kw=None):
        """Plot the curves.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of two, default=None
            Where to plot loss and accuracy. One is divided into two. By default in a
            new figure.
        line_kw : dict, default=None
            Passed to matplotlib's `plot` for all curves.

        Returns
        -------
        display : TrainingDisplay
            The display itself.

        Raises
        ------
        ValueError
            If `ax` holds another number of axes than one or two.
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        self.ax_ = _two_axes(ax)
        self.figure_ = self.ax_[0].figure
        style = _next_style(self.ax_[0]) | (line_kw or {})
        self.lines_ = {}
        for (ax, measure), part in itertools.product(
            zip(self.ax_, MEASURES, strict=True), PARTS
        ):
            key = f"{part}_{measure}"
            x, y = _points(self.history, key)
            if len(x):
                looks = {"label": self._label(part), **PARTS[part].style, **style}
                looks = {"markevery": max(1, len(x) // _MANY), **looks}
                (self.lines_[key],) = ax.plot(x, y, **looks)
        for ax, measure in zip(self.ax_, MEASURES, strict=True):
            _decorate(ax, measure)
        self.ax_[1].legend(fontsize="small", frameon=False)
        return self

    def _label(self, part):
        """Name a curve in the legend, with no more than it takes."""
        alone = not any("valid_loss" in row for row in self.history)
        words = [] if alone and self.name else [PARTS[part].name]
        return ", ".join([*([self.name] if self.name else []), *words])


def _points(history, key):
    """Return where epochs end, and what they reached, if they recorded it."""
    ends = np.cumsum([row.get("fraction", 1) for row in history])
    has = [key in row for row in history]
    return ends[has], np.array([row[key] for row in history if key in row])


def _next_style(ax):
    """Return colour and mark of the next training in these axes."""
    before = sum(line.get_gid() == _TRAINING for line in ax.lines)
    return {
        "color": COLOURS[before % len(COLOURS)],
        "marker": _MARKERS[before % len(_MARKERS)],
        "markersize": 4,
    }


def _two_axes(ax):
    """Return two axes beside each other.

    Raises
    ------
    ValueError
        If `ax` holds another number of axes than one or two.
    """
    import matplotlib.pyplot as plt

    if ax is None:
        figure = plt.figure(figsize=(8, 3.2), layout="constrained")
        return figure.subplots(1, 2)
    axes = np.ravel(np.asarray(ax, dtype=object))
    if len(axes) == 1:
        (bounding,) = axes
        bounding.set_axis_off()
        # Unlike a part of a grid, these are there for axes made in any way.
        places = [(0, 0, 0.41, 1), (0.59, 0, 0.41, 1)]
        return np.array([bounding.inset_axes(place) for place in places])
    if len(axes) != 2:
        raise ValueError(
            "ax must be one axes, or two for loss and accuracy, such as the ax_ of "
            f"another display, got {len(axes)}."
        )
    return axes


def _decorate(ax, measure):
    from matplotlib.ticker import MaxNLocator

    ax.set(xlabel="epoch", ylabel=measure)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
