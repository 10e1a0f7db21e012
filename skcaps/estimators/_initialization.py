"""Which networks start with weights that fit the images."""

from __future__ import annotations

from collections.abc import Callable

from skcaps.nn import efficient_capsnet, is_published_efficient


def _unless_published(build: Callable, /, **architecture) -> bool:
    """Leave alone what learns from its published values, whatever the images.

    That is Efficient-CapsNet, which normalizes its features by the batch. CapsNet's own
    values are too small or too large for images darker or brighter than MNIST's.
    """
    return build is not efficient_capsnet or not is_published_efficient(**architecture)


# Each takes the function that builds a network and its arguments, and returns whether
# the network is calibrated.
INITIALIZATIONS: dict[str, Callable[..., bool]] = {
    "auto": _unless_published,
    "calibrated": lambda build, /, **architecture: True,
    "paper": lambda build, /, **architecture: False,
}
