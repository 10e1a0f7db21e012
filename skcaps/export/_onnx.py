"""Fitted classifiers as ONNX files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skcaps._replacing import replace_file
from skcaps._versions import version_of
from skcaps.estimators import _inputs
from skcaps.estimators._fitted import FittedNetwork
from skcaps.estimators._labels import SingleLabel
from skcaps.estimators._machine import undisturbed
from skcaps.export._operators import DECOMPOSITIONS
from skcaps.export._predictor import Predictor
from skcaps.export._requirements import check_classifier, require

_OLDEST_TORCH = (2, 6)
# The lowest that torch translates to.
_OPSET = 18
# With one image, torch would take 1 for the only size of a batch.
_BATCH = 2


def to_onnx(estimator: Any, path: str | os.PathLike[str], X: Any = None) -> None:
    """Write a fitted classifier to one ONNX file, from images to probabilities.

    The file runs without skcaps and PyTorch, for example in onnxruntime, and with
    batches of any size. It takes images as `predict_proba` does, in the units of the
    training images, and needs no preprocessing.

    Parameters
    ----------
    estimator : object
        A fitted classifier of skcaps, with any routing.
    path : str or path-like
        The file to write. One that is there is replaced as a whole.
    X : array-like, default=None
        Some images as they will come; only their shape and type count. A type that is
        none of uint8, float16, float32 and float64 becomes float32 or, if it has more
        than 16 bits, float64. By default float32 images of the shape ``(n, channels,
        height, width)``, in the order of the axes that `image_shape` has stated.

    Returns
    -------
    None
        The file is written.

    Raises
    ------
    NotFittedError
        If the classifier is not fitted.
    TypeError
        If `estimator` is of another class.
    ValueError
        If `X` does not fit the training images.
    ImportError
        If onnx or onnxscript is not installed, or PyTorch is older than 2.6.
    FileExistsError
        If `path` is no file, but a folder, a device or a pipe.
    FileNotFoundError
        If there is no such folder.

    See Also
    --------
    skcaps.save : Write a file from which skcaps reads the classifier again.

    Notes
    -----
    The input is "X". The outputs are named as those of sklearn-onnx: "label", what
    `predict` returns (labels that are no numbers, strings or booleans as strings), and
    "probabilities" of shape (n, n_classes), what `predict_proba` returns, in the order
    of the classes. The metadata hold "classes", "image_shape" and "input_range" as
    JSON, "estimator" and "skcaps_version".

    All is computed in float32, whatever `precision` is, but the routing with
    ``routing="vb"``, which is in float64 here as in `predict_proba`. Probabilities of a
    classifier in float32 agree to 1e-5. Values that are infinite or NaN give NaN, where
    `predict_proba` raises an error, and no warning tells of images in other units.

    Examples
    --------
    >>> from skcaps.export import to_onnx
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(n_class=2, return_X_y=True)
    >>> clf = skcaps.CapsNetClassifier().fit(X, y)  # doctest: +SKIP
    >>> to_onnx(clf, "digits.onnx", X)  # doctest: +SKIP
    >>> session = onnxruntime.InferenceSession("digits.onnx")  # doctest: +SKIP
    >>> label, probabilities = session.run(None, {"X": X})  # doctest: +SKIP
    """
    check_classifier(estimator)
    if torch.__version__ < _OLDEST_TORCH:  # type: ignore[operator]
        raise ImportError(
            f"to_onnx needs PyTorch 2.6 or newer, got {torch.__version__}; run "
            'pip install --upgrade torch "skcaps[onnx]".'
        )
    require(("onnx", "onnxscript"), extra="onnx")
    fitted: FittedNetwork = vars(estimator)["_fitted"]
    example = _example(estimator, fitted, X)
    has_names = isinstance(fitted.labels, SingleLabel)
    outputs = ["index" if has_names else "label", "probabilities"]
    with undisturbed(torch.device("cpu")), torch.no_grad():
        model = _translate(Predictor(fitted), example, outputs)
    if has_names:
        _look_up_labels(model.graph, fitted.labels.classes)
    _describe(model, fitted, type(estimator).__name__)
    replace_file(Path(path), model.SerializeToString())


def _example(estimator: Any, fitted: FittedNetwork, X: Any) -> Tensor:
    """Return a batch of zeros of the shape and type of some images."""
    if X is None:
        return torch.zeros(_BATCH, *fitted.layout.row_shape)
    rows = _inputs.check_input(estimator, X, fitted.layout)
    dtype = _inputs.as_tensor(rows[:1]).dtype
    return torch.zeros(_BATCH, *_inputs.sample_shape(X), dtype=dtype)


def _translate(module: Predictor, example: Tensor, outputs: list[str]) -> Any:
    """Return the ONNX model of a module that takes one batch."""
    batch = torch.export.Dim("batch")
    program = torch.export.export(
        module, (example,), dynamic_shapes=({0: batch},), strict=False
    )
    translated = torch.onnx.export(
        program.run_decompositions(DECOMPOSITIONS),
        dynamo=True,
        input_names=["X"],
        output_names=outputs,
        opset_version=_OPSET,
        verbose=False,
    )
    assert translated is not None
    return translated.model_proto


def _look_up_labels(graph: Any, classes: np.ndarray) -> None:
    """Put the labels themselves in the place of their numbers."""
    from onnx import helper, numpy_helper

    known = classes if classes.dtype.kind in "biuf" else classes.astype(str)
    table = known.astype(object) if known.dtype.kind == "U" else known
    graph.initializer.append(numpy_helper.from_array(table, "classes"))
    graph.node.append(helper.make_node("Gather", ["classes", "index"], ["label"]))
    label = helper.make_tensor_value_info(
        "label", graph.initializer[-1].data_type, ["batch"]
    )
    graph.output[0].CopyFrom(label)


def _describe(model: Any, fitted: FittedNetwork, name: str) -> None:
    """Name the batch axis and the classifier."""
    from onnx import helper

    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    # They know the batch by the name that torch has given it.
    del model.graph.value_info[:]
    version = version_of("skcaps")
    model.producer_name, model.producer_version = "skcaps", version
    properties = {
        "classes": json.dumps(fitted.labels.classes.tolist(), default=str),
        "estimator": name,
        "image_shape": json.dumps(fitted.layout.shape),
        "input_range": json.dumps(fitted.input_range),
        "skcaps_version": version,
    }
    helper.set_model_props(model, properties)
