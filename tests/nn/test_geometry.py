import math
from functools import partial

import pytest
import torch

from skcaps.nn import (
    capsnet,
    capsnet_geometry,
    efficient_capsnet,
    efficient_capsnet_geometry,
    primary_geometry,
)

SIDES = range(1, 257)
UNEVEN = [(1, 2), (2, 1), (1, 256), (256, 1), (3, 64), (28, 36), (33, 57), (48, 28)]
UNEVEN += [(17, 200), (224, 31), (255, 256)]
# Square images of these sides get layers that are fixed; the value is how many rows and
# columns at the edge those leave out.
PUBLISHED = {
    capsnet_geometry: {28: 1, 36: 1, 40: 1},
    primary_geometry: {},
    efficient_capsnet_geometry: {28: 1, 36: 7, 40: 3, 48: 1},
}
# The map a kernel reads may be covered up to one part in so many, rounded up.
SHARES = {capsnet_geometry: 2, primary_geometry: 2, efficient_capsnet_geometry: 3}
SMALL = {"primary_capsules": 2, "decoder": None}
BUILDERS = {
    capsnet_geometry: partial(capsnet, conv_channels=2, **SMALL),
    efficient_capsnet_geometry: partial(
        efficient_capsnet, conv_channels=(2, 2, 2, 16), **SMALL
    ),
}

each_rule = pytest.mark.parametrize("rule", SHARES, ids=lambda rule: rule.__name__)


def _along(layers, axis):
    return [tuple(part[axis] for part in layer) for layer in layers]


def _axis(rule, side, **options):
    return _along(rule(side, side, **options), 0)


def _free_axis(rule, side, **options):
    """The axis of an image that is not square, which no paper fixes."""
    return _along(rule(side, side + 1, **options), 0)


def _seen(steps):
    """Return which pixels of an axis reach the last map, followed back from there."""
    places = set(range(steps[-1][2]))
    for kernel, stride, _ in reversed(steps):
        places = {place * stride + i for place in places for i in range(kernel)}
    return places


def _with_maps(side, steps):
    """Yield (side of the map read, kernel, stride, output) for each layer."""
    for kernel, stride, output in steps:
        yield side, kernel, stride, output
        side = output


def _check_layers(side, steps):
    for read, kernel, stride, output in _with_maps(side, steps):
        assert 1 <= kernel <= read
        assert stride >= 1
        assert output == (read - kernel) // stride + 1 >= 1


# --- laws over all sizes --------------------------------------------------------------


@each_rule
def test_every_layer_fits_its_map(rule):
    for side in SIDES:
        _check_layers(side, _axis(rule, side))


@each_rule
def test_no_pixel_is_skipped(rule):
    for side in SIDES:
        for read, kernel, stride, _ in _with_maps(side, _axis(rule, side)):
            assert kernel >= stride or kernel == read, (side, read, kernel, stride)


@each_rule
def test_every_pixel_reaches_a_capsule(rule):
    for side in SIDES:
        left_out = PUBLISHED[rule].get(side, 0)
        assert _seen(_axis(rule, side)) == set(range(side - left_out)), side
        assert _seen(_free_axis(rule, side)) == set(range(side)), side


@pytest.mark.parametrize(
    "size", [(1, 1), (28, 28), (36, 36), (48, 48), (32, 32), (96, 96), *UNEVEN], ids=str
)
@pytest.mark.parametrize("rule", BUILDERS, ids=lambda rule: rule.__name__)
def test_the_networks_see_what_the_geometry_says(rule, size):
    network = BUILDERS[rule]((1, *size), 2).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_().add_(0.1)
    # Nothing cancels between numbers above 0, and no unit is cut off.
    images = torch.ones((1, 1, *size), dtype=torch.float64, requires_grad=True)
    network.primary.conv(network.stem(images)).sum().backward()
    rows, columns = (_seen(_along(rule(*size), axis)) for axis in (0, 1))
    expected = torch.zeros(size, dtype=torch.bool)
    expected[: len(rows), : len(columns)] = True
    assert torch.equal(images.grad[0, 0] > 0, expected)


@each_rule
@pytest.mark.parametrize(("height", "width"), UNEVEN)
def test_axes_are_independent(rule, height, width):
    layers = rule(height, width)
    assert _along(layers, 0) == _free_axis(rule, height)
    assert _along(layers, 1) == _free_axis(rule, width)


@each_rule
def test_kernel_covers_a_share_of_its_map(rule):
    for side in SIDES:
        # The depthwise convolution covers its map on purpose.
        last = -1 if rule is efficient_capsnet_geometry else None
        first, *later = list(_with_maps(side, _free_axis(rule, side)))[:last]
        # The first one grows by what strides would leave, and later maps are smaller.
        assert first[1] <= 2 * math.ceil(side / SHARES[rule])
        for read, kernel, _, _ in later:
            assert kernel <= math.ceil(read / SHARES[rule]) + 1


@each_rule
def test_strides_never_shrink_as_images_grow(rule):
    def total(side):
        return math.prod(stride for _, stride, _ in _free_axis(rule, side))

    strides = [total(side) for side in SIDES]
    assert strides == sorted(strides)


def test_capsnet_maps_stay_small():
    for side in SIDES:
        first, last = _axis(capsnet_geometry, side)
        assert first[2] <= 32
        assert last[2] <= 12


def test_primary_grid_stays_small():
    assert max(_axis(primary_geometry, side)[0][2] for side in SIDES) == 12


