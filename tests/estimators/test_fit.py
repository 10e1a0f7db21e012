import math
import os

import numpy as np
import pytest
import torch
from sklearn.utils._param_validation import InvalidParameterError
from skorch.callbacks import Callback

from skcaps.estimators._dataset import find_batch_size
from skcaps.functional import AUGMENTATIONS

from ._small import X, Y, assert_same_weights, differ, make, make_capsnet, weights_of


class StopAfter(Callback):
    """End training after some epochs."""

    def __init__(self, epochs):
        self.epochs = epochs

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.epochs:
            net.stop_training = True


@pytest.mark.parametrize("factory", [make, make_capsnet])
def test_same_random_state_same_weights(factory):
    one = factory().fit(X, Y)
    torch.rand(3)
    other = factory().fit(X, Y)
    assert_same_weights(one, other)
    assert differ(one, factory(random_state=1).fit(X, Y))


@pytest.mark.parametrize(
    "generator", [np.random.RandomState, np.random.default_rng], ids=["old", "new"]
)
def test_generators(generator):
    shared = generator(0)
    one = make(random_state=shared).fit(X, Y)
    assert_same_weights(one, make(random_state=generator(0)).fit(X, Y))
    assert differ(one, make(random_state=shared).fit(X, Y))


def test_without_random_state_every_fit_differs():
    one = make(random_state=None).fit(X, Y)
    assert differ(one, make(random_state=None).fit(X, Y))


def test_nothing_global_changes(capsys):
    torch_state = torch.get_rng_state()
    numpy_state = np.random.get_state()  # noqa: NPY002
    around = (torch.get_num_threads(), os.getcwd(), torch.get_default_dtype())
    clf = make(random_state=None).fit(X, Y)
    clf.partial_fit(X, Y)
    clf.predict(X)
    clf.reconstruct(X[:2])
    assert torch.equal(torch.get_rng_state(), torch_state)
    for found, expected in zip(np.random.get_state(), numpy_state, strict=True):  # noqa: NPY002
        np.testing.assert_array_equal(found, expected)
    assert (
        torch.get_num_threads(),
        os.getcwd(),
        torch.get_default_dtype(),
    ) == around
    assert torch.is_grad_enabled()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == ""


def test_arguments_are_not_changed():
    images, labels, weights = X.copy(), Y.copy(), np.full(len(X), 2.0)
    make().fit(images, labels, weights)
    np.testing.assert_array_equal(images, X)
    np.testing.assert_array_equal(labels, Y)
    np.testing.assert_array_equal(weights, 2.0)


def test_verbose_writes_to_stderr(capsys):
    make(verbose=1).fit(X, Y)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "epoch 1/1" in captured.err
    assert "loss=" in captured.err
    assert "accuracy=" in captured.err


def test_history():
    clf = make(max_epochs=3).fit(X, Y)
    assert clf.n_epochs_ == len(clf.history_) == len(clf.loss_curve_) == 3
    assert [row["epoch"] for row in clf.history_] == [1, 2, 3]
    assert clf.loss_curve_ == [row["train_loss"] for row in clf.history_]
    assert clf.loss_curve_[-1] < clf.loss_curve_[0]
    assert set(clf.history_[0]) == {
        "epoch",
        "train_loss",
        "train_accuracy",
        "learning_rate",
        "duration",
    }
    assert all(0 <= row["train_accuracy"] <= 1 for row in clf.history_)
    rates = [row["learning_rate"] for row in clf.history_]
    # These are the rates at the start of each epoch; in all there are 18 steps.
    np.testing.assert_allclose(rates, 2e-3 * 0.3 ** (np.arange(3) / 3))
    assert clf.n_parameters_ == sum(p.numel() for p in clf.network_.parameters())


@pytest.mark.parametrize(
    ("batch_size", "share"), [(1, 0.01), (2, 10 / 900), (9, 10 / 200), (90, 0.3)]
)
def test_rate_falls_less_in_few_steps(batch_size, share):
    # 90 images, 20 epochs; the start of the second one shows how the rate falls.
    clf = make_capsnet(max_epochs=20, batch_size=batch_size, callbacks=[StopAfter(2)])
    rates = [row["learning_rate"] for row in clf.fit(X, Y).history_]
    np.testing.assert_allclose(rates, [2e-3, 2e-3 * share ** (1 / 20)])


