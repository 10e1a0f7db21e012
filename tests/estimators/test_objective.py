import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch._subclasses.fake_tensor import DataDependentOutputException
from torch.testing import assert_close

from skcaps.estimators import _targets
from skcaps.estimators._objective import Batch, LabelPairs, Objective, draw_each_label
from skcaps.functional import AUGMENTATIONS, LOSSES
from skcaps.nn import capsnet, efficient_capsnet

N_CLASSES = 3


def make_objective(loss="margin"):
    return Objective(
        loss, reconstruction_weight=0.1, weight_scale=2.0, in_bfloat16=False
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
            _targets.to_rows(labels, N_CLASSES, torch.float32),
            torch.empty(5) if weighted else None,
            LabelPairs(labels, labels) if is_multilabel else None,
        )
        objective = make_objective()
        loss, found = objective(network, batch)
        loss.backward()
        assert objective.accuracy(found, batch).shape == ()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize("loss", LOSSES)
def test_no_loss_reads_a_value(loss):
    network = capsnet((1, 12, 12), N_CLASSES, decoder=None)
    with FakeTensorMode():
        batch = Batch(torch.empty(5, 1, 12, 12), torch.empty(5, N_CLASSES), None)
        make_objective(loss)(without_values(network), batch)[0].backward()


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_no_augmentation_reads_a_value(name):
    with FakeTensorMode():
        assert AUGMENTATIONS[name](torch.empty(5, 1, 28, 28)).shape == (5, 1, 28, 28)


def test_labels_of_a_sample_are_drawn_one_by_one_and_added():
    torch.manual_seed(0)
    network = capsnet((1, 12, 12), N_CLASSES, decoder="dense")
    poses = torch.rand(3, N_CLASSES, 16)
    pairs = LabelPairs(torch.tensor([0, 0, 2]), torch.tensor([0, 2, 1]))
    drawn = draw_each_label(network, poses, pairs)
    alone = poses[[0, 0, 2]] * torch.eye(N_CLASSES)[[0, 2, 1]].unsqueeze(2)
    first, second, third = network.reconstruct(alone)
    assert_close(drawn, torch.stack([first + second, torch.zeros(1, 12, 12), third]))


def test_accuracy():
    objective = make_objective()
    found = torch.tensor([[0.9, 0.6, 0.1], [0.2, 0.8, 0.1]])
    targets = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    batch = Batch(torch.empty(2, 1, 1, 1), targets, None)
    assert objective.accuracy(found, batch) == 1
    pairs = LabelPairs(torch.tensor([0, 1]), torch.tensor([0, 1]))
    # The first sample has a second capsule of more than a half.
    assert objective.accuracy(found, batch._replace(pairs=pairs)) == 0.5
