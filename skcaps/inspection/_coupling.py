"""Which capsules, and which places of an image, a class gets its votes from."""

from __future__ import annotations

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support

from skcaps.inspection._checks import check_estimator, first_images
from skcaps.inspection._children import has_places, votes_over_image
from skcaps.inspection._classes import class_rows, to_text
from skcaps.inspection._drawing import aspect_of, draw_map, draw_outline
from skcaps.inspection._pictures import rows_to_pictures, to_unit, value_range_of
from skcaps.inspection._sheet import (
    COLORBAR,
    PictureRow,
    TextRow,
    draw_bands,
    draw_colorbar,
    row_of_pictures,
)


class CouplingDisplay:
    """Show where class capsules get their votes from.

    Where the capsules below the classes lie on a grid over the image, as in CapsNet,
    colours show at every place how much of its capsules goes to a class: their
    couplings times their activations, summed over the types of capsules there, and
    spread over the pixels that the place reads. The bright parts of a grey image are
    outlined.

    Where they have no place, as in Efficient-CapsNet or with hidden capsules, colours
    show the couplings themselves, one line for each capsule and one column for each
    class.

    The entropy of the couplings is 0 where each capsule has chosen one class, and 1
    where the routing decides nothing. Mistakes have a frame, a cross and bold letters.

    Use `from_estimator` to make one from a fitted classifier.

    Parameters
    ----------
    maps : array-like of shape (n_images, n_maps, height, width)
        What the colours show: maps over the image, or matrices of capsules x classes.
    map_names : list of str, default=None
        What each of the `n_maps` is.
    classes : array-like of shape (n_classes,), default=None
        The classes of the columns, where the maps are matrices.
    images : array-like of shape (n_images, height, width) or \
            (n_images, height, width, 3), default=None
        Shown above the maps.
    y_true, y_pred : array-like of shape (n_images,) or (n_images, n_classes), \
            default=None
        True and predicted classes, or indicators of several. Those that differ are
        marked.
    entropies : array-like of shape (n_images,), default=None
        Of the couplings, from 0 to 1.
    value_name : str, default="coupling"
        What the colours show, written beside the colour bar.
    value_range : tuple of float, default=None
        Values of `images` shown as black and white; by default (0, 255) if they are
        uint8, else their smallest and largest value.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the picture.
    figure_ : matplotlib Figure
        Its figure.
    pictures_ : ndarray of object of shape (n_rows, n_images)
        What is drawn: the images, if there are any, and the maps.
    colorbar_ : matplotlib Colorbar or None
        What the colours mean.

    See Also
    --------
    ReconstructionDisplay : Show images above their reconstructions.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from skcaps.inspection import CouplingDisplay
    >>> couplings = np.full((2, 1, 16, 3), 1 / 3)
    >>> display = CouplingDisplay(couplings, classes=["a", "b", "c"], entropies=[1, 1])
    >>> figure, ax = plt.subplots()
    >>> display.plot(ax=ax).ax_ is ax
    True
    >>> plt.close(figure)
    """

    def __init__(
        self,
        maps,
        *,
        map_names=None,
        classes=None,
        images=None,
        y_true=None,
        y_pred=None,
        entropies=None,
        value_name="coupling",
        value_range=None,
    ):
        self.maps = maps
        self.map_names = map_names
        self.classes = classes
        self.images = images
        self.y_true = y_true
        self.y_pred = y_pred
        self.entropies = entropies
        self.value_name = value_name
        self.value_range = value_range

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y=None,
        *,
        votes_for=None,
        n_images=10,
        ax=None,
        cmap="viridis",
        colorbar=True,
    ):
        """Compute the couplings of images and show them.

        Parameters
        ----------
        estimator : object
            A fitted classifier of skcaps.
        X : array-like of shape (n_samples, n_features) or images
            As in the estimator's `fit`.
        y : array-like of shape (n_samples,) or (n_samples, n_classes), default=None
            True classes, or an indicator of several. Mistakes are marked.
        votes_for : array-like of shape (n_maps,), default=None
            The classes whose votes are shown over the image; by default the most
            active one of each image. Where the capsules have no place, all classes are
            shown, and it has to be None.
        n_images : int, default=10
            How many of the first images to show.
        ax : matplotlib Axes, default=None
            Where to plot; by default in a new figure.
        cmap : str or matplotlib Colormap, default="viridis"
            Colours of the maps.
        colorbar : bool, default=True
            Whether to draw what the colours mean.

        Returns
        -------
        display : CouplingDisplay
            The display, plotted.

        Raises
        ------
        NotFittedError
            If the classifier is not fitted.
        TypeError
            If `estimator` is no capsule classifier, such as a pipeline that holds one.
        ValueError
            If `X` does not fit the training images, `n_images` is below 1, or
            `votes_for` has other classes, or is given where capsules have no place.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> import matplotlib.pyplot as plt
        >>> from sklearn.datasets import load_digits
        >>> from skcaps import CapsNetClassifier
        >>> from skcaps.inspection import CouplingDisplay
        >>> X, y = load_digits(n_class=2, return_X_y=True)
        >>> clf = CapsNetClassifier(max_epochs=1, conv_channels=16, random_state=0)
        >>> figure, ax = plt.subplots()
        >>> display = CouplingDisplay.from_estimator(
        ...     clf.fit(X, y), X, votes_for=[0, 1], n_images=3, ax=ax
        ... )
        >>> display.maps.shape
        (3, 2, 8, 8)
        >>> plt.close(figure)
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_estimator(estimator, "couplings")
        X = first_images(X, n_images)
        maps = _find_maps(estimator, X, votes_for)
        display = cls(
            **maps,
            images=rows_to_pictures(X, estimator._fitted.layout),
            y_true=None if y is None else np.asarray(first_images(y, n_images)),
            y_pred=estimator.predict(X),
            entropies=estimator.coupling_entropy(X),
            value_range=estimator.input_range_,
        )
        return display.plot(ax=ax, cmap=cmap, colorbar=colorbar)

    def plot(self, ax=None, *, cmap="viridis", colorbar=True):
        """Plot images and maps.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to plot; by default in a new figure.
        cmap : str or matplotlib Colormap, default="viridis"
            Colours of the maps.
        colorbar : bool, default=True
            Whether to draw what the colours mean.

        Returns
        -------
        display : CouplingDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        maps = np.asarray(self.maps)
        texts, mistakes = class_rows(self.y_true, self.y_pred)
        if self.entropies is not None:
            texts.append(TextRow("entropy", [f"{e:.2f}" for e in self.entropies]))
        texts = [*self._class_axis(len(maps)), *texts]
        self.ax_, self.pictures_ = draw_bands(
            ax,
            len(maps),
            [*self._image_rows(), *self._map_rows(maps, cmap)],
            texts,
            mistakes=mistakes,
            beside=COLORBAR if colorbar else 0.0,
        )
        self.figure_ = self.ax_.figure
        self.colorbar_ = None
        if colorbar:
            self.colorbar_ = draw_colorbar(
                self.ax_, self.pictures_[-1, 0], self.value_name
            )
        return self

    def _class_axis(self, n_images):
        """Return the row that says which classes the columns of a matrix are."""
        if self.classes is None:
            return []
        first, last = to_text(self.classes[0]), to_text(self.classes[-1])
        name = f"{first} \N{HORIZONTAL ELLIPSIS} {last}"
        return [TextRow("columns", [name] * n_images, is_marked=False)]

    def _image_rows(self):
        if self.images is None:
            return []
        pictures = np.asarray(self.images)
        value_range = self.value_range or value_range_of(pictures)

        return [
            row_of_pictures("image", pictures, value_range=value_range, cmap="gray")
        ]

    def _map_rows(self, maps, cmap):
        limits = min(0.0, np.nanmin(maps)), self._highest(maps)
        names = self.map_names or [""] * maps.shape[1]
        outlines = self._outlines()

        def draw_row(m):
            def draw(ax, i, box):
                drawn = draw_map(ax, maps[i, m], box, limits=limits, cmap=cmap)
                if outlines is not None:
                    draw_outline(ax, outlines[i], box)
                return drawn

            return draw

        is_matrix = self.classes is not None
        shown = maps[0, 0] if self.images is None or not is_matrix else self.images[0]
        aspect = aspect_of(np.asarray(shown))
        return [PictureRow(name, aspect, draw_row(m)) for m, name in enumerate(names)]

    def _highest(self, maps):
        # No capsule that spreads evenly is among the brightest, however few classes.
        even = 0.0 if self.classes is None else 1 / len(self.classes)
        return max(np.nanmax(maps), 2 * even)

    def _outlines(self):
        """Return images of values from 0 to 1 with outlines to draw, or None."""
        if self.images is None or self.classes is not None:
            return None
        pictures = np.asarray(self.images)
        is_plain = pictures.ndim == 3 or pictures.shape[1] == 1
        if not is_plain or pictures.shape[1:3] != np.shape(self.maps)[2:]:
            return None
        return to_unit(pictures, self.value_range or value_range_of(pictures))


