"""A training that is killed goes on to the same weights, bit for bit."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import skcaps

from ._small import X, Y, assert_same_weights, make, make_capsnet
from .test_callbacks import calling, interrupt

SCRIPT = """
import os, sys
import skcaps
from tests.estimators.test_checkpoint import BIG
from sklearn.datasets import load_digits
X, y = load_digits(n_class=3, return_X_y=True)
folder, name = sys.argv[1:]
clf = BIG[name](checkpoint=os.path.join(folder, "state"))
clf.fit(X, y)
skcaps.save(clf.set_params(checkpoint=None), os.path.join(folder, "done"))
"""
BIG = {
    "efficient": lambda **params: make(
        max_epochs=8, augmentation="efficient", early_stopping=True, **params
    ),
    "caps": lambda **params: make_capsnet(max_epochs=8, **params),
}


def run(folder, name):
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    command = [sys.executable, "-c", SCRIPT, str(folder), name]
    return subprocess.Popen(command, cwd=root, env={**os.environ, "PYTHONPATH": root})


@pytest.mark.parametrize("name", BIG)
def test_a_killed_training_goes_on(name, tmp_path):
    process = run(tmp_path, name)
    while not (tmp_path / "state").exists():
        assert process.poll() is None
        time.sleep(0.005)
    time.sleep(0.2)
    process.kill()
    process.wait()
    assert [path.name for path in tmp_path.iterdir() if "part" not in path.name] == [
        "state"
    ]
    assert run(tmp_path, name).wait() == 0
    images, labels = load_digits(n_class=3, return_X_y=True)
    alone = BIG[name]().fit(images, labels)
    resumed = skcaps.load(tmp_path / "done")
    assert_same_weights(alone, resumed)
    assert alone.loss_curve_ == resumed.loss_curve_
    assert sorted(path.name for path in tmp_path.iterdir()) == ["done"]


def stopped(tmp_path, after, **params):
    """Interrupt a training after some epochs, and return the same once more."""
    params = {"max_epochs": 6, "checkpoint": tmp_path / "state", **params}
    callback = calling("on_epoch_begin", interrupt, after=after)
    with pytest.raises(KeyboardInterrupt):
        make(callbacks=[callback], **params).fit(X, Y)
    assert (tmp_path / "state").exists()
    return make(**params)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"augmentation": "shift", "learning_rate_decay": 0.5},
        {"early_stopping": True, "n_iter_no_change": 2, "tol": 1.0},
        {"class_weight": "balanced", "precision": "float64"},
    ],
    ids=str,
)
@pytest.mark.parametrize("after", [1, 2])
def test_going_on_is_not_to_be_seen(params, after, tmp_path):
    clf = stopped(tmp_path, after, **params).fit(X, Y)
    alone = make(max_epochs=6, **params).fit(X, Y)
    assert_same_weights(clf, alone)
    assert clf.loss_curve_ == alone.loss_curve_
    epochs = [row["epoch"] for row in clf.history_]
    assert epochs == list(range(1, alone.n_epochs_ + 1))
    assert not (tmp_path / "state").exists()


def test_without_random_state_the_seed_is_kept(tmp_path):
    clf = stopped(tmp_path, 3, random_state=None)
    seed = torch.load(tmp_path / "state", weights_only=True)["seed"]
    assert_same_weights(clf.fit(X, Y), make(max_epochs=6, random_state=seed).fit(X, Y))


@pytest.mark.parametrize(
    "change", [{"learning_rate": 1e-3}, {"pose_dim": 4}, {"max_epochs": 7}]
)
def test_another_training_is_refused(change, tmp_path):
    clf = stopped(tmp_path, 1).set_params(**change)
    with pytest.raises(ValueError, match="training with other parameters or other"):
        clf.fit(X, Y)
    assert (tmp_path / "state").exists()


def test_other_data_are_refused(tmp_path):
    clf = stopped(tmp_path, 1)
    changed = X.copy()
    changed[-1, 20] += 1
    for data in ((changed, Y), (X, np.roll(Y, 1)), (X, Y, 1.0 + Y)):
        with pytest.raises(ValueError, match="other data; remove it, or name"):
            clf.fit(*data)


def test_what_does_not_matter_may_change(tmp_path):
    clf = stopped(tmp_path, 1).set_params(device="cpu", callbacks=[])
    assert_same_weights(clf.fit(X, Y), make(max_epochs=6).fit(X, Y))


@pytest.mark.parametrize("content", [b"", b"no state", b"PK\x03\x04" + bytes(50)])
def test_what_is_no_state(content, tmp_path):
    (tmp_path / "state").write_bytes(content)
    with pytest.raises(ValueError, match="is no file of a training"):
        make(checkpoint=tmp_path / "state").fit(X, Y)
    assert (tmp_path / "state").read_bytes() == content


def test_a_truncated_state(tmp_path):
    clf = stopped(tmp_path, 1)
    content = (tmp_path / "state").read_bytes()
    (tmp_path / "state").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="is no file of a training"):
        clf.fit(X, Y)
