import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from skcaps.functional import (
    AUGMENTATIONS,
    crop_jitter,
    efficient_augmentation,
    random_shift,
)

each_augmentation = pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
SHAPES = [(2, 1, 1, 1), (3, 1, 1, 7), (3, 1, 7, 1), (2, 3, 3, 5), (4, 2, 30, 21)]


def digits(n=64, side=28, dtype=torch.float32):
    """Draw random ink with random margins, never 0 inside, and a blank image."""
    generator = torch.Generator().manual_seed(7)
    images = torch.rand((n, 1, side, side), generator=generator, dtype=dtype)
    images = 0.1 + 0.9 * images
    edges = torch.randint(0, side // 2, (n, 4), generator=generator)
    for image, (top, bottom, left, right) in zip(images, edges.tolist(), strict=True):
        image[:, :top] = 0
        image[:, side - bottom :] = 0
        image[:, :, :left] = 0
        image[:, :, side - right :] = 0
    images[-1] = 0
    return images


def augment(name, images, seed=0, **options):
    torch.manual_seed(seed)
    return AUGMENTATIONS[name](images, **options)


@pytest.fixture(autouse=True)
def _keep_random_state():
    with torch.random.fork_rng([]):
        yield


def test_table_holds_the_documented_functions():
    assert {
        "shift": random_shift,
        "efficient": efficient_augmentation,
        "crop_jitter": crop_jitter,
    } == AUGMENTATIONS


@each_augmentation
@pytest.mark.parametrize("shape", [*SHAPES, (0, 1, 28, 28)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_shape_dtype_and_range_stay(name, shape, dtype):
    images = torch.rand(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    changed = augment(name, images)
    assert changed.shape == images.shape
    assert changed.dtype == dtype
    assert bool(((changed >= 0) & (changed <= 1)).all())


@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    name=st.sampled_from(sorted(AUGMENTATIONS)),
    shape=st.tuples(*(st.integers(1, most) for most in (5, 3, 40, 40))),
    seed=st.integers(0, 2**31),
    value=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_any_size_stays_in_range(name, shape, seed, value):
    torch.manual_seed(seed)
    images = torch.where(torch.rand(shape) < 0.5, value, torch.rand(shape))
    changed = augment(name, images, seed)
    assert changed.shape == shape
    assert 0 <= changed.min() <= changed.max() <= 1


@each_augmentation
def test_seed_decides(name):
    images = digits()
    once = augment(name, images)
    assert torch.equal(augment(name, images), once)
    assert not torch.equal(augment(name, images, seed=1), once)
    torch.manual_seed(0)
    assert torch.equal(AUGMENTATIONS[name](images), once)
    assert not torch.equal(AUGMENTATIONS[name](images), once)


@each_augmentation
def test_float64_draws_the_same(name):
    images = digits()
    wide = augment(name, images.double())
    assert_close(augment(name, images).double(), wide, rtol=0, atol=1e-5)


@each_augmentation
@pytest.mark.parametrize("shape", [(3, 1, 1, 1), (3, 2, 9, 8)], ids=str)
def test_input_is_neither_changed_nor_returned(name, shape):
    images = torch.rand(shape, generator=torch.Generator().manual_seed(2))
    before = images.clone()
    changed = augment(name, images)
    changed.fill_(-1)
    assert torch.equal(images, before)


@each_augmentation
def test_images_of_any_strides(name):
    images = digits().expand(-1, 3, -1, -1)
    expected = augment(name, images.contiguous())
    assert torch.equal(augment(name, images), expected)
    transposed = images.contiguous(memory_format=torch.channels_last)
    assert_close(augment(name, transposed), expected, rtol=0, atol=1e-6)


@each_augmentation
def test_nothing_waits_for_the_device(name):
    # Values of a meta tensor cannot be read: item() or a boolean index would raise.
    images = torch.empty(4, 2, 28, 28, device="meta")
    changed = AUGMENTATIONS[name](images)
    assert changed.shape == images.shape
    assert changed.device == images.device


@each_augmentation
def test_wrong_rank(name):
    with pytest.raises(ValueError, match=r"\(batch, channels, .*got \(28, 28\)"):
        AUGMENTATIONS[name](torch.ones(28, 28))


@each_augmentation
def test_integers(name):
    with pytest.raises(TypeError, match=r"floating point.*uint8"):
        AUGMENTATIONS[name](torch.ones(1, 1, 28, 28, dtype=torch.uint8))


# --- shift


def shift_one(image, down, right):
    """Move one image pixel by pixel."""
    moved = np.zeros_like(image)
    height, width = image.shape[1:]
    for row in range(height):
        for column in range(width):
            source_row, source_column = row - down, column - right
            if 0 <= source_row < height and 0 <= source_column < width:
                moved[:, row, column] = image[:, source_row, source_column]
    return moved


def offsets_of(images, changed, limit):
    """Find how far each image was moved; exactly one offset must explain it."""
    steps = range(-limit, limit + 1)
    for image, new in zip(images.numpy(), changed.numpy(), strict=True):
        fits = [
            (down, right)
            for down in steps
            for right in steps
            if np.array_equal(shift_one(image, down, right), new)
        ]
        assert len(fits) == 1
        yield fits[0]


@pytest.mark.parametrize("shape", [(12, 2, 28, 28), (12, 1, 6, 9)], ids=str)
def test_shift_moves_by_whole_pixels(shape):
    images = torch.rand(shape, generator=torch.Generator().manual_seed(3))
    found = list(offsets_of(images, augment("shift", images), 2))
    assert len(set(found)) > 6


@pytest.mark.parametrize(
    ("side", "max_shift", "limit"),
    [(1, 2, 0), (2, 2, 0), (3, 2, 1), (5, 2, 2), (28, 2, 2), (9, 3, 3), (9, 0, 0)],
)
def test_shift_uses_all_offsets_alike(side, max_shift, limit):
    n = 20_000
    images = torch.zeros(n, 1, side, side)
    middle = side // 2
    images[:, :, middle, middle] = 1
    changed = augment("shift", images, max_shift=max_shift)
    assert torch.equal(changed.sum(dim=(1, 2, 3)), torch.ones(n))
    places = changed.mean(dim=(0, 1))
    reach = slice(middle - limit, middle + limit + 1)
    expected = 1 / (2 * limit + 1) ** 2
    # five standard deviations of a share of n
    allowed = 5 * (expected * (1 - expected) / n) ** 0.5
    assert_close(
        places[reach, reach],
        torch.full((2 * limit + 1,) * 2, expected),
        rtol=0,
        atol=allowed,
    )
    assert_close(places.sum() - places[reach, reach].sum(), torch.tensor(0.0))


@pytest.mark.parametrize("axis", [2, 3])
def test_shift_limits_each_axis_by_its_own_side(axis):
    row = torch.arange(1.0, 10.0).expand(500, 1, 1, 9)
    images = row if axis == 3 else row.mT
    changed = augment("shift", images)
    # A row of pixels moves along itself and never away, which would leave nothing.
    middles = changed.flatten(1)[:, 4]
    assert middles.unique().tolist() == [3, 4, 5, 6, 7]


def test_shift_moves_all_channels_alike():
    images = digits().expand(-1, 3, -1, -1)
    changed = augment("shift", images)
    assert torch.equal(changed, changed[:, :1].expand(-1, 3, -1, -1))


# --- crop_jitter


def test_no_strength_is_the_identity():
    images = digits(dtype=torch.float64)
    assert torch.equal(
        augment("crop_jitter", images, crop=0, brightness=0, contrast=0), images
    )


@pytest.mark.parametrize(
    ("side", "limit"), [(1, 0), (6, 1), (28, 5), (32, 5), (48, 8), (96, 16)]
)
def test_crop_keeps_to_a_sixth_and_repeats_the_border(side, limit):
    # The value tells the column, so that of the middle tells the offset.
    columns = torch.arange(side, dtype=torch.float64) / side
    images = columns.expand(2000, 1, 2, side)
    changed = augment("crop_jitter", images, brightness=0, contrast=0)[:, 0, 0]
    middle = side // 2
    offsets = middle - (changed[:, middle, None] == columns).int().argmax(dim=1)
    assert offsets.unique().tolist() == list(range(-limit, limit + 1))
    sources = (torch.arange(side) - offsets[:, None]).clamp(0, side - 1)
    assert torch.equal(changed, columns[sources])


def test_brightness_is_uniform_and_alike_for_all_pixels():
    images = torch.full((4000, 2, 3, 3), 0.5, dtype=torch.float64)
    changed = augment("crop_jitter", images, brightness=0.25, contrast=0.5)
    beta = changed[:, :1, :1, :1] - 0.5
    assert_close(changed, (0.5 + beta).expand_as(changed), rtol=0, atol=1e-12)
    assert -0.25 <= beta.min() < -0.24
    assert 0.24 < beta.max() <= 0.25
    assert_close(beta.var(), torch.tensor(0.5**2 / 12).double(), rtol=0.1, atol=0)


def test_contrast_stretches_from_the_mean_of_each_channel():
    images = 0.4 + 0.2 * torch.rand(
        (4000, 2, 4, 4), generator=torch.Generator().manual_seed(4), dtype=torch.float64
    )
    changed = augment("crop_jitter", images, crop=0, brightness=0, contrast=0.5)
    mean = images.mean(dim=(2, 3), keepdim=True)
    factor = ((changed - mean) / (images - mean))[:, :1, :1, :1]
    assert_close(changed, mean + factor * (images - mean), rtol=0, atol=1e-12)
    assert 0.5 <= factor.min() < 0.51
    assert 1.49 < factor.max() <= 1.5


def test_too_bright_is_clipped():
    images = torch.full((500, 1, 2, 2), 0.9)
    changed = augment("crop_jitter", images, brightness=0.5)
    share = (changed == 1).double().mean()
    # 0.1 of the range of 1 is enough, so four tenths of the images.
    assert 0.3 < share < 0.5
