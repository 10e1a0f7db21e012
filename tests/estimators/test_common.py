import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import (
    estimator_checks_generator,
    parametrize_with_checks,
)

from skcaps import CapsNetClassifier, EfficientCapsNetClassifier
from skcaps.nn import ROUTINGS

FLOAT32 = [
    EfficientCapsNetClassifier(max_epochs=8),
    CapsNetClassifier(
        max_epochs=16, conv_channels=32, primary_capsules=8, learning_rate=4e-3
    ),
]
FLOAT64 = [clone(estimator).set_params(precision="float64") for estimator in FLOAT32]


def expected_failures(estimator):
    if estimator.precision == "float64":
        return {}
    return {"check_sample_weight_equivalence_on_dense_data": "float32 rounding"}


@parametrize_with_checks(FLOAT32 + FLOAT64, expected_failed_checks=expected_failures)
def test_scikit_learn_check(estimator, check):
    check(estimator)


# What a routing has a part in, and takes little time; `every_routing.py` runs them all.
SOME_CHECKS = {
    "check_decision_proba_consistency",
    "check_dict_unchanged",
    "check_estimators_pickle",
    "check_fit2d_1sample",
    "check_fit_idempotent",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
}


def make_tiny(routing):
    return CapsNetClassifier(
        routing=routing, conv_channels=8, primary_capsules=4, primary_dim=4, pose_dim=4,
        decoder=None, learning_rate=8e-3, learning_rate_warmup=0, max_epochs=15,
        precision="float64",
    )  # fmt: skip


@pytest.mark.parametrize("name", sorted(SOME_CHECKS))
@pytest.mark.parametrize(
    "routing", sorted(ROUTINGS.keys() - {"dynamic", "self_attention"})
)
def test_some_checks_with_every_routing(routing, name):
    tiny = make_tiny(routing).set_params(max_epochs=2)
    found = [
        (estimator, check)
        for estimator, check in estimator_checks_generator(tiny)
        if check.func.__name__ == name
    ]
    assert found
    for estimator, check in found:
        check(estimator)


@pytest.mark.parametrize("routing", ROUTINGS)
@pytest.mark.parametrize("loss", ["margin", "cross_entropy"])
def test_several_labels_are_a_tag_of_what_takes_them(routing, loss):
    tags = make_tiny(routing).set_params(loss=loss).__sklearn_tags__()
    expected = routing != "self" and loss != "cross_entropy"
    assert tags.classifier_tags.multi_label == expected
