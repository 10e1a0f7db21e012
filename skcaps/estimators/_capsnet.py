"""CapsNet as a scikit-learn classifier."""

from __future__ import annotations

from typing import ClassVar

from skcaps.estimators._base import BaseCapsuleClassifier
from skcaps.estimators._documentation import with_parameters
from skcaps.estimators._parameters import SIZE
from skcaps.nn import capsnet


@with_parameters
class CapsNetClassifier(BaseCapsuleClassifier):
    """CapsNet: capsules routed by agreement.

    A convolution, a grid of primary capsules and one capsule for each class, whose
    length says how likely the class is and whose direction, the pose, describes how
    the object looks. A decoder that reconstructs the image from the pose regularizes.

    Parameters
    ----------
    conv_channels : int
        Channels of the first convolution.
    kernel_size : int
        Side of the kernels; smaller where the image is small.
    primary_capsules : int
        Types of primary capsules at each place of the grid.
    share_weight : bool
        Let all capsules of a layer share one matrix for each capsule above, as in
        AffCapsNet (Gu, Tresp 2020), in place of one for each pair.
    initialization : {"auto", "calibrated", "paper"}
        Initial weights: "paper" draws them as the code released with the paper does;
        "calibrated" then scales them so that, on some training images, all capsules
        have lengths far from 0 and from 1 (see `skcaps.nn.calibrate`). "auto" is
        "calibrated" here: images need not be as bright as MNIST's.
    precision : {"float32", "bfloat16", "float64"}
        Number format of the convolutions; "bfloat16" keeps weights and routing in
        float32, and gives way to float32, with a warning in `fit`, on a machine
        without instructions for it. On an x86 processor without AMX, convolutions of 64
        channels and more stay in float32, where fewer products are needed.

    See Also
    --------
    EfficientCapsNetClassifier : Far fewer parameters and routing in one pass.

    Notes
    -----
    28x28 images get the network of the paper, layer by layer, and with
    ``initialization="paper"`` the initial values of the code released with it. For
    other sizes see
    `skcaps.nn.capsnet_geometry`.

    References
    ----------
    Sabour, Frosst, Hinton (2017), "Dynamic routing between capsules", arXiv
    1710.09829.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skcaps import CapsNetClassifier
    >>> X, y = load_digits(n_class=3, return_X_y=True)
    >>> clf = CapsNetClassifier(max_epochs=3, random_state=0).fit(X[:400], y[:400])
    >>> clf.predict(X[400:]).shape
    (137,)
    >>> clf.transform(X[400:]).shape
    (137, 48)
    """

    conv_channels: int = 256
    kernel_size: int = 9
    primary_capsules: int = 32
    share_weight: bool = False
    learning_rate_warmup: int = 20
    batch_size: str | int = 32
    max_epochs: int = 20

    _parameter_constraints: ClassVar[dict] = {
        **BaseCapsuleClassifier._parameter_constraints,
        "conv_channels": [SIZE],
        "kernel_size": [SIZE],
        "primary_capsules": [SIZE],
        "share_weight": ["boolean"],
    }
    _build_network = staticmethod(capsnet)
