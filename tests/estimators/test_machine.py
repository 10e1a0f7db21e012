import pickle
import warnings

import numpy as np
import pytest
import torch

from skcaps._kernels import _conv2d, _convolve, _patches, _winograd
from skcaps.estimators import _machine
from skcaps.estimators._machine import Machine

from ._small import X, Y, make, make_capsnet, weights_of


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
        'precision="bfloat16" was asked for, but the cpu device has no instructions '
        "for it; float32 takes its place, which is faster here."
    )
    assert messages == ([] if supported else [expected])


@pytest.mark.parametrize("way", [_patches, _winograd])
def test_products_train_like_torchs_convolution(way, monkeypatch):
    monkeypatch.setattr(_convolve, "_way", lambda *args: way)

    def make_wide():
        clf = make_capsnet(precision="float64")
        return clf.set_params(conv_channels=64, primary_capsules=8)

    one = make_wide().fit(X, Y)
    assert pickle.loads(pickle.dumps(one)).network_.primary.conv.weight.is_contiguous(
        memory_format=torch.channels_last
    )
    monkeypatch.setattr(_conv2d, "_suits_products", lambda images: False)
    other = make_wide().fit(X, Y)
    np.testing.assert_allclose(one.lengths(X), other.lengths(X), rtol=1e-9)


def test_bfloat16_in_later_trainings_is_said_to_be_missing_too(monkeypatch):
    monkeypatch.setattr(_machine, "has_bfloat16", lambda device: False)
    clf = make(warm_start=True).fit(X, Y).set_params(precision="bfloat16")
    with pytest.warns(UserWarning, match="has no instructions for it"):
        clf.fit(X, Y)
    with pytest.warns(UserWarning, match="has no instructions for it"):
        clf.set_params(batch_size=3).partial_fit(X, Y)


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:1", "auto"])
def test_device(device, two_gpus):
    expected = "cuda" if device == "auto" else device
    assert _machine.resolve_device(device) == torch.device(expected)


def test_device_that_is_not_there(two_gpus):
    message = (
        r"device='cuda:2' was asked for, but torch sees 2 CUDA device\(s\), the last "
        r'of which is "cuda:1"\.'
    )
    with pytest.raises(ValueError, match=message):
        _machine.resolve_device("cuda:2")


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), False), ((9, 0), True)])
def test_bfloat16_of_a_gpu(capability, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert _machine.has_bfloat16(torch.device("cuda", 0)) == expected


def test_bfloat16_of_other_devices():
    assert _machine.has_bfloat16(torch.device("mps"))


@pytest.mark.parametrize(
    ("capability", "onednn", "has_instructions", "expected"),
    [
        ("AVX512", True, True, True),
        ("AVX512", True, False, False),
        ("AVX2", False, False, False),
        ("DEFAULT", True, False, True),
    ],
)
def test_bfloat16_of_a_processor(
    capability, onednn, has_instructions, expected, monkeypatch
):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: onednn)
    name = "_is_avx512_bf16_supported"
    monkeypatch.setattr(torch.cpu, name, lambda: has_instructions, raising=False)
    assert _machine.has_bfloat16(torch.device("cpu")) == expected
    monkeypatch.delattr(torch.cpu, name)
    # An older torch cannot say more than oneDNN.
    assert _machine.has_bfloat16(torch.device("cpu")) == onednn


def test_later_trainings_may_move(monkeypatch):
    clf = make(warm_start=True).fit(X, Y)
    places = []
    original = Machine.place

    def place(machine, network):
        places.append(machine.device)
        original(machine, network)

    monkeypatch.setattr(Machine, "place", place)
    monkeypatch.setattr(_machine, "resolve_device", torch.device)
    clf.set_params(device="cpu:0").fit(X, Y)
    assert clf.device_ == "cpu:0"
    assert places == [torch.device("cpu", 0)]


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_later_trainings_check_their_device(method, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    clf = make(warm_start=True).fit(X, Y).set_params(device="cuda")
    with pytest.raises(ValueError, match="torch sees no CUDA device"):
        getattr(clf, method)(X, Y)
    with pytest.warns(UserWarning, match="device='cuda' is not here"):
        loaded = pickle.loads(pickle.dumps(clf))
    # It has been said once.
    assert getattr(loaded, method)(X, Y).device_ == "cpu"


def test_failing_after_a_move_restores_everything(monkeypatch):
    clf = make(warm_start=True).fit(X, Y)
    step, weights, moves = clf._fitted.n_trainings, weights_of(clf), []
    monkeypatch.setattr(_machine, "resolve_device", torch.device)
    network = clf.network_
    monkeypatch.setattr(
        network, "to", lambda device: moves.append(str(device)) or network
    )

    def augmentation(images):
        raise RuntimeError("of the user")

    clf.set_params(device="cpu:0", augmentation=augmentation)
    with pytest.raises(RuntimeError, match="of the user"):
        clf.fit(X, Y)
    assert moves[0] == "cpu:0"
    assert moves[-1] == clf.device_ == "cpu"
    assert clf._fitted.n_trainings == step
    # Its optimiser is on the other device.
    assert not hasattr(clf, "net_")
    for name, value in weights_of(clf).items():
        np.testing.assert_array_equal(value, weights[name])


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_trains_in_inference_mode(method, monkeypatch):
    original = Machine.place

    def place(machine, network):
        # As if the device were another: moving copies.
        network._apply(torch.clone)
        original(machine, network)

    monkeypatch.setattr(Machine, "place", place)
    with torch.inference_mode():
        clf = make(warm_start=True).fit(X, Y)
        loaded = pickle.loads(pickle.dumps(clf))
    assert not any(p.is_inference() for p in loaded.network_.parameters())
    getattr(clf, method)(X, Y)
    assert clf.n_epochs_ == 2
    assert getattr(loaded, method)(X, Y).n_epochs_ == 2


def test_images_are_not_decoded_in_bfloat16(monkeypatch):
    monkeypatch.setattr(_machine, "has_bfloat16", lambda device: True)
    clf = make(precision="bfloat16").fit(X, Y)
    for images in (clf.reconstruct(X), clf.sweep_pose(X, 0, [0.1])):
        rounded = torch.from_numpy(images).bfloat16().float().numpy()
        assert np.mean(rounded == images) < 0.5


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_missing_format_is_told_where_the_user_called(method, monkeypatch):
    monkeypatch.setattr(_machine, "has_bfloat16", lambda device: False)
    given = {} if method == "fit" else {"classes": [0, 1, 2]}
    with pytest.warns(UserWarning, match="has no instructions") as caught:
        getattr(make(precision="bfloat16"), method)(X, Y, **given)
    assert caught[0].filename == __file__
