"""Whole networks, from images to class capsules and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from skcaps.functional import Routed
from skcaps.functional._recording import is_recorded
from skcaps.nn._capsules import CapsuleLayer
from skcaps.nn._checks import check_counts, check_hidden_capsules, check_positive
from skcaps.nn._decoders import DECODERS
from skcaps.nn._geometry import (
    ConvGeometry,
    capsnet_geometry,
    efficient_capsnet_geometry,
    primary_geometry,
)
from skcaps.nn._primary import DepthwisePrimaryCapsules, PrimaryCapsules
from skcaps.nn._stems import CapsNetStem, CustomStem, EfficientCapsNetStem

ImageShape = tuple[int, int, int]


class CapsuleNetwork(nn.Module):
    """Stem, primary capsules, capsule layers and, if wanted, a decoder.

    Parameters
    ----------
    stem : torch.nn.Module
        Called as ``stem(images, sample_weight)``; returns feature maps. On a CPU it
        gets at most `images_at_a_time`, if it has this attribute.
    primary : torch.nn.Module
        Gives poses from feature maps; has `out_caps` and `out_dim`.
    layers : sequence of CapsuleLayer
        At least one; the last one's capsules are the classes.
    decoder : torch.nn.Module or None
        Decodes flat masked poses to images.

    Notes
    -----
    Shapes: ``(batch, channels, height, width)`` to a `Routed` of ``(batch, n_classes,
    pose_dim)`` poses, the last layer's ``(batch, caps_in, n_classes)`` coupling and
    ``(batch, n_classes)`` activations.

    References
    ----------
    Sabour, Frosst, Hinton (2017), figures 1 and 2.

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import capsnet
    >>> network = capsnet((1, 28, 28), n_classes=10)
    >>> poses, coupling, _ = network(torch.rand(2, 1, 28, 28))
    >>> poses.shape, coupling.shape
    (torch.Size([2, 10, 16]), torch.Size([2, 1152, 10]))
    >>> network.reconstruct(poses).shape
    torch.Size([2, 1, 28, 28])
    """

    def __init__(
        self,
        stem: nn.Module,
        primary: nn.Module,
        layers: Sequence[CapsuleLayer],
        decoder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.primary = primary
        self.layers = nn.ModuleList(layers)
        self.decoder = decoder

    def forward(self, images: Tensor, sample_weight: Tensor | None = None) -> Routed:
        """Return the class capsules of images with values in [0, 1]."""
        poses = self.encode(images, sample_weight).to(images.dtype)
        # Sums over hundreds of children lose too much in bfloat16.
        with torch.autocast(images.device.type, enabled=False):
            return self.route(poses)

    def encode(self, images: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Return the primary capsules, shape ``(batch, caps, dim)``."""
        parts = [
            self.primary(self.stem(part, sample_weight)) for part in self._parts(images)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _parts(self, images: Tensor) -> Sequence[Tensor]:
        """Cut a batch on the CPU, where that changes nothing but memory and time."""
        # A compiler places the tensors itself, and would compile every part anew.
        compiled = torch.compiler.is_compiling() or is_recorded()
        whole = images.device.type != "cpu" or compiled
        most = getattr(self.stem, "images_at_a_time", None)
        return (images,) if whole or most is None else images.split(most)

    def separate(self, capsules: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return poses and activations of primary capsules; here lengths are those."""
        return capsules, None

    def route(self, poses: Tensor) -> Routed:
        """Return the class capsules from primary capsules."""
        poses, activations = self.separate(poses)
        for layer in self.layers:
            routed: Routed = layer(poses, activations)
            poses, activations = routed.poses, routed.activations
        return routed

    def reconstruct(self, poses: Tensor) -> Tensor:
        """Decode images from masked poses of shape ``(batch, n_classes, pose_dim)``."""
        if self.decoder is None:
            raise ValueError("This network has no decoder; build it with one.")
        images: Tensor = self.decoder(poses.flatten(1))
        return images


def capsnet(
    image_shape: ImageShape,
    n_classes: int,
    *,
    stem: str | nn.Module = "paper",
    conv_channels: int = 256,
    kernel_size: int = 9,
    primary_capsules: int = 32,
    primary_dim: int = 8,
    hidden_capsules: Sequence[tuple[int, int]] = (),
    pose_dim: int = 16,
    routing: str = "dynamic",
    routing_iterations: int = 3,
    share_weight: bool = False,
    routing_bias: bool = False,
    decoder: str | None = "dense",
) -> CapsuleNetwork:
    """Build the CapsNet of Sabour, Frosst and Hinton for any image size.

    Parameters
    ----------
    image_shape : tuple of int
        ``(channels, height, width)``.
    n_classes : int
        Number of class capsules, at least 2.
    stem : "paper" or torch.nn.Module, default="paper"
        A module from images to feature maps instead of the paper's convolution.
    conv_channels : int, default=256
        Channels of the first convolution.
    kernel_size : int, default=9
        Kernel of both convolutions where the image allows it; the first grows by the
        rows that would be left over.
    primary_capsules : int, default=32
        Types of primary capsules at each place of the grid.
    primary_dim : int, default=8
        Dimension of the primary capsules.
    hidden_capsules : sequence of (int, int), default=()
        Number and dimension of the capsules in further layers before the classes.
    pose_dim : int, default=16
        Dimension of the class capsules.
    routing : str, default="dynamic"
        A key of `skcaps.nn.ROUTINGS`.
    routing_iterations : int, default=3
        Iterations, where the routing has some.
    share_weight : bool, default=False
        Let all capsules of a layer share one matrix for each capsule above, as in
        AffCapsNet, in place of one for each pair: 5,330,944 trainable parameters
        where the paper's network has 6,804,224.
    routing_bias : bool, default=False
        The trained vector that the released code, not the paper, adds to each class
        capsule.
    decoder : {"dense", "conv"} or None, default="dense"
        What decodes poses to images.

    Returns
    -------
    network : CapsuleNetwork
        For 28x28 images, 10 classes and no decoder: 6,804,224 trainable parameters.

    Raises
    ------
    ValueError
        If a size or an option is out of range.

    References
    ----------
    Sabour, Frosst, Hinton (2017), "Dynamic routing between capsules", arXiv
    1710.09829, section 4; initial values of the released code.
    Gu, Tresp (2020), "Improving the robustness of capsule networks to image affine
    transformations", CVPR, arXiv 1911.07968, for `share_weight`.

    Examples
    --------
    >>> from skcaps.nn import capsnet
    >>> network = capsnet((1, 28, 28), 10, decoder=None)
    >>> sum(p.numel() for p in network.parameters())
    6804224
    """
    check_sizes(image_shape, n_classes)
    check_positive(
        conv_channels=conv_channels,
        kernel_size=kernel_size,
        primary_capsules=primary_capsules,
        primary_dim=primary_dim,
        pose_dim=pose_dim,
        routing_iterations=routing_iterations,
    )
    if isinstance(stem, nn.Module):
        custom = CustomStem(stem, image_shape)
        conv_channels, *sides = custom.out_shape
        (last,) = primary_geometry(*sides, kernel_size=kernel_size)
        trunk: nn.Module = custom
    else:
        check_stem(stem)
        first, last = capsnet_geometry(*image_shape[1:], kernel_size=kernel_size)
        trunk = CapsNetStem(image_shape[0], conv_channels, first)
    primary = PrimaryCapsules(conv_channels, primary_capsules, primary_dim, last)
    layers = _capsule_layers(
        primary,
        hidden_capsules,
        (n_classes, pose_dim),
        routing=routing,
        iterations=routing_iterations,
        share_weight=share_weight,
        bias=routing_bias,
        weight_std=_capsnet_std,
    )
    head = build_decoder(decoder, n_classes * pose_dim, image_shape, "normal")
    return CapsuleNetwork(trunk, primary, layers, head)


def efficient_capsnet(
    image_shape: ImageShape,
    n_classes: int,
    *,
    stem: str | nn.Module = "paper",
    conv_channels: Sequence[int] = (32, 64, 64, 128),
    primary_capsules: str | int = "auto",
    primary_dim: int = 8,
    hidden_capsules: Sequence[tuple[int, int]] = (),
    pose_dim: int = 16,
    routing: str = "self_attention",
    routing_iterations: int = 3,
    share_weight: bool = False,
    norm: str = "auto",
    decoder: str | None = "dense",
) -> CapsuleNetwork:
    """Build the Efficient-CapsNet of Mazzia, Salvetti and Chiaberge.

    Parameters
    ----------
    image_shape : tuple of int
        ``(channels, height, width)``.
    n_classes : int
        Number of class capsules, at least 2.
    stem : "paper" or torch.nn.Module, default="paper"
        A module from images to feature maps instead of the paper's convolutions.
    conv_channels : sequence of int, default=(32, 64, 64, 128)
        Channels of each convolution.
    primary_capsules : "auto" or int, default="auto"
        Number of primary capsules. "auto" makes one of every `primary_dim` channels of
        the last convolution; a number sets those channels instead.
    primary_dim : int, default=8
        Dimension of the primary capsules.
    hidden_capsules : sequence of (int, int), default=()
        Number and dimension of the capsules in further layers before the classes.
    pose_dim : int, default=16
        Dimension of the class capsules.
    routing : str, default="self_attention"
        A key of `skcaps.nn.ROUTINGS`.
    routing_iterations : int, default=3
        Iterations, where the routing has some.
    share_weight : bool, default=False
        Let all capsules of a layer share one matrix for each capsule above, as in
        AffCapsNet, in place of one for each pair.
    norm : {"auto", "batch", "instance"}, default="auto"
        Normalization of the stem. "auto" is the paper's: by instance for its
        smallNORB images of shape (2, 48, 48), by batch for all others.
    decoder : {"dense", "conv"} or None, default="dense"
        What decodes poses to images.

    Returns
    -------
    network : CapsuleNetwork
        For 28x28 images, 10 classes and no decoder: 161,824 trainable parameters.

    Raises
    ------
    ValueError
        If a size or an option is out of range.

    References
    ----------
    Mazzia, Salvetti, Chiaberge (2021), "Efficient-CapsNet: capsule network with
    self-attention routing", Scientific Reports 11, 14634, section 3.
    Gu, Tresp (2020), "Improving the robustness of capsule networks to image affine
    transformations", CVPR, arXiv 1911.07968, for `share_weight`.

    Examples
    --------
    >>> from skcaps.nn import efficient_capsnet
    >>> network = efficient_capsnet((1, 28, 28), 10, decoder=None)
    >>> sum(p.numel() for p in network.parameters())
    161824
    """
    check_sizes(image_shape, n_classes)
    check_positive(
        primary_dim=primary_dim,
        pose_dim=pose_dim,
        routing_iterations=routing_iterations,
    )
    if primary_capsules != "auto":
        check_positive(primary_capsules=primary_capsules)
    check_counts(
        "conv_channels", conv_channels, "the channels of one or more convolutions"
    )
    if isinstance(stem, nn.Module):
        custom = CustomStem(stem, image_shape)
        channels, *sides = custom.out_shape
        last = ConvGeometry((sides[0], sides[1]), (1, 1), (1, 1))
        trunk: nn.Module = custom
    else:
        check_stem(stem)
        if primary_capsules != "auto":
            conv_channels = (*conv_channels[:-1], int(primary_capsules) * primary_dim)
        *geometry, last = efficient_capsnet_geometry(
            *image_shape[1:], n_convolutions=len(conv_channels)
        )
        norm = published_norm(image_shape) if norm == "auto" else norm
        trunk = EfficientCapsNetStem(image_shape[0], conv_channels, geometry, norm=norm)
        channels = conv_channels[-1]
    primary = DepthwisePrimaryCapsules(channels, primary_dim, last)
    if primary_capsules not in ("auto", primary.out_caps):
        raise ValueError(
            f"The stem's {channels} channels make {primary.out_caps} capsules of "
            f"primary_dim={primary_dim}, got primary_capsules={primary_capsules}; "
            'pass "auto".'
        )
    layers = _capsule_layers(
        primary,
        hidden_capsules,
        (n_classes, pose_dim),
        routing=routing,
        iterations=routing_iterations,
        share_weight=share_weight,
        squash="squash_exp",
        weight_std=_keras_he_std,
    )
    head = build_decoder(decoder, n_classes * pose_dim, image_shape, "variance_scaling")
    return CapsuleNetwork(trunk, primary, layers, head)


def _capsule_layers(
    primary: PrimaryCapsules | DepthwisePrimaryCapsules,
    hidden: Sequence[tuple[int, int]],
    classes: tuple[int, int],
    *,
    weight_std: Callable[[int, int, int], float],
    **options: Any,
) -> list[CapsuleLayer]:
    """Chain capsule layers of the given (number, dimension) pairs."""
    check_hidden_capsules(hidden)
    chain = ((primary.out_caps, primary.out_dim), *hidden, classes)
    return [
        CapsuleLayer(*below, *above, weight_std=weight_std(*below, above[0]), **options)
        for below, above in pairwise(chain)
    ]


def _capsnet_std(in_caps: int, in_dim: int, out_caps: int) -> float:
    """0.1 at the paper's 1152 capsules; elsewhere the sums keep that variance."""
    return 0.1 * math.sqrt(1152 * 8 / (in_caps * in_dim))


def _keras_he_std(in_caps: int, in_dim: int, out_caps: int) -> float:
    """Deviation before the cut that Keras' he_normal gives a 4-D capsule weight."""
    return math.sqrt(2 / (out_caps * in_caps * in_dim)) / 0.87962566103423978


def build_decoder(
    name: str | None, n_inputs: int, image_shape: ImageShape, dense: str
) -> nn.Module | None:
    """Build a decoder; the convolutional one belongs to one paper only."""
    if name is None:
        return None
    if name not in DECODERS:
        raise ValueError(
            f"decoder must be one of {sorted(DECODERS)} or None, got {name!r}."
        )
    initialization = {"dense": dense, "conv": "variance_scaling"}[name]
    return DECODERS[name](n_inputs, image_shape, initialization=initialization)


def published_norm(image_shape: ImageShape) -> str:
    """Name the norm that the Efficient-CapsNet paper uses for images of this shape."""
    return "instance" if tuple(image_shape) == (2, 48, 48) else "batch"


def check_sizes(image_shape: ImageShape, n_classes: int) -> None:
    whole = all(isinstance(side, Integral) for side in image_shape)
    if len(image_shape) != 3 or not whole or min(image_shape) < 1:
        raise ValueError(
            "image_shape must be (channels, height, width) with positive integers, got "
            f"{tuple(image_shape)}."
        )
    if n_classes < 2:
        raise ValueError(f"n_classes must be at least 2, got {n_classes}.")


def check_stem(stem: str) -> None:
    if stem != "paper":
        raise ValueError(f'stem must be "paper" or a torch.nn.Module, got {stem!r}.')
