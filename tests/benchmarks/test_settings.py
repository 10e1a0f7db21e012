import warnings

import pytest
import torch
from settings import has_bfloat16

from skcaps import EfficientCapsNetClassifier

from ._generated import digits


# Benchmarks run on the pinned torch, of which the oldest one lacks a function.
@pytest.mark.skipif(
    not hasattr(torch.cpu, "get_capabilities"), reason="torch is too old"
)
@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_bfloat16_is_there_unless_a_classifier_says_otherwise(device):
    X, y = digits()
    classifier = EfficientCapsNetClassifier(
        conv_channels=(4, 4, 4, 16),
        max_epochs=1,
        precision="bfloat16",
        device=device,
        random_state=0,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        classifier.fit(X, y)
    said = any("no instructions for it" in str(found.message) for found in caught)
    assert has_bfloat16(device) != said
