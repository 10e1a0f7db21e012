"""Errors say what was expected, which value came, and what to do."""

import numpy as np
import pytest
from skorch.callbacks import Checkpoint, EarlyStopping

from ._small import X, Y, make, make_capsnet


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("epochs", "; pass max_epochs to the constructor"),
        ("n_epochs", "; pass max_epochs to the constructor"),
        ("lr", r"\.$"),
        ("sample_weights", "; the argument is sample_weight"),
        ("sample_weigth", "; the argument is sample_weight"),
        ("source", "; the argument is sources"),
        ("classes", r"\.$"),
        ("eval_set", r"\.$"),
        ("batchsize", "; pass batch_size to the constructor"),
    ],
)
def test_unknown_arguments_of_fit(name, hint):
    message = f"EfficientCapsNetClassifier.fit got an unexpected .*'{name}'{hint}"
    with pytest.raises(TypeError, match=message):
        make().fit(X, Y, **{name: 3})


@pytest.mark.parametrize("device", ["meta", "xla", "mps", "cpu:7", "hpu", "cuda:x"])
def test_devices_that_are_not_here(device):
    with pytest.raises(ValueError, match=f"device.*{device}"):
        make(device=device).fit(X, Y)


@pytest.mark.parametrize(
    "name", ["pose_dim", "primary_dim", "primary_capsules", "routing_iterations"]
)
@pytest.mark.parametrize("factory", [make, make_capsnet])
def test_sizes_beyond_any_memory(factory, name):
    with pytest.raises(ValueError, match=rf"'{name}' parameter .* \[1, 65536\]"):
        factory().set_params(**{name: 10**9}).fit(X, Y)


@pytest.mark.parametrize("value", [True, np.False_])
@pytest.mark.parametrize(
    "name", ["max_epochs", "learning_rate", "tol", "pose_dim", "random_state"]
)
def test_booleans_are_no_numbers(name, value):
    with pytest.raises(ValueError, match=f"'{name}' parameter"):
        make().set_params(**{name: value}).fit(X, Y)


def test_booleans_where_they_belong():
    make(verbose=False, warm_start=np.bool_(True), compile=False).fit(X, Y)


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (EarlyStopping(), r"EarlyStopping\(monitor='valid_loss'\).*'train_loss'"),
        (("stop", EarlyStopping()), "early_stopping=True nothing is held out"),
        (Checkpoint(), "monitor 'train_loss_best'"),
    ],
)
def test_callbacks_that_need_a_held_out_part(callback, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        make(callbacks=[callback]).fit(X, Y)
    with pytest.raises(ValueError, match=message):
        make(callbacks=[callback]).partial_fit(X, Y, classes=[0, 1, 2])


def test_skorchs_early_stopping_may_watch_the_training():
    stopping = EarlyStopping(monitor="train_loss", patience=1, threshold=100.0)
    clf = make(max_epochs=5, callbacks=[stopping]).fit(X, Y)
    assert clf.n_epochs_ < 5
    stopping = EarlyStopping(patience=1, threshold=100.0)
    clf = make(max_epochs=5, callbacks=[stopping], early_stopping=True).fit(X, Y)
    assert clf.n_epochs_ < 5


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_augmentation_that_returns_no_numbers(value):
    with pytest.raises(ValueError, match="augmentation must return finite images"):
        make(augmentation=lambda images: images + value).fit(X, Y)
