"""Images, their masks, and what is predicted."""

from __future__ import annotations

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support

from skcaps.estimators import _inputs
from skcaps.estimators._masks import is_known
from skcaps.inspection._checks import check_estimator, first_images
from skcaps.inspection._drawing import MISTAKE_COLOUR
from skcaps.inspection._pictures import rows_to_images, to_unit, value_range_of
from skcaps.inspection._sheet import draw_bands, row_of_pictures

# Of pixels that are right, and of those whose class is not known.
_RIGHT, _UNKNOWN = (0.93, 0.93, 0.93), (0.6, 0.6, 0.6)


class SegmentationDisplay:
    """Show images above their masks, the predicted ones, and where these differ.

    Use `from_estimator` or `from_predictions` to make one.

    Parameters
    ----------
    images : array-like of shape (n_images, height, width) or \
            (n_images, height, width, 3)
        Grey or RGB images of any numeric type and range.
    y_true : array-like of shape (n_images, height, width)
        The true masks.
    y_pred : array-like of shape (n_images, height, width)
        The predicted masks.
    ignore_label : int or str, default=-1
        The label of true pixels whose class is not known; grey, and never wrong.
    value_range : tuple of float, default=None
        Values shown as black and white; by default (0, 255) if `images` are uint8, else
        their smallest and largest value.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the picture.
    figure_ : matplotlib Figure
        Its figure.
    pictures_ : ndarray of object of shape (4, n_images)
        The matplotlib artists of the rows.

    See Also
    --------
    ReconstructionDisplay : Show what capsules hold.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from skcaps.inspection import SegmentationDisplay
    >>> images = np.arange(2 * 8 * 8).reshape(2, 8, 8) % 50
    >>> display = SegmentationDisplay(images, images > 20, images > 30)
    >>> figure, ax = plt.subplots()
    >>> display.plot(ax=ax).ax_ is ax
    True
    >>> plt.close(figure)
    """

    def __init__(self, images, y_true, y_pred, *, ignore_label=-1, value_range=None):
        self.images = images
        self.y_true = y_true
        self.y_pred = y_pred
        self.ignore_label = ignore_label
        self.value_range = value_range

    @classmethod
    def from_estimator(
        cls, estimator, X, y, *, n_images=6, ax=None, cmap="gray", mask_cmap="viridis"
    ):
        """Predict masks and show them.

        Parameters
        ----------
        estimator : SegCapsSegmenter
            A fitted segmenter.
        X : array-like of shape (n_samples, n_features) or images
            As in the estimator's `fit`. Other channels than one or three are shown by
            their mean.
        y : array-like of shape (n_samples, height, width) or (n_samples, pixels)
            The true masks.
        n_images : int, default=6
            How many of the first images to show.
        ax : matplotlib Axes, default=None
            Where to plot; by default in a new figure.
        cmap : str or matplotlib Colormap, default="gray"
            Colours of grey images.
        mask_cmap : str or matplotlib Colormap, default="viridis"
            Colours of the classes.

        Returns
        -------
        display : SegmentationDisplay
            The display, plotted.

        Raises
        ------
        NotFittedError
            If the segmenter is not fitted.
        TypeError
            If `estimator` is no segmenter, such as a pipeline that holds one.
        ValueError
            If `X` does not fit the training images, `y` does not fit `X`, or `n_images`
            is below 1.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> import matplotlib.pyplot as plt
        >>> import numpy as np
        >>> from skcaps import SegCapsSegmenter
        >>> from skcaps.inspection import SegmentationDisplay
        >>> X = np.random.default_rng(0).random((4, 8, 8))
        >>> y = np.tile([[0] * 4 + [1] * 4], (4, 8, 1))
        >>> segmenter = SegCapsSegmenter(variant="encoder", max_epochs=4)
        >>> segmenter = segmenter.set_params(random_state=0).fit(X + y, y)
        >>> figure, ax = plt.subplots()
        >>> SegmentationDisplay.from_estimator(segmenter, X + y, y, ax=ax).y_pred.shape
        (4, 8, 8)
        >>> plt.close(figure)
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_estimator(estimator, "background_label_")
        layout, labels = estimator._fitted.layout, estimator._fitted.labels
        masks, mask_shape = _inputs.flatten_masks(y)
        _inputs.check_mask_shape(mask_shape, layout)
        X, masks = first_images(X, n_images), first_images(masks, n_images)
        sides = layout.shape[1:]
        display = cls(
            _to_pictures(rows_to_images(X, layout)),
            masks.reshape(-1, *sides),
            estimator.predict(X).reshape(-1, *sides),
            ignore_label=labels.ignored_in(masks),
            value_range=estimator.input_range_,
        )
        return display.plot(ax=ax, cmap=cmap, mask_cmap=mask_cmap)

    @classmethod
    def from_predictions(
        cls,
        images,
        y_true,
        y_pred,
        *,
        ignore_label=-1,
        n_images=6,
        ax=None,
        cmap="gray",
        mask_cmap="viridis",
    ):
        """Show masks that are predicted already.

        Parameters
        ----------
        images : array-like of shape (n_images, height, width) or \
                (n_images, height, width, 3)
            Grey or RGB images of any numeric type and range.
        y_true : array-like of shape (n_images, height, width)
            The true masks.
        y_pred : array-like of shape (n_images, height, width)
            The predicted masks.
        ignore_label : int or str, default=-1
            The label of true pixels whose class is not known.
        n_images : int, default=6
            How many of the first images to show.
        ax : matplotlib Axes, default=None
            Where to plot; by default in a new figure.
        cmap : str or matplotlib Colormap, default="gray"
            Colours of grey images.
        mask_cmap : str or matplotlib Colormap, default="viridis"
            Colours of the classes.

        Returns
        -------
        display : SegmentationDisplay
            The display, plotted.

        Raises
        ------
        ValueError
            If the shapes do not fit together or `n_images` is below 1.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> import matplotlib.pyplot as plt
        >>> import numpy as np
        >>> from skcaps.inspection import SegmentationDisplay
        >>> images = np.arange(2 * 8 * 8).reshape(2, 8, 8) % 50
        >>> figure, ax = plt.subplots()
        >>> display = SegmentationDisplay.from_predictions(
        ...     images, images > 20, images > 30, ax=ax
        ... )
        >>> plt.close(figure)
        """
        parts = (first_images(a, n_images) for a in (images, y_true, y_pred))
        display = cls(*parts, ignore_label=ignore_label)
        return display.plot(ax=ax, cmap=cmap, mask_cmap=mask_cmap)

    def plot(self, ax=None, *, cmap="gray", mask_cmap="viridis"):
        """Plot the pictures.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to plot; by default in a new figure.
        cmap : str or matplotlib Colormap, default="gray"
            Colours of grey images.
        mask_cmap : str or matplotlib Colormap, default="viridis"
            Colours of the classes.

        Returns
        -------
        display : SegmentationDisplay
            The display itself.

        Raises
        ------
        ValueError
            If the masks do not have the shape of the images.
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib

        images, true, found = map(np.asarray, (self.images, self.y_true, self.y_pred))
        if not true.shape == found.shape == images.shape[:3]:
            raise ValueError(
                "y_true and y_pred must have the shape of the images, "
                f"{images.shape[:3]}, got {true.shape} and {found.shape}."
            )
        unit = np.clip(
            to_unit(images, self.value_range or value_range_of(images)), 0, 1
        )
        known = is_known(true, self.ignore_label)
        classes = np.union1d(true[known], found)
        wrong = matplotlib.colors.to_rgb(MISTAKE_COLOUR)
        difference = np.where((true != found)[..., None], wrong, _RIGHT)
        rows = {
            "image": _colour(unit, cmap),
            "mask": _colour_masks(true, classes, mask_cmap, known),
            "prediction": _colour_masks(found, classes, mask_cmap, np.ones_like(known)),
            "difference": np.where(known[..., None], difference, _UNKNOWN),
        }
        picture_rows = [
            row_of_pictures(name, pictures, value_range=(0, 1), cmap=cmap)
            for name, pictures in rows.items()
        ]
        self.ax_, self.pictures_ = draw_bands(ax, len(images), picture_rows, [])
        self.figure_ = self.ax_.figure
        return self


def _to_pictures(images):
    """Return RGB images with their channels last, and the mean of other channels."""
    if images.shape[1] == 3:
        return np.moveaxis(images, 1, -1)
    return images.mean(axis=1)


def _colour(values, cmap):
    """Return values from 0 to 1 as colours, and colours as they are."""
    import matplotlib

    if values.ndim == 4:
        return values
    return matplotlib.colormaps.get_cmap(cmap)(values)[..., :3]


def _colour_masks(masks, classes, cmap, known):
    places = np.searchsorted(classes, np.where(known, masks, classes[0]))
    colours = _colour(places / max(len(classes) - 1, 1), cmap)
    return np.where(known[..., None], colours, _UNKNOWN)
