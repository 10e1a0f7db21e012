import pickle
import warnings

import numpy as np
import pytest
import torch

from skcaps.estimators import _machine
from skcaps.functional import _convolution, _patches, _winograd
from skcaps.nn import capsnet

from ._small import X, Y, make, make_capsnet


@pytest.mark.filterwarnings("ignore:precision=.bfloat16. was asked for")
@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("float32", np.float32), ("bfloat16", np.float32), ("float64", np.float64)],
)
def test_precision(precision, dtype):
    clf = make(precision=precision).fit(X, Y)
    assert clf.lengths(X).dtype == dtype
    assert np.isfinite(clf.predict_proba(X)).all()


@pytest.mark.parametrize("supported", [True, False])
def test_bfloat16_needs_a_processor_that_has_it(supported, monkeypatch):
    monkeypatch.setattr(_machine, "has_bfloat16", lambda device: supported)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = make(precision="bfloat16").fit(X, Y).lengths(X)
    exact = make(precision="float32").fit(X, Y).lengths(X)
    assert np.array_equal(found, exact) == (not supported)
    messages = [str(warning.message) for warning in caught]
    expected = (
        'precision="bfloat16" was asked for, but this processor has no instructions '
        "for it; float32 takes its place, which is faster here."
    )
    assert messages == ([] if supported else [expected])


@pytest.mark.parametrize(
    ("params", "has_matrix_unit", "uses_products"),
    [
        ({}, True, True),
        ({"precision": "float64"}, True, True),
        ({"precision": "bfloat16"}, False, True),
        ({"precision": "bfloat16"}, True, False),
        ({"compile": True}, False, False),
    ],
    ids=str,
)
def test_how_a_network_convolves(params, has_matrix_unit, uses_products, monkeypatch):
    monkeypatch.setattr(_machine, "has_bfloat16", lambda device: True)
    monkeypatch.setattr(_machine, "_has_matrix_unit", lambda: has_matrix_unit)
    network = capsnet((1, 8, 8), 2, conv_channels=64, primary_capsules=8)
    full = {"precision": "float32", "compile": False, **params}
    for _ in range(2):
        _machine.place(network, torch.device("cpu"), full["precision"], full["compile"])
        for conv in (network.stem.conv, network.primary.conv):
            assert conv.uses_products == uses_products
        # As if another training had come before.
        network.primary.conv.use_products(not uses_products)


@pytest.mark.parametrize(
    ("capability", "has_amx", "expected"),
    [("AVX512", True, True), ("AVX512", False, False), ("DEFAULT", False, True)],
)
def test_matrix_unit(capability, has_amx, expected, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(
        torch.cpu, "_is_amx_tile_supported", lambda: has_amx, raising=False
    )
    assert _machine._has_matrix_unit() == expected


def test_older_torch_knows_no_matrix_unit(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    assert not _machine._has_matrix_unit()


@pytest.mark.parametrize("way", [_patches, _winograd])
def test_products_train_like_torchs_convolution(way, monkeypatch):
    monkeypatch.setattr(_convolution, "_way", lambda *args: way)

    def make_wide():
        clf = make_capsnet(precision="float64")
        return clf.set_params(conv_channels=64, primary_capsules=8)

    one = make_wide().fit(X, Y)
    assert one.network_.primary.conv.uses_products
    assert pickle.loads(pickle.dumps(one)).network_.primary.conv.uses_products
    monkeypatch.setattr(_machine.ProductConv2d, "use_products", lambda *args: None)
    other = make_wide().fit(X, Y)
    assert not other.network_.primary.conv.uses_products
    np.testing.assert_allclose(one.lengths(X), other.lengths(X), rtol=1e-9)


def test_bfloat16_in_later_trainings_is_said_to_be_missing_too(monkeypatch):
    monkeypatch.setattr(_machine, "has_bfloat16", lambda device: False)
    clf = make(warm_start=True).fit(X, Y).set_params(precision="bfloat16")
    with pytest.warns(UserWarning, match="has no instructions for it"):
        clf.fit(X, Y)
    with pytest.warns(UserWarning, match="has no instructions for it"):
        clf.set_params(batch_size=3).partial_fit(X, Y)
