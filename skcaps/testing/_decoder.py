"""The laws of decoders."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from skcaps.functional import squash
from skcaps.testing._laws import check_finite, close, hold, seeded


def check_decoder(decoder: Callable[..., nn.Module]) -> None:
    """Run the laws of decoders on new modules, on the CPU.

    Parameters
    ----------
    decoder : callable
        Such as a class of `skcaps.nn.DECODERS`: called as ``decoder(n_inputs,
        image_shape)`` it returns a module that maps flat masked poses ``(batch,
        n_inputs)`` to images ``(batch, *image_shape)``.

    Raises
    ------
    AssertionError
        If a law is broken; the message begins with its name. The laws, for grey and
        colour images, large ones, small ones and rows of pixels: the shape; values from
        0 to 1; no image depends on the others of its batch; other poses make another
        image; gradients reach the poses and are finite, also where a capsule is zero.

    References
    ----------
    Sabour, Frosst, Hinton (2017), section 4.1.

    Examples
    --------
    >>> from skcaps.nn import DenseDecoder
    >>> from skcaps.testing import check_decoder
    >>> check_decoder(DenseDecoder)
    """
    for shape in ((1, 28, 28), (3, 20, 12), (1, 1, 5), (2, 1, 1)):
        with seeded():
            module = decoder(2 * 4, shape)
            # As long as squashed poses.
            poses = squash(torch.randn(3, 2, 4))
        # As for one class of two, and as no mask leaves them.
        for seen in (poses * torch.tensor([[0.0], [1.0]]), poses):
            _check_images(module, seen.flatten(1), shape)


def _check_images(
    module: nn.Module, poses: Tensor, shape: tuple[int, int, int]
) -> None:
    poses.requires_grad_()
    images = module(poses)
    hold(
        "shape",
        tuple(images.shape) == (3, *shape),
        f"images must be {(3, *shape)}, got {tuple(images.shape)}",
    )
    low, high = images.min().item(), images.max().item()
    hold("values from 0 to 1", 0 <= low <= high <= 1, f"got {low} to {high}")
    alone = module(poses[1:2])
    close("independence of the images", alone, images[1:2], tolerance=1e-5)
    differs = not torch.equal(images[0], images[1])
    hold("other poses, another image", differs, "two poses made the same image")
    check_finite("finite gradients", images.sum(), [poses], module.parameters())
