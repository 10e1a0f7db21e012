import json

import numpy as np
import pytest
from sklearn.datasets import load_digits


@pytest.fixture(scope="session")
def data():
    X, y = load_digits(n_class=3, return_X_y=True)
    return X[:90], y[:90]


@pytest.fixture(scope="session")
def fitted(data):
    # Imported here, so that a failing import is a failing test.
    from skcaps import EfficientCapsNetClassifier

    # Small, so that its files are, and with every kind of layer.
    estimator = EfficientCapsNetClassifier(
        max_epochs=1,
        conv_channels=(4, 8),
        primary_dim=4,
        pose_dim=4,
        hidden_capsules=((3, 4),),
        decoder="conv",
        random_state=0,
    )
    return estimator.fit(*data)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "classifier.safetensors"


@pytest.fixture
def saved(fitted, path):
    from skcaps.persistence import save

    save(fitted, path)
    return path


@pytest.fixture
def rewrite(saved):
    """Change what a file holds, as someone would who knows how to make one."""
    from skcaps.persistence._container import pack, unpack

    def rewrite(change=lambda content: None, change_weights=lambda weights: None):
        content, weights = unpack(saved)
        # A copy without the version, which comes first again.
        content = json.loads(json.dumps(content))
        del content["format_version"]
        change(content)
        change_weights(weights)
        saved.write_bytes(pack(content, weights))
        return saved

    return rewrite


@pytest.fixture
def assert_same():
    """Compare a loaded classifier with the one that was saved."""

    def assert_same(loaded, estimator, X):
        assert type(loaded) is type(estimator)
        assert loaded.get_params() == estimator.get_params()
        np.testing.assert_array_equal(
            loaded.predict_proba(X), estimator.predict_proba(X)
        )
        np.testing.assert_array_equal(loaded.classes_, estimator.classes_)
        assert loaded.classes_.dtype == estimator.classes_.dtype
        assert loaded.history_ == estimator.history_
        kept = set(vars(estimator)) - {"net_", "_callback_fit_ctx"}
        assert kept <= set(vars(loaded))

    return assert_same
