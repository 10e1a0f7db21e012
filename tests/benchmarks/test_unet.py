import pickle

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from unet import MapsAsCapsules, UNet, UNetSegmenter, unet

from skcaps.nn import SegmentationNetwork

SEGCAPS = 1_416_112


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def by_hand(width, in_channels, n_classes):
    """Two convolutions a level with their normalization, down and up."""

    def double(n_in, n_out):
        return 9 * n_out * (n_in + n_out) + 4 * n_out

    n, total = width, double(in_channels, width) + (width + 1) * n_classes
    for _ in range(3):
        enlarge = 4 * 2 * n * n + n
        total += double(n, 2 * n) + enlarge + double(2 * n, n)
        n *= 2
    return total


@pytest.fixture
def small():
    torch.manual_seed(0)
    return UNet(2, 3, width=4).eval()


@pytest.mark.parametrize("shape", [(1, 1), (2, 3)])
@pytest.mark.parametrize("width", [4, 27])
def test_number_of_parameters(width, shape):
    assert count(UNet(*shape, width=width)) == by_hand(width, *shape)


def test_default_is_the_width_next_to_segcaps():
    found = count(UNet(1, 1))
    assert found == 1_371_898
    others = [by_hand(width, 1, 1) for width in range(1, 64)]
    assert abs(found - SEGCAPS) == min(abs(other - SEGCAPS) for other in others)


@pytest.mark.parametrize("size", [(8, 8), (16, 24), (17, 9), (1, 1), (5, 30)])
def test_maps_have_the_size_of_the_image(small, size):
    maps = small(torch.rand(2, 2, *size))
    assert maps.shape == (2, 3, *size)
    assert ((maps > 0) & (maps < 1)).all()


def test_images_do_not_depend_on_each_other(small):
    images = torch.rand(3, 2, 16, 16)
    alone = torch.cat([small(image[None]) for image in images])
    torch.testing.assert_close(small(images), alone)


def test_shift_by_a_whole_grid_shifts_the_maps(small):
    """Seen from the lowest level, two pixels are alike where they are 8 apart."""
    images = torch.rand(1, 2, 160, 160)
    moved = small(images.roll((8, 16), dims=(2, 3)))
    expected = small(images).roll((8, 16), dims=(2, 3))
    inside = (..., slice(64, -64), slice(64, -64))
    torch.testing.assert_close(moved[inside], expected[inside])
    assert (moved[inside] - small(images)[inside]).abs().max() > 1e-3


def test_every_parameter_is_trained():
    network = UNet(1, 2, width=2)
    network(torch.rand(2, 1, 16, 16))[:, 0].sum().backward()
    gradients = [parameter.grad for parameter in network.down.parameters()]
    assert all(gradient.abs().sum() > 0 for gradient in gradients)


def test_it_learns_the_edges_of_a_shape():
    torch.manual_seed(0)
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 3:10, 5:14] = 1
    images = mask + 0.1 * torch.rand(1, 1, 16, 16)
    network = UNet(1, 1, width=4)
    optimiser = torch.optim.Adam(network.parameters(), 0.02)
    for _ in range(30):
        optimiser.zero_grad()
        F.binary_cross_entropy(network(images), mask).backward()
        optimiser.step()
    assert ((network(images) > 0.5) == mask.bool()).all()


def test_a_map_depends_on_pixels_within_the_context():
    """Light one pixel, wherever it lies on the grid of the lowest level."""
    trunk = UNet(1, 1, width=1)
    for parameter in trunk.parameters():
        # Positive averages, which nothing hides.
        fill = 1 / parameter[0].numel() if parameter.dim() == 4 else 0
        torch.nn.init.constant_(parameter, fill)
    for module in trunk.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)
    network = SegmentationNetwork(trunk, MapsAsCapsules()).double().eval()
    distances = []
    for place in range(64, 72):
        images = torch.zeros(1, 1, 136, 136, dtype=torch.float64)
        images[..., place, place] = 1
        rows, columns = (network(images).activations[0, 0] > 0.5).nonzero().T
        distances += [(rows - place).abs().max(), (columns - place).abs().max()]
    assert network.context - network.multiple < max(distances) <= network.context
    assert network.context % network.multiple == 0


def test_maps_are_the_lengths_of_poses():
    poses, coupling, found = unet((1, 12, 9), 3).eval()(torch.rand(2, 1, 12, 9))
    assert found.shape == (2, 3, 12, 9)
    torch.testing.assert_close(poses.norm(dim=2), found)
    assert coupling.shape == (2, 1, 3, 12, 9)


@pytest.fixture(scope="module")
def trained():
    rng = np.random.default_rng(0)
    y = np.zeros((6, 16, 16), dtype=int)
    y[:3, 4:12, 2:9] = 1
    y[3:, 3:9, 5:14] = 2
    X = y + rng.normal(scale=0.1, size=y.shape)
    segmenter = UNetSegmenter(max_epochs=25, random_state=0).fit(X, y)
    return segmenter, X, y


def test_it_learns_by_the_training_of_the_capsules(trained):
    segmenter, X, y = trained
    assert segmenter.score(X, y) > 0.9
    assert segmenter.n_parameters_ == count(UNet(1, 2))
    assert segmenter.lengths(X).shape == (6, 16, 16, 2)


def test_it_is_the_network_and_nothing_else_that_predicts(trained):
    segmenter, X, _ = trained
    low, high = segmenter.input_range_
    images = torch.from_numpy((X - low) / (high - low)).float()[:, None]
    with torch.no_grad():
        maps = segmenter.network_.trunk.eval()(images)
    np.testing.assert_allclose(
        segmenter.lengths(X), maps.permute(0, 2, 3, 1), rtol=0, atol=1e-5
    )


def test_it_is_pickled(trained):
    segmenter, X, _ = trained
    again = pickle.loads(pickle.dumps(segmenter))
    np.testing.assert_array_equal(again.predict(X), segmenter.predict(X))
