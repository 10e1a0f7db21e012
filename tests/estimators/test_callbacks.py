import copy
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from skorch.callbacks import Callback, Checkpoint, EpochScoring

from ._small import X, Y, make

HOOKS = [
    "on_train_begin",
    "on_epoch_begin",
    "on_batch_begin",
    "on_batch_end",
    "on_epoch_end",
]


def calling(hook, action, after=0):
    """Make a callback that acts in one of its methods, from one call on."""
    seen = []

    def method(self, net, **kwargs):
        seen.append(hook)
        if len(seen) > after:
            action(net)

    return type("Calling", (Callback,), {hook: method})()


def stop(net):
    net.stop_training = True


def interrupt(net):
    raise KeyboardInterrupt


@pytest.mark.parametrize("more", [{}, {"early_stopping": True}], ids=["", "early"])
@pytest.mark.parametrize("hook", HOOKS)
def test_a_callback_may_stop_anywhere(hook, more):
    clf = make(max_epochs=3, batch_size=30, callbacks=[calling(hook, stop)], **more)
    clf.fit(X, Y)
    assert clf.n_epochs_ == (hook == "on_epoch_end")
    assert len(clf.history_) == (hook in ("on_batch_end", "on_epoch_end"))
    assert clf.predict(X).shape == Y.shape
    assert clf.set_params(callbacks=None).fit(X, Y).n_epochs_ == 3


@pytest.mark.parametrize(
    "act", [stop, interrupt], ids=["the callback", "the user meanwhile"]
)
def test_a_part_of_an_epoch_is_recorded_as_one(act):
    callback = calling("on_batch_end", act, after=4)
    clf = make(max_epochs=3, batch_size=30, callbacks=[callback])
    with nullcontext() if act is stop else pytest.raises(KeyboardInterrupt):
        clf.fit(X[:90], Y[:90])
    whole, part = clf.history_
    assert "fraction" not in whole
    assert part["fraction"] == pytest.approx(2 / 3)
    assert part.keys() - whole.keys() == {"fraction"}
    assert part["duration"] > 0
    assert clf.n_epochs_ == 1
    assert clf.loss_curve_ == [whole["train_loss"], part["train_loss"]]


def test_an_interrupt_while_held_out_images_are_looked_at():
    def in_validation(net):
        if not net.module_.training:
            interrupt(net)

    callback = calling("on_batch_end", in_validation, after=4)
    clf = make(max_epochs=3, early_stopping=True, callbacks=[callback])
    with pytest.raises(KeyboardInterrupt):
        clf.fit(X, Y)
    assert "valid_loss" not in clf.history_[-1]
    assert "fraction" not in clf.history_[-1]
    n_batches = clf.net_.optimizer_.n_steps // len(clf.history_)
    assert clf.n_epochs_ * n_batches == clf.net_.optimizer_.n_steps


def test_an_epoch_that_ends_with_the_stop_is_whole():
    callback = calling("on_batch_end", stop, after=2)
    clf = make(max_epochs=3, batch_size=30, callbacks=[callback]).fit(X[:90], Y[:90])
    assert "fraction" not in clf.history_[0]
    assert clf.n_epochs_ == 1


@pytest.mark.parametrize("hook", HOOKS[:3])
def test_an_interrupt_before_the_first_step_leaves_it_as_it_was(hook):
    clf = make(callbacks=[calling(hook, interrupt)])
    with pytest.raises(KeyboardInterrupt):
        clf.fit(X, Y)
    with pytest.raises(NotFittedError):
        clf.predict(X)
    before = vars(clf.set_params(callbacks=None).fit(X, Y)).copy()
    clf.set_params(callbacks=[calling(hook, interrupt)])
    with pytest.raises(KeyboardInterrupt):
        clf.fit(X, Y + 5)
    changed = {name for name, value in vars(clf).items() if value is not before[name]}
    assert changed == {"callbacks"}


# With the first rate the loss rises in between, with the second it falls to the last.
@pytest.mark.parametrize("learning_rate", [0.05, 0.002])
def test_early_stopping_keeps_the_best_weights_of_an_interrupted_training(
    learning_rate,
):
    seen = []

    def note(net):
        weights = copy.deepcopy(net.module_.state_dict())
        seen.append((net.history[-1, "valid_loss"], weights))
        if len(seen) == 4:
            interrupt(net)

    clf = make(
        max_epochs=6,
        learning_rate=learning_rate,
        early_stopping=True,
        callbacks=[calling("on_epoch_end", note)],
    )
    with pytest.raises(KeyboardInterrupt):
        clf.fit(X, Y)
    _, best = min(seen, key=lambda pair: pair[0])
    assert all(
        torch.equal(value, best[name])
        for name, value in clf.network_.state_dict().items()
    )


class Count(Callback):
    """Count the epochs that are seen to their end."""

    def __init__(self):
        self.losses = []

    def on_epoch_end(self, net, **kwargs):
        self.losses.append(net.history[-1]["train_loss"])


def test_callbacks_see_the_epoch_after_which_training_stops_early():
    count = Count()
    clf = make(
        max_epochs=8,
        early_stopping=True,
        n_iter_no_change=1,
        tol=10.0,
        callbacks=[count],
    ).fit(X, Y)
    assert clf.n_epochs_ < 8
    assert count.losses == clf.loss_curve_


def test_checkpoint_knows_the_best_epoch(tmp_path):
    checkpoint = Checkpoint(
        monitor="train_loss_best", dirname=tmp_path, f_optimizer=None, f_history=None
    )
    clf = make(max_epochs=3, callbacks=[checkpoint]).fit(X, Y)
    best = [bool(row["train_loss_best"]) for row in clf.net_.history]
    losses = clf.loss_curve_
    assert best == [loss < min([*losses[:i], np.inf]) for i, loss in enumerate(losses)]
    assert (tmp_path / "params.pt").exists()


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (5, "callbacks must hold skorch callbacks.*got 5"),
        (EpochScoring("accuracy"), "must not hold EpochScoring.*net.history"),
        (("name", EpochScoring("accuracy")), "must not hold EpochScoring"),
    ],
)
def test_rejects(callback, message):
    with pytest.raises(TypeError, match=message):
        make(callbacks=[callback]).fit(X, Y)
