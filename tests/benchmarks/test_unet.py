import pytest
import torch
from torch.nn import functional as F
from unet import UNet

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
