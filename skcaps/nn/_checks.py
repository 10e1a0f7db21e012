"""Checks of options."""

from __future__ import annotations

from collections.abc import Collection


def check_option(name: str, value: object, options: Collection[str]) -> None:
    """Raise a ValueError if `value` is none of the options."""
    if value not in options:
        raise ValueError(f"{name} must be one of {sorted(options)}, got {value!r}.")
