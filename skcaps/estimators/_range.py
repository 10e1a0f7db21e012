"""Which values become 0 and 1 inside the network, and data that do not fit them."""

from __future__ import annotations

import numpy as np
import torch

from skcaps.estimators._warnings import warn

# uint8 images that reach this value may reach 255.
_BRIGHT = 128
# Fewer numbers may lie close together by chance.
_MANY = 64
# Shares of a range that are filled so little by no images in its units. One image may
# be dark.
_SLIVER, _SLIVER_OF_FEW, _FEW = 0.1, 0.01, 10
# Down to this the initial weights make up for images that do not fill their range.
_SLIVER_IN_TRAINING = 0.02
_UNLIKE_COLUMNS = 100


def input_range(rows, sample_weight=None) -> tuple[float, float]:
    """Return the values that become 0 and 1 inside the network.

    (0, 255) for uint8 of which a value is at least 128, else the smallest and largest
    training value, of the samples that count: masks and images of few grey levels are
    often uint8 too.
    """
    low, high = extremes(rows, sample_weight)
    if rows.dtype == np.uint8 and high >= _BRIGHT:
        return 0.0, 255.0
    return low, high


def extremes(rows, sample_weight=None) -> tuple[float, float]:
    """Return the smallest and largest value, of the samples that count."""
    chosen = {}
    if sample_weight is not None and not sample_weight.all():
        counts = sample_weight > 0
        # Taking the rows out would copy them, also those on disk.
        chosen = {"where": counts[:, None], "initial": rows[counts.argmax(), 0]}
    return float(rows.min(**chosen)), float(rows.max(**chosen))


def to_unit(rows: torch.Tensor, bounds: tuple[float, float]) -> torch.Tensor:
    """Scale so that `bounds` become 0 and 1; at least float32."""
    low, _ = bounds
    wide = rows if rows.dtype == torch.float64 else rows.float()
    return (wide - low) / _width(bounds)


def from_unit(images: torch.Tensor, bounds: tuple[float, float]) -> torch.Tensor:
    """Undo `to_unit`."""
    low, high = bounds
    return images * (high - low) + low


def warn_of_drift(rows, bounds: tuple[float, float], name="X") -> None:
    """Warn if images leave the training range by far, or fill a sliver of it only.

    That is by more than its whole width, or less than a tenth; the images are likely to
    have other units.
    """
    if not len(rows):
        return
    low, high = extremes(rows)
    width = _width(bounds)
    is_far = low < bounds[0] - width or high > bounds[1] + width
    share = _SLIVER_OF_FEW if len(rows) < _FEW else _SLIVER
    if is_far or (rows.size >= _MANY and 0 < high - low < share * width):
        warn(
            f"The values of {name} are from {low:g} to {high:g}, and those of the "
            f"training images from {bounds[0]:g} to {bounds[1]:g}, which become 0 and "
            f"1: bring {name} into the same units, or fit again."
        )


def warn_of_outliers(rows, bounds: tuple[float, float], sample_weight=None) -> None:
    """Warn if half of the training images fill a fiftieth of their range at most."""
    if rows.shape[1] < _MANY or bounds[0] == bounds[1]:
        return
    spans = rows.max(axis=1).astype(float) - rows.min(axis=1)
    # Images of one value are no sign of other units.
    counts = spans > 0
    if sample_weight is not None:
        counts &= sample_weight > 0
    spans = spans[counts]
    if len(spans) and np.median(spans) < _SLIVER_IN_TRAINING * _width(bounds):
        warn(
            f"The values of X are from {bounds[0]:g} to {bounds[1]:g}, which become 0 "
            f"and 1, but those of half of its images lie within {np.median(spans):g} "
            "of each other; look for pixels that are broken, or clip X."
        )


def warn_of_unlike_columns(rows) -> None:
    """Warn if columns of a table have units of their own."""
    ranges = rows.max(axis=0).astype(float) - rows.min(axis=0)
    ranges = ranges[ranges > 0]
    if len(ranges) and ranges.max() > _UNLIKE_COLUMNS * ranges.min():
        warn(
            f"The ranges of X's columns differ {ranges.max() / ranges.min():.0f}-fold, "
            "and the network scales all columns alike, as is right for pixels; put a "
            "StandardScaler before it."
        )


def _width(bounds: tuple[float, float]) -> float:
    # A constant training set has no range; its images are all zero.
    return bounds[1] - bounds[0] or 1.0
