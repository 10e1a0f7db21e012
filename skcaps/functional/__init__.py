"""Capsule mathematics as pure functions: tensors in, tensors out, no state."""

from skcaps.functional._augmentation import (
    AUGMENTATIONS,
    crop_jitter,
    efficient_augmentation,
    random_shift,
)
from skcaps.functional._lengths import lengths
from skcaps.functional._logits import LOGITS, odds_logits, scaled_logits
from skcaps.functional._losses import (
    LOSSES,
    cross_entropy_loss,
    margin_loss,
    reconstruction_loss,
    spread_loss,
)
from skcaps.functional._masking import (
    MaskedLabels,
    mask_by_label,
    mask_by_length,
    mask_each_label,
)
from skcaps.functional._squash import SQUASHES, squash, squash_exp
from skcaps.functional._votes import votes
from skcaps.functional.routing import (
    Routed,
    dynamic_routing,
    learned_routing,
    self_attention_routing,
    uniform_routing,
)

__all__ = [
    "AUGMENTATIONS",
    "LOGITS",
    "LOSSES",
    "SQUASHES",
    "MaskedLabels",
    "Routed",
    "crop_jitter",
    "cross_entropy_loss",
    "dynamic_routing",
    "efficient_augmentation",
    "learned_routing",
    "lengths",
    "margin_loss",
    "mask_by_label",
    "mask_by_length",
    "mask_each_label",
    "odds_logits",
    "random_shift",
    "reconstruction_loss",
    "scaled_logits",
    "self_attention_routing",
    "spread_loss",
    "squash",
    "squash_exp",
    "uniform_routing",
    "votes",
]
