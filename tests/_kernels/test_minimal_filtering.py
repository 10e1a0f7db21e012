import numpy as np
import pytest
from numpy.testing import assert_allclose

from skcaps._kernels._minimal_filtering import Tiling, minimal_filter, tile_side


@pytest.mark.parametrize(
    ("n_outputs", "n_taps"),
    [(m, r) for m in range(1, 9) for r in range(1, 9) if m + r <= 9] + [(1, 20)],
)
def test_filters(n_outputs, n_taps):
    rng = np.random.default_rng(0)
    taps, inputs = rng.normal(size=n_taps), rng.normal(size=n_outputs + n_taps - 1)
    matrices = minimal_filter(n_outputs, n_taps)
    products = (matrices.of_taps @ taps) * (matrices.of_inputs @ inputs)
    assert len(products) == n_outputs + n_taps - 1
    assert_allclose(
        matrices.of_outputs @ products, np.correlate(inputs, taps), atol=1e-12
    )


@pytest.mark.parametrize(
    ("n_pixels", "n_taps", "stride", "step", "n_tiles", "phases"),
    [
        # CapsNet's primary capsules, of 28x28 images and of 32x32.
        (20, 9, 2, 3, 2, (5, 4)),
        (24, 9, 2, 4, 2, (5, 4)),
        (20, 3, 1, 6, 3, (3,)),
        # Too long for any tile.
        (20, 9, 1, 1, 12, (9,)),
        # Each output has pixels of its own.
        (9, 3, 3, 1, 3, (1, 1, 1)),
        (12, 2, 3, 1, 4, (1, 1)),
        (5, 5, 1, 1, 1, (5,)),
    ],
)
def test_side_of_tiles(n_pixels, n_taps, stride, step, n_tiles, phases):
    tiling = tile_side(n_pixels, n_taps, stride)
    assert (tiling.step, tiling.n_tiles) == (step, n_tiles)
    assert tiling.taps_of_phases == phases
    assert tiling.n_covered == step * n_tiles >= tiling.n_outputs


def test_gain_counts_products():
    tiling = tile_side(20, 9, 2)
    assert tiling == Tiling(n_outputs=6, n_taps=9, stride=2, step=3)
    # 54 products of plain sums; two tiles with 7 and 6.
    assert tiling.gain == 54 / 26
    assert [tiling.n_inputs(phase) for phase in (0, 1)] == [10, 9]
