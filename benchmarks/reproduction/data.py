"""The images of each experiment: training, held-out and test images.

Held-out images are the last of the training set. The test images come from a function
of their own, which a protocol calls after training.
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from skcaps.datasets import (
    iter_multimnist,
    load_affnist,
    load_fashion_mnist,
    load_mnist,
    load_smallnorb,
    make_affnist_like,
    pad_and_shift,
)

# Test images that are generated are the same for every seed of the training.
TEST_SEED = 2017
SIDE = 28
N_DIGITS = 10


class TrainingData(NamedTuple):
    """Images to train on, and held-out ones, None where there are too few."""

    X: np.ndarray
    y: np.ndarray
    X_valid: np.ndarray | None
    y_valid: np.ndarray | None


class TestData(NamedTuple):
    """Images to test on, and what they are."""

    X: np.ndarray
    y: np.ndarray
    description: str


def load_training(source, profile, seed, data_home):
    """Return the images that a source trains on."""
    if source == "smallnorb":
        return _smallnorb_training(profile, data_home)
    load = load_fashion_mnist if source == "fashion" else load_mnist
    X, y = load(data_home=data_home, return_X_y=True)
    X = X.reshape(-1, SIDE, SIDE)
    if source == "affnist":
        X = pad_and_shift(X, random_state=seed)
    n_train = min(profile.n_train, len(X) - profile.n_valid)
    valid = slice(len(X) - profile.n_valid, None)
    return TrainingData(X[:n_train], y[:n_train], X[valid], y[valid])


def load_test(source, profile, data_home):
    """Return the images that a source is tested on."""
    if source == "smallnorb":
        return _smallnorb_test(profile, data_home)
    if source == "affnist":
        return _affine_test(profile, data_home)
    load = load_fashion_mnist if source == "fashion" else load_mnist
    X, y = load(subset="test", data_home=data_home, return_X_y=True)
    X, y = X.reshape(-1, SIDE, SIDE)[: profile.n_test], y[: profile.n_test]
    if source == "shifted":
        X = pad_and_shift(X, random_state=TEST_SEED)
    return TestData(X, y, f"{len(y):,} test images")


def take_of_each_class(data, n_each, seed):
    """Draw as many training images of each class."""
    rng = np.random.default_rng(seed)
    chosen = [
        rng.choice(np.flatnonzero(data.y == label), n_each, replace=False)
        for label in np.unique(data.y)
    ]
    indices = np.sort(np.concatenate(chosen))
    return data._replace(X=data.X[indices], y=data.y[indices])


def pair_digits(X, y, n_pairs, seed):
    """Return MultiMNIST pairs in one array, and what `fit` takes of their sources."""
    images, targets, sources, digits = zip(
        *_iter_pairs(X, y, n_pairs, seed), strict=True
    )
    given = {
        "sources": np.concatenate(sources),
        "source_target": np.concatenate(digits),
    }
    return np.concatenate(images), np.concatenate(targets), given


def iter_test_pairs(profile, data_home):
    """Return the test pairs in batches, for as many as no memory holds."""
    digits = load_test("mnist", profile, data_home)
    for images, targets, *_ in _iter_pairs(
        digits.X, digits.y, profile.n_test_pairs, TEST_SEED
    ):
        yield images, targets


def _iter_pairs(X, y, n_pairs, seed):
    """Return images, indicators with a column for each of the ten digits, sources.

    The columns of the batches themselves are those of the digits in `y`, which a few
    images need not all show.
    """
    batches = iter_multimnist(
        X, y, batch_size=5000, n_samples=n_pairs, random_state=seed
    )
    for batch in batches:
        indicator = np.zeros((len(batch.images), N_DIGITS), dtype=np.uint8)
        np.put_along_axis(indicator, batch.source_target, 1, axis=1)
        yield batch.images, indicator, batch.sources, batch.source_target


def _affine_test(profile, data_home):
    """Return the published affNIST where it is at hand, else images in its manner."""
    try:
        X, y = load_affnist(
            data_home=data_home, download_if_missing=False, return_X_y=True
        )
    except FileNotFoundError:
        X, y = load_mnist(subset="test", data_home=data_home, return_X_y=True)
        made = make_affnist_like(
            X[: profile.n_test],
            y[: profile.n_test],
            n_versions=profile.n_affine_versions,
            random_state=TEST_SEED,
        )
        text = f"{len(made.target):,} generated images in the manner of affNIST"
        return TestData(made.images, made.target, text)
    n_test = profile.n_test * profile.n_affine_versions
    if n_test < len(X):
        chosen = np.random.default_rng(TEST_SEED).choice(len(X), n_test, replace=False)
        X, y = X[chosen], y[chosen]
    text = f"{len(y):,} images of the published affNIST"
    return TestData(X.reshape(-1, 40, 40), y, text)


def _smallnorb_training(profile, data_home):
    if profile.is_sample:
        sample = _read_sample(data_home)
        return TrainingData(shrink(sample["train_x"]), sample["train_y"], None, None)
    norb = load_smallnorb(data_home=data_home)
    # One toy of each category is held out: other pictures of a toy tell too much.
    is_valid = norb.info[:, 0] == norb.info[:, 0].max()
    images = shrink(norb.images)
    return TrainingData(
        images[~is_valid],
        norb.target[~is_valid],
        images[is_valid],
        norb.target[is_valid],
    )


def _smallnorb_test(profile, data_home):
    if profile.is_sample:
        sample = _read_sample(data_home)
        X, y = sample["test_x"], sample["test_y"]
    else:
        norb = load_smallnorb(subset="test", data_home=data_home)
        X, y = norb.images, norb.target
    return TestData(shrink(X), y, f"{len(y):,} test pairs")


def _read_sample(data_home):
    home = data_home or os.environ.get("SKCAPS_DATA")
    if not home:
        raise FileNotFoundError(
            "The six pairs of smallNORB are read from --data-home or SKCAPS_DATA, and "
            "neither is set."
        )
    with np.load(Path(home) / "smallnorb-sample" / "smallnorb_sample.npz") as sample:
        return dict(sample)


def shrink(images):
    """Make 64x64 of 96x96 pixels and cut the middle 48x48 out, as Mazzia et al. do."""
    shrunk = [
        torch.nn.functional.interpolate(
            torch.from_numpy(part).float(), size=64, mode="bilinear"
        )[:, :, 8:56, 8:56]
        for part in np.array_split(images, max(1, len(images) // 1000))
    ]
    return torch.cat(shrunk).round().to(torch.uint8).numpy()