@pytest.mark.parametrize(
    ("n_images", "expected"),
    [(1, 32), (32, 32), (33, 16), (1000, 16), (1500, 23), (5000, 64)],
)
def test_auto_batches_leave_small_sets_enough_steps(n_images, expected):
    assert find_batch_size("auto", n_images) == expected
    assert find_batch_size(7, n_images) == 7


def test_auto_batches_are_those_of_training():
    assert_same_weights(
        make(batch_size="auto").fit(X, Y), make(batch_size=16).fit(X, Y)
    )


def test_warm_up_begins_with_the_optimiser():
    """Not with every call: `partial_fit` goes on where the last one was."""
    clf = make(learning_rate_warmup=9, learning_rate=1e-3)
    clf.partial_fit(X, Y, classes=np.unique(Y)).partial_fit(X, Y)
    optimizer = clf.net_.optimizer_
    assert (optimizer.n_steps, optimizer.warmup_steps) == (12, 9)
    assert (
        clf.set_params(learning_rate_warmup=3).partial_fit(X, Y).net_ is not optimizer
    )
    assert clf.net_.optimizer_.n_steps == 6


def test_learning_rate_may_stay():
    clf = make(max_epochs=2, learning_rate_decay=1.0).fit(X, Y)
    assert [row["learning_rate"] for row in clf.history_] == [2e-3, 2e-3]


