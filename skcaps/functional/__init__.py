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
from skcaps.functional._map_losses import (
    MAP_LOSSES,
    dice_loss,
    pixel_cross_entropy_loss,
    pixel_margin_loss,
)
from skcaps.functional._map_votes import conv_transpose_votes, conv_votes
from skcaps.functional._mask_augmentation import (
    MASK_AUGMENTATIONS,
    random_affine,
    random_flip,
    random_turn,
)
from skcaps.functional._masking import (
    MaskedLabels,
    mask_by_label,
    mask_by_length,
    mask_each_label,
)
from skcaps.functional._squash import SQUASHES, squash, squash_exp
from skcaps.functional._votes import matrix_votes, votes
from skcaps.functional.routing import (
    Routed,
    Windows,
    conv_capsules,
    conv_transpose_capsules,
    dynamic_routing,
    em_convolution,
    em_from_votes,
    em_routing,
    inverted_attention_from_votes,
    inverted_attention_routing,
    learned_routing,
    locally_constrained_from_votes,
    self_attention_routing,
    self_from_votes,
    self_routing,
    uniform_routing,
    variational_bayes_convolution,
    variational_bayes_from_votes,
    variational_bayes_routing,
)

__all__ = [
    "AUGMENTATIONS",
    "LOGITS",
    "LOSSES",
    "MAP_LOSSES",
    "MASK_AUGMENTATIONS",
    "SQUASHES",
    "MaskedLabels",
    "Routed",
    "Windows",
    "conv_capsules",
    "conv_transpose_capsules",
    "conv_transpose_votes",
    "conv_votes",
    "crop_jitter",
    "cross_entropy_loss",
    "dice_loss",
    "dynamic_routing",
    "efficient_augmentation",
    "em_convolution",
    "em_from_votes",
    "em_routing",
    "inverted_attention_from_votes",
    "inverted_attention_routing",
    "learned_routing",
    "lengths",
    "locally_constrained_from_votes",
    "margin_loss",
    "mask_by_label",
    "mask_by_length",
    "mask_each_label",
    "matrix_votes",
    "odds_logits",
    "pixel_cross_entropy_loss",
    "pixel_margin_loss",
    "random_affine",
    "random_flip",
    "random_shift",
    "random_turn",
    "reconstruction_loss",
    "scaled_logits",
    "self_attention_routing",
    "self_from_votes",
    "self_routing",
    "spread_loss",
    "squash",
    "squash_exp",
    "uniform_routing",
    "variational_bayes_convolution",
    "variational_bayes_from_votes",
    "variational_bayes_routing",
    "votes",
]
