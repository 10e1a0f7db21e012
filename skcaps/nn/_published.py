"""Which networks are their papers' own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

from skcaps.nn._networks import CapsuleNetwork, ImageShape, efficient_capsnet

# The decoder of each of the Efficient-CapsNet paper's networks.
_EFFICIENT_DECODERS = {
    ((1, 28, 28), 10): "dense",
    ((1, 36, 36), 10): "dense",
    ((2, 48, 48), 5): "conv",
}


def is_published_efficient(
    image_shape: ImageShape, n_classes: int, **options: Any
) -> bool:
    """Return whether `efficient_capsnet` builds one of its paper's own networks.

    Parameters
    ----------
    image_shape : tuple of int
        ``(channels, height, width)``.
    n_classes : int
        Number of class capsules.
    **options
        As for `efficient_capsnet`.

    Returns
    -------
    is_published : bool
        True for the networks of MNIST, MultiMNIST and smallNORB, with the decoder that
        the paper gives them or none.

    References
    ----------
    Mazzia, Salvetti, Chiaberge (2021), section 3.1.

    Examples
    --------
    >>> from skcaps.nn import is_published_efficient
    >>> is_published_efficient((1, 28, 28), 10)
    True
    >>> is_published_efficient((1, 28, 28), 10, hidden_capsules=((16, 8),))
    False
    """
    defaults = _defaults(efficient_capsnet)
    chosen = {**defaults, **options}
    channels, height, width = image_shape
    decoder = _EFFICIENT_DECODERS.get(((channels, height, width), n_classes))
    if decoder is None or chosen.pop("decoder") not in (decoder, None):
        return False
    # The routing must be the paper's, which has no iterations.
    ignored = ("decoder", "routing_iterations")
    return all(
        _same(value, defaults[name])
        for name, value in chosen.items()
        if name not in ignored
    )


def _defaults(builder: Callable[..., CapsuleNetwork]) -> dict[str, Any]:
    parameters = signature(builder).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def _same(value: Any, default: Any) -> bool:
    """Compare options; those that are sequences may be lists."""
    if isinstance(default, tuple) and isinstance(value, Sequence):
        return tuple(value) == default
    return bool(type(value) is type(default) and value == default)
