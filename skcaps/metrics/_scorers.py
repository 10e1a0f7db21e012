"""The scores as scorers, for ``scoring=``."""

from sklearn.metrics import make_scorer

from skcaps.metrics._overlap import dice_score, jaccard_score

dice_scorer = make_scorer(dice_score)
jaccard_scorer = make_scorer(jaccard_score)