def _find_maps(estimator, X, votes_for):
    """Return the arguments of the display that say what the colours show."""
    couplings = estimator.couplings(X)
    if not has_places(estimator._fitted.network):
        if votes_for is not None:
            raise ValueError(
                f"votes_for must be None, got {votes_for!r}: only votes of a grid of "
                "primary capsules are shown over the image, and of other networks "
                "all classes."
            )
        return {
            "maps": couplings[:, None],
            "map_names": ["capsules x classes"],
            "classes": estimator.classes_,
        }
    votes = votes_over_image(estimator, X, couplings)
    name = "coupling x activation"
    if votes_for is None:
        most = estimator.activations(X).argmax(axis=1)
        chosen = votes[np.arange(len(votes)), most][:, None]
        return {
            "maps": chosen,
            "map_names": ["votes for predicted"],
            "value_name": name,
        }
    numbers = _class_numbers(estimator.classes_, votes_for)
    names = [f"votes for {to_text(label)}" for label in votes_for]
    return {"maps": votes[:, numbers], "map_names": names, "value_name": name}


def _class_numbers(classes, wanted):
    known = classes.tolist()
    unknown = [label for label in np.asarray(wanted).tolist() if label not in known]
    if unknown:
        raise ValueError(
            f"votes_for must hold classes of the estimator, {known}, got {unknown}."
        )
    return [known.index(label) for label in np.asarray(wanted).tolist()]