class KeepWeights(Callback):
    """Keep the weights of every epoch, and whatever else a test asks for."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.weights = []

    def on_epoch_end(self, net, **kwargs):
        state = net.module_.state_dict()
        self.weights.append({k: v.cpu().numpy().copy() for k, v in state.items()})


@pytest.mark.parametrize("tol", [0.0, 0.05])
def test_early_stopping_restores_the_best(tol):
    keep = KeepWeights()
    clf = make(
        max_epochs=8,
        early_stopping=True,
        validation_fraction=0.2,
        learning_rate=0.05,
        learning_rate_decay=1.0,
        n_iter_no_change=2 if tol == 0 else 8,
        tol=tol,
        callbacks=[keep],
    ).fit(X, Y)
    losses = [row["valid_loss"] for row in clf.history_]
    assert all("valid_accuracy" in row for row in clf.history_)
    assert len(losses) == clf.n_epochs_
    best = keep.weights[int(np.argmin(losses))]
    found = weights_of(clf)
    for name in best:
        np.testing.assert_array_equal(found[name], best[name], err_msg=name)


def test_early_stopping_stops():
    clf = make(max_epochs=6, early_stopping=True, n_iter_no_change=1, tol=100.0)
    clf.fit(X, Y)
    assert clf.n_epochs_ < 6


def test_early_stopping_needs_enough_samples():
    with pytest.raises(ValueError, match="are too few"):
        make(early_stopping=True).fit(X[:6], [0, 1, 2, 0, 1, 2])


def test_samples_of_no_weight_do_not_count():
    weights = (Y != 2).astype(float)
    changed = X.copy()
    changed[Y == 2] = changed[Y == 2][::-1]
    one = make().fit(X, Y, weights)
    assert_same_weights(one, make().fit(changed, Y, weights))
    assert differ(one, make().fit(X, Y))


def test_scale_of_weights_does_not_matter():
    weights = 1.0 + (Y == 0)
    assert_same_weights(
        make().fit(X, Y, weights), make().fit(X, Y, (4 * weights).tolist())
    )


def test_class_weight_is_a_sample_weight():
    by_class = make(class_weight={0: 4, 1: 1, 2: 2}).fit(X, Y)
    by_sample = make().fit(X, Y, np.array([4.0, 1.0, 2.0])[Y])
    assert_same_weights(by_class, by_sample)
    rare = np.r_[np.flatnonzero(Y != 0), np.flatnonzero(Y == 0)[:5]]
    balanced = make(class_weight="balanced").fit(X[rare], Y[rare])
    assert differ(balanced, make().fit(X[rare], Y[rare]))


@pytest.mark.parametrize("factory", [make, make_capsnet])
def test_multilabel(factory):
    indicator = np.stack([Y == 0, Y != 1, Y == 2], axis=1).astype(int)
    clf = factory().fit(X, indicator)
    assert clf.classes_.tolist() == [0, 1, 2]
    found = clf.lengths(X)
    np.testing.assert_array_equal(clf.predict(X), found > 0.5)
    np.testing.assert_array_equal(clf.predict_proba(X), found)
    np.testing.assert_allclose(clf.decision_function(X), found - 0.5)
    assert clf.reconstruct(X).shape == X.shape
    assert clf.reconstruct(X, indicator).shape == X.shape
    with pytest.raises(ValueError, match="must have 3 columns"):
        clf.partial_fit(X, indicator[:, :2])


def test_two_classes():
    clf = make().fit(X[Y < 2], np.array(["no", "yes"])[Y[Y < 2]])
    scores = clf.decision_function(X)
    assert scores.shape == (90,)
    np.testing.assert_array_equal(clf.predict(X) == "yes", scores > 0)


def test_no_decoder():
    clf = make(decoder=None).fit(X, Y)
    with pytest.raises(ValueError, match="has no decoder"):
        clf.reconstruct(X)


@pytest.mark.parametrize("loss", ["margin", "spread", "cross_entropy"])
@pytest.mark.parametrize("routing", ["dynamic", "self_attention"])
def test_losses_and_routings(loss, routing):
    clf = make(loss=loss, routing=routing).fit(X, Y)
    assert math.isfinite(clf.loss_curve_[0])
    couplings = clf.couplings(X)
    assert couplings.shape[0] == 90
    assert couplings.shape[2] == 3


def test_augmentation_sees_unit_images():
    seen = []

    def augment(images):
        seen.append((tuple(images.shape), images.min().item(), images.max().item()))
        return images.flip(-1)

    clf = make(augmentation=augment, batch_size=45).fit(X, Y)
    assert seen == [((45, 1, 8, 8), 0.0, 1.0)] * 2
    assert differ(clf, make(batch_size=45).fit(X, Y))
    clf.predict(X)
    assert len(seen) == 2


def test_random_augmentation_is_reproducible():
    def augment(images):
        return (images + 0.1 * torch.rand_like(images)).clamp(0, 1)

    assert_same_weights(
        make(augmentation=augment).fit(X, Y), make(augmentation=augment).fit(X, Y)
    )


@pytest.mark.parametrize("factory", [make, make_capsnet])
@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_named_augmentation(factory, name):
    one = factory(augmentation=name).fit(X, Y)
    torch.rand(3)
    assert_same_weights(one, factory(augmentation=name).fit(X, Y))
    assert_same_weights(one, factory(augmentation=AUGMENTATIONS[name]).fit(X, Y))
    assert differ(one, factory().fit(X, Y))


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_named_augmentation_of_rows(name):
    clf = make(augmentation=name, precision="float64").fit(X[:, 20:27], Y)
    assert clf.image_shape_ == (1, 1, 7)
    assert math.isfinite(clf.loss_curve_[0])
    clf.partial_fit(X[:, 20:27], Y)
    assert clf.n_epochs_ == 2


@pytest.mark.parametrize("value", ["flip", 3])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_unknown_augmentation(value, method):
    with pytest.raises(InvalidParameterError, match="augmentation") as caught:
        getattr(make(augmentation=value), method)(X, Y)
    for name in AUGMENTATIONS:
        assert repr(name) in str(caught.value)


def test_interrupt_by_the_user_passes_through():
    def augment(images):
        raise KeyboardInterrupt

    state = torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        make(augmentation=augment).fit(X, Y)
    assert torch.equal(torch.get_rng_state(), state)


def test_skorch_callback_stops_training():
    clf = make(max_epochs=5, callbacks=[StopAfter(2)]).fit(X, Y)
    assert clf.n_epochs_ == 2
    assert clf.predict(X).shape == Y.shape
    assert not clf.network_.training


@pytest.mark.parametrize("rate", [1e3, 1e10, 1e20, 1e38])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("factory", [make, make_capsnet])
def test_what_is_handed_out_is_finite(factory, method, rate):
    """No loss has seen the last step."""
    clf = factory(learning_rate=rate, learning_rate_warmup=0, batch_size=90)
    given = {} if method == "fit" else {"classes": [0, 1, 2]}
    message = ""
    try:
        getattr(clf, method)(X, Y, **given)
    except ValueError as error:
        message = str(error)
        assert not hasattr(clf, "classes_")
    else:
        assert np.isfinite(clf.predict_proba(X)).all()
    assert not message or f"lower learning_rate, which is {rate:g}" in message
    assert message or rate < 1e38


def test_a_huge_reconstruction_weight_is_named():
    with pytest.raises(ValueError, match=r"reconstruction_weight, which is 1e\+300"):
        make(reconstruction_weight=1e300).fit(X, Y)


def test_an_augmentation_may_return_another_type():
    one = make(augmentation=lambda images: images.double()).fit(X, Y)
    assert_same_weights(one, make().fit(X, Y))


def test_non_finite_loss():
    clf = make(learning_rate=1e38, learning_rate_warmup=0, batch_size=16)
    with pytest.raises(ValueError, match=r"training loss became (nan|inf) in epoch 1"):
        clf.fit(X, Y)


def test_stem_is_not_touched():
    stem = torch.nn.Sequential(torch.nn.Conv2d(1, 16, 3), torch.nn.ReLU())
    before = {name: value.clone() for name, value in stem.state_dict().items()}
    clf = make(stem=stem).fit(X, Y)
    for name, value in stem.state_dict().items():
        assert torch.equal(value, before[name])
    assert stem.training
    assert all(p.grad is None for p in stem.parameters())
    assert clf.stem is stem
    assert clf.predict(X).shape == Y.shape


class Recorder:
    """A scikit-learn callback that may ask to stop."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.begun = []
        self.ended = []

    def setup(self, estimator, context):
        """Do nothing."""

    def teardown(self, estimator, context):
        """Do nothing."""

    def on_fit_task_begin(self, estimator, context, **kwargs):
        self.begun.append(context.task_name)

    def on_fit_task_end(self, estimator, context, **kwargs):
        self.ended.append(context.task_name)
        return self.ended.count("epoch") == self.stop_after


