"""Efficient-CapsNet as a scikit-learn classifier."""

from __future__ import annotations

from skcaps.estimators._base import BaseCapsuleClassifier
from skcaps.estimators._parameters import EFFICIENT_CAPSNET_CONSTRAINTS


class EfficientCapsNetClassifier(BaseCapsuleClassifier):
    """Efficient-CapsNet: few capsules, routed in one pass by self-attention.

    Four convolutions, sixteen primary capsules and one capsule for each class: 161,824
    trainable parameters for 28x28 images and ten classes, without the decoder.

    Parameters
    ----------
    image_shape : "auto" or tuple of int, default="auto"
        ``(channels, height, width)``, ``(height, width)``, or ``(height, width,
        channels)`` for images whose channels, four at most, come last. "auto" takes
        the shape of 3-D and 4-D `X`; flat rows are a square grey image if their length
        is a square, else an image one pixel high.
    routing : {"dynamic", "self_attention", "uniform", "learned"}, \
            default="self_attention"
        How the last capsules are assigned to the classes. "uniform" spreads them
        evenly; "learned" trains one coupling for all images.
    routing_iterations : int, default=3
        Iterations of dynamic routing; the other routings have none.
    conv_channels : tuple of int, default=(32, 64, 64, 128)
        Channels of each convolution.
    primary_capsules : "auto" or int, default="auto"
        Number of primary capsules. "auto" makes one of every `primary_dim` channels of
        the last convolution; a number sets those channels instead.
    primary_dim : int, default=8
        Dimension of the primary capsules.
    pose_dim : int, default=16
        Dimension of the class capsules.
    hidden_capsules : sequence of (int, int), default=()
        Number and dimension of the capsules in each further layer.
    stem : "paper" or torch.nn.Module, default="paper"
        Any module from images to feature maps, such as a pretrained trunk, in place of
        the paper's convolutions. It is copied, and trained with the rest unless its
        parameters are frozen.
    decoder : {"dense", "conv"} or None, default="dense"
        What decodes poses to images.
    reconstruction_weight : float, default=0.0005
        Factor of the summed squared error of an image, values from 0 to 1.
    initialization : {"auto", "calibrated", "paper"}, default="auto"
        Initial weights: "paper" draws them as the code released with the paper does;
        "calibrated" then scales them so that, on some training images, all capsules
        have lengths far from 0 and from 1 (see `skcaps.nn.calibrate`). "auto" is
        "paper" for the paper's own networks (see Notes) and "calibrated" for others.
    loss : {"margin", "spread", "cross_entropy"}, default="margin"
        Loss on the lengths of the class capsules.
    learning_rate : float, default=2e-3
        Step size of Adam at the start.
    learning_rate_decay : "auto" or float, default="auto"
        Factor of the learning rate for each epoch, applied smoothly after every batch.
        "auto" ends at a hundredth of `learning_rate` after `max_epochs`, or, where
        these are fewer than 1,000 steps, at ten over their number, but at most at 0.3.
    learning_rate_warmup : int, default=0
        Number of first steps in which the rate grows to what it is set to. It begins
        anew with the optimiser: in every `fit`, not in every `partial_fit`.
    batch_size : int or "auto", default="auto"
        Largest number of images in a training step; "auto" is a 64th of the training
        images, but from 16 to 64, and up to 32 images are one batch.
    max_epochs : int, default=30
        Passes over the training images.
    early_stopping : bool, default=False
        Hold out a part of the training images, with all classes in it, stop when its
        loss no longer falls, and keep the best weights.
    validation_fraction : float, default=0.1
        Share of the images held out.
    n_iter_no_change : int, default=10
        Epochs without improvement before training stops early.
    tol : float, default=1e-4
        Fall of the held-out loss that counts as improvement.
    augmentation : {"shift", "efficient", "crop_jitter"}, callable or None, default=None
        Changes the training images of every batch at random: "shift" by up to 2 pixels
        (CapsNet on MNIST), "efficient" rotates, shifts, squeezes and erases
        (Efficient-CapsNet on MNIST), "crop_jitter" crops and changes brightness and
        contrast (smallNORB); see `skcaps.functional`. A callable maps a tensor
        (batch, channels, height, width), values from 0 to 1, to the images trained on.
    class_weight : dict, list of dict or "balanced", default=None
        Weights of the classes; "balanced" makes them inverse to their frequency.
    warm_start : bool, default=False
        Start `fit` from the weights of the last one.
    callbacks : list of skorch callbacks, default=None
        Passed to skorch. One that raises ``KeyboardInterrupt`` ends the training.
    random_state : int, RandomState, Generator or None, default=None
        Seeds weights and batches. No global random state is read or changed.
    verbose : int, default=0
        1 shows a progress bar with loss, accuracy and the time left.
    device : str or torch.device, default="auto"
        "auto" is the GPU where torch sees one, else the CPU; resolved in `fit`.
    precision : {"float32", "bfloat16", "float64"}, default="float32"
        Number format of the convolutions; "bfloat16" keeps weights and routing in
        float32, and gives way to float32, with a warning in `fit`, on a machine
        without instructions for it.
    compile : bool, default=False
        Compile each training, network and loss, and each fitted network with
        ``torch.compile``.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels; for an indicator `y` the numbers of its columns.
    n_features_in_ : int
        Pixels times channels.
    feature_names_in_ : ndarray of shape (n_features,)
        Only if `X` had string column names.
    image_shape_ : tuple of int
        ``(channels, height, width)``.
    input_range_ : tuple of float
        Values that become 0 and 1 inside the network: (0, 255) for uint8 that reach
        128, else the smallest and largest training value.
    n_epochs_ : int
        Epochs trained.
    history_ : list of dict
        Loss, accuracy, seconds and, at its start, learning rate of each epoch.
    loss_curve_ : list of float
        Training loss of each epoch.
    n_parameters_ : int
        Number of trained values.
    device_ : str
        Where the network is.
    net_ : skorch.NeuralNet
        The last training; not pickled.
    network_ : skcaps.nn.CapsuleNetwork
        The trained torch module.

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

    _parameter_constraints: dict = EFFICIENT_CAPSNET_CONSTRAINTS
    _builder = "efficient_capsnet"

    def __init__(
        self,
        *,
        image_shape="auto",
        routing="self_attention",
        routing_iterations=3,
        conv_channels=(32, 64, 64, 128),
        primary_capsules="auto",
        primary_dim=8,
        pose_dim=16,
        hidden_capsules=(),
        stem="paper",
        decoder="dense",
        reconstruction_weight=0.0005,
        initialization="auto",
        loss="margin",
        learning_rate=2e-3,
        learning_rate_decay="auto",
        learning_rate_warmup=0,
        batch_size="auto",
        max_epochs=30,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-4,
        augmentation=None,
        class_weight=None,
        warm_start=False,
        callbacks=None,
        random_state=None,
        verbose=0,
        device="auto",
        precision="float32",
        compile=False,
    ):
        self.image_shape = image_shape
        self.routing = routing
        self.routing_iterations = routing_iterations
        self.conv_channels = conv_channels
        self.primary_capsules = primary_capsules
        self.primary_dim = primary_dim
        self.pose_dim = pose_dim
        self.hidden_capsules = hidden_capsules
        self.stem = stem
        self.decoder = decoder
        self.reconstruction_weight = reconstruction_weight
        self.initialization = initialization
        self.loss = loss
        self.learning_rate = learning_rate
        self.learning_rate_decay = learning_rate_decay
        self.learning_rate_warmup = learning_rate_warmup
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.augmentation = augmentation
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.callbacks = callbacks
        self.random_state = random_state
        self.verbose = verbose
        self.device = device
        self.precision = precision
        self.compile = compile
