"""How well masks of labels agree, by scikit-learn's conventions."""

from skcaps.metrics._overlap import dice_score, jaccard_score
from skcaps.metrics._scorers import dice_scorer, jaccard_scorer

__all__ = ["dice_score", "dice_scorer", "jaccard_score", "jaccard_scorer"]
