import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from skcaps.nn import BatchNorm, InstanceNorm

COUNTS = torch.tensor([1, 3, 0, 2])


def _images(n=4, channels=3, height=5, width=4, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (n, channels, height, width)
    return torch.randn(shape, generator=generator, dtype=dtype) * 2 + 5


def _batch_norm(channels=3, dtype=torch.float64):
    norm = BatchNorm(channels).to(dtype)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        norm.weight.copy_(torch.rand(channels, generator=generator) + 0.5)
        norm.bias.copy_(torch.randn(channels, generator=generator))
    return norm


def _statistics(norm):
    return norm.running_mean.clone(), norm.running_var.clone()


def _run(norm, x, sample_weight=None, counts=None):
    """Output, gradients of a weighted sum of squares and the running statistics."""
    x = x.clone().requires_grad_()
    out = norm(x, sample_weight)
    # A slope that differs everywhere: the sum of a normalised batch has no gradient.
    slope = torch.linspace(-1, 1, x[0].numel(), dtype=x.dtype).view_as(x[0])
    loss = (out.square() * slope).sum((1, 2, 3))
    (loss if counts is None else loss * counts).sum().backward()
    grads = x.grad, norm.weight.grad, norm.bias.grad
    return out.detach(), grads, _statistics(norm)


# --- batch normalisation: values ------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_without_trained_values(weighted):
    x, norm = _images(), BatchNorm(3, affine=False, eps=1e-5).double()
    assert not list(norm.parameters())
    out = norm(x, torch.ones(4).double() if weighted else None)
    expected = F.batch_norm(x, None, None, training=True, eps=1e-5)
    assert_close(out, expected, rtol=0, atol=1e-12)


# --- batch normalisation: weights -----------------------------------------------------


def test_weights_equal_repetition():
    x = _images()
    repeated = x.repeat_interleave(COUNTS, dim=0)
    out, grads, statistics = _run(_batch_norm(), x, COUNTS.double(), COUNTS)
    out_again, grads_again, statistics_again = _run(_batch_norm(), repeated)
    assert_close(out.repeat_interleave(COUNTS, dim=0), out_again)
    assert_close(grads[1:], grads_again[1:])
    for i, copies in enumerate(grads_again[0].split(COUNTS.tolist())):
        assert_close(grads[0][i], copies.sum(0))
    assert_close(statistics, statistics_again)


def test_scale_of_the_weights_does_not_matter():
    x, weight = _images(), torch.tensor([0.5, 2.0, 1.0, 0.1], dtype=torch.float64)
    plain, scaled = _batch_norm(), _batch_norm()
    assert_close(plain(x, weight), scaled(x, weight * 1e-20))
    assert_close(_statistics(plain), _statistics(scaled))


@pytest.mark.parametrize("position", range(4))
def test_weight_zero_is_absent(position):
    x = _images()
    x[position] = 1e6
    weight = torch.ones(4, dtype=torch.float64)
    weight[position] = 0
    kept = [i for i in range(4) if i != position]
    norm, absent = _batch_norm(), _batch_norm()
    assert_close(norm(x, weight)[kept], absent(x[kept]))
    assert_close(_statistics(norm), _statistics(absent))


def test_batch_without_any_weight_leaves_the_statistics():
    norm = _batch_norm()
    norm(_images())
    before = _statistics(norm)
    out = norm(_images(seed=1), torch.zeros(4, dtype=torch.float64))
    assert out.isfinite().all()
    assert_close(_statistics(norm), before, rtol=0, atol=0)
    assert norm.num_batches_tracked == 1


def test_equal_weights_equal_no_weights():
    x = _images()
    weighted = _run(_batch_norm(), x, torch.full((4,), 0.3, dtype=torch.float64))
    assert_close(weighted, _run(_batch_norm(), x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_statistics_are_sums_in_float32(dtype):
    x = _images(64, height=12, width=12, dtype=torch.float32).to(dtype)
    weighted, plain = _batch_norm(dtype=torch.float32), _batch_norm(dtype=torch.float32)
    out = weighted(x, torch.ones(64))
    assert out.dtype == dtype
    assert_close(out, plain(x))
    assert_close(_statistics(weighted), _statistics(plain), rtol=1e-5, atol=1e-5)


# --- batch normalisation: against torch -----------------------------------------------


def test_unweighted_equals_torch():
    x = _images()
    norm = _batch_norm()
    out, grads, _ = _run(norm, x)

    class Torch(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(norm.weight.detach().clone())
            self.bias = nn.Parameter(norm.bias.detach().clone())
            self.running_mean = self.running_var = torch.zeros(())

        def forward(self, x, sample_weight):
            weight, bias = self.weight, self.bias
            return F.batch_norm(x, None, None, weight, bias, True, 0.0, 1e-3)

    out_torch, grads_torch, _ = _run(Torch(), x)
    assert_close(out, out_torch)
    assert_close(grads, grads_torch)


def test_evaluation_equals_torch():
    norm = _batch_norm()
    for seed in range(3):
        norm(_images(seed=seed))
    norm.eval()
    x, before = _images(seed=9), _statistics(norm)
    expected = F.batch_norm(x, *before, norm.weight, norm.bias, False, 0.0, 1e-3)
    assert_close(norm(x), expected)
    assert_close(norm(x, torch.rand(4)), expected)
    assert_close(_statistics(norm), before, rtol=0, atol=0)


def test_state_has_torchs_names():
    torchs = nn.BatchNorm2d(3)
    assert list(BatchNorm(3).state_dict()) == list(torchs.state_dict())
    torchs.load_state_dict(BatchNorm(3).state_dict())


# --- batch normalisation: running statistics ------------------------------------------


def test_first_batch_sets_the_statistics():
    x, norm = _images(), _batch_norm()
    norm(x)
    assert_close(norm.running_mean, x.mean((0, 2, 3)))
    assert_close(norm.running_var, x.var((0, 2, 3), correction=0))
    assert norm.num_batches_tracked == 1


@pytest.mark.parametrize("weighted", [False, True])
def test_statistics_follow_the_documented_decay(weighted):
    norm = _batch_norm()
    weight = torch.ones(4, dtype=torch.float64) if weighted else None
    mean = torch.zeros(3, dtype=torch.float64)
    for t in range(1200):
        x = _images(height=1, width=2, seed=t)
        norm(x, weight)
        decay = min(0.99, t / (t + 9))
        mean = decay * mean + (1 - decay) * x.mean((0, 2, 3))
    assert_close(norm.running_mean, mean)
    assert norm.num_batches_tracked == 1200


@pytest.mark.parametrize("weight", [None, torch.tensor([2.0])])
def test_one_sample_of_one_pixel(weight):
    norm = BatchNorm(3)
    x = torch.tensor([[3.0, -1.0, 0.0]])[:, :, None, None].requires_grad_()
    out = norm(x, weight)
    assert_close(out, torch.zeros(1, 3, 1, 1))
    out.sum().backward()
    assert x.grad.isfinite().all()
    assert_close(norm.running_mean, x.detach().flatten())
    assert_close(norm.running_var, torch.zeros(3))


# --- instance normalisation -----------------------------------------------------------


def test_instance_norm_equals_torch():
    torch.manual_seed(0)
    x, norm = _images(), InstanceNorm(3).double()
    expected = F.instance_norm(x, weight=norm.weight, bias=norm.bias, eps=1e-3)
    assert_close(norm(x), expected)
    assert_close(norm(x, COUNTS.double()), expected)
    assert_close(norm.eval()(x), expected)
    assert_close(norm(x[:1]), expected[:1])


def test_instance_norm_initial_values():
    torch.manual_seed(0)
    norm = InstanceNorm(2000)
    for parameter in (norm.weight, norm.bias):
        assert parameter.abs().max().item() == pytest.approx(0.05, abs=1e-3)
        assert parameter.mean().item() == pytest.approx(0, abs=3e-3)
