import inspect
import subprocess
import sys

import pytest
import torch

from skcaps.estimators._optimizer import Adam

STEPS = """
import sys
import numpy as np
from skcaps import CapsNetClassifier, EfficientCapsNetClassifier

X = np.random.default_rng(0).random((20, 64))
y = np.arange(20) % 2
both = np.stack([y, 1 - y], axis=1)
small = {"conv_channels": 4, "primary_capsules": 2, "max_epochs": 2}
CapsNetClassifier(**small, early_stopping=True, augmentation="shift").fit(X, y)
clf = CapsNetClassifier(**small, class_weight={0: 2}, verbose=1).fit(X, y)
clf.partial_fit(X, y).reconstruct(X)
clf = EfficientCapsNetClassifier(max_epochs=1, augmentation="efficient").fit(X, both)
clf.transform(X)
clf.coupling_entropy(X)
sys.exit("torch._dynamo" in sys.modules or "sympy" in sys.modules)
"""


@pytest.mark.parametrize("fused", [True, False])
def test_steps_are_those_of_torch(fused):
    def train(optimizer_class):
        weights = [torch.linspace(-1, 1, 6), torch.ones(2, 3)]
        optimizer = optimizer_class(
            [weight.requires_grad_() for weight in weights], lr=0.1, fused=fused
        )
        for step in range(4):
            optimizer.zero_grad()
            sum(weight.pow(4).sum() for weight in weights).backward()
            optimizer.step()
            optimizer.param_groups[0]["lr"] /= 1 + step
        return weights, optimizer.state_dict()

    weights, state = train(Adam)
    expected, expected_state = train(torch.optim.Adam)
    for found, right in zip(weights, expected, strict=True):
        assert torch.equal(found, right)
        assert found.grad_fn is None
    assert str(state) == str(expected_state)


def test_first_steps_grow():
    """Adam moves a weight of constant gradient by the rate itself."""
    weight = torch.zeros(1, requires_grad=True)
    optimizer = Adam([weight], lr=0.1, warmup_steps=4)
    found = []
    for _ in range(6):
        before = weight.item()
        optimizer.zero_grad()
        weight.sum().backward()
        optimizer.step()
        found.append(before - weight.item())
        assert optimizer.param_groups[0]["lr"] == 0.1
    expected = [0.025, 0.05, 0.075, 0.1, 0.1, 0.1]
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_rate_is_given_back_after_an_error():
    weight = torch.zeros(1, requires_grad=True)
    optimizer = Adam([weight], lr=0.1, warmup_steps=4)

    def fail():
        raise RuntimeError("no loss")

    with pytest.raises(RuntimeError, match="no loss"):
        optimizer.step(fail)
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_what_is_replaced_is_wrapped_by_torch():
    # Where nothing is wrapped any more, this class has lost its use.
    for name in ("add_param_group", "step"):
        method = getattr(torch.optim.Adam, name)
        assert inspect.unwrap(method) is not method


def test_training_does_not_load_the_compiler():
    run = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
