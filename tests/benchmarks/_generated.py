"""Generated images in the place of the data sets, for the runner's tests.

A script of its own, too: it runs `reproduce.py` on these images, in a process that a
test may kill.
"""

import sys
from pathlib import Path

import numpy as np

SIZES = {"train": 80, "test": 30}


def digits(subset="train", data_home=None, return_X_y=True, *, offset=0):
    """Give images with a bar for each class, which a network can learn."""
    n = SIZES[subset]
    rng = np.random.default_rng([n, offset])
    y = np.arange(n) % 10
    images = np.zeros((n, 28, 28), dtype=np.uint8)
    for image, label in zip(images, y, strict=True):
        image[4 + 2 * label : 7 + 2 * label, 6:22] = rng.integers(100, 256)
    return images.reshape(n, -1), (y + offset) % 10


def clothes(**arguments):
    """Give other images under the same labels."""
    return digits(**arguments, offset=3)


def no_affnist(**arguments):
    """Say that there is no file."""
    raise FileNotFoundError("there is no affNIST here")


def sample(data_home):
    """Give pairs of the shape of the smallNORB sample."""
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, 256, (2, 6, 2, 96, 96), dtype=np.uint8)
    y = np.array([0, 1, 2, 3, 4, 0])
    return {"train_x": pairs[0], "train_y": y, "test_x": pairs[1], "test_y": y}


def install(setattr=setattr):
    """Replace the loaders."""
    from reproduction import data

    setattr(data, "load_mnist", digits)
    setattr(data, "load_fashion_mnist", clothes)
    setattr(data, "load_affnist", no_affnist)
    setattr(data, "_read_sample", sample)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    import reproduce

    install()
    reproduce.main()
