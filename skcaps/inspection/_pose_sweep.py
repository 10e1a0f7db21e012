"""What the decoder decodes while a pose changes."""

from __future__ import annotations

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils._optional_dependencies import check_matplotlib_support

from skcaps.estimators import _inputs
from skcaps.inspection._checks import check_estimator
from skcaps.inspection._classes import to_text
from skcaps.inspection._pictures import rows_to_pictures, value_range_of
from skcaps.inspection._sheet import draw_blocks

# Sabour, Frosst, Hinton (2017), section 5.1.
PAPER_VALUES = tuple(step / 20 for step in range(-5, 6))
# Rows that are shown where nobody says how many, for one image and for several.
_ROWS_OF_ONE, _ROWS_OF_SEVERAL = 6, 12
# Of images that are decoded together.
_SWEEP_BYTES = 64 << 20


class PoseSweepDisplay:
    """Show how the drawing changes with one dimension of the pose.

    Each row is an image and a dimension, each column a value added to it. Use
    `from_estimator` to make one from a fitted classifier.

    Parameters
    ----------
    images : array-like of shape (n_rows, n_values, height, width) or \
            (n_rows, n_values, height, width, 3)
        Grey or RGB images of any numeric type and range. Images one pixel high are
        drawn as curves, and may have any number of channels.
    values : array-like of shape (n_values,)
        What was added to the dimension.
    row_labels : list of str, default=None
        What the rows are.
    row_name : str, default=None
        What the row labels name, written beside them.
    value_range : tuple of float, default=None
        Values shown as black and white; by default (0, 255) if `images` are uint8,
        else their smallest and largest value.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the picture.
    figure_ : matplotlib Figure
        Its figure.
    pictures_ : ndarray of object of shape (n_rows, n_values)
        What is drawn: a matplotlib AxesImage each, or a list of Line2D for a series.

    See Also
    --------
    ReconstructionDisplay : Show images above their reconstructions.

    References
    ----------
    Sabour, Frosst, Hinton (2017), "Dynamic routing between capsules", figure 4.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from skcaps.inspection import PoseSweepDisplay
    >>> images = np.arange(2 * 3 * 8 * 8).reshape(2, 3, 8, 8)
    >>> display = PoseSweepDisplay(images, [-0.1, 0, 0.1], row_labels=["0", "1"])
    >>> figure, ax = plt.subplots()
    >>> display.plot(ax=ax).ax_ is ax
    True
    >>> plt.close(figure)
    """

    def __init__(
        self, images, values, *, row_labels=None, row_name=None, value_range=None
    ):
        self.images = images
        self.values = values
        self.row_labels = row_labels
        self.row_name = row_name
        self.value_range = value_range

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y=None,
        *,
        dimension="auto",
        n_dimensions=None,
        values=PAPER_VALUES,
        ax=None,
        cmap="gray",
    ):
        """Change poses and show what is decoded from them.

        Parameters
        ----------
        estimator : object
            A fitted classifier of skcaps with a decoder.
        X : array-like of shape (n_samples, n_features) or images
            As in the estimator's `fit`; every one gets a row for each dimension.
        y : array-like of shape (n_samples,), default=None
            The class whose capsule is decoded; by default the predicted one.
        dimension : "auto", "all", int or sequence of int, default="auto"
            Which dimensions of the pose, from 0. "auto" shows those that change the
            drawing most, each image's own, and the one that changes it most first.
            The change is the variance of a pixel over `values`, summed over the
            pixels.
        n_dimensions : int, default=None
            How many dimensions "auto" shows of each image. By default 6 for one or two
            images, and for more as many as make 12 rows, but at least one.
        values : array-like of shape (n_values,), default=(-0.25, -0.2, ..., 0.25)
            What is added to the dimension.
        ax : matplotlib Axes, default=None
            Where to plot; by default in a new figure.
        cmap : str or matplotlib Colormap, default="gray"
            Colours of grey images.

        Returns
        -------
        display : PoseSweepDisplay
            The display, plotted.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        TypeError
            If `estimator` is no capsule classifier, such as a pipeline that holds one.
        ValueError
            If the classifier has no decoder, `X` does not fit the training images,
            there is no such dimension, or "auto" has a single value to compare.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> import matplotlib.pyplot as plt
        >>> from sklearn.datasets import load_digits
        >>> from skcaps import EfficientCapsNetClassifier
        >>> from skcaps.inspection import PoseSweepDisplay
        >>> X, y = load_digits(n_class=2, return_X_y=True)
        >>> clf = EfficientCapsNetClassifier(max_epochs=1, random_state=0).fit(X, y)
        >>> figure, ax = plt.subplots()
        >>> display = PoseSweepDisplay.from_estimator(
        ...     clf, X[:1], n_dimensions=2, ax=ax
        ... )
        >>> display.images.shape
        (2, 11, 8, 8)
        >>> plt.close(figure)
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_estimator(estimator, "sweep_pose")
        X = _inputs.to_numpy(X)
        y = estimator.predict(X) if y is None else np.asarray(_inputs.to_numpy(y))
        values = np.asarray(values, dtype=float)
        pose_dim = estimator._fitted.architecture["pose_dim"]
        choose = _chooser(dimension, n_dimensions, values, len(y))
        if isinstance(dimension, str):
            dimension = range(pose_dim)
        dimensions = np.atleast_1d(dimension)
        images, labels = [], []
        for part in _parts(len(y), len(dimensions) * len(values), estimator):
            swept = estimator.sweep_pose(
                _safe_indexing(X, part), dimensions.tolist(), values, y[part]
            )
            for label, sweep in zip(y[part], swept, strict=True):
                chosen = choose(sweep)
                images += list(sweep[chosen])
                labels += [(to_text(label), d) for d in dimensions[chosen].tolist()]
        names, row_name = _name_rows(labels)
        pictures = rows_to_pictures(np.concatenate(images), estimator._fitted.layout)
        display = cls(
            pictures.reshape(-1, len(values), *pictures.shape[1:]),
            values,
            row_labels=names,
            row_name=row_name,
            value_range=estimator.input_range_,
        )
        return display.plot(ax=ax, cmap=cmap)

    def plot(self, ax=None, *, cmap="gray"):
        """Plot the pictures.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to plot; by default in a new figure.
        cmap : str or matplotlib Colormap, default="gray"
            Colours of grey images.

        Returns
        -------
        display : PoseSweepDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        images = np.asarray(self.images)
        self.ax_, self.pictures_ = draw_blocks(
            ax,
            images,
            self.row_labels or [""] * len(images),
            [f"{value:g}" for value in self.values],
            value_range=self.value_range or value_range_of(images),
            cmap=cmap,
        )
        self.figure_ = self.ax_.figure
        self.ax_.set_xlabel("added to the dimension of the pose")
        self.ax_.set_ylabel(self.row_name or "")
        return self


