import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from skcaps._kernels import _conv2d
from skcaps._kernels._convolve import Convolve
from skcaps.nn._convolution import Conv2d


def make(dtype=torch.float32, out_channels=64):
    torch.manual_seed(0)
    return Conv2d(3, out_channels, (5, 3), (2, 1)).to(dtype)


def draw(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, 9, 8, generator=generator).to(dtype)


def torchs_own(conv, images):
    return functional.conv2d(images, conv.weight, conv.bias, conv.stride)


@pytest.fixture
def products(monkeypatch):
    """Count the calls of the products."""
    calls = []
    apply = Convolve.apply

    def counted(*args):
        calls.append(args)
        return apply(*args)

    monkeypatch.setattr(Convolve, "apply", counted)
    return calls


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_is_a_convolution(dtype, products):
    conv, images = make(dtype), draw(dtype)
    out = conv(images)
    assert len(products) == 1
    assert out.dtype == dtype
    assert_close(out, torchs_own(conv, images))


def test_weight_result_and_gradient_have_their_channels_last():
    conv = make()
    assert conv.weight.is_contiguous(memory_format=torch.channels_last)
    out = conv(draw())
    assert out.is_contiguous(memory_format=torch.channels_last)
    out.sum().backward()
    assert conv.weight.grad.stride() == conv.weight.stride()


def test_few_channels_are_left_to_torch(products):
    conv = make(out_channels=63)
    conv(draw())
    assert conv.weight.is_contiguous()
    assert not products


def test_result_may_be_changed_in_place():
    conv, images = make(), draw()
    torch.relu_(conv(images)).sum().backward()
    found, conv.weight.grad = conv.weight.grad, None
    torch.relu(torchs_own(conv, images)).sum().backward()
    assert_close(found, conv.weight.grad)


def test_autocast_does_not_touch_products(products, monkeypatch):
    monkeypatch.setattr(_conv2d, "_has_matrix_unit", lambda: False)
    conv, images = make(), draw()
    expected = conv(images)
    (expected_grad,) = torch.autograd.grad(expected.square().sum(), conv.weight)
    with torch.autocast("cpu", torch.bfloat16):
        out = conv(images)
        (grad,) = torch.autograd.grad(out.square().sum(), conv.weight)
    assert len(products) == 2
    assert torch.equal(out, expected)
    assert torch.equal(grad, expected_grad)


def test_autocast_reaches_torchs_own_where_that_is_faster(products, monkeypatch):
    monkeypatch.setattr(_conv2d, "_has_matrix_unit", lambda: True)
    conv, images = make(), draw()
    with torch.autocast("cpu", torch.bfloat16):
        assert conv(images).dtype == torch.bfloat16
    assert not products


def test_half_formats_are_left_to_torch(products):
    conv, images = make(torch.bfloat16), draw(torch.bfloat16)
    assert torch.equal(conv(images), torchs_own(conv, images))
    assert not products


def test_compiler_sees_a_convolution(products):
    conv, images = make(), draw()
    compiled = torch.compile(conv, backend="eager", fullgraph=True)
    assert_close(compiled(images), conv(images))
    # The call that was not compiled.
    assert len(products) == 1


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_trace_holds_a_convolution():
    conv, images = make(), draw()
    traced = torch.jit.trace(conv, images)
    assert "aten::_convolution" in str(traced.inlined_graph)
    assert_close(traced(images[:1]), conv(images[:1]))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (draw()[:, :2], "to have 3 channels, but got 2 channels"),
        (draw()[:, :, :4], "Kernel size can't be greater than actual input size"),
        (draw(torch.float64), "should be the same"),
    ],
    ids=["channels", "size", "dtype"],
)
def test_what_does_not_fit_gets_torchs_error(images, message):
    with pytest.raises(RuntimeError, match=message):
        make()(images)


def test_one_image_without_a_batch():
    conv, images = make(), draw()
    assert_close(conv(images[0]), conv(images)[0])


@pytest.mark.parametrize(
    ("capability", "has_amx", "expected"),
    [("AVX512", True, True), ("AVX512", False, False), ("DEFAULT", False, True)],
)
def test_matrix_unit(capability, has_amx, expected, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(
        torch.cpu, "_is_amx_tile_supported", lambda: has_amx, raising=False
    )
    assert _conv2d._has_matrix_unit() == expected


def test_older_torch_knows_no_matrix_unit(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    assert not _conv2d._has_matrix_unit()
