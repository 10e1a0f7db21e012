"""Checks of options and sizes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from numbers import Integral


def check_option(name: str, value: object, options: Collection[object]) -> None:
    """Raise a ValueError if `value` is none of the options."""
    if value not in options:
        known = sorted(options, key=str)
        raise ValueError(f"{name} must be one of {known}, got {value!r}.")


def check_positive(**numbers: object) -> None:
    """Raise a ValueError unless every number is a positive integer."""
    for name, number in numbers.items():
        if not isinstance(number, Integral) or int(number) < 1:
            raise ValueError(f"{name} must be a positive integer, got {number!r}.")


def check_counts(name: str, counts: object, meaning: str) -> None:
    """Raise a ValueError unless `counts` is a sequence of positive integers."""
    if _are_counts(counts):
        return
    raise ValueError(f"{name} must be {meaning}, got {counts!r}.")


def check_hidden_capsules(hidden_capsules: object) -> None:
    """Raise a ValueError unless every layer is a pair of positive integers."""
    if isinstance(hidden_capsules, Sequence) and all(
        _are_counts(layer) and len(layer) == 2 for layer in hidden_capsules
    ):
        return
    raise ValueError(
        "hidden_capsules must hold a pair (number of capsules, dimension) for each "
        f"further layer, such as ((32, 8),), got {hidden_capsules!r}."
    )


def _are_counts(counts: object) -> bool:
    return (
        isinstance(counts, Sequence)
        and len(counts) > 0
        and all(isinstance(count, Integral) and int(count) > 0 for count in counts)
    )
