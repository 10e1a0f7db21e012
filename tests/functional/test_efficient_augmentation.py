"""The four steps of the `"efficient"` augmentation, one by one."""

import math

import pytest
import torch
from torch.testing import assert_close

from skcaps.functional import _augmentation, efficient_augmentation

from .test_augmentation import digits, offsets_of

N = 20_000


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        yield


def blank(n=N, height=28, width=28):
    return torch.zeros(n, 1, height, width)


def half_normal_above(bound):
    """Say how likely a half-normal number of deviation 0.33 exceeds a bound."""
    return math.erfc(bound / 0.33 / math.sqrt(2))


def test_order_of_the_steps(monkeypatch):
    order = []
    for name in ("_rotate", "_move", "_squeeze", "_erase"):
        step = getattr(_augmentation, name)

        def note(*args, name=name, step=step):
            order.append(name)
            return step(*args)

        monkeypatch.setattr(_augmentation, name, note)
    efficient_augmentation(digits())
    assert order == ["_rotate", "_move", "_squeeze", "_erase"]


# --- rotate


def test_half_of_the_angles_are_0_and_none_above_29():
    degrees = _augmentation._draw_degrees(blank())
    assert torch.equal(degrees, degrees.trunc())
    assert degrees.abs().max() == 29
    # an angle below 1 degree is rounded to 0 too
    expected = 0.5 + 0.5 * (1 - half_normal_above(1 / 30))
    share = (degrees == 0).double().mean().item()
    assert share == pytest.approx(expected, abs=5 * 0.5 / N**0.5)
    assert (degrees > 0).double().mean().item() == pytest.approx(
        (1 - expected) / 2, abs=5 * 0.5 / N**0.5
    )
    above_10 = (degrees.abs() >= 10).double().mean().item()
    assert above_10 == pytest.approx(half_normal_above(1 / 3) / 2, abs=0.015)


@pytest.mark.parametrize("turns", [-1, 1, 2])
def test_right_angles_are_exact(turns):
    images = digits(8, dtype=torch.float64)
    turned = _augmentation._rotate(images, torch.full((8,), 90.0 * turns))
    # float64 rounding of the places
    assert_close(turned, images.rot90(turns, (2, 3)), rtol=0, atol=1e-12)


def test_rotate_keeps_circles_in_oblong_images():
    y = torch.arange(31.0) - 15
    x = torch.arange(61.0) - 30
    disc = torch.exp(-((y[:, None] ** 2 + x**2) / 20))
    images = disc.expand(3, 1, 31, 61).double()
    turned = _augmentation._rotate(images, torch.tensor([0.0, 29.0, -17.0]))
    # linear interpolation flattens the peak by an eighth of its curvature, 1 / 10
    assert_close(turned, images, rtol=0, atol=1 / 40)


def test_what_does_not_turn_stays_exact():
    images = digits(3)
    turned = _augmentation._rotate(images, torch.tensor([0.0, 5.0, 0.0]))
    assert torch.equal(turned[[0, 2]], images[[0, 2]])
    assert not torch.equal(turned[1], images[1])


def test_a_row_of_pixels_is_not_turned():
    images = torch.ones(50, 1, 1, 7)
    # nothing but a squeeze by one pixel, the quarter of 7, changes a full row
    assert efficient_augmentation(images).sum(dim=3).tolist() == [[[6.0]]] * 50


# --- shift


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shift_keeps_the_ink(dtype):
    images = digits(500, 15, dtype)
    moved = _augmentation._move(images, *_augmentation._draw_shift_in_margin(images))
    ordered, expected = (
        values.flatten(1).sort(dim=1).values for values in (moved, images)
    )
    assert torch.equal(ordered, expected)
    inked = images.flatten(1).any(1)
    assert not torch.equal(moved[inked], images[inked])


def test_shift_goes_by_whole_pixels():
    images = digits(12, 9)[:-1]
    moved = _augmentation._move(images, *_augmentation._draw_shift_in_margin(images))
    assert set(offsets_of(images, moved, 8)) != {(0, 0)}


def test_shift_reaches_all_of_the_margin_both_ways():
    images = blank()
    images[:, :, 5:20, 3:27] = 0.5  # margins: 5 above, 8 below, 3 left, 1 right
    down, right = _augmentation._draw_shift_in_margin(images)
    assert down.unique().tolist() == list(range(-5, 9))
    assert right.unique().tolist() == list(range(-3, 2))
    # a step of k pixels needs a share of at least k of margin + 1
    expected = half_normal_above(3 / 9) / 2
    assert (down >= 3).double().mean().item() == pytest.approx(expected, abs=0.015)
    expected = half_normal_above(3 / 6) / 2
    assert (down <= -3).double().mean().item() == pytest.approx(expected, abs=0.015)


