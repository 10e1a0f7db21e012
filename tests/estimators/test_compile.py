import copy
import pickle

import numpy as np
import pytest
import torch

import skcaps
from skcaps.estimators import _machine
from skcaps.estimators._objective import Objective
from skcaps.nn import CapsuleNetwork

from ._small import X, Y, assert_same_weights, make, make_capsnet


@pytest.fixture
def compiled(monkeypatch):
    """Compile without a C++ compiler, and keep what was compiled."""
    seen = []
    original = torch.nn.Module.compile

    def compile_eagerly(module, **options):
        seen.append(module)
        original(module, backend="aot_eager", **options)

    monkeypatch.setattr(torch.nn.Module, "compile", compile_eagerly)
    torch.compiler.reset()
    yield seen
    torch.compiler.reset()


# What the compiler warns of is its own doing.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("factory", [make, make_capsnet])
def test_compile_changes_no_result(factory, compiled):
    clf = factory(compile=True).fit(X, Y)
    assert [type(module) for module in compiled] == [CapsuleNetwork, Objective]
    plain = factory().fit(X, Y)
    assert len(compiled) == 2
    np.testing.assert_allclose(clf.poses(X), plain.poses(X), atol=1e-5)


def round_trip(clf, folder):
    skcaps.save(clf, folder / "file.safetensors")
    return skcaps.load(folder / "file.safetensors")


@pytest.mark.parametrize(
    "copy_of",
    [
        lambda clf, _: pickle.loads(pickle.dumps(clf)),
        lambda clf, _: copy.deepcopy(clf),
        round_trip,
    ],
    ids=["pickle", "deepcopy", "safetensors"],
)
def test_copies_are_compiled_too(copy_of, compiled, tmp_path):
    clf = make(compile=True).fit(X, Y)
    loaded = copy_of(clf, tmp_path)
    networks = [module for module in compiled if isinstance(module, CapsuleNetwork)]
    assert networks == [clf.network_, loaded.network_]
    assert_same_weights(clf, loaded)
    np.testing.assert_array_equal(loaded.predict(X), clf.predict(X))


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_multilabel(compiled):
    indicator = np.stack([Y == 0, Y != 1, Y == 2], axis=1).astype(int)
    params = {"decoder": "dense", "batch_size": 20}
    clf = make(compile=True, **params).fit(X, indicator)
    plain = make(**params).fit(X, indicator)
    np.testing.assert_allclose(clf.poses(X), plain.poses(X), atol=1e-5)
    assert clf.loss_curve_ == pytest.approx(plain.loss_curve_, rel=1e-5)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_later_trainings_may_compile_or_not(method, compiled):
    clf = make(warm_start=True).fit(X, Y)
    getattr(clf.set_params(compile=True), method)(X, Y)
    assert [type(module) for module in compiled] == [CapsuleNetwork, Objective]
    getattr(clf, method)(X, Y)
    # What is compiled stays so.
    assert len(compiled) == 2
    getattr(clf.set_params(compile=False), method)(X, Y)
    assert clf.network_._compiled_call_impl is None


@pytest.mark.skipif(
    not _machine._COMPILE_OPTIONS, reason="needs a torch that isolates compilations"
)
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_each_classifier_has_its_own_graphs(compiled, monkeypatch):
    monkeypatch.setitem(_machine._COMPILE_OPTIONS, "recompile_limit", 2)
    monkeypatch.setattr(torch._dynamo.config, "fail_on_recompile_limit_hit", True)
    for iterations in (1, 2, 3):
        make_capsnet(compile=True, routing_iterations=iterations).fit(X, Y).predict(X)
