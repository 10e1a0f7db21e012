"""What the decoder decodes while a pose changes."""

from __future__ import annotations

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted

from skcaps.estimators import _inputs
from skcaps.inspection._mosaic import draw, rows_to_images, to_text, value_range_of

# Sabour, Frosst, Hinton (2017), section 5.1.
PAPER_VALUES = tuple(step / 20 for step in range(-5, 6))


class PoseSweepDisplay:
    """Show how the drawing changes with one dimension of the pose.

    Each row is an image and a dimension, each column a value added to it. Use
    `from_estimator` to make one from a fitted classifier.

    Parameters
    ----------
    images : array-like of shape (n_rows, n_values, height, width) or \
            (n_rows, n_values, height, width, 3)
        Grey or RGB images of any numeric type and range.
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
    im_ : matplotlib AxesImage
        The picture.

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
        dimension=None,
        values=PAPER_VALUES,
        ax=None,
        cmap="gray",
    ):
        """Change poses and show what is decoded from them.

        Parameters
        ----------
        estimator : CapsNetClassifier or EfficientCapsNetClassifier
            A fitted classifier with a decoder.
        X : array-like of shape (n_samples, n_features) or images
            As in the estimator's `fit`; every one gets a row for each dimension.
        y : array-like of shape (n_samples,), default=None
            The class whose capsule is decoded; by default the predicted one.
        dimension : int or sequence of int, default=None
            Which dimensions of the pose, from 0; by default all.
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
        ValueError
            If the classifier has no decoder, `X` does not fit the training images, or
            there is no such dimension.
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
        ...     clf, X[:1], dimension=[0, 3], ax=ax
        ... )
        >>> display.images.shape
        (2, 11, 8, 8)
        >>> plt.close(figure)
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        y = estimator.predict(X) if y is None else np.asarray(_inputs.to_numpy(y))
        if dimension is None:
            dimension = range(estimator._fitted.architecture["pose_dim"])
        dimensions = np.atleast_1d(dimension).tolist()
        swept = estimator.sweep_pose(X, dimensions, values, y)
        n_images, n_dimensions, n_values = swept.shape[:3]
        images = rows_to_images(
            swept.reshape(n_images * n_dimensions * n_values, -1),
            estimator._fitted.layout,
        )
        labels, name = _name_rows([to_text(label) for label in y], dimensions)
        display = cls(
            images.reshape(-1, n_values, *images.shape[1:]),
            np.asarray(values),
            row_labels=labels,
            row_name=name,
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
        self.im_ = draw(
            images,
            ax,
            value_range=self.value_range or value_range_of(images),
            cmap=cmap,
            row_labels=self.row_labels or [""] * len(images),
            column_labels=[f"{value:g}" for value in self.values],
        )
        self.ax_ = self.im_.axes
        self.figure_ = self.ax_.figure
        self.ax_.set_xlabel("added to the dimension of the pose")
        self.ax_.set_ylabel(self.row_name or "")
        return self


def _name_rows(classes, dimensions):
    """Label a row with what differs between rows."""
    if len(classes) == 1:
        return [str(d) for d in dimensions], "dimension of the pose"
    if len(dimensions) == 1:
        return classes, f"class (dimension {dimensions[0]} of the pose)"
    both = [f"{label}, {d}" for label in classes for d in dimensions]
    return both, "class, dimension of the pose"
