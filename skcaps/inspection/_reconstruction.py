"""Images and what the decoder makes of their capsules."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.utils._optional_dependencies import check_matplotlib_support

from skcaps.inspection._checks import check_estimator, first_images
from skcaps.inspection._classes import class_rows
from skcaps.inspection._pictures import (
    rows_to_pictures,
    to_unit,
    value_range_of,
)
from skcaps.inspection._sheet import TextRow, draw_bands, row_of_pictures


class ReconstructionDisplay:
    """Show images above their reconstructions.

    Under them stand the true and the predicted class, the activation of the capsule
    that was decoded, and the error. Mistakes have a frame, a cross and bold letters.

    Use `from_estimator` to make one from a fitted classifier, or `from_predictions`
    from what it has predicted.

    Parameters
    ----------
    originals : array-like of shape (n_images, height, width) or \
            (n_images, height, width, 3)
        Grey or RGB images of any numeric type and range. Images one pixel high are
        drawn as curves, and may have any number of channels.
    reconstructions : array-like of the shape of `originals`
        What was decoded from their capsules, in the same units.
    y_true : array-like of shape (n_images,) or (n_images, n_classes), default=None
        True classes, or an indicator of several.
    y_pred : array-like of shape (n_images,) or (n_images, n_classes), default=None
        Predicted classes. Those that differ from `y_true` are marked.
    activations : array-like of shape (n_images,), default=None
        How present the decoded class is, in [0, 1].
    errors : array-like of shape (n_images,), default=None
        How far the reconstructions are from the images.
    value_range : tuple of float, default=None
        Values shown as black and white; by default (0, 255) if `originals` are uint8,
        else their smallest and largest value.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the picture.
    figure_ : matplotlib Figure
        Its figure.
    pictures_ : ndarray of object of shape (2, n_images)
        What is drawn: a matplotlib AxesImage each, or a list of Line2D for a series.

    See Also
    --------
    PoseSweepDisplay : Show how the drawing follows the pose.
    CouplingDisplay : Show where a class gets its votes from.

    References
    ----------
    Sabour, Frosst, Hinton (2017), "Dynamic routing between capsules", figure 3.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from skcaps.inspection import ReconstructionDisplay
    >>> images = np.arange(3 * 8 * 8).reshape(3, 8, 8)
    >>> display = ReconstructionDisplay(images, images / 2, y_true=["a", "b", "c"])
    >>> figure, ax = plt.subplots()
    >>> display.plot(ax=ax).ax_ is ax
    True
    >>> plt.close(figure)
    """

    def __init__(
        self,
        originals,
        reconstructions,
        *,
        y_true=None,
        y_pred=None,
        activations=None,
        errors=None,
        value_range=None,
    ):
        self.originals = originals
        self.reconstructions = reconstructions
        self.y_true = y_true
        self.y_pred = y_pred
        self.activations = activations
        self.errors = errors
        self.value_range = value_range

    @classmethod
    def from_estimator(cls, estimator, X, y=None, *, n_images=10, ax=None, cmap="gray"):
        """Reconstruct images and show both.

        Parameters
        ----------
        estimator : object
            A fitted classifier of skcaps with a decoder.
        X : array-like of shape (n_samples, n_features) or images
            As in the estimator's `fit`.
        y : array-like of shape (n_samples,) or (n_samples, n_classes), default=None
            The true class, whose capsule is decoded, or an indicator of several; by
            default the predicted ones are decoded, and no mistakes are known.
        n_images : int, default=10
            How many of the first images to show.
        ax : matplotlib Axes, default=None
            Where to plot; by default in a new figure.
        cmap : str or matplotlib Colormap, default="gray"
            Colours of grey images.

        Returns
        -------
        display : ReconstructionDisplay
            The display, plotted. Its `errors` are those of the estimator's
            `reconstruction_error`; of several decoded classes, `activations` has the
            smallest.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        TypeError
            If `estimator` is no capsule classifier, such as a pipeline that holds one.
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
        check_estimator(estimator, "reconstruction_error")
        X = first_images(X, n_images)
        y_true = None if y is None else np.asarray(first_images(y, n_images))
        y_pred = estimator.predict(X)
        decoded = y_pred if y_true is None else y_true
        layout = estimator._fitted.layout
        return cls.from_predictions(
            rows_to_pictures(X, layout),
            rows_to_pictures(estimator.reconstruct(X, decoded), layout),
            y_true=y_true,
            y_pred=y_pred,
            activations=_activations_of(estimator, X, decoded),
            value_range=estimator.input_range_,
            ax=ax,
            cmap=cmap,
        )

    @classmethod
    def from_predictions(
        cls,
        originals,
        reconstructions,
        *,
        y_true=None,
        y_pred=None,
        activations=None,
        value_range=None,
        ax=None,
        cmap="gray",
    ):
        """Compute the errors of reconstructions and show them below their images.

        Parameters
        ----------
        originals : array-like of shape (n_images, height, width) or \
                (n_images, height, width, 3)
            Images of any numeric type and range.
        reconstructions : array-like of the shape of `originals`
            What was decoded from their capsules, in the same units.
        y_true : array-like of shape (n_images,) or (n_images, n_classes), default=None
            True classes, or an indicator of several.
        y_pred : array-like of shape (n_images,) or (n_images, n_classes), default=None
            Predicted classes. Those that differ from `y_true` are marked.
        activations : array-like of shape (n_images,), default=None
            How present the decoded class is, in [0, 1].
        value_range : tuple of float, default=None
            Values shown as black and white, which count as 0 and 1 in the errors; by
            default (0, 255) if `originals` are uint8, else their smallest and largest
            value.
        ax : matplotlib Axes, default=None
            Where to plot; by default in a new figure.
        cmap : str or matplotlib Colormap, default="gray"
            Colours of grey images.

        Returns
        -------
        display : ReconstructionDisplay
            The display, plotted. Its `errors` are squared differences summed over the
            image.

        Raises
        ------
        ValueError
            If `originals` and `reconstructions` differ in shape.
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib_support(f"{cls.__name__}.from_predictions")
        originals, reconstructions = _same_shape(originals, reconstructions)
        value_range = value_range or value_range_of(originals)
        difference = to_unit(reconstructions, value_range) - to_unit(
            originals, value_range
        )
        errors = np.nansum(np.square(difference).reshape(len(difference), -1), axis=1)
        display = cls(
            originals,
            reconstructions,
            y_true=y_true,
            y_pred=y_pred,
            activations=activations,
            errors=errors,
            value_range=value_range,
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
        both = _same_shape(self.originals, self.reconstructions)
        style = {
            "value_range": self.value_range or value_range_of(both[0]),
            "cmap": cmap,
        }
        rows = [
            row_of_pictures(name, pictures, **style)
            for name, pictures in zip(["image", "reconstruction"], both, strict=True)
        ]
        texts, mistakes = class_rows(self.y_true, self.y_pred)
        if self.activations is not None:
            texts.append(TextRow("activation", [f"{a:.2f}" for a in self.activations]))
        if self.errors is not None:
            texts.append(TextRow("error", [_three_digits(e) for e in self.errors]))
        self.ax_, self.pictures_ = draw_bands(
            ax, len(both[0]), rows, texts, mistakes=mistakes
        )
        self.figure_ = self.ax_.figure
        return self


def _activations_of(estimator, X, y):
    """Return how present the decoded classes are; of several, the least present."""
    labels = estimator._fitted.labels
    encoded = torch.from_numpy(estimator._encode(y, len(y)))
    chosen = labels.to_rows(encoded, torch.float32).numpy() > 0
    found = np.where(chosen, estimator.activations(X), np.inf).min(axis=1)
    return np.where(np.isfinite(found), found, np.nan)


def _three_digits(number):
    return f"{number:#.3g}".rstrip(".")


def _same_shape(originals, reconstructions):
    originals, reconstructions = np.asarray(originals), np.asarray(reconstructions)
    if originals.shape != reconstructions.shape:
        raise ValueError(
            "originals and reconstructions must have one shape, got "
            f"{originals.shape} and {reconstructions.shape}."
        )
    return originals, reconstructions
