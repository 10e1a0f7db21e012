"""A training that is killed goes on to the same weights, bit for bit."""

import io
import os
import pickle
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from skorch.callbacks import Callback, EarlyStopping, LRScheduler

import skcaps
from skcaps.estimators._checkpoint import _arrange

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
        with pytest.raises(ValueError, match=r"other data, .* remove it, or name"):
            clf.fit(*data)


def test_what_does_not_matter_may_change(tmp_path):
    clf = stopped(tmp_path, 1).set_params(device="cpu", callbacks=[])
    assert_same_weights(clf.fit(X, Y), make(max_epochs=6).fit(X, Y))


def other_file(value):
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no state",
        b"PK\x03\x04" + bytes(50),
        other_file(torch.ones(3)),
        other_file({"a": 1}),
    ],
)
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


@pytest.mark.parametrize(
    "change",
    [
        lambda images: images[::-1],
        lambda images: images.astype(">f4"),
        lambda images: images.astype(np.longdouble),
        lambda images: images.copy(),
        lambda images: torch.from_numpy(images).bfloat16(),
    ],
    ids=["reversed", "big endian", "long double", "read-only", "bfloat16"],
)
def test_data_of_every_kind(change, tmp_path):
    images = change(X)
    if isinstance(images, np.ndarray):
        images.flags.writeable = False
    make(checkpoint=tmp_path / "state").fit(images, Y)


def test_the_shape_of_the_images_counts(tmp_path):
    stopped(tmp_path, 1)
    clf = make(max_epochs=6, checkpoint=tmp_path / "state")
    with pytest.raises(ValueError, match="other data"):
        clf.fit(X.reshape(-1, 4, 16), Y)


def test_a_stem_of_any_type(tmp_path):
    stem = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.BatchNorm2d(8))
    make(checkpoint=tmp_path / "state", stem=stem.bfloat16(), max_epochs=1).fit(X, Y)


def test_a_warm_start_goes_on_from_its_own_training_alone(tmp_path):
    params = {"max_epochs": 3, "warm_start": True, "checkpoint": tmp_path / "state"}
    clf = make(**params).fit(X, Y)
    callback = calling("on_epoch_begin", interrupt, after=2)
    with pytest.raises(KeyboardInterrupt):
        clf.set_params(callbacks=[callback]).fit(X, Y)
    with pytest.raises(ValueError, match="a later one of a warm start"):
        make(**params).fit(X, Y)
    with pytest.raises(ValueError, match="a later one of a warm start"):
        clf.set_params(callbacks=None).fit(X, Y)


def test_a_killed_warm_start_goes_on(tmp_path):
    first = make(max_epochs=2, warm_start=True).fit(X, Y)
    pickled = pickle.dumps(first)
    alone = first.fit(X, Y)
    params = {"checkpoint": tmp_path / "state"}
    callback = calling("on_epoch_begin", interrupt, after=1)
    clf = pickle.loads(pickled).set_params(callbacks=[callback], **params)
    with pytest.raises(KeyboardInterrupt):
        clf.fit(X, Y)
    resumed = pickle.loads(pickled).set_params(**params).fit(X, Y)
    assert_same_weights(resumed, alone)
    assert resumed.loss_curve_ == alone.loss_curve_
    assert resumed.n_epochs_ == 4


def shift_up(images, by):
    return images.roll(by, 2)


def dimming_by(factor):
    return lambda images: images * factor


class Brighter:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, images):
        return images * self.factor


@pytest.mark.parametrize(
    ("make_one", "make_other"),
    [
        (lambda: partial(shift_up, by=1), lambda: partial(shift_up, by=2)),
        (lambda: Brighter(0.5), lambda: Brighter(0.6)),
        (lambda: lambda images: images * 0.5, lambda: lambda images: images * 0.6),
        (lambda: lambda images: images.abs(), lambda: lambda images: images.sqrt()),
        (lambda: dimming_by(0.5), lambda: dimming_by(0.6)),
    ],
    ids=["partial", "object", "constant", "function", "closure"],
)
def test_augmentations_are_what_they_do(make_one, make_other, tmp_path):
    clf = stopped(tmp_path, 1, augmentation=make_one())
    with pytest.raises(ValueError, match="other parameters"):
        make(**clf.set_params(augmentation=make_other()).get_params()).fit(X, Y)
    assert make(**clf.set_params(augmentation=make_one()).get_params()).fit(X, Y)


class Note(Callback):
    """Record what a file without pickled code cannot hold."""

    def on_epoch_end(self, net, **kwargs):
        net.history.record("number", np.float64(len(net.history)))
        net.history.record("array", np.ones(3))
        net.stop_training = np.bool_(len(net.history) == 5)


def test_callbacks_may_record_anything(tmp_path):
    notes = [Note(), calling("on_epoch_begin", interrupt, after=2)]
    params = {"max_epochs": 6, "checkpoint": tmp_path / "state"}
    with pytest.raises(KeyboardInterrupt):
        make(callbacks=notes, **params).fit(X, Y)
    clf = make(callbacks=[Note()], **params).fit(X, Y)
    assert clf.n_epochs_ == 5
    assert clf.net_.history[:, "number"] == [1, 2, 3, 4, 5]


def test_skorchs_own_callbacks_go_on(tmp_path):
    def callbacks():
        return [
            EarlyStopping(
                "train_loss", patience=3, threshold=1e9, threshold_mode="abs"
            ),
            LRScheduler("StepLR", step_size=2),
        ]

    params = {"max_epochs": 8, "checkpoint": tmp_path / "state"}
    stop = calling("on_epoch_begin", interrupt, after=2)
    with pytest.raises(KeyboardInterrupt):
        make(callbacks=[*callbacks(), stop], **params).fit(X, Y)
    resumed = make(callbacks=callbacks(), **params).fit(X, Y)
    alone = make(callbacks=callbacks(), max_epochs=8).fit(X, Y)
    assert resumed.n_epochs_ == alone.n_epochs_ < 8
    assert_same_weights(resumed, alone)


def test_callbacks_may_be_added(tmp_path):
    clf = stopped(tmp_path, 2)
    clf.set_params(callbacks=[LRScheduler("StepLR", step_size=1)]).fit(X, Y)
    assert clf.n_epochs_ == 6


def test_a_link_stays_and_what_it_leads_to_goes(tmp_path):
    (tmp_path / "state").symlink_to(tmp_path / "real")
    clf = stopped(tmp_path, 1)
    assert (tmp_path / "real").is_file()
    clf.fit(X, Y)
    assert not (tmp_path / "real").exists()
    assert (tmp_path / "state").is_symlink()


def test_a_missing_folder_is_told_before_the_training(tmp_path):
    clf = make(checkpoint=tmp_path / "none" / "state", max_epochs=1, callbacks=[Note()])
    with pytest.raises(FileNotFoundError, match="needs a folder to write into"):
        clf.fit(X, Y)
    assert not hasattr(clf, "history_")


def test_means_of_gradients_lie_like_their_parameters():
    parameter = torch.nn.Parameter(torch.zeros(3, 4).T)
    optimizer = torch.optim.Adam([parameter])
    mean = torch.arange(12.0).view(4, 3)
    optimizer.state[parameter] = {"step": torch.ones(()), "exp_avg": mean}
    _arrange(optimizer.state)
    found = optimizer.state[parameter]
    assert found["exp_avg"].stride() == parameter.stride() == (1, 4)
    assert torch.equal(found["exp_avg"], mean)
    assert found["step"] == 1
