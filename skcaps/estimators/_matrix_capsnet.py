"""The matrix capsule network as a scikit-learn classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from sklearn.utils._param_validation import StrOptions

from skcaps.estimators._base import BaseCapsuleClassifier
from skcaps.estimators._documentation import with_parameters
from skcaps.estimators._parameters import SIZE
from skcaps.functional import LOSSES
from skcaps.nn import MIXTURES, matrix_capsnet


@with_parameters
class MatrixCapsNetClassifier(BaseCapsuleClassifier):
    """Matrix capsules: a pose is a 4x4 matrix, and votes are a mixture of Gaussians.

    A convolution, primary capsules with a pose and an activation, capsule convolutions
    and one capsule for each class, routed by expectation maximization or variational
    Bayes: a parent is active where many votes for it are close to each other.

    Parameters
    ----------
    conv_channels : int
        Channels of the first convolution, the paper's A.
    primary_capsules : int
        Types of primary capsules at each place of the map, the paper's B.
    primary_dim : int
        Numbers of a primary pose, a multiple of 4: a matrix of four rows.
    hidden_capsules : sequence of (int, int)
        Types of capsules, the paper's C and D, and numbers of a pose, in each capsule
        convolution. ``()`` routes primary capsules of 3x3 pixels to the classes.
    pose_dim : int
        Numbers of a class pose, a multiple of 4.
    routing : {"em", "vb"}
        By expectation maximization or by variational Bayes. With "vb" convolution and
        poses are normalized by the batch.
    routing_iterations : int
        Iterations of every layer.
    initialization : {"auto", "calibrated", "paper"}
        Initial weights: with "paper" a decoder starts anywhere, with "auto" and
        "calibrated" at the mean image. The rest starts the same.
    loss : {"auto", "margin", "spread", "cross_entropy"}
        Loss on the activations of the class capsules. "auto" is the papers': "spread"
        with "em", "cross_entropy" with "vb"; for several classes in an image "margin".

    See Also
    --------
    CapsNetClassifier : Vectors routed by agreement.

    Notes
    -----
    Images of 28x28 and 32x32 pixels get the network of the paper, layer by layer:
    67,154 trained values for one channel and five classes, 316,394 with
    ``conv_channels=32, primary_capsules=32, hidden_capsules=((32, 16), (32, 16))``; by
    variational Bayes 68,714 for two channels. For other sizes see
    `skcaps.nn.matrix_capsnet_geometry`.

    The margin of the spread loss rises linearly from 0.2 to 0.9 over the epochs of
    `fit`; in `partial_fit`, which knows of no end, it is 0.9.

    References
    ----------
    Hinton, Sabour, Frosst (2018), "Matrix capsules with EM routing", ICLR.
    Ribeiro, Leontidis, Kollias (2020), "Capsule routing via variational Bayes", AAAI,
    arXiv 1905.11455.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skcaps import MatrixCapsNetClassifier
    >>> X, y = load_digits(n_class=3, return_X_y=True)
    >>> clf = MatrixCapsNetClassifier(max_epochs=2, random_state=0)
    >>> clf.fit(X[:400], y[:400]).poses(X[400:]).shape
    (137, 3, 16)
    """

    conv_channels: int = 64
    primary_capsules: int = 8
    primary_dim: int = 16
    hidden_capsules: Sequence[tuple[int, int]] = ((16, 16), (16, 16))
    routing: str = "em"
    decoder: str | None = None
    loss: str = "auto"
    max_epochs: int = 20

    _parameter_constraints: ClassVar[dict] = {
        **BaseCapsuleClassifier._parameter_constraints,
        "conv_channels": [SIZE],
        "primary_capsules": [SIZE],
        "routing": [StrOptions(set(MIXTURES))],
        "loss": [StrOptions({"auto", *LOSSES})],
    }
    _build_network = staticmethod(matrix_capsnet)