def test_margins_are_those_of_all_channels():
    images = torch.zeros(500, 2, 9, 9)
    images[:, 0, 4, 0] = 1
    images[:, 1, 4, 8] = 1
    down, right = _augmentation._draw_shift_in_margin(images)
    assert right.unique().tolist() == [0]
    assert down.unique().tolist() == list(range(-4, 5))


# --- squeeze


def test_squeeze_draws_as_the_released_code():
    loss, start = _augmentation._draw_squeeze(blank(100_000))
    assert loss.unique().tolist() == [1, 2, 3, 4, 5, 6, 7]
    further = start - loss // 2
    assert further.unique().tolist() == [0, 1]
    share = (further == 1).double().mean().item()
    assert share == pytest.approx(half_normal_above(0.5), abs=0.005)
    share = (loss >= 4).double().mean().item()
    assert share == pytest.approx(half_normal_above(3 / 7), abs=0.01)


@pytest.mark.parametrize("width", range(4, 34))
def test_squeezed_images_fit(width):
    loss, start = _augmentation._draw_squeeze(blank(2000, 1, width))
    assert loss.max() == width // 4
    assert loss.min() == 1
    assert start.min() >= 0
    assert (start + width - loss).max() <= width


@pytest.mark.parametrize(("loss", "start"), [(1, 0), (1, 1), (2, 2), (7, 3), (7, 4)])
def test_squeezed_image_stands_where_it_should(loss, start):
    images = torch.ones(2, 1, 5, 28, dtype=torch.float64)
    squeezed = _augmentation._squeeze(
        images, torch.full((2,), loss), torch.full((2,), start)
    )
    expected = torch.zeros_like(images)
    expected[:, :, :, start : start + 28 - loss] = 1
    assert_close(squeezed, expected, rtol=0, atol=1e-12)


def test_squeeze_interpolates_columns():
    ramp = torch.arange(28.0, dtype=torch.float64).expand(1, 1, 3, 28)
    squeezed = _augmentation._squeeze(ramp, torch.tensor([7]), torch.tensor([3]))
    # The new column i, counted from 0, has its centre at (i + 1/2) * 28/21 of the old.
    expected = (torch.arange(21.0, dtype=torch.float64) + 0.5) * 28 / 21 - 0.5
    assert_close(squeezed[0, 0, 0, 3:24], expected, rtol=0, atol=1e-12)
    assert_close(squeezed[:, :, 0], squeezed[:, :, 2])


def test_every_image_is_squeezed_in_width_only():
    images = torch.ones(300, 1, 28, 28)
    changed = efficient_augmentation(images)
    columns = (changed[:, 0].amax(dim=1) > 0).sum(dim=1)
    assert columns.max() <= 27
    assert columns.min() >= 21
    assert (changed[:, 0, 0].amax(dim=1) > 0).all()


# --- erase


@pytest.mark.parametrize(
    ("height", "width", "patch"), [(28, 28, (4, 4)), (7, 15, (1, 2)), (56, 28, (8, 4))]
)
def test_one_patch_is_erased(height, width, patch):
    images = torch.ones(4000, 2, height, width)
    top, left = (_augmentation._draw_patch_start(images, s) for s in (height, width))
    erased = _augmentation._erase(images, top, left)
    assert torch.equal(erased[:, 0], erased[:, 1])
    for image, y, x in zip(
        erased[:100, 0], top[:100].tolist(), left[:100].tolist(), strict=True
    ):
        assert image.sum() == height * width - patch[0] * patch[1]
        assert not image[y : y + patch[0], x : x + patch[1]].any()


def test_patch_starts_as_in_the_released_code():
    start = _augmentation._draw_patch_start(blank(), 28)
    values, counts = start.unique(return_counts=True)
    assert values.tolist() == list(range(4, 23))
    expected = torch.full((19,), N / 19)
    assert_close(counts.float(), expected, rtol=0, atol=5 * (N / 19) ** 0.5)


@pytest.mark.parametrize("side", range(7, 60))
def test_patch_is_inside(side):
    start = _augmentation._draw_patch_start(blank(500, 1, 1), side)
    assert start.min() >= 1
    assert start.max() + side // 7 <= side


@pytest.mark.parametrize(("height", "has_patch"), [(1, False), (6, False), (7, True)])
def test_only_sides_of_7_lose_a_patch(monkeypatch, height, has_patch):
    monkeypatch.setattr(_augmentation, "_draw_degrees", lambda images: torch.zeros(50))
    images = torch.ones(50, 1, height, 28)
    changed = efficient_augmentation(images)
    rows_differ = (changed - changed[:, :, :1]).abs().amax(dim=(1, 2, 3)) > 0.5
    # The patch always leaves the first row, and the ink under some of it.
    assert rows_differ.tolist() == [has_patch] * 50


def test_interpolation_does_not_exceed_1():
    # The four weights of a place may add up to one rounding more than 1.
    images = torch.ones(200, 1, 33, 33)
    assert efficient_augmentation(images).max() == 1
