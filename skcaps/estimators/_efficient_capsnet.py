"""Efficient-CapsNet as a scikit-learn classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from sklearn.utils._param_validation import StrOptions

from skcaps.estimators._base import BaseCapsuleClassifier
from skcaps.estimators._documentation import with_parameters
from skcaps.estimators._parameters import SIZE
from skcaps.nn import efficient_capsnet


@with_parameters
class EfficientCapsNetClassifier(BaseCapsuleClassifier):
    """Efficient-CapsNet: few capsules, routed in one pass by self-attention.

    Four convolutions, sixteen primary capsules and one capsule for each class: 161,824
    trainable parameters for 28x28 images and ten classes, without the decoder.

    Parameters
    ----------
    conv_channels : tuple of int
        Channels of each convolution.
    primary_capsules : "auto" or int
        Number of primary capsules. "auto" makes one of every `primary_dim` channels of
        the last convolution; a number sets those channels instead.
    share_weight : bool
        Let all capsules of a layer share one matrix for each capsule above, as in
        AffCapsNet (Gu, Tresp 2020), in place of one for each pair.
    initialization : {"auto", "calibrated", "paper"}
        Initial weights: "paper" draws them as the code released with the paper does;
        "calibrated" then scales them so that, on some training images, all capsules
        have lengths far from 0 and from 1 (see `skcaps.nn.calibrate`). "auto" is
        "paper" for the paper's own networks (see Notes) and "calibrated" for others.

    See Also
    --------
    CapsNetClassifier : The original capsule network with dynamic routing.

    Notes
    -----
    Images of shape (1, 28, 28), (1, 36, 36) and (2, 48, 48) get the networks that the
    paper uses for MNIST, MultiMNIST and smallNORB, layer by layer, with the initial
    values of the code released with it. For other sizes see
    `skcaps.nn.efficient_capsnet_geometry`.

    References
    ----------
    Mazzia, Salvetti, Chiaberge (2021), "Efficient-CapsNet: capsule network with
    self-attention routing", Scientific Reports 11, 14634.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skcaps import EfficientCapsNetClassifier
    >>> X, y = load_digits(n_class=3, return_X_y=True)
    >>> clf = EfficientCapsNetClassifier(max_epochs=3, random_state=0)
    >>> clf.fit(X[:400], y[:400]).predict_proba(X[400:]).shape
    (137, 3)
    """

    routing: str = "self_attention"
    conv_channels: Sequence[int] = (32, 64, 64, 128)
    primary_capsules: str | int = "auto"
    share_weight: bool = False

    _parameter_constraints: ClassVar[dict] = {
        **BaseCapsuleClassifier._parameter_constraints,
        "conv_channels": [tuple, list],
        "primary_capsules": [StrOptions({"auto"}), SIZE],
        "share_weight": ["boolean"],
    }
    _build_network = staticmethod(efficient_capsnet)
