import copy
import pickle

import numpy as np
import pytest
import torch

import skcaps

from ._small import X, Y, assert_same_weights, make, make_capsnet


@pytest.fixture
def compiled(monkeypatch):
    """Compile without a C++ compiler, and keep what was compiled."""
    seen = []
    original = torch.nn.Module.compile

    def compile_eagerly(module):
        seen.append(module)
        original(module, backend="aot_eager")

    monkeypatch.setattr(torch.nn.Module, "compile", compile_eagerly)
    torch.compiler.reset()
    yield seen
    torch.compiler.reset()


# What the compiler warns of is its own doing.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("factory", [make, make_capsnet])
def test_compile_changes_no_result(factory, compiled):
    clf = factory(compile=True).fit(X, Y)
    assert compiled == [clf.network_]
    plain = factory().fit(X, Y)
    assert compiled == [clf.network_]
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
    assert compiled == [clf.network_, loaded.network_]
    assert_same_weights(clf, loaded)
    np.testing.assert_array_equal(loaded.predict(X), clf.predict(X))
