"""SegCaps as a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from skcaps.estimators import _fitting, _inputs
from skcaps.estimators._callbacks import with_callbacks
from skcaps.estimators._documentation import with_parameters
from skcaps.estimators._map_objective import mask_poses
from skcaps.estimators._parameters import (
    NOT_NEGATIVE,
    POSITIVE_INTEGER,
    SIZE,
    TrainedEstimator,
)
from skcaps.estimators._range import from_unit
from skcaps.estimators._segmenting import SEGMENTATION
from skcaps.estimators._served import ServedNetwork
from skcaps.estimators._tiles import run_in_tiles
from skcaps.functional import MAP_LOSSES, MASK_AUGMENTATIONS
from skcaps.functional._map_squash import map_lengths
from skcaps.metrics import dice_score
from skcaps.nn import PIXEL_DECODERS, SEGCAPS_VARIANTS, segcaps


@with_parameters
class SegCapsSegmenter(ServedNetwork, TrainedEstimator):
    """SegCaps: capsules that name the class of every pixel.

    At every pixel each class but the background has a capsule, whose length says
    whether the class is there. Below, capsules of an eighth of the image up to all of
    it vote by convolutions, and the types of capsules at a pixel agree by routing.

    Parameters
    ----------
    image_shape : "auto", tuple of int or dict
        ``(height, width)`` or ``(channels, height, width)``; three numbers are
        ``(height, width, channels)`` if the last is at most four and less than half of
        the second. A dict names the axes in their order, whatever their sizes:
        ``{"height": 16, "width": 8, "channels": 4}``. "auto" takes the shape of 3-D and
        4-D `X`; flat rows are a square grey image if their length is a square, else an
        image one pixel high.
    variant : {"r3", "r1", "basic", "encoder"}
        "r3" routes in every layer but the first; "r1" only where the size of the map
        changes; "basic" has one layer of capsules at full size; "encoder" has the
        capsules of "r3" on the way down, and ordinary convolutions on the way up.
    routing_iterations : int
        Iterations of the routings. Those of the last layer decide something for
        several foreground classes only; with one they are left out.
    pose_dim : int
        Dimension of the class capsules.
    decoder : {"pixel"} or None
        What decodes the poses to images.
    reconstruction_weight : float
        Factor of the mean squared error of the decoded images, values from 0 to 1, with
        the background black.
    background_label : "auto", int or str
        The class without a capsule. "auto" is 0 or "background" if it is a label, else
        the first of `classes_`.
    ignore_label : int, str or None
        What `y` calls pixels whose class is not known; they count neither in training
        nor in `score`.
    loss : {"cross_entropy", "margin", "dice"}
        Loss on the lengths at every pixel: binary cross entropy for each capsule, the
        margin loss, or one minus the Dice coefficient.
    patch_size : "auto" or int
        Longest side of the parts of the images trained on, at random places; an epoch
        has as many as cover the images. "auto" is 128.
    tile_size : int
        Longest side of what is predicted at a time of larger images, with as much
        around it as it depends on; it changes memory, and nothing else.
    batch_size : int
        Largest number of patches in a training step.
    early_stopping : bool
        Hold out a part of the training images, stop when its loss no longer falls, and
        keep the best weights.
    augmentation : {"flip", "turn", "affine"}, callable or None
        Changes the training images and their masks together: "flip" turns half of them
        over, left to right; "turn" takes one of the eight positions of a square;
        "affine" turns a little, scales and shifts; see `skcaps.functional`. A callable
        maps a tensor (batch, channels, height, width), values from 0 to 1, and one of
        masks (batch, height, width), 0 for the background, 1 and more for the other
        classes in their order and -1 for what is not known, to two such tensors.
    class_weight : dict or "balanced"
        Weights of the pixels by their class, 1 for those that a dict leaves out;
        "balanced" makes them inverse to their frequency, so that of two classes each
        has half of the weight. They are scaled to a mean of 1.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.
    background_label_ : int or str
        The class without a capsule.
    history_ : list of dict
        Loss, accuracy (the share of pixels), seconds and, at its start, learning rate
        of each epoch. One that was stopped half-way has the "fraction" of the images it
        has trained on.
    network_ : skcaps.nn.SegmentationNetwork
        The trained torch module.

    See Also
    --------
    CapsNetClassifier : One label for an image.

    Notes
    -----
    The network is that of the released code: 1,416,112 trainable parameters for one
    channel and one foreground class, and 9,537 for the decoder. Three things differ. It
    takes several classes. What is decoded is masked by the predicted classes where
    none are given, as it was in training. And the iterations of the last layer are left
    out for one foreground class: the coupling to a single parent is always 1.

    Images may have any height and width, the same in `fit` and afterwards: they are
    continued to a multiple of 8 and cropped. It is no classifier for scikit-learn,
    which has no classifiers of pixels: a search takes masks as they are, and its folds
    are not stratified.

    References
    ----------
    LaLonde, Bagci (2018), "Capsules for object segmentation", arXiv 1804.04241.

    Examples
    --------
    >>> import numpy as np
    >>> from skcaps import SegCapsSegmenter
    >>> rng = np.random.default_rng(0)
    >>> y = np.zeros((8, 16, 16), dtype=int)
    >>> y[:, 4:12, 4:12] = 1
    >>> X = y + rng.normal(scale=0.3, size=y.shape)
    >>> segmenter = SegCapsSegmenter(variant="encoder", max_epochs=20, random_state=0)
    >>> segmenter.fit(X, y).predict(X).shape
    (8, 16, 16)
    """

    image_shape: str | Sequence[int] | dict[str, int] = "auto"
    variant: str = "r3"
    routing_iterations: int = 3
    pose_dim: int = 16
    decoder: str | None = "pixel"
    reconstruction_weight: float = 0.1
    background_label: str | int = "auto"
    ignore_label: str | int | None = -1
    loss: str = "cross_entropy"
    patch_size: str | int = "auto"
    tile_size: int = 256
    batch_size: int = 4
    augmentation: str | Callable | None = None
    class_weight: str | dict | None = None

    _parameter_constraints: ClassVar[dict] = {
        **TrainedEstimator._parameter_constraints,
        "image_shape": [StrOptions({"auto"}), tuple, list, dict],
        "variant": [StrOptions(set(SEGCAPS_VARIANTS))],
        "routing_iterations": [SIZE],
        "pose_dim": [SIZE],
        "decoder": [StrOptions({name for name in PIXEL_DECODERS if name}), None],
        "reconstruction_weight": [NOT_NEGATIVE],
        "background_label": [str, Integral, "boolean"],
        "ignore_label": [str, Integral, None],
        "loss": [StrOptions(set(MAP_LOSSES))],
        "patch_size": [StrOptions({"auto"}), POSITIVE_INTEGER],
        "tile_size": [Interval(Integral, 8, None, closed="left")],
        "batch_size": [POSITIVE_INTEGER],
        "augmentation": [StrOptions(set(MASK_AUGMENTATIONS)), callable, None],
        "class_weight": [StrOptions({"balanced"}), dict, None],
    }
    _build_network = staticmethod(segcaps)
    _recipe = SEGMENTATION

    @with_callbacks
    def fit(self, X, y):
        """Train the network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, height, width) or \
                (n_samples, channels, height, width)
            Images of any numeric type and range; see `image_shape`.
        y : array-like of shape (n_samples, height, width) or (n_samples, pixels)
            A label for every pixel: whole numbers of any type or strings.

        Returns
        -------
        self : object
            The fitted segmenter.

        Raises
        ------
        ValueError
            If a parameter, `X` or `y` is out of range, or if the loss becomes infinite
            or NaN.
        TypeError
            If `X` is sparse or a torch Dataset.

        Warns
        -----
        ConvergenceWarning
            If all pixels of training images end in one class.
        """
        self._validate_params()
        _fitting.fit(self, X, y)
        return self

    def partial_fit(self, X, y, classes=None):
        """Train for one pass over the given samples, at a constant learning rate.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), (n_samples, height, width) or \
                (n_samples, channels, height, width)
            Images; the first call decides the layout and the range of values.
        y : array-like of shape (n_samples, height, width) or (n_samples, pixels)
            Masks.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come; needed in the first call.

        Returns
        -------
        self : object
            The segmenter.

        Raises
        ------
        ValueError
            If `classes` is missing in the first call or changes later, if
            `early_stopping` is set, or for what `fit` raises it.
        """
        self._validate_params()
        _fitting.partial_fit(self, X, y, classes)
        return self

    def lengths(self, X):
        """Return the lengths of the class capsules at every pixel.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            As in `fit`.

        Returns
        -------
        lengths : ndarray of shape (n_samples, height, width, n_capsules)
            In [0, 1), for each class but the background, in the order of `classes_`.

        Raises
        ------
        NotFittedError
            If the segmenter is not fitted.
        ValueError
            If `X` does not fit the training images.
        """
        return np.moveaxis(self._map(lambda routed: routed.activations, X), 1, -1)

    def poses(self, X):
        """Return the pose vectors of the class capsules at every pixel.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            As in `fit`.

        Returns
        -------
        poses : ndarray of shape (n_samples, height, width, n_capsules, pose_dim)
            For each class but the background, in the order of `classes_`.

        Raises
        ------
        NotFittedError
            If the segmenter is not fitted.
        ValueError
            If `X` does not fit the training images.
        """
        poses = self._map(lambda routed: routed.poses, X)
        return np.moveaxis(poses, (1, 2), (-2, -1))

    def predict_proba(self, X):
        """Return class probabilities of every pixel.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            As in `fit`.

        Returns
        -------
        y_prob : ndarray of shape (n_samples, height, width, n_classes)
            Each length is read as the probability that its class is there, and one
            class at most is: in proportion to ``length / (1 - length)``, and to 1 for
            the background. For one foreground class it is the length.

        Raises
        ------
        NotFittedError
            If the segmenter is not fitted.
        ValueError
            If `X` does not fit the training images.
        """
        labels = self._checked().labels
        found = self._map(lambda routed: labels.probabilities(routed.activations), X)
        return np.moveaxis(found, 1, -1)

    def predict(self, X):
        """Return the class of every pixel.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            As in `fit`.

        Returns
        -------
        y : ndarray of shape (n_samples, height, width) or (n_samples, pixels)
            In the layout and type of the masks of `fit`: the class of the longest
            capsule, or the background where none is longer than 0.5.

        Raises
        ------
        NotFittedError
            If the segmenter is not fitted.
        ValueError
            If `X` does not fit the training images.
        """
        labels = self._checked().labels
        encoded = self._map(lambda routed: labels.decide(routed.activations), X)
        if labels.flat:
            encoded = encoded.reshape(len(encoded), -1)
        return labels.to_labels(encoded)

    def score(self, X, y, sample_weight=None):
        """Return the mean Dice coefficient of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            As in `fit`.
        y : array-like of shape (n_samples, height, width) or (n_samples, pixels)
            The true masks.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the images.

        Returns
        -------
        score : float
            From 0 to 1, over the pixels of all images, without those of
            `ignore_label`; all classes in `y` or predicted count alike, the background
            too. See `skcaps.metrics.dice_score`.

        Raises
        ------
        NotFittedError
            If the segmenter is not fitted.
        ValueError
            If `X` does not fit the training images or `y` does not fit `X`.
        """
        found = self.predict(X)
        masks, mask_shape = _inputs.flatten_masks(y)
        _inputs.check_mask_shape(mask_shape, self._fitted.layout)
        return dice_score(
            masks,
            found.reshape(len(found), -1),
            ignore_label=self._fitted.labels.ignored_in(masks),
            sample_weight=sample_weight,
        )

    def reconstruct(self, X, y=None):
        """Decode the capsules of each pixel's class to images.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            As in `fit`.
        y : array-like of shape (n_samples, height, width) or (n_samples, pixels), \
                default=None
            The class whose capsule is decoded at each pixel; by default the predicted
            one.

        Returns
        -------
        images : ndarray of the shape of X
            In the units of the training images; what is black there, where the
            background is.

        Raises
        ------
        NotFittedError
            If the segmenter is not fitted.
        ValueError
            If the segmenter has no decoder, `X` does not fit the training images, or
            `y` holds an unknown label or does not fit `X`.
        """
        fitted = self._checked()
        rows = self._rows(X)
        if fitted.network.decoder is None:
            raise ValueError(
                'This segmenter has no decoder; fit it with decoder="pixel".'
            )
        beside = () if y is None else (self._encode(y, len(rows)),)
        _, *sides = fitted.layout.shape

        def decode(images, *encoded):
            poses = self._in_tiles(lambda routed: routed.poses, images)
            if encoded:
                masks = encoded[0].unflatten(1, sides)
            else:
                masks = fitted.labels.decide(map_lengths(poses))
            decoded = fitted.network.reconstruct(mask_poses(poses, masks))
            return fitted.layout.to_rows(from_unit(decoded, fitted.input_range))

        decoded = fitted.map(decode, rows, *beside)
        return decoded.reshape(len(decoded), *_inputs.sample_shape(X))

    @property
    def background_label_(self):
        """The class without a capsule."""
        labels = self._checked().labels
        return labels.classes[labels.background]

    def _map(self, part, X):
        """Join what a function makes of the capsules at every pixel."""
        fitted = self._checked()
        return fitted.map(lambda images: self._in_tiles(part, images), self._rows(X))

    def _in_tiles(self, part, images):
        fitted = self._fitted
        return run_in_tiles(
            lambda tile: part(fitted.run(tile)),
            images,
            fitted.network,
            self.tile_size,
        )

    def _encode(self, y, n_samples):
        masks, mask_shape = _inputs.flatten_masks(y)
        _inputs.check_mask_shape(mask_shape, self._fitted.layout)
        if len(masks) != n_samples:
            raise ValueError(
                f"y must hold a mask for each of {n_samples} images, got {len(masks)}."
            )
        return self._fitted.labels.encode(masks)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = False
        tags.input_tags.three_d_array = True
        return tags
