import numpy as np
import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch._subclasses.fake_tensor import DataDependentOutputException
from torch.testing import assert_close

from skcaps.estimators._labels import MultiLabel, SingleLabel
from skcaps.estimators._objective import (
    Batch,
    Objective,
    Settings,
    find_reconstruction_weight,
)
from skcaps.functional import AUGMENTATIONS, LOSSES
from skcaps.nn import capsnet, efficient_capsnet

N_CLASSES = 3


SINGLE, MULTI = SingleLabel(np.arange(N_CLASSES)), MultiLabel(np.arange(N_CLASSES))


def make_objective(loss="margin", labels=SINGLE):
    return Objective(
        Settings(
            labels,
            loss,
            reconstruction_weight=0.1,
            weight_scale=2.0,
            in_bfloat16=False,
        )
    )


def without_values(network):
    """Replace what a network holds by tensors that have shapes only."""
    for module in network.modules():
        for name, value in module.named_parameters(recurse=False):
            setattr(module, name, torch.nn.Parameter(torch.empty(value.shape)))
        for name, value in module.named_buffers(recurse=False):
            setattr(module, name, torch.empty(value.shape, dtype=value.dtype))
    return network


def test_reading_a_value_would_be_seen():
    with FakeTensorMode(), pytest.raises(DataDependentOutputException):
        torch.ones(2).sum().item()


# What reads a value makes the host wait for a GPU.
@pytest.mark.parametrize("build", [capsnet, efficient_capsnet])
@pytest.mark.parametrize("decoder", ["dense", "conv", None])
@pytest.mark.parametrize("is_multilabel", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_training_step_reads_no_value(build, decoder, is_multilabel, weighted):
    network = build((1, 12, 12), N_CLASSES, decoder=decoder)
    with FakeTensorMode():
        network = without_values(network)
        labels = torch.empty(5, dtype=torch.int64)
        batch = Batch(
            torch.empty(5, 1, 12, 12),
            SINGLE.to_rows(labels, torch.float32),
            torch.empty(5) if weighted else None,
            (labels, labels) if is_multilabel else (),
        )
        objective = make_objective(labels=MULTI if is_multilabel else SINGLE)
        loss, found = objective(network, batch)
        loss.backward()
        assert objective.accuracy(found, batch).shape == ()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize("loss", LOSSES)
def test_no_loss_reads_a_value(loss):
    network = capsnet((1, 12, 12), N_CLASSES, decoder=None)
    with FakeTensorMode():
        batch = Batch(torch.empty(5, 1, 12, 12), torch.empty(5, N_CLASSES), None, ())
        make_objective(loss)(without_values(network), batch)[0].backward()


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_no_augmentation_reads_a_value(name):
    with FakeTensorMode():
        assert AUGMENTATIONS[name](torch.empty(5, 1, 28, 28)).shape == (5, 1, 28, 28)


def test_labels_of_a_sample_are_decoded_one_by_one_and_added():
    torch.manual_seed(0)
    network = capsnet((1, 12, 12), N_CLASSES, decoder="dense")
    poses = torch.rand(3, N_CLASSES, 16)
    marks = torch.tensor([0, 0, 2]), torch.tensor([0, 2, 1])
    decoded = MULTI.decode(network, poses, None, marks)
    alone = poses[[0, 0, 2]] * torch.eye(N_CLASSES)[[0, 2, 1]].unsqueeze(2)
    first, second, third = network.reconstruct(alone)
    both = (first + second).clamp(max=1)
    assert_close(decoded, torch.stack([both, torch.zeros(1, 12, 12), third]))


def test_accuracy():
    found = torch.tensor([[0.9, 0.6, 0.1], [0.2, 0.8, 0.1]])
    targets = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    batch = Batch(torch.empty(2, 1, 1, 1), targets, None, ())
    assert make_objective(labels=SINGLE).accuracy(found, batch) == 1
    # The first sample has a second capsule of more than a half.
    assert make_objective(labels=MULTI).accuracy(found, batch) == 0.5


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 64, 64)])
def test_auto_weight_is_that_of_the_mean_error(shape):
    found = find_reconstruction_weight("auto", shape)
    difference = torch.rand(5, *shape, dtype=torch.float64)
    total = found * difference.square().flatten(1).sum(dim=1)
    assert_close(total, 0.392 * difference.square().flatten(1).mean(dim=1))
    if shape == (1, 28, 28):
        assert found == 0.0005
    assert find_reconstruction_weight(0.25, shape) == 0.25