def _chooser(dimension, n_dimensions, values, n_images):
    """Return the function from an image's sweep to which dimensions are shown.

    Raises
    ------
    ValueError
        If the options do not fit together.
    """
    if not (isinstance(dimension, str) and dimension == "auto"):
        if isinstance(dimension, str) and dimension != "all":
            raise ValueError(
                'dimension must be "auto", "all", an int or a sequence of int, got '
                f"{dimension!r}."
            )
        if n_dimensions is not None:
            raise ValueError(
                f'n_dimensions={n_dimensions} is for dimension="auto", got '
                f"dimension={dimension!r}; leave one of them out."
            )
        return lambda sweep: np.arange(len(sweep))
    if n_dimensions is None:
        fair = _ROWS_OF_SEVERAL // max(n_images, 1)
        n_dimensions = min(max(fair, 1), _ROWS_OF_ONE)
    if n_dimensions < 1:
        raise ValueError(f"n_dimensions must be at least 1, got {n_dimensions}.")
    if len(np.unique(values)) < 2:
        raise ValueError(
            'dimension="auto" compares the drawings of two values or more, got '
            f"values={values.tolist()}; name the dimensions instead."
        )
    return lambda sweep: _change(sweep).argsort(kind="stable")[::-1][:n_dimensions]


def _change(sweep):
    """Return how much each dimension changes the drawing.

    Parameters
    ----------
    sweep : ndarray of shape (n_dimensions, n_values, ...)
    """
    pixels = sweep.reshape(*sweep.shape[:2], -1)
    return pixels.var(axis=1, dtype=float).sum(axis=1)


def _parts(n_images, n_drawings, estimator):
    """Yield the numbers of images that are swept together: large ones one by one."""
    drawing = 4 * estimator.n_features_in_
    size = max(1, _SWEEP_BYTES // (n_drawings * drawing))
    for start in range(0, n_images, size):
        yield np.arange(start, min(start + size, n_images))


def _name_rows(labels):
    """Label rows of a class and a dimension with what differs between them."""
    classes, dimensions = zip(*labels, strict=True)
    if len(set(classes)) == 1 and len(set(dimensions)) == len(labels):
        return [
            str(d) for d in dimensions
        ], f"dimension of the pose, class {classes[0]}"
    if len(set(dimensions)) == 1:
        return list(classes), f"class (dimension {dimensions[0]} of the pose)"
    return [f"{c}, {d}" for c, d in labels], "class, dimension of the pose"
