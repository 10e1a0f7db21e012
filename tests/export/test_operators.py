import numpy as np
import pytest
import torch
from scipy import special
from torch.testing import assert_close

from skcaps.export._operators import digamma, expm1

POSITIVE = np.logspace(-2, 6, 4001)
ANY = np.concatenate([-np.logspace(2, -30, 2001), [0.0], np.logspace(-30, 1.5, 2001)])


@pytest.mark.parametrize(
    ("ours", "reference", "at"),
    [(digamma, special.digamma, POSITIVE), (expm1, special.expm1, ANY)],
    ids=["digamma", "expm1"],
)
@pytest.mark.parametrize(
    ("dtype", "bounds"),
    [(torch.float64, (1e-10, 1e-10)), (torch.float32, (4e-7, 8e-7))],
    ids=["float64", "float32"],
)
def test_operator(ours, reference, at, dtype, bounds):
    x = torch.from_numpy(at).to(dtype)
    expected = torch.from_numpy(reference(x.double().numpy()))
    relative, absolute = bounds
    # Near 0 only a relative error lets the length of a short capsule say something.
    absolute = 0.0 if ours is expm1 else absolute
    assert_close(ours(x).double(), expected, rtol=relative, atol=absolute)


def test_expm1_of_infinity():
    x = torch.tensor([-torch.inf, torch.inf, torch.nan])
    assert_close(expm1(x), torch.expm1(x), equal_nan=True)
