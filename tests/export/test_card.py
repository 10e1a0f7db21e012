import numpy as np
import pytest
from sklearn.metrics import log_loss

from skcaps import (
    CapsNetClassifier,
    EfficientCapsNetClassifier,
    MatrixCapsNetClassifier,
)
from skcaps.export import model_card

pytest.importorskip("skops", reason="needs skops")


def metrics(card):
    table = card.select("Model description/Evaluation Results").format()
    lines = [line.split("|") for line in table.splitlines() if line.count("|") == 3]
    return {name.strip(): value.strip() for _, name, value, _ in lines}


def test_scores(fit, images, labels, tmp_path):
    clf = fit(EfficientCapsNetClassifier, images, labels)
    X, y = images[90:], labels[90:]
    card = model_card(clf, X, y, tmp_path / "README.md")
    found = metrics(card)
    assert float(found["accuracy"]) == pytest.approx(clf.score(X, y), abs=1e-4)
    expected = log_loss(y, clf.predict_proba(X))
    assert float(found["log loss"]) == pytest.approx(expected, abs=1e-4)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "3 channel(s) and 8x8 pixels, with values from 0 to 16" in text


@pytest.mark.parametrize(
    ("kind", "authors"),
    [
        (CapsNetClassifier, "Sabour, Frosst, Hinton"),
        (EfficientCapsNetClassifier, "Mazzia"),
        (MatrixCapsNetClassifier, "Hinton, Sabour, Frosst"),
    ],
)
def test_every_classifier_has_its_authors(kind, authors, fit, images, labels):
    card = model_card(fit(kind, images, labels), images, labels)
    assert card.select("Citation").content.startswith(authors)


def test_several_labels_have_no_log_loss(fit, images, labels):
    indicator = np.stack([labels == 0, labels != 1], axis=1).astype(int)
    clf = fit(CapsNetClassifier, images, indicator)
    assert set(metrics(model_card(clf, images, indicator))) >= {"accuracy", "macro F1"}
    assert "log loss" not in metrics(model_card(clf, images, indicator))


def test_unknown_label(fit, images, labels):
    clf = fit(CapsNetClassifier, images, labels)
    with pytest.raises(ValueError, match=r"labels \[7\]"):
        model_card(clf, images[:1], [7])


def test_skops_is_asked_for(fit, images, labels, monkeypatch):
    clf = fit(CapsNetClassifier, images, labels)

    def find(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr("importlib.import_module", find)
    with pytest.raises(ImportError, match=r'pip install "skcaps\[card\]"'):
        model_card(clf, images, labels)