@pytest.mark.parametrize(("stop_after", "epochs"), [(None, 3), (2, 2)])
def test_scikit_learn_callbacks(stop_after, epochs):
    pytest.importorskip("sklearn.callback")
    recorder = Recorder(stop_after)
    clf = make(max_epochs=3).set_callbacks(recorder).fit(X, Y)
    assert clf.n_epochs_ == epochs
    assert recorder.begun.count("epoch") == epochs
    assert recorder.ended.count("epoch") == epochs
    assert len(recorder.begun) == len(recorder.ended) == epochs + 1
    assert recorder.ended[-1] != "epoch"


def test_cross_entropy_is_for_one_class_an_image():
    indicator = np.eye(3, dtype=int)[Y]
    with pytest.raises(ValueError, match=r"needs one class.*use loss=.margin."):
        make(loss="cross_entropy").fit(X, indicator)


def test_early_stopping_needs_weight_in_both_parts():
    weights = np.zeros(len(Y))
    weights[0] = 1
    with pytest.raises(ValueError, match="samples of positive sample_weight"):
        make(early_stopping=True).fit(X, Y, weights)


def test_read_only_weights():
    weights = np.ones(len(Y))
    weights.flags.writeable = False
    assert_same_weights(make().fit(X, Y, weights), make().fit(X, Y, np.ones(len(Y))))


@pytest.mark.parametrize(
    ("augmentation", "got"),
    [
        (lambda images: None, "NoneType"),
        (lambda images: images[..., 1:], r"\(90, 1, 8, 7\)"),
        (lambda images: images.numpy(), "ndarray"),
    ],
)
def test_augmentation_keeps_the_shape(augmentation, got):
    message = rf"same shape, \(90, 1, 8, 8\), got {got}"
    with pytest.raises(ValueError, match=message):
        make(augmentation=augmentation, batch_size=90).fit(X, Y)
