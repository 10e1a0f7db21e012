"""Model cards: what a fitted classifier is, and how good it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sklearn.metrics import f1_score, log_loss

from skcaps.estimators._labels import SingleLabel
from skcaps.export._requirements import check_classifier, require

_CITATIONS = {
    "CapsNetClassifier": 'Sabour, Frosst, Hinton (2017), "Dynamic routing between '
    'capsules", arXiv:1710.09829.',
    "EfficientCapsNetClassifier": "Mazzia, Salvetti, Chiaberge (2021), "
    '"Efficient-CapsNet: capsule network with self-attention routing", '
    "Scientific Reports 11:14634.",
    "MatrixCapsNetClassifier": 'Hinton, Sabour, Frosst (2018), "Matrix capsules with '
    'EM routing", ICLR; with routing="vb" Ribeiro, Leontidis, Kollias (2020), "Capsule '
    'routing via variational Bayes", AAAI, arXiv:1905.11455.',
}
_START = """```python
import skcaps

clf = skcaps.load("model.safetensors")  # written by skcaps.save(clf, ...)
clf.predict(X)
```"""


def model_card(
    estimator: Any, X: Any, y: Any, path: str | os.PathLike[str] | None = None
) -> Any:
    """Make a skops model card, with scores on test images.

    Parameters
    ----------
    estimator : object
        A fitted classifier of skcaps.
    X : array-like of shape (n_samples, n_features) or images
        Test images.
    y : array-like of shape (n_samples,) or (n_samples, n_classes)
        Their labels, or the indicator.
    path : str or path-like, default=None
        A Markdown file to write the card to, such as "README.md".

    Returns
    -------
    card : skops.card.Card
        To add sections to, and to save: the classifier, the images it takes, all
        parameters, accuracy, macro F1 and, for one label an image, log loss.

    Raises
    ------
    NotFittedError
        If the classifier is not fitted.
    TypeError
        If `estimator` is of another class.
    ValueError
        If `X` does not fit the training images, or `y` holds an unknown label.
    ImportError
        If skops is not installed.

    References
    ----------
    Mitchell et al. (2019), "Model cards for model reporting", arXiv:1810.03993.

    Examples
    --------
    >>> from skcaps import EfficientCapsNetClassifier
    >>> from skcaps.export import model_card
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(n_class=2, return_X_y=True)
    >>> clf = EfficientCapsNetClassifier(max_epochs=1, random_state=0)
    >>> card = model_card(clf.fit(X[:300], y[:300]), X[300:], y[300:])
    >>> card.select("Model description/Evaluation Results").content.splitlines()[0]
    'Scores on 60 test images.'
    """
    check_classifier(estimator)
    require(("skops",), extra="card")
    from skops.card import Card

    # Unlike the scores, this refuses labels that are unknown.
    n_images = len(estimator._encode(y, len(X)))
    card = Card(estimator, model_diagram=True)
    card.add(
        **{
            "Model description": _description(estimator),
            "How to Get Started with the Model": _START,
            "Citation": _CITATIONS[type(estimator).__name__],
        }
    )
    card.add_metrics(
        description=f"Scores on {n_images} test images.", **_scores(estimator, X, y)
    )
    if path is not None:
        card.save(Path(path))
    return card


def _description(estimator: Any) -> str:
    channels, height, width = estimator.image_shape_
    low, high = estimator.input_range_
    classes = ", ".join(map(str, estimator.classes_))
    return (
        f"A capsule network, `skcaps.{type(estimator).__name__}` with "
        f"{estimator.n_parameters_:,} trainable parameters. It takes images of "
        f"{channels} channel(s) and {height}x{width} pixels, with values from {low:g} "
        f"to {high:g}, and knows {len(estimator.classes_)} classes: {classes}."
    )


def _scores(estimator: Any, X: Any, y: Any) -> dict[str, float]:
    scores = {
        "accuracy": estimator.score(X, y),
        "macro F1": f1_score(y, estimator.predict(X), average="macro"),
    }
    if isinstance(vars(estimator)["_fitted"].labels, SingleLabel):
        probabilities = estimator.predict_proba(X)
        scores["log loss"] = log_loss(y, probabilities, labels=estimator.classes_)
    return {name: round(float(score), 4) for name, score in scores.items()}
