"""A classifier is a class of parameters; see CONTRIBUTING.md."""

from dataclasses import fields
from inspect import signature
from typing import ClassVar

import pytest
from numpydoc.docscrape import NumpyDocString
from sklearn.base import clone
from sklearn.utils._param_validation import InvalidParameterError

from skcaps import (
    CapsNetClassifier,
    EfficientCapsNetClassifier,
    MatrixCapsNetClassifier,
)
from skcaps.estimators._base import BaseCapsuleClassifier
from skcaps.estimators._documentation import with_parameters
from skcaps.estimators._parameters import (
    POSITIVE_INTEGER,
    CapsuleEstimator,
    TrainedEstimator,
)
from skcaps.nn import capsnet

from ._small import X, Y


def build_narrow(image_shape, n_classes, *, width, **options):
    return capsnet(image_shape, n_classes, conv_channels=width, **options)


@with_parameters
class NarrowClassifier(BaseCapsuleClassifier):
    """CapsNet of few channels.

    Parameters
    ----------
    width : int
        Channels of the first convolution.
    max_epochs : int
        Few are enough.

    Attributes
    ----------
    n_epochs_ : int
        Another word.

    Notes
    -----
    The last section stays the last.
    """

    width: int = 8
    max_epochs: int = 1
    decoder: str | None = None

    _parameter_constraints: ClassVar[dict] = {
        **BaseCapsuleClassifier._parameter_constraints,
        "width": [POSITIVE_INTEGER],
    }
    _build_network = staticmethod(build_narrow)


def parse(cls, section):
    entries = NumpyDocString(cls.__doc__)[section]
    return {entry.name: entry for entry in entries}


def test_a_classifier_is_its_parameters():
    clf = NarrowClassifier(width=4, random_state=0)
    assert clf.get_params()["width"] == 4
    assert str(clf) == "NarrowClassifier(random_state=0, width=4)"
    fitted = clone(clf).fit(X, Y)
    assert next(fitted.network_.stem.parameters()).shape[0] == 4
    assert fitted.n_epochs_ == 1
    with pytest.raises(ValueError, match="width have changed"):
        fitted.set_params(width=5).partial_fit(X, Y)
    with pytest.raises(InvalidParameterError, match="'width' parameter"):
        clf.set_params(width=0).fit(X, Y)
    with pytest.raises(TypeError, match="positional"):
        NarrowClassifier(4)


def test_own_documentation_comes_before_the_shared():
    parameters = parse(NarrowClassifier, "Parameters")
    shared = parse(CapsuleEstimator, "Parameters")
    assert list(parameters) == [f.name for f in fields(NarrowClassifier)]
    assert parameters["max_epochs"].desc == ["Few are enough."]
    assert parameters["tol"].desc == shared["tol"].desc
    attributes = parse(NarrowClassifier, "Attributes")
    assert attributes["n_epochs_"].desc == ["Another word."]
    assert attributes["net_"].desc
    assert NarrowClassifier.__doc__.endswith("The last section stays the last.")


@pytest.mark.parametrize(
    ("cls", "name", "text"),
    [
        (NarrowClassifier, "width", "int, default=8"),
        (NarrowClassifier, "decoder", '{"dense", "conv"} or None, default=None'),
        (CapsNetClassifier, "batch_size", 'int or "auto", default=32'),
        (EfficientCapsNetClassifier, "batch_size", 'int or "auto", default="auto"'),
    ],
)
def test_every_default_is_documented(cls, name, text):
    assert parse(cls, "Parameters")[name].type == text
    assert str(getattr(cls(), name)) in text


@pytest.mark.parametrize(
    "cls", [CapsNetClassifier, EfficientCapsNetClassifier, MatrixCapsNetClassifier]
)
def test_every_parameter_is_of_the_network_or_of_its_training(cls):
    own = set(cls._get_param_names()) - {f.name for f in fields(TrainedEstimator)}
    training = {"initialization", "loss", "reconstruction_weight"}
    assert own - set(signature(cls._build_network).parameters) == training
