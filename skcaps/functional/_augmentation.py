"""Random changes of whole batches of training images, on the images' own device.

Every function takes and gives images with values from 0 to 1 and draws from torch's
default generator of their device, so that ``torch.manual_seed`` repeats it. What is
drawn stays on the device: nothing waits for a GPU.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from skcaps.functional._checks import check_images
from skcaps.functional._precision import at_least_float32

Augmentation = Callable[[Tensor], Tensor]

# The released Efficient-CapsNet code cuts its normal numbers off just below 1, so that
# rounding down never reaches the next whole number.
_DEVIATION, _LARGEST = 0.33, 0.9999
_DEGREES = 30


def random_shift(images: Tensor, *, max_shift: int = 2) -> Tensor:
    """Shift every image by whole pixels, filled with 0.

    Each image moves by -`max_shift` to `max_shift` pixels along each axis, all
    offsets alike.

    Parameters
    ----------
    images : Tensor of shape (batch, channels, height, width)
        Images of floating point, values from 0 to 1.
    max_shift : int, default=2
        Largest offset along an axis. On sides so short that the middle of the image
        could leave it, ``(side - 1) // 2``.

    Returns
    -------
    Tensor of shape (batch, channels, height, width)
        New images of the same dtype and device.

    Raises
    ------
    ValueError
        If `images` is not 4-D.
    TypeError
        If `images` is not of floating point.

    References
    ----------
    Sabour, Frosst, Hinton (2017). "Dynamic routing between capsules", section 5.
    arXiv:1710.09829.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import random_shift
    >>> seed = torch.manual_seed(0)
    >>> random_shift(torch.ones(1, 1, 3, 4), max_shift=1)
    tensor([[[[0., 0., 0., 0.],
              [1., 1., 1., 0.],
              [1., 1., 1., 0.]]]])
    """
    check_images(images)
    limits = [min(max_shift, (side - 1) // 2) for side in images.shape[2:]]
    down, right = (_draw_offset(images, limit) for limit in limits)
    return _move(images, down, right)


def efficient_augmentation(images: Tensor) -> Tensor:
    """Rotate, shift, squeeze and erase, as Efficient-CapsNet is trained on MNIST.

    In this order, with half-normal numbers :math:`r` of standard deviation 0.33 below
    1:

    1. half of the images are turned by a whole number of degrees, the part before the
       point of 30 times a normal number of standard deviation 0.33, so at most 29;
    2. each axis moves, either way, by the share :math:`r` of the free margin, the
       empty rows or columns on that side: ink, a value above 0, never leaves the image;
    3. the width shrinks by 1 pixel up to a quarter, the narrow image standing in the
       middle or one pixel further right;
    4. a patch of a seventh of each side, 4x4 in a 28x28 image, becomes 0.

    Parameters
    ----------
    images : Tensor of shape (batch, channels, height, width)
        Images of floating point, values from 0 to 1, on a background of 0. All
        channels of an image change in the same way.

    Returns
    -------
    Tensor of shape (batch, channels, height, width)
        New images of the same dtype and device, values from 0 to 1. float16 and
        bfloat16 are computed in float32.

    Raises
    ------
    ValueError
        If `images` is not 4-D.
    TypeError
        If `images` is not of floating point.

    Notes
    -----
    Sizes other than 28x28 scale with the side. Where a step has no room it is left
    out: no turn of an image one pixel high or wide, no squeeze below 4 pixels of
    width, no patch if a side is below 7.

    Three details differ from the released code. Images are squeezed by linear
    interpolation, not Lanczos3. They turn about their centre, not about a point half a
    pixel off. A shift to the left or the top is rounded towards 0 as one to the right
    is, so that neither is more likely.

    References
    ----------
    Mazzia, Salvetti, Chiaberge (2021). "Efficient-CapsNet: capsule network with
    self-attention routing". arXiv:2101.12491; ``utils/pre_process_mnist.py`` of the
    code released with it, which took the steps from Byerly, Kalganova, Dear (2021).
    "No routing needed between capsules". arXiv:2001.09136.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import efficient_augmentation
    >>> seed = torch.manual_seed(0)
    >>> images = torch.ones(2, 1, 28, 28)
    >>> changed = efficient_augmentation(images)
    >>> changed.shape
    torch.Size([2, 1, 28, 28])
    >>> bool((changed.sum(dim=(1, 2, 3)) < 28 * 28).all())
    True
    """
    check_images(images)
    wide = at_least_float32(images)
    height, width = images.shape[2:]
    if min(height, width) > 1:
        wide = _rotate(wide, _draw_degrees(wide))
    wide = _move(wide, *_draw_shift_in_margin(wide))
    if width >= 4:
        wide = _squeeze(wide, *_draw_squeeze(wide))
    if min(height, width) >= 7:
        starts = (_draw_patch_start(wide, side) for side in (height, width))
        wide = _erase(wide, *starts)
    return wide.clamp(0, 1).to(images.dtype)


def crop_jitter(
    images: Tensor,
    *,
    crop: float = 1 / 6,
    brightness: float = 0.25,
    contrast: float = 0.5,
) -> Tensor:
    r"""Crop at random and change brightness and contrast, as for smallNORB.

    .. math::
        y = \operatorname{clip}_{[0, 1]}\big(x + \beta + \gamma (x - \bar x)\big),
        \qquad \beta \sim U(-b, b), \quad \gamma \sim U(-c, c)

    where :math:`x` is a pixel of the crop, :math:`\bar x` the mean of its channel,
    :math:`b` is ``brightness`` and :math:`c` is ``contrast``. :math:`\beta` and
    :math:`\gamma` are the same for all channels of an image.

    Parameters
    ----------
    images : Tensor of shape (batch, channels, height, width)
        Images of floating point, values from 0 to 1.
    crop : float, default=1/6
        Largest offset of the crop, from the middle, as a share of each side.
    brightness : float, default=0.25
        Largest change of all values.
    contrast : float, default=0.5
        Largest change of the factor 1 on the distance from the mean.

    Returns
    -------
    Tensor of shape (batch, channels, height, width)
        New images of the same dtype and device, values from 0 to 1. float16 and
        bfloat16 are computed in float32.

    Raises
    ------
    ValueError
        If `images` is not 4-D.
    TypeError
        If `images` is not of floating point.

    Notes
    -----
    The papers cut 48x48 pixels from 64x64 (32x32 from 48x48), so that training images
    lie up to a sixth (a quarter) of their side off the middle, and test on the crop
    from the middle. Here the images have the network's size already: the crop is cut
    from the image with its border repeated outwards. The offsets are those of 64 to
    48, the scale is that of the test images, and only what would have come into view
    at the edges is made up; a plain background, as in smallNORB, is continued.

    The papers change brightness and contrast after standardizing and do not clip.
    `contrast` is that of Efficient-CapsNet, whose change of brightness, two standard
    deviations, would leave [0, 1]; `brightness` is that of CapsNet's released code,
    63 of 255.

    References
    ----------
    Mazzia, Salvetti, Chiaberge (2021). "Efficient-CapsNet: capsule network with
    self-attention routing". arXiv:2101.12491; ``utils/pre_process_smallnorb.py`` of
    the code released with it.

    Sabour, Frosst, Hinton (2017). "Dynamic routing between capsules", section 7.
    arXiv:1710.09829.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import crop_jitter
    >>> seed = torch.manual_seed(0)
    >>> image = torch.tensor([[[[0.0, 0.5, 1.0]]]])
    >>> crop_jitter(image, crop=0.4, brightness=0, contrast=0)
    tensor([[[[0.5000, 1.0000, 1.0000]]]])
    """
    check_images(images)
    offsets = (_draw_offset(images, round(crop * side)) for side in images.shape[2:])
    crops = _move(at_least_float32(images), *offsets, repeat_border=True)
    shape = (2, len(images), 1, 1, 1)
    beta, gamma = 2 * torch.rand(shape, device=images.device).to(crops.dtype) - 1
    from_mean = crops - crops.mean(dim=(2, 3), keepdim=True)
    # Written as a sum, so that strengths of 0 give the very values back.
    changed = crops + brightness * beta + contrast * gamma * from_mean
    clipped: Tensor = changed.clamp(0, 1)
    return clipped.to(images.dtype)


AUGMENTATIONS: dict[str, Augmentation] = {
    "shift": random_shift,
    "efficient": efficient_augmentation,
    "crop_jitter": crop_jitter,
}


def _move(
    images: Tensor, down: Tensor, right: Tensor, *, repeat_border: bool = False
) -> Tensor:
    """Move each image by whole pixels; what comes in is 0 or the nearest pixel."""
    _, _, height, width = images.shape
    rows = torch.arange(height, device=images.device) - down[:, None]
    columns = torch.arange(width, device=images.device) - right[:, None]
    row_index = rows.clamp(0, height - 1)[:, None, :, None].expand(images.shape)
    column_index = columns.clamp(0, width - 1)[:, None, None, :].expand(images.shape)
    moved = images.gather(2, row_index).gather(3, column_index)
    if repeat_border:
        return moved
    known_rows = (rows >= 0) & (rows < height)
    known_columns = (columns >= 0) & (columns < width)
    known = known_rows[:, None, :, None] & known_columns[:, None, None, :]
    return torch.where(known, moved, 0)


def _rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Turn each image counterclockwise about its centre, filled with 0."""
    _, _, height, width = images.shape
    angle = torch.deg2rad(degrees.to(images.dtype))
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # grid_sample counts both axes from -1 to 1, however long they are.
    x_row = torch.stack([cos, -sin * (height / width), zero], dim=1)
    y_row = torch.stack([sin * (width / height), cos, zero], dim=1)
    rotated = _resample(images, torch.stack([x_row, y_row], dim=1))
    # An image that does not turn stays exact: rounding would put a trace of ink into
    # the pixels around it and so take a pixel from its margin.
    return torch.where((degrees == 0)[:, None, None, None], images, rotated)


