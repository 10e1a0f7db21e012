import numpy as np
import pytest

from skcaps.datasets import iter_multimnist, make_affnist_like, make_multimnist
from skcaps.datasets import pad_and_shift as pad_and_shift_images
from skcaps.datasets._arguments import as_generator


def pad_and_shift(X, y, **options):
    return pad_and_shift_images(X, **options)


def first_batch(X, y, **options):
    return next(iter_multimnist(X, y, batch_size=6, **options)).images


def overlaid(X, y, **options):
    return make_multimnist(X, y, **options).images


def mapped(X, y, **options):
    return make_affnist_like(X, y, **options).images


GENERATORS = [first_batch, mapped, overlaid, pad_and_shift]


@pytest.fixture(params=GENERATORS, ids=lambda make: make.__name__)
def make(request):
    return request.param


@pytest.fixture
def y():
    return np.arange(6) % 3


@pytest.fixture
def X(rng):
    return rng.integers(0, 256, (6, 9, 9), dtype=np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_type_is_kept(make, X, y, dtype):
    assert make(X.astype(dtype), y).dtype == dtype


def test_input_is_not_changed(make, X, y):
    X_before, y_before = X.copy(), y.copy()
    X.flags.writeable = y.flags.writeable = False
    found = make(X, y, random_state=0)
    assert not np.shares_memory(found, X)
    np.testing.assert_array_equal(X, X_before)
    np.testing.assert_array_equal(y, y_before)


def test_flat_images_are_the_same_images(make, X, y):
    images = make(X, y, random_state=0)
    found = make(X.reshape(6, 81), y, random_state=0)
    np.testing.assert_array_equal(found.reshape(images.shape), images)


@pytest.mark.parametrize(
    "make_state",
    [
        lambda: 3,
        lambda: np.int64(3),
        lambda: np.random.RandomState(3),
        lambda: np.random.default_rng(3),
    ],
    ids=["int", "np.int64", "RandomState", "Generator"],
)
def test_same_seed_same_images(make, X, y, make_state):
    first, second = (make(X, y, random_state=make_state()) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    "make_states",
    [
        lambda: (3, 4),
        lambda: (None, None),
        lambda: [np.random.RandomState(3)] * 2,
        lambda: [np.random.default_rng(3)] * 2,
    ],
    ids=["int", "None", "RandomState", "Generator"],
)
def test_other_numbers_other_images(make, X, y, make_states):
    first, second = (make(X, y, random_state=state) for state in make_states())
    assert (first != second).any()


def test_global_seed_is_left_alone(make, X, y):
    # NumPy's old generator, which all code in a process shares.
    shared = np.random.mtrand._rand
    before = shared.get_state()[1].copy()
    make(X, y)
    np.testing.assert_array_equal(shared.get_state()[1], before)


@pytest.mark.parametrize("value", [-1, 0.5, "seed", True])
def test_wrong_random_state(value):
    with pytest.raises(ValueError, match=rf"random_state must be .* got {value!r}\."):
        as_generator(value)


@pytest.mark.parametrize("shape", [(6,), (6, 1, 9, 9), (0, 9, 9), (6, 0, 9), (6, 0)])
def test_wrong_shape(make, y, shape):
    with pytest.raises(ValueError, match=r"X must hold at least one .* got the shape"):
        make(np.zeros(shape, dtype=np.uint8), y)


def test_features_that_are_no_square(make, y):
    with pytest.raises(ValueError, match="X has 80 features, which is no square image"):
        make(np.zeros((6, 80), dtype=np.uint8), y)


@pytest.mark.parametrize("dtype", [np.int64, np.bool_, np.float16, np.complex128])
def test_wrong_type(make, X, y, dtype):
    with pytest.raises(ValueError, match=f"float64, got {np.dtype(dtype)}; convert"):
        make(X.astype(dtype), y)


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_wrong_values(make, X, y, value):
    X = X.astype(np.float64)
    X[3, 4, 5] = value
    with pytest.raises(ValueError, match="X must be finite and not below 0"):
        make(X, y)


@pytest.mark.parametrize("make", [first_batch, mapped, overlaid])
@pytest.mark.parametrize("shape", [(5,), (7,), (6, 1)])
def test_wrong_labels(make, X, shape):
    with pytest.raises(ValueError, match=r"y must have the shape \(6,\), .* got \("):
        make(X, np.zeros(shape, dtype=int))


@pytest.mark.parametrize("value", [-1, 1.0, True, None])
def test_wrong_pad(make, X, y, value):
    with pytest.raises(ValueError, match="pad must be a whole number, at least 0, got"):
        make(X, y, pad=value)


@pytest.mark.parametrize("make", [first_batch, overlaid, pad_and_shift])
@pytest.mark.parametrize("value", [-1, 1.0, True, None])
def test_wrong_max_shift(make, X, y, value):
    with pytest.raises(ValueError, match="max_shift must be a whole number, at least"):
        make(X, y, max_shift=value)
