"""Which values the estimators' parameters may take."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions

from skcaps.estimators._initialization import INITIALIZATIONS
from skcaps.estimators._machine import PRECISIONS
from skcaps.functional import AUGMENTATIONS, LOSSES
from skcaps.nn import DECODERS, ROUTINGS

_POSITIVE_INTEGER = Interval(Integral, 1, None, closed="left")
_POSITIVE = Interval(Real, 0, None, closed="neither")
_NOT_NEGATIVE = Interval(Real, 0, None, closed="left")

COMMON_CONSTRAINTS = {
    "image_shape": [StrOptions({"auto"}), tuple, list],
    "routing": [StrOptions(set(ROUTINGS))],
    "routing_iterations": [_POSITIVE_INTEGER],
    "primary_dim": [_POSITIVE_INTEGER],
    "pose_dim": [_POSITIVE_INTEGER],
    "hidden_capsules": [tuple, list],
    "stem": [StrOptions({"paper"}), torch.nn.Module],
    "decoder": [StrOptions(set(DECODERS)), None],
    "reconstruction_weight": [_NOT_NEGATIVE],
    "initialization": [StrOptions(set(INITIALIZATIONS))],
    "loss": [StrOptions(set(LOSSES))],
    "learning_rate": [_POSITIVE],
    "learning_rate_decay": [
        StrOptions({"auto"}),
        Interval(Real, 0, 1, closed="right"),
    ],
    "learning_rate_warmup": [Interval(Integral, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), _POSITIVE_INTEGER],
    "max_epochs": [_POSITIVE_INTEGER],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "n_iter_no_change": [_POSITIVE_INTEGER],
    "tol": [_NOT_NEGATIVE],
    "augmentation": [StrOptions(set(AUGMENTATIONS)), callable, None],
    "class_weight": [StrOptions({"balanced"}), dict, list, None],
    "warm_start": ["boolean"],
    "callbacks": [list, tuple, None],
    "random_state": ["random_state", np.random.Generator],
    "verbose": ["verbose"],
    "device": [str, torch.device],
    "precision": [StrOptions(set(PRECISIONS))],
    "compile": ["boolean"],
}
CAPSNET_CONSTRAINTS = {
    **COMMON_CONSTRAINTS,
    "conv_channels": [_POSITIVE_INTEGER],
    "kernel_size": [_POSITIVE_INTEGER],
    "primary_capsules": [_POSITIVE_INTEGER],
}
EFFICIENT_CAPSNET_CONSTRAINTS = {
    **COMMON_CONSTRAINTS,
    "conv_channels": [tuple, list],
    "primary_capsules": [StrOptions({"auto"}), _POSITIVE_INTEGER],
}