def _squeeze(images: Tensor, loss: Tensor, start: Tensor) -> Tensor:
    """Make each image narrower by `loss` pixels and let it begin at column `start`."""
    width = images.shape[3]
    rest = (width - loss).to(images.dtype)
    one, zero = torch.ones_like(rest), torch.zeros_like(rest)
    x_row = torch.stack([width / rest, zero, (width - 2 * start) / rest - 1], dim=1)
    y_row = torch.stack([zero, one, zero], dim=1)
    return _resample(images, torch.stack([x_row, y_row], dim=1))


def _erase(images: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """Set a patch of a seventh of each side to 0."""
    height, width = images.shape[2:]
    in_rows = _is_between(height, top, top + height // 7)
    in_columns = _is_between(width, left, left + width // 7)
    patch = in_rows[:, None, :, None] & in_columns[:, None, None, :]
    return torch.where(patch, 0, images)


def _is_between(side: int, start: Tensor, stop: Tensor) -> Tensor:
    """Return for each place along a side whether it is in ``range(start, stop)``."""
    places = torch.arange(side, device=start.device)
    return (places >= start[:, None]) & (places < stop[:, None])


def _resample(images: Tensor, theta: Tensor) -> Tensor:
    """Interpolate where the affine maps `theta`, from new to old places, point."""
    x, y = (_unit_places(images, side) for side in (3, 2))
    # torch's affine_grid refuses an empty batch, and its matrix product is rounded to
    # ten bits where a user allows that on a GPU: a hundredth of a pixel.
    maps = theta[:, None, None]
    grid = maps[..., 0] * x[:, None] + maps[..., 1] * y[:, None, None] + maps[..., 2]
    sampled: Tensor = grid_sample(images, grid, align_corners=False)
    return sampled


def _unit_places(images: Tensor, dim: int) -> Tensor:
    """Return the centres of the pixels along an axis, which goes from -1 to 1."""
    side = images.shape[dim]
    places = torch.arange(side, dtype=images.dtype, device=images.device)
    return (2 * places + 1) / side - 1


def _draw_offset(images: Tensor, limit: int) -> Tensor:
    """Draw a whole number from -limit to limit for each image."""
    return torch.randint(-limit, limit + 1, (len(images),), device=images.device)


def _draw_degrees(images: Tensor) -> Tensor:
    """Draw an angle for each image, 0 for half of them."""
    share = _DEVIATION * torch.randn(len(images), device=images.device)
    degrees = (_DEGREES * share.clamp(-_LARGEST, _LARGEST)).trunc()
    return torch.where(_toss(images), degrees, 0)


def _draw_shift_in_margin(images: Tensor) -> tuple[Tensor, Tensor]:
    """Draw the offsets of both axes, no further than where the ink meets the edge."""
    ink = (images > 0).any(dim=1)
    return (
        _draw_share_of_margin(images, ink.any(dim=2)),
        _draw_share_of_margin(images, ink.any(dim=1)),
    )


def _draw_share_of_margin(images: Tensor, has_ink: Tensor) -> Tensor:
    """Draw offsets along an axis; `has_ink`, (batch, side), tells the margins."""
    side = has_ink.shape[1]
    places = torch.arange(side, device=images.device)
    before = torch.where(has_ink, places, side).amin(dim=1)
    after = side - 1 - torch.where(has_ink, places, -1).amax(dim=1)
    share = _draw_half_normal(images)
    # Rounded down from a share of one pixel more, so that the whole margin is reached.
    forward, back = (share * (1 + after)).long(), (share * (1 + before)).long()
    return torch.where(_toss(images), forward, -back)


def _draw_squeeze(images: Tensor) -> tuple[Tensor, Tensor]:
    """Draw by how many pixels each image narrows and at which column it begins."""
    width = images.shape[3]
    loss = (_draw_half_normal(images) * (width / 4)).long() + 1
    loss = loss.clamp(max=width // 4)
    further = (_draw_half_normal(images) * 2).long()
    return loss, loss // 2 + further


def _draw_patch_start(images: Tensor, side: int) -> Tensor:
    """Draw where along a side the patch begins: 4 to 22 of 28 pixels."""
    first, last = side // 7, side - side // 7 - side // 14
    return torch.randint(first, last + 1, (len(images),), device=images.device)


def _draw_half_normal(images: Tensor) -> Tensor:
    """Draw from 0 to just below 1 for each image."""
    normal = torch.randn(len(images), device=images.device)
    return (_DEVIATION * normal).abs().clamp(max=_LARGEST)


def _toss(images: Tensor) -> Tensor:
    """Draw yes or no for each image."""
    return torch.rand(len(images), device=images.device) < 0.5