def test_efficient_maps_stay_small():
    for side in SIDES:
        *convs, last = _axis(efficient_capsnet_geometry, side)
        assert convs[0][2] <= 88
        assert convs[-1][2] <= 9
        assert last == (convs[-1][2], 1, 1) or side == 36
        assert last[2] == 1


@pytest.mark.parametrize("kernel_size", range(1, 16))
@pytest.mark.parametrize("rule", [capsnet_geometry, primary_geometry])
def test_kernel_size(rule, kernel_size):
    for side in SIDES:
        steps = _free_axis(rule, side, kernel_size=kernel_size)
        _check_layers(side, steps)
        assert len(_seen(steps)) == side
        kernel, stride, _ = steps[0]
        asked = min(max(kernel_size, stride), math.ceil(side / 2))
        assert stride <= kernel <= 2 * asked
        for read, kernel, stride, _ in list(_with_maps(side, steps))[1:]:
            asked = min(max(kernel_size, stride), math.ceil(read / 2))
            assert abs(kernel - asked) <= 1


def test_only_kernels_of_nine_have_published_sizes():
    assert _axis(capsnet_geometry, 28, kernel_size=7) == [(8, 1, 21), (7, 2, 8)]


@pytest.mark.parametrize("n_convolutions", [1, 2, 3, 5, 6])
def test_n_convolutions(n_convolutions):
    for side in SIDES:
        steps = _axis(efficient_capsnet_geometry, side, n_convolutions=n_convolutions)
        assert len(steps) == n_convolutions + 1
        _check_layers(side, steps)
        assert len(_seen(steps)) == side
        assert steps[-2][2] <= 9
        assert steps[-1] == (steps[-2][2], 1, 1)


# --- the papers' numbers --------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        (28, [(9, 1, 20), (9, 2, 6)]),
        (36, [(9, 1, 28), (9, 2, 10)]),
        (40, [(9, 1, 32), (9, 2, 12)]),
        (1, [(1, 1, 1), (1, 1, 1)]),
        (2, [(1, 1, 2), (1, 1, 2)]),
        (8, [(4, 1, 5), (3, 2, 2)]),
        (20, [(9, 1, 12), (6, 2, 4)]),
        (24, [(9, 1, 16), (8, 2, 5)]),
        (41, [(9, 2, 17), (9, 2, 5)]),
        # The first kernel takes what 9 and the strides would leave, ...
        (13, [(8, 1, 6), (4, 2, 2)]),
        (32, [(10, 1, 23), (9, 2, 8)]),
        (64, [(12, 2, 27), (9, 2, 10)]),
        (224, [(14, 7, 31), (9, 2, 12)]),
        # ... unless it would more than double.
        (188, [(8, 6, 31), (9, 2, 12)]),
        (200, [(14, 6, 32), (10, 2, 12)]),
    ],
)
def test_capsnet_layers(side, expected):
    assert _axis(capsnet_geometry, side) == expected


@pytest.mark.parametrize("side", range(25, 41))
def test_capsnet_is_the_papers_but_for_a_pixel_from_25_to_40(side):
    first = 9 if side % 2 or side in PUBLISHED[capsnet_geometry] else 10
    assert [step[:2] for step in _axis(capsnet_geometry, side)] == [(first, 1), (9, 2)]


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        (28, [(5, 1, 24), (3, 1, 22), (3, 1, 20), (3, 2, 9), (9, 1, 1)]),
        (36, [(5, 1, 32), (3, 1, 30), (3, 2, 14), (3, 2, 6), (5, 2, 1)]),
        (40, [(5, 1, 36), (3, 1, 34), (3, 2, 16), (3, 2, 7), (7, 1, 1)]),
        (48, [(7, 2, 21), (3, 1, 19), (3, 1, 17), (3, 2, 8), (8, 1, 1)]),
        (1, [(1, 1, 1)] * 5),
        (2, [(1, 1, 2)] * 4 + [(2, 1, 1)]),
        (8, [(3, 1, 6), (2, 1, 5), (2, 1, 4), (2, 2, 2), (2, 1, 1)]),
        (25, [(5, 1, 21), (3, 1, 19), (3, 1, 17), (3, 2, 8), (8, 1, 1)]),
        # The first kernel takes what 5 and the strides would leave, ...
        (20, [(6, 1, 15), (3, 1, 13), (3, 1, 11), (3, 2, 5), (5, 1, 1)]),
        (32, [(8, 1, 25), (3, 1, 23), (3, 2, 11), (3, 2, 5), (5, 1, 1)]),
        # ... unless it would more than double.
        (96, [(4, 2, 47), (3, 2, 23), (3, 2, 11), (3, 2, 5), (5, 1, 1)]),
        (200, [(8, 4, 49), (3, 2, 24), (4, 2, 11), (3, 2, 5), (5, 1, 1)]),
    ],
)
def test_efficient_layers(side, expected):
    assert _axis(efficient_capsnet_geometry, side) == expected


# --- errors ---------------------------------------------------------------------------


@each_rule
@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 3)])
def test_rejects_empty_images(rule, size):
    with pytest.raises(
        ValueError, match=f"at least 1x1 pixels, got {size[0]}x{size[1]}"
    ):
        rule(*size)


@each_rule
@pytest.mark.parametrize("size", [(1, 2**20 + 1), (10**9, 1)])
def test_rejects_sides_that_take_long_to_plan(rule, size):
    with pytest.raises(
        ValueError, match=rf"at most 1048576 pixels a side, got {size[0]}x{size[1]}"
    ):
        rule(*size)


def test_efficient_needs_a_convolution():
    with pytest.raises(ValueError, match="n_convolutions must be at least 1, got 0"):
        efficient_capsnet_geometry(28, 28, n_convolutions=0)
