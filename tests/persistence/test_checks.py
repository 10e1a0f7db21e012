"""What no accident makes: files with a right checksum that are not right."""

import tracemalloc

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from skcaps import CapsNetClassifier
from skcaps.persistence import load, save


def put(*keys, **values):
    """Return a function that updates the dict at these keys of a description."""

    def change(content):
        for key in keys:
            content = content[key]
        content.update(values)

    return change


def remove(*keys):
    def change(content):
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    return change


FITTED = ("fitted",)
DESCRIPTION = ("fitted", "_description")
ARCHITECTURE = (*DESCRIPTION, "architecture")
CLASSES = (*DESCRIPTION, "classes", "$array")


@pytest.mark.parametrize("name", ["os.system", "Pipeline", "", None, ["x"]])
def test_only_known_classes_are_built(rewrite, name):
    saved = rewrite(lambda content: content.update({"class": name}))
    with pytest.raises(ValueError, match=r"damaged.* can be loaded"):
        load(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("params", unknown=1), "unexpected keyword"),
        (put("params", stem={"$module": "os"}), r"\$module"),
        (put("params", learning_rate=-1.0), "'learning_rate' parameter"),
        (put("params", decoder=["dense"]), "'decoder' parameter"),
        (put("params", max_epochs=0), "'max_epochs' parameter"),
        (put("params", tol={"$float": "1.5"}), "not written as save writes"),
        (put("params", tol={"$float": "nan"}), "'tol' parameter"),
        (remove("params"), "params"),
        (put(params=[]), "params|attribute|list"),
        (remove("fitted"), "fitted"),
        (remove("class"), "class"),
        (remove("fitted", "n_features_in_"), "must include n_features_in_"),
        (remove("fitted", "_description"), "must include _description"),
        (remove(*DESCRIPTION, "architecture"), "must include architecture"),
        (remove(*DESCRIPTION, "seed"), "must include seed"),
        (remove(*ARCHITECTURE, "routing"), "architecture must describe"),
        (put(*FITTED, n_features_in_=65), "image_shape must be"),
        (put(*FITTED, n_features_in_="64"), "'n_features_in_' parameter"),
        (put(*FITTED, n_epochs_=3), "n_epochs_ must be 1"),
        (put(*FITTED, loss_curve_=[1.0, 2.0]), "loss_curve_ must hold"),
        (put(*FITTED, history_=[1]), "history_ must hold a dict"),
        (put(*FITTED, predict="nothing"), "must not replace .* predict"),
        (put(*FITTED, routing="nothing"), "must not replace .* routing"),
        (put(*FITTED, net_=1), "must not replace .* net_"),
        (put(*FITTED, feature_names_in_=[]), "'feature_names_in_' parameter"),
        (put(*DESCRIPTION, labels="none"), "'labels' parameter"),
        (put(*DESCRIPTION, precision="int8"), "'precision' parameter"),
        (put(*DESCRIPTION, loss="least"), "'loss' parameter"),
        (put(*DESCRIPTION, seed=-1), "'seed' parameter"),
        (put(*DESCRIPTION, n_trainings=0), "'n_trainings' parameter"),
        (put(*DESCRIPTION, axes=1), "'axes' parameter"),
        (put(*DESCRIPTION, image_shape={"$tuple": [1, 4, 16]}), "of the architecture"),
        (put(*DESCRIPTION, image_shape={"$tuple": [64]}), "image_shape must be"),
        (put(*DESCRIPTION, image_shape={"$tuple": [1, -8, -8]}), "image_shape must be"),
        (put(*DESCRIPTION, input_range={"$tuple": [1.0, 0.0]}), "input_range must be"),
        (put(*DESCRIPTION, input_range={"$tuple": [1.0]}), "input_range must be"),
        (put(*DESCRIPTION, input_range={"$tuple": ["a", "b"]}), "input_range must be"),
        (put(*CLASSES, values=[0, 2, 1]), "classes must be sorted"),
        (put(*CLASSES, values=[0, 1, 1]), "classes must be sorted"),
        (put(*CLASSES, values=[0, 1, 2.5]), "not written as save writes"),
        (put(*CLASSES, values=[0, 1]), "reshape"),
        (put(*CLASSES, values=[0, 1], shape=[2]), "n_classes of the architecture"),
        (put(*CLASSES, values=[0], shape=[1]), "classes must be two or more"),
        (put(*CLASSES, values=[0, 1, 2, 3], shape=[2, 2]), "classes must be two"),
        (put(*CLASSES, dtype="<U100000000"), "has no len|of this length"),
        (put(*ARCHITECTURE, pose_dim=7), "must have the shape"),
        (put(*ARCHITECTURE, decoder=None), "weights .* do not fit"),
        (put(*ARCHITECTURE, unknown="eval"), "architecture must describe"),
        (put(*ARCHITECTURE, stem="none"), "'stem' parameter"),
        (put(*ARCHITECTURE, conv_channels=[4, "8"]), "conv_channels must be"),
        (put(*ARCHITECTURE, n_classes=4), "n_classes of the architecture"),
    ],
)
def test_content_that_does_not_fit(rewrite, change, message):
    saved = rewrite(change)
    with pytest.raises(ValueError, match=rf"damaged, or does not fit .*({message})"):
        load(saved)


