"""The parameters that all capsule estimators share, and what they may be."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, InvalidParameterError, StrOptions

from skcaps.estimators._documentation import with_parameters
from skcaps.estimators._initialization import INITIALIZATIONS
from skcaps.estimators._machine import PRECISIONS
from skcaps.functional import AUGMENTATIONS, LOSSES
from skcaps.nn import DECODERS, ROUTINGS

POSITIVE_INTEGER = Interval(Integral, 1, None, closed="left")
# A larger network than these make does not fit into any memory.
SIZE = Interval(Integral, 1, 2**16, closed="both")
_POSITIVE = Interval(Real, 0, None, closed="neither")
NOT_NEGATIVE = Interval(Real, 0, None, closed="left")


@with_parameters
class TrainedEstimator(BaseEstimator):
    """Store what all trainings have, and check all parameters.

    Parameters
    ----------
    learning_rate : float
        Step size of Adam at the start.
    learning_rate_decay : "auto" or float
        Factor of the learning rate for each epoch, applied smoothly after every batch.
        "auto" ends at a hundredth of `learning_rate` after `max_epochs`, or, where
        these are fewer than 1,000 steps, at ten over their number, but at most at 0.3.
    learning_rate_warmup : int
        Number of first steps in which the rate grows to what it is set to. It begins
        anew with the optimiser: in every `fit`, not in every `partial_fit`.
    batch_size : int or "auto"
        Largest number of images in a training step; "auto" is a 64th of the training
        images, but from 16 to 64, and up to 32 images are one batch.
    max_epochs : int
        Passes over the training images.
    early_stopping : bool
        Hold out a part of the training images, with all classes in it, stop when its
        loss no longer falls, and keep the best weights.
    validation_fraction : float
        Share of the images held out.
    n_iter_no_change : int
        Epochs without improvement before training stops early.
    tol : float
        Fall of the held-out loss that counts as improvement.
    augmentation : {"shift", "efficient", "crop_jitter"}, callable or None
        Changes the training images of every batch at random: "shift" by up to 2 pixels
        (CapsNet on MNIST), "efficient" rotates, shifts, squeezes and erases
        (Efficient-CapsNet on MNIST), "crop_jitter" crops and changes brightness and
        contrast (smallNORB); see `skcaps.functional`. A callable maps a tensor
        (batch, channels, height, width), values from 0 to 1, to the images trained on.
    class_weight : dict, list of dict or "balanced"
        Weights of the classes; "balanced" makes them inverse to their frequency.
    warm_start : bool
        Start `fit` from the weights of the last one.
    callbacks : list of skorch callbacks
        Passed to skorch. One that sets ``net.stop_training = True`` ends the training.
    checkpoint : str, path-like or None
        A file in which `fit` keeps its state after every epoch. Where it is there,
        `fit` goes on from it, to the same weights as without the break; it is removed
        at the end. Parameters and data have to be the same, but for `callbacks`,
        `device`, `compile` and `verbose`. Callbacks of yours begin anew, but for
        skorch's `EarlyStopping` and `LRScheduler`. Not for a search, whose clones would
        share the file.
    random_state : int, RandomState, Generator or None
        Seeds weights and batches. No global random state is read or changed.
    verbose : int
        1 shows a progress bar with loss, accuracy and the time left.
    device : str or torch.device
        "auto" is the GPU where torch sees one, else the CPU; resolved in `fit`.
    precision : {"float32", "bfloat16", "float64"}
        Number format of the convolutions; "bfloat16" keeps weights and routing in
        float32, and gives way to float32, with a warning in `fit`, on a machine
        without instructions for it. On an x86 processor without AMX, convolutions of 64
        channels and more stay in float32, where fewer products are needed.
    compile : bool
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
        Whole epochs trained.
    history_ : list of dict
        Loss, accuracy, seconds and, at its start, learning rate of each epoch. One that
        was stopped half-way has the "fraction" of the images it has trained on.
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
    """

    learning_rate: float = 2e-3
    learning_rate_decay: str | float = "auto"
    learning_rate_warmup: int = 0
    batch_size: str | int = "auto"
    max_epochs: int = 30
    early_stopping: bool = False
    validation_fraction: float = 0.1
    n_iter_no_change: int = 10
    tol: float = 1e-4
    augmentation: str | Callable[[torch.Tensor], torch.Tensor] | None = None
    class_weight: str | dict | list | None = None
    warm_start: bool = False
    callbacks: Sequence | None = None
    checkpoint: str | os.PathLike | None = None
    random_state: int | np.random.RandomState | np.random.Generator | None = None
    verbose: int = 0
    device: str | torch.device = "auto"
    precision: str = "float32"
    compile: bool = False

    _parameter_constraints: ClassVar[dict] = {
        "learning_rate": [_POSITIVE],
        "learning_rate_decay": [
            StrOptions({"auto"}),
            Interval(Real, 0, 1, closed="right"),
        ],
        "learning_rate_warmup": [Interval(Integral, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), POSITIVE_INTEGER],
        "max_epochs": [POSITIVE_INTEGER],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [POSITIVE_INTEGER],
        "tol": [NOT_NEGATIVE],
        "augmentation": [StrOptions(set(AUGMENTATIONS)), callable, None],
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
        "warm_start": ["boolean"],
        "callbacks": [list, tuple, None],
        "checkpoint": [str, os.PathLike, None],
        "random_state": ["random_state", np.random.Generator],
        "verbose": ["verbose"],
        "device": [str, torch.device],
        "precision": [StrOptions(set(PRECISIONS))],
        "compile": ["boolean"],
    }

    def _validate_params(self):
        """Check all parameters; to Python, True is a whole number."""
        super()._validate_params()
        for name, value in self.get_params(deep=False).items():
            allowed = self._parameter_constraints.get(name, ["boolean"])
            is_boolean = isinstance(value, (bool, np.bool_))
            if is_boolean and not {"boolean", "verbose"}.intersection(
                item for item in allowed if isinstance(item, str)
            ):
                raise InvalidParameterError(
                    f"The {name!r} parameter of {type(self).__name__} must not be a "
                    f"boolean, got {value!r}."
                )


@with_parameters
class CapsuleParameters:
    """Store what describes a network with one set of class capsules for an image.

    Parameters
    ----------
    image_shape : "auto", tuple of int or dict
        ``(height, width)`` or ``(channels, height, width)``; three numbers are
        ``(height, width, channels)`` if the last is at most four and less than half of
        the second. A dict names the axes in their order, whatever their sizes:
        ``{"height": 16, "width": 8, "channels": 4}``. "auto" takes the shape of 3-D and
        4-D `X`; flat rows are a square grey image if their length is a square, else an
        image one pixel high.
    routing : str
        How capsules are assigned to those above. By agreement: "dynamic",
        "leaky_dynamic", which may leave a part unassigned, "self_attention",
        "inverted_attention". As a mixture of Gaussians: "em", "vb" (variational Bayes).
        By the capsule's own pose: "self". Not at all: "uniform" spreads them evenly,
        "learned" trains one coupling for all images.
    routing_iterations : int
        Iterations of "dynamic", "leaky_dynamic", "em", "vb" and "inverted_attention";
        the others have none.
    primary_dim : int
        Dimension of the primary capsules.
    pose_dim : int
        Dimension of the class capsules.
    hidden_capsules : sequence of (int, int)
        Number and dimension of the capsules in each further layer.
    stem : "paper" or torch.nn.Module
        Any module from images to feature maps, such as a pretrained trunk, in place of
        the paper's convolutions. It is copied, and trained with the rest unless its
        parameters are frozen.
    decoder : {"dense", "conv"} or None
        What decodes poses to images.
    reconstruction_weight : "auto" or float
        Factor of the summed squared error of an image, values from 0 to 1. "auto" is
        0.392 over the numbers in an image, so that the mean error counts the same at
        every size: the papers' 0.0005 at 28x28.
    initialization : {"auto", "calibrated", "paper"}
        Initial weights: "paper" draws them as the code released with the paper does;
        "calibrated" then scales them so that, on some training images, all capsules
        have lengths far from 0 and from 1 (see `skcaps.nn.calibrate`). "auto" is
        "calibrated" here: images need not be as bright as MNIST's.
    loss : {"margin", "spread", "cross_entropy"}
        Loss on the activations of the class capsules.
    """

    image_shape: str | Sequence[int] | dict[str, int] = "auto"
    routing: str = "dynamic"
    routing_iterations: int = 3
    primary_dim: int = 8
    pose_dim: int = 16
    hidden_capsules: Sequence[tuple[int, int]] = ()
    stem: str | torch.nn.Module = "paper"
    decoder: str | None = "dense"
    reconstruction_weight: str | float = "auto"
    initialization: str = "auto"
    loss: str = "margin"


@with_parameters
class CapsuleEstimator(TrainedEstimator, CapsuleParameters):
    """Store parameters, and document them for every subclass."""

    _parameter_constraints: ClassVar[dict] = {
        "image_shape": [StrOptions({"auto"}), tuple, list, dict],
        "routing": [StrOptions(set(ROUTINGS))],
        "routing_iterations": [SIZE],
        "primary_dim": [SIZE],
        "pose_dim": [SIZE],
        "hidden_capsules": [tuple, list],
        "stem": [StrOptions({"paper"}), torch.nn.Module],
        "decoder": [StrOptions(set(DECODERS)), None],
        "reconstruction_weight": [StrOptions({"auto"}), NOT_NEGATIVE],
        "initialization": [StrOptions(set(INITIALIZATIONS))],
        "loss": [StrOptions(set(LOSSES))],
        **TrainedEstimator._parameter_constraints,
    }
