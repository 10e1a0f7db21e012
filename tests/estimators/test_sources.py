"""Several classes in an image: each is compared with its own source, or the sum."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.testing import assert_close

from skcaps.datasets import make_multimnist
from skcaps.estimators._labels import MultiLabel
from skcaps.estimators._layout import ImageLayout
from skcaps.estimators._objective import Batch, Objective, Settings
from skcaps.estimators._sources import find_sources
from skcaps.functional import lengths, margin_loss
from skcaps.nn import efficient_capsnet

from ._small import assert_same_weights, differ, make, make_capsnet

IMAGES, DIGITS = load_digits(n_class=4, return_X_y=True)
PAIRS = make_multimnist(
    IMAGES[:120].reshape(-1, 8, 8), DIGITS[:120], pad=1, max_shift=1, random_state=0
)
GIVEN = {"sources": PAIRS.sources, "source_target": PAIRS.source_target}
LABELS = MultiLabel(np.arange(3))


def make_objective():
    return Objective(Settings(LABELS, "margin", 0.1, 1.0, in_bfloat16=False))


def make_batch(images, sources=None):
    targets = torch.tensor([[1.0, 0, 1], [0, 1, 1]])
    return Batch(images, targets, None, torch.nonzero(targets, as_tuple=True), sources)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return efficient_capsnet((1, 9, 9), 3).eval()


def decode_alone(network, poses, sample, label):
    masked = torch.zeros_like(poses[:1])
    masked[0, label] = poses[sample, label]
    return network.reconstruct(masked)[0]


@pytest.mark.parametrize("is_given", [True, False], ids=["sources", "sum"])
def test_objective_against_a_loop(network, is_given):
    images = torch.rand(2, 1, 9, 9)
    sources = torch.rand(4, 1, 9, 9)
    batch = make_batch(images, sources if is_given else None)
    found, _ = make_objective()(network, batch)
    poses = network(images).poses
    error, number = 0.0, 0
    for sample, classes in enumerate([(0, 2), (1, 2)]):
        parts = [decode_alone(network, poses, sample, label) for label in classes]
        if is_given:
            for part in parts:
                error += (part - sources[number]).square().sum()
                number += 1
        else:
            error += (sum(parts).clamp(max=1) - images[sample]).square().sum()
    expected = margin_loss(lengths(poses), batch.targets) + 0.1 * error / 2
    assert_close(found, expected)


def test_a_sum_above_one_is_one_and_still_learns(network):
    class Bright(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.level = torch.nn.Parameter(torch.tensor(0.8))

        def forward(self, poses):
            return self.level.expand(len(poses), 1, 9, 9)

    decoder = network.decoder = Bright()
    poses = torch.rand(2, 3, 16)
    batch = make_batch(torch.ones(2, 1, 9, 9))
    decoded = LABELS.decode(network, poses, batch.targets, batch.marks)
    assert_close(decoded, torch.ones_like(decoded))
    (decoded - 0.5).square().sum().backward()
    assert decoder.level.grad > 0


@pytest.mark.parametrize("factory", [make, make_capsnet])
def test_the_order_of_sources_does_not_matter(factory):
    one = factory().fit(PAIRS.images, PAIRS.target, **GIVEN)
    turned = {name: values[:, ::-1] for name, values in GIVEN.items()}
    assert_same_weights(one, factory().fit(PAIRS.images, PAIRS.target, **turned))
    flat = {**GIVEN, "sources": PAIRS.sources.reshape(len(PAIRS.images), 2, -1)}
    assert_same_weights(one, factory().fit(PAIRS.images, PAIRS.target, **flat))
    assert differ(one, factory().fit(PAIRS.images, PAIRS.target))


def test_sources_in_all_ways_of_training():
    clf = make(early_stopping=True, max_epochs=2, warm_start=True)
    clf.fit(PAIRS.images, PAIRS.target, **GIVEN)
    clf.fit(PAIRS.images, PAIRS.target, **GIVEN)
    clf.set_params(early_stopping=False)
    clf.partial_fit(PAIRS.images, PAIRS.target, **GIVEN)
    assert clf.n_epochs_ == 5
    assert clf.reconstruct(PAIRS.images[:3], PAIRS.target[:3]).shape == (3, 10, 10)


def test_each_source_is_decoded_better_than_from_the_sum():
    errors = []
    for given in (GIVEN, {}):
        clf = make(max_epochs=12, reconstruction_weight=0.1)
        clf.fit(PAIRS.images, PAIRS.target, **given)
        first = np.eye(4, dtype=int)[PAIRS.source_target[:, 0]]
        decoded = clf.reconstruct(PAIRS.images, first)
        errors.append(np.square(decoded - PAIRS.sources[:, 0]).mean())
    assert errors[0] < errors[1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sources": PAIRS.sources}, "must be passed together"),
        ({"source_target": PAIRS.source_target}, "must be passed together"),
        ({**GIVEN, "sources": PAIRS.sources[:, :, 1:]}, "sources must have the shape"),
        ({**GIVEN, "sources": PAIRS.sources[:-1]}, "sources must have the shape"),
        ({**GIVEN, "sources": PAIRS.sources.swapaxes(0, 1)}, "sources must have"),
        (
            {**GIVEN, "sources": PAIRS.sources.reshape(-1, 2, 4, 25)},
            "sources must have",
        ),
        ({**GIVEN, "source_target": PAIRS.source_target[:, 0]}, "must have the shape"),
        ({**GIVEN, "source_target": PAIRS.source_target[:, [0, 0]]}, "each once"),
        ({**GIVEN, "source_target": PAIRS.source_target + 7}, "are no columns of y"),
        ({**GIVEN, "source_target": 0 * PAIRS.source_target}, "must name all the"),
        ({**GIVEN, "sources": PAIRS.sources * np.nan}, "sources must be finite"),
    ],
)
def test_sources_that_do_not_fit(given, message):
    with pytest.raises(ValueError, match=message):
        make().fit(PAIRS.images, PAIRS.target, **given)


def test_sources_have_the_layout_of_the_images():
    colours = np.stack([PAIRS.images] * 3, axis=1)
    sources = np.stack([PAIRS.sources] * 3, axis=2)
    given = {"source_target": PAIRS.source_target}
    make().fit(colours, PAIRS.target, sources=sources, **given)
    with pytest.raises(ValueError, match=r"like those of X, \(3, 10, 10\)"):
        make().fit(colours, PAIRS.target, sources=np.moveaxis(sources, 2, -1), **given)


def test_sources_in_other_units_are_told():
    given = {**GIVEN, "sources": 16 * PAIRS.sources}
    with pytest.warns(UserWarning, match="values of sources are from 0 to 256"):
        make().fit(PAIRS.images, PAIRS.target, **given)


def test_sources_on_disk_stay_there(tmp_path):
    stored = np.memmap(tmp_path / "s", "f8", "w+", shape=PAIRS.sources.shape)
    stored[:] = PAIRS.sources
    layout = ImageLayout((1, 10, 10))
    found = find_sources(
        (stored, PAIRS.source_target),
        PAIRS.target,
        layout=layout,
        input_range=(0.0, 16.0),
        labels=MultiLabel(np.arange(4)),
    )
    assert np.shares_memory(found.images, stored)


def test_sources_of_one_class():
    with pytest.raises(ValueError, match="sources need an indicator y"):
        make().fit(PAIRS.images, PAIRS.source_target[:, 0], **GIVEN)


def test_an_augmentation_would_move_the_image_alone():
    with pytest.raises(ValueError, match=r"augmentation .* leave the sources"):
        make(augmentation="shift").fit(PAIRS.images, PAIRS.target, **GIVEN)
