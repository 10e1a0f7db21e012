"""The convolution as products against torch's own, in float64."""

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from skcaps._kernels import _convolve, _patches, _winograd
from skcaps._kernels._convolve import Convolve

# Batch, channels in and out, image, kernel, strides.
CASES = {
    "one channel": (3, 1, 5, (9, 8), (4, 3), (1, 1)),
    "stride 2": (3, 4, 6, (11, 9), (5, 3), (2, 2)),
    "CapsNet": (3, 4, 6, (20, 20), (9, 9), (2, 2)),
    "tiles that reach over the end": (2, 3, 5, (14, 19), (4, 5), (1, 2)),
    "a side without tiles": (2, 3, 4, (20, 12), (9, 3), (1, 1)),
    "unequal strides": (2, 3, 4, (7, 10), (3, 2), (2, 3)),
    "pixels that no patch reads": (2, 3, 4, (8, 8), (3, 3), (4, 4)),
    "one output": (4, 5, 2, (4, 4), (4, 4), (1, 1)),
    "kernel of one pixel": (2, 3, 4, (3, 2), (1, 1), (1, 1)),
    "no images": (0, 3, 4, (5, 5), (3, 3), (1, 1)),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
WAYS = {"patches": _patches, "winograd": _winograd}


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """Convolve in one way, whatever suits the shapes."""
    monkeypatch.setattr(_convolve, "_way", lambda *args: WAYS[request.param])
    return request.param


def draw(case, dtype=torch.float64):
    n, n_in, n_out, image, kernel, stride = case
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
        return drawn.to(dtype).requires_grad_()

    return normal(n, n_in, *image), normal(n_out, n_in, *kernel), normal(n_out), stride


def gradients(convolve, images, weight, bias, stride):
    out = convolve(images, weight, bias, stride)
    generator = torch.Generator().manual_seed(1)
    seed = torch.randn(out.shape, generator=generator, dtype=torch.float64)
    inputs = [images, weight] if bias is None else [images, weight, bias]
    return out, *torch.autograd.grad(out, inputs, seed.to(out.dtype))


def check(arguments):
    found = gradients(Convolve.apply, *arguments)
    expected = gradients(functional.conv2d, *arguments)
    for one, right in zip(found, expected, strict=True):
        assert_close(one, right)


@each_case
@pytest.mark.parametrize("with_bias", [True, False])
def test_agrees_with_torch(case, with_bias, way):
    images, weight, bias, stride = draw(case)
    check((images, weight, bias if with_bias else None, stride))


# All at once, and down to single numbers.
@each_case
@pytest.mark.parametrize(
    ("outputs", "patches_bytes"), [(1, 1), (8, 1), (20, 600), (1024, 2000)]
)
def test_patches_agree_in_blocks(case, outputs, patches_bytes, monkeypatch):
    monkeypatch.setattr(_convolve, "_way", lambda *args: _patches)
    monkeypatch.setattr(_patches, "_OUTPUTS", outputs)
    monkeypatch.setattr(_patches, "_PATCHES_BYTES", patches_bytes)
    check(draw(case))


@each_case
@pytest.mark.parametrize("tiles", [1, 9])
def test_winograd_agrees_in_parts(case, tiles, monkeypatch):
    monkeypatch.setattr(_convolve, "_way", lambda *args: _winograd)
    monkeypatch.setattr(_winograd, "_TILES", tiles)
    check(draw(case))


def test_batch_is_cut_into_parts():
    rows, columns = _winograd.tile_side(20, 9, 2), _winograd.tile_side(20, 9, 2)
    parts = list(_winograd._parts(150, (rows, columns)))
    # Four tiles for each image.
    assert parts == [slice(0, 50), slice(50, 100), slice(100, 150)]
    assert not list(_winograd._parts(0, (rows, columns)))


def test_blocks_are_cut_at_every_axis(monkeypatch):
    monkeypatch.setattr(_patches, "_OUTPUTS", 20)
    monkeypatch.setattr(_patches, "_PATCHES_BYTES", 600)
    windows = torch.empty(3, 5, 6, 4, 7, 2)
    # 3 rows of 6 outputs with 2 channels are 144 bytes: 4 places of the kernel.
    assert _patches._block_steps(windows) == (1, 3, 1, 4)
    covered = torch.zeros(windows.shape, dtype=torch.int)
    for place, part in _patches._blocks(windows):
        cut = _patches._cut(covered, place, part)
        assert cut[..., 0].numel() <= 20 * 4
        cut += 1
    assert (covered == 1).all()


# Of the numbers' standard deviation; torch's own convolution has 3e-7.
LARGEST_ERRORS = {"patches": 6e-7, "winograd": 4e-6}


@pytest.mark.parametrize(("image", "stride"), [(20, 2), (24, 2), (26, 2), (20, 4)])
def test_rounding_in_float32(image, stride, way):
    case = (4, 64, 64, (image, image), (9, 9), (stride, stride))
    exact = gradients(functional.conv2d, *draw(case))
    found = gradients(Convolve.apply, *draw(case, torch.float32))
    for one, right in zip(found, exact, strict=True):
        error = (one.double() - right).square().mean().sqrt() / right.std()
        assert error < LARGEST_ERRORS[way]


@each_case
@pytest.mark.parametrize(
    "memory_format", [torch.contiguous_format, torch.channels_last]
)
def test_takes_both_memory_formats(case, memory_format, way):
    images, weight, bias, stride = draw(case)
    expected = Convolve.apply(images, weight, bias, stride)
    images = images.contiguous(memory_format=memory_format)
    weight = weight.contiguous(memory_format=memory_format)
    out = Convolve.apply(images, weight, bias, stride)
    assert torch.equal(out, expected)
    assert out.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("needs", [(True, False), (False, True), (False, False)])
def test_gives_only_the_gradients_that_are_needed(needs, way):
    images, weight, bias, stride = draw(CASES["stride 2"])
    grad = torch.ones_like(functional.conv2d(images, weight, bias, stride))
    with torch.no_grad():
        found = _convolve._gradients(images, weight, grad, stride, needs)
    assert tuple(one is not None for one in found) == needs


def test_inference_mode(way):
    images, weight, bias, stride = draw(CASES["CapsNet"])
    with torch.inference_mode():
        out = Convolve.apply(images, weight, bias, stride)
    assert_close(out, functional.conv2d(images, weight, bias, stride).detach())


def test_autocast_does_not_touch_products(way):
    arguments = draw(CASES["CapsNet"], torch.float32)
    expected = gradients(Convolve.apply, *arguments)
    with torch.autocast("cpu", torch.bfloat16):
        found = gradients(Convolve.apply, *arguments)
    for one, right in zip(found, expected, strict=True):
        assert torch.equal(one, right)


def test_takes_the_way_that_suits(monkeypatch):
    monkeypatch.setattr(_patches, "add_convolution", None)
    monkeypatch.setattr(_patches, "add_gradients", None)
    check(draw((64, 64, 64, (13, 13), (5, 5), (2, 2))))
    with pytest.raises(TypeError, match="not callable"):
        check(draw((63, 64, 64, (13, 13), (5, 5), (2, 2))))


def test_second_derivative():
    images, weight, bias, stride = draw((2, 2, 3, (5, 5), (3, 3), (2, 2)))
    torch.autograd.gradgradcheck(
        lambda *args: Convolve.apply(*args, stride), (images, weight, bias)
    )


@pytest.mark.parametrize(
    ("images", "kernel", "stride", "suits"),
    [
        ((16, 20, 20, 256), (256, 9, 9, 256), (2, 2), True),
        ((15, 20, 20, 256), (256, 9, 9, 256), (2, 2), False),
        ((1, 108, 108, 64), (64, 9, 9, 64), (2, 2), True),
        ((64, 20, 20, 63), (256, 9, 9, 63), (2, 2), False),
        ((64, 20, 20, 256), (63, 9, 9, 256), (2, 2), False),
        ((64, 20, 20, 256), (256, 2, 2, 256), (2, 2), False),
        ((64, 20, 20, 256), (256, 9, 9, 256), (1, 1), False),
        ((0, 20, 20, 256), (256, 9, 9, 256), (2, 2), False),
    ],
)
def test_winograd_needs_tiles_channels_and_a_gain(images, kernel, stride, suits):
    meta = torch.empty(images, device="meta"), torch.empty(kernel, device="meta")
    assert _winograd.suits(*meta, stride) == suits
    assert _convolve._way(*meta, stride) is (_winograd if suits else _patches)