def test_parameter_that_is_younger_than_the_file(rewrite):
    """It has its default, with which nothing has changed."""
    assert load(rewrite(remove("params", "tol"))).tol == 1e-4


def cast(name, dtype):
    return lambda weights: weights.update({name: weights[name].astype(dtype)})


def fill(name, value):
    return lambda weights: weights[name].fill(value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (cast("primary.conv.weight", np.float64), "float32, got .* torch.float64"),
        (cast("primary.conv.weight", np.float16), "float32, got .* torch.float16"),
        (cast("primary.conv.bias", np.int32), "float32, got .* torch.int32"),
        (cast("stem.norms.0.num_batches_tracked", np.int32), "int64, got"),
        (fill("primary.conv.bias", np.nan), "must be finite, got .*primary.conv.bias"),
        (fill("layers.0.weight", -np.inf), "must be finite, got .*layers.0.weight"),
        (lambda w: w.pop("layers.0.weight"), "weights .* do not fit"),
        (lambda w: w.update(more=np.zeros(3)), "weights .* do not fit"),
        (lambda w: [w.pop(name) for name in list(w)[1:]], "those of 3 layers, got 1"),
    ],
)
def test_weights_that_do_not_fit(rewrite, change, message):
    saved = rewrite(change_weights=change)
    with pytest.raises(ValueError, match=rf"damaged, or does not fit .*{message}"):
        load(saved)


class Largest(TorchFunctionMode):
    """Finds the largest tensor that takes memory."""

    numbers = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.device.type != "meta":
            self.numbers = max(self.numbers, result.numel())
        return result


@pytest.mark.parametrize(
    "sizes",
    [
        {"pose_dim": 2**16},
        {"pose_dim": 10**15},
        {"pose_dim": 10**40},
        {"hidden_capsules": [[5000, 100]]},
        {"hidden_capsules": [[10**30, 10**30]]},
        {"hidden_capsules": [[1, 1]] * 10**4},
        {"conv_channels": [4, 10**5]},
        {"conv_channels": [1] * 10**5},
        {"routing_iterations": -(10**30)},
    ],
    ids=lambda sizes: f"{next(iter(sizes))}-{str(next(iter(sizes.values())))[:20]}",
)
def test_large_networks_are_not_built(rewrite, sizes):
    """Of which a file tells that it describes them, and has no weights for them."""
    # What is imported at the first time is not the file's.
    load(rewrite())
    saved = rewrite(put(*ARCHITECTURE, **sizes))
    size = saved.stat().st_size
    tracemalloc.start()
    with Largest() as largest, pytest.raises(ValueError, match="damaged"):
        load(saved)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert largest.numbers <= size
    assert peak < 10 * size


@pytest.mark.parametrize("side", [10**9, 10**15, 10**60])
def test_images_without_end(data, path, side, rewrite_image):
    """The search for strides to read them would not end."""
    with pytest.raises(ValueError, match=r"for images of the shape .* got none"):
        load(rewrite_image(side))


@pytest.fixture
def rewrite_image(data, path):
    from skcaps.persistence._container import pack, unpack

    clf = CapsNetClassifier(
        conv_channels=4, primary_capsules=2, decoder=None, max_epochs=1, random_state=0
    )
    save(clf.fit(*data), path)

    def rewrite(side):
        content, weights = unpack(path)
        del content["format_version"]
        shape = {"$tuple": [1, 1, side]}
        put(*FITTED, n_features_in_=side)(content)
        put(*DESCRIPTION, image_shape=shape)(content)
        put(*ARCHITECTURE, image_shape=shape)(content)
        path.write_bytes(pack(content, weights))
        return path

    return rewrite
