import numpy as np
import pytest
from skorch.callbacks import Callback, Checkpoint, EpochScoring

from ._small import X, Y, make

HOOKS = [
    "on_train_begin",
    "on_epoch_begin",
    "on_batch_begin",
    "on_batch_end",
    "on_epoch_end",
]


def raising(hook, after=0):
    """Make a callback that asks for the end of training in one of its methods."""
    seen = []

    def method(self, net, **kwargs):
        seen.append(hook)
        if len(seen) > after:
            raise KeyboardInterrupt

    return type("Raising", (Callback,), {hook: method})()


@pytest.mark.parametrize("more", [{}, {"early_stopping": True}], ids=["", "early"])
@pytest.mark.parametrize("hook", HOOKS)
def test_a_callback_may_stop_anywhere(hook, more):
    clf = make(max_epochs=3, callbacks=[raising(hook)], **more).fit(X, Y)
    assert clf.n_epochs_ == (hook == "on_epoch_end")
    assert len(clf.history_) == clf.n_epochs_
    assert clf.predict(X).shape == Y.shape


def test_a_stop_in_the_second_epoch_keeps_the_first():
    clf = make(max_epochs=3, batch_size=30, callbacks=[raising("on_batch_end", 4)])
    assert [row["epoch"] for row in clf.fit(X, Y).history_] == [1]


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
