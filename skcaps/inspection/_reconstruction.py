"""Images and what the decoder makes of their capsules."""

from __future__ import annotations

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted

from skcaps.estimators import _inputs
from skcaps.inspection._mosaic import draw, rows_to_images, to_text, value_range_of


class ReconstructionDisplay:
    """Show images above their reconstructions.

    Use `from_estimator` to make one from a fitted classifier.

    Parameters
    ----------
    originals : array-like of shape (n_images, height, width) or \
            (n_images, height, width, 3)
        Grey or RGB images of any numeric type and range.
    reconstructions : array-like of the shape of `originals`
        What was decoded from their capsules, in the same units.
    labels : array-like of shape (n_images,) or (n_images, n_classes), default=None
        The class decoded, or an indicator of several.
    value_range : tuple of float, default=None
        Values shown as black and white; by default (0, 255) if `originals` are uint8,
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
    PoseSweepDisplay : Show how the drawing follows the pose.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from skcaps.inspection import ReconstructionDisplay
    >>> images = np.arange(3 * 8 * 8).reshape(3, 8, 8)
    >>> display = ReconstructionDisplay(images, images / 2, labels=["a", "b", "c"])
    >>> figure, ax = plt.subplots()
    >>> display.plot(ax=ax).ax_ is ax
    True
    >>> plt.close(figure)
    """

    def __init__(self, originals, reconstructions, *, labels=None, value_range=None):
        self.originals = originals
        self.reconstructions = reconstructions
        self.labels = labels
        self.value_range = value_range

    @classmethod
    def from_estimator(cls, estimator, X, y=None, *, n_images=10, ax=None, cmap="gray"):
        """Reconstruct images and show both.

        Parameters
        ----------
        estimator : CapsNetClassifier or EfficientCapsNetClassifier
            A fitted classifier with a decoder.
        X : array-like of shape (n_samples, n_features) or images
            As in the estimator's `fit`.
        y : array-like of shape (n_samples,) or (n_samples, n_classes), default=None
            The class whose capsule is decoded, or an indicator of several; by default
            the predicted ones.
        n_images : int, default=10
            How many of the first images to show.
        ax : matplotlib Axes, default=None
            Where to plot; by default in a new figure.
        cmap : str or matplotlib Colormap, default="gray"
            Colours of grey images.

        Returns
        -------
        display : ReconstructionDisplay
            The display, plotted.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        ValueError
            If the classifier has no decoder, `X` does not fit the training images, or
            `n_images` is below 1.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> import matplotlib.pyplot as plt
        >>> from sklearn.datasets import load_digits
        >>> from skcaps import EfficientCapsNetClassifier
        >>> from skcaps.inspection import ReconstructionDisplay
        >>> X, y = load_digits(n_class=2, return_X_y=True)
        >>> clf = EfficientCapsNetClassifier(max_epochs=1, random_state=0).fit(X, y)
        >>> figure, ax = plt.subplots()
        >>> display = ReconstructionDisplay.from_estimator(clf, X, n_images=5, ax=ax)
        >>> display.reconstructions.shape
        (5, 8, 8)
        >>> plt.close(figure)
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        if n_images < 1:
            raise ValueError(f"n_images must be at least 1, got {n_images}.")
        X = _first(_inputs.to_numpy(X), n_images)
        y = estimator.predict(X) if y is None else _first(_inputs.to_numpy(y), n_images)
        decoded = estimator.reconstruct(X, y)
        layout = estimator._fitted.layout
        display = cls(
            rows_to_images(X, layout),
            rows_to_images(decoded, layout),
            labels=np.asarray(y),
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
        display : ReconstructionDisplay
            The display itself.

        Raises
        ------
        ValueError
            If `originals` and `reconstructions` differ in shape.
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        originals = np.asarray(self.originals)
        reconstructions = np.asarray(self.reconstructions)
        if originals.shape != reconstructions.shape:
            raise ValueError(
                "originals and reconstructions must have one shape, got "
                f"{originals.shape} and {reconstructions.shape}."
            )
        labels = (
            [] if self.labels is None else [to_text(label) for label in self.labels]
        )
        self.im_ = draw(
            np.stack([originals, reconstructions]),
            ax,
            value_range=self.value_range or value_range_of(originals),
            cmap=cmap,
            row_labels=["image", "reconstruction"],
            column_labels=labels or [""] * len(originals),
        )
        self.ax_ = self.im_.axes
        self.figure_ = self.ax_.figure
        if labels:
            self.ax_.set_xlabel("class whose capsule is decoded")
        return self


def _first(array, n):
    return _safe_indexing(array, np.arange(min(n, len(array))))
