"""Which networks start with weights that fit the images."""

from __future__ import annotations

from collections.abc import Callable

from skcaps.nn import is_published_efficient


def _unless_published(builder: str, **architecture) -> bool:
    """Leave alone what learns from its published values, whatever the images.

    That is Efficient-CapsNet, which normalizes its features by the batch. CapsNet's own
    values are too small or too large for images darker or brighter than MNIST's.
    """
    return builder != "efficient_capsnet" or not is_published_efficient(**architecture)


# Each takes an architecture and returns whether its network is calibrated.
INITIALIZATIONS: dict[str, Callable[..., bool]] = {
    "auto": _unless_published,
    "calibrated": lambda **architecture: True,
    "paper": lambda **architecture: False,
}
