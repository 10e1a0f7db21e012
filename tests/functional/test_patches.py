"""The convolution by patches against torch's own, in float64."""

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from skcaps.functional import _patches
from skcaps.functional._patches import ConvolveByPatches

# Batch, channels in and out, image, kernel, strides.
CASES = {
    "one channel": (3, 1, 5, (9, 8), (4, 3), (1, 1)),
    "stride 2": (3, 4, 6, (11, 9), (5, 3), (2, 2)),
    "unequal strides": (2, 3, 4, (7, 10), (3, 2), (2, 3)),
    "pixels that no patch reads": (2, 3, 4, (8, 8), (3, 3), (4, 4)),
    "one output": (4, 5, 2, (4, 4), (4, 4), (1, 1)),
    "kernel of one pixel": (2, 3, 4, (3, 2), (1, 1), (1, 1)),
    "no images": (0, 3, 4, (5, 5), (3, 3), (1, 1)),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
# Outputs and bytes of patches in a block: all at once, and down to single numbers.
BLOCKS = [(1024, 4 << 20), (1, 1), (8, 1), (20, 600), (1024, 2000)]


def draw(case, dtype=torch.float64):
    n, n_in, n_out, image, kernel, stride = case
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        drawn = torch.randn(shape, generator=generator, dtype=dtype)
        return drawn.requires_grad_()

    return normal(n, n_in, *image), normal(n_out, n_in, *kernel), normal(n_out), stride


def gradients(convolve, images, weight, bias, stride):
    out = convolve(images, weight, bias, stride)
    generator = torch.Generator().manual_seed(1)
    seed = torch.randn(out.shape, generator=generator, dtype=out.dtype)
    inputs = [images, weight] if bias is None else [images, weight, bias]
    return out, torch.autograd.grad(out, inputs, seed)


@each_case
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize(("outputs", "patches_bytes"), BLOCKS)
def test_agrees_with_torch(case, with_bias, outputs, patches_bytes, monkeypatch):
    monkeypatch.setattr(_patches, "_OUTPUTS", outputs)
    monkeypatch.setattr(_patches, "_PATCHES_BYTES", patches_bytes)
    images, weight, bias, stride = draw(case)
    arguments = (images, weight, bias if with_bias else None, stride)
    out, grads = gradients(ConvolveByPatches.apply, *arguments)
    expected, expected_grads = gradients(functional.conv2d, *arguments)
    assert_close(out, expected)
    for found, right in zip(grads, expected_grads, strict=True):
        assert_close(found, right)


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


@each_case
@pytest.mark.parametrize(
    "memory_format", [torch.contiguous_format, torch.channels_last]
)
def test_takes_both_memory_formats(case, memory_format):
    images, weight, bias, stride = draw(case)
    expected = ConvolveByPatches.apply(images, weight, bias, stride)
    images = images.contiguous(memory_format=memory_format)
    weight = weight.contiguous(memory_format=memory_format)
    out = ConvolveByPatches.apply(images, weight, bias, stride)
    assert torch.equal(out, expected)
    assert out.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("needs", [(True, False), (False, True), (False, False)])
def test_gives_only_the_gradients_that_are_needed(needs):
    images, weight, bias, stride = draw(CASES["stride 2"])
    grad = torch.ones_like(functional.conv2d(images, weight, bias, stride))
    with torch.no_grad():
        found = _patches._pull_back(images, weight, grad, stride, needs)
    assert tuple(one is not None for one in found) == needs


def test_second_derivative():
    images, weight, bias, stride = draw((2, 2, 3, (5, 5), (3, 3), (2, 2)))
    torch.autograd.gradgradcheck(
        lambda *args: ConvolveByPatches.apply(*args, stride), (images, weight, bias)
    )
