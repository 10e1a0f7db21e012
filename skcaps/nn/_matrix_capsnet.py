"""The matrix capsule network, routed by EM or by variational Bayes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from skcaps.functional import Routed
from skcaps.nn._capsule_convolution import CapsuleConv2d, ClassCapsules2d
from skcaps.nn._checks import check_hidden_capsules, check_option, check_positive
from skcaps.nn._geometry import (
    ConvGeometry,
    matrix_capsnet_geometry,
    matrix_primary_geometry,
)
from skcaps.nn._initialization import glorot_normal_, he_normal_
from skcaps.nn._networks import (
    CapsuleNetwork,
    ImageShape,
    build_decoder,
    check_sizes,
    check_stem,
)
from skcaps.nn._norm import BatchNorm
from skcaps.nn._stems import CustomStem
from skcaps.nn.routing import MIXTURES

_ROWS = 4
# Of votes at the start, in lengths of a pose. Activations see differences in the
# logarithm of the variance: with votes as long as poses all parents start alike, and
# hardly learn. In variational Bayes the prior has variance 1, beside which votes are to
# be short; in the capsule convolutions of Ribeiro et al.'s code they start as here.
_VOTE_LENGTHS = {"em": 0.2, "vb": 0.05}
# Means of short votes are shorter still, layer after layer, and beside the prior soon
# nothing. EM has no prior: a length adds a constant to its cost.
_NORMS: dict[str, dict[str, Any]] = {"em": {}, "vb": {"pose_norm": "batch"}}


class MatrixCapsNetStem(nn.Module):
    """The first convolution of a matrix capsule network with its ReLU.

    Parameters
    ----------
    in_channels : int
        Channels of the image.
    out_channels : int
        Channels of the feature map.
    geometry : ConvGeometry
        Kernel and stride, see `matrix_capsnet_geometry`.
    norm : "batch" or None, default=None
        Batch normalization before the ReLU, in place of a bias.

    Raises
    ------
    ValueError
        If `norm` is unknown.

    Notes
    -----
    Shapes: ``(batch, in_channels, height, width)`` to
    ``(batch, out_channels, *geometry.output)``.

    References
    ----------
    Hinton, Sabour, Frosst (2018), section 4; with the normalization the code of
    Ribeiro, Leontidis, Kollias (2020).

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import MatrixCapsNetStem, matrix_capsnet_geometry
    >>> stem = MatrixCapsNetStem(1, 64, matrix_capsnet_geometry(28, 28)[0])
    >>> stem(torch.rand(2, 1, 28, 28)).shape
    torch.Size([2, 64, 12, 12])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        geometry: ConvGeometry,
        *,
        norm: str | None = None,
    ) -> None:
        super().__init__()
        self.conv = _conv(in_channels, out_channels, geometry, norm)
        he_normal_(self.conv.weight, self.conv.weight[0].numel())
        self.norm = None if norm is None else BatchNorm(out_channels)

    def forward(self, images: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Map images to feature maps; batch statistics are weighted."""
        features: Tensor = self.conv(images)
        if self.norm is not None:
            features = self.norm(features, sample_weight)
        return torch.relu(features)


class MatrixPrimaryCapsules(nn.Module):
    """Primary capsules with poses and activations, one convolution for both.

    Parameters
    ----------
    in_channels : int
        Channels of the feature map.
    types : int
        Capsules at each place.
    dim : int
        Numbers of a pose.
    geometry : ConvGeometry
        Kernel and stride.
    norm : "batch" or None, default=None
        Batch normalization of the poses, and of what the sigmoid makes activations of,
        for each type, in place of a bias. Sample weights have no part in it.

    Raises
    ------
    ValueError
        If `norm` is unknown.

    Notes
    -----
    Shapes: ``(batch, in_channels, height, width)`` to ``(batch, types, dim + 1,
    *geometry.output)``: poses, and last the logit of the activation.

    References
    ----------
    Hinton, Sabour, Frosst (2018), section 4; with the normalization the code of
    Ribeiro, Leontidis, Kollias (2020).

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import MatrixPrimaryCapsules, matrix_capsnet_geometry
    >>> geometry = matrix_capsnet_geometry(28, 28)[1]
    >>> MatrixPrimaryCapsules(64, 8, 16, geometry)(torch.rand(2, 64, 12, 12)).shape
    torch.Size([2, 8, 17, 12, 12])
    """

    def __init__(
        self,
        in_channels: int,
        types: int,
        dim: int,
        geometry: ConvGeometry,
        *,
        norm: str | None = None,
    ) -> None:
        super().__init__()
        self.conv = _conv(in_channels, types * (dim + 1), geometry, norm)
        self.types, self.dim = types, dim
        fan_in = self.conv.weight[0].numel()
        glorot_normal_(self.conv.weight, fan_in, fan_in)
        self.pose_norm = None if norm is None else BatchNorm(types)
        self.score_norm = None if norm is None else BatchNorm(types)

    def forward(self, features: Tensor) -> Tensor:
        """Return ``(batch, types, dim + 1, rows, columns)``: poses and logits."""
        maps = self.conv(features).unflatten(1, (self.types, self.dim + 1))
        if self.pose_norm is None or self.score_norm is None:
            capsules: Tensor = maps
            return capsules
        poses, scores = maps.split((self.dim, 1), dim=2)
        # All numbers of a type's poses have one mean and one variance.
        flat = self.pose_norm(poses.flatten(2, 3))
        normal = flat.unflatten(2, poses.shape[2:4])
        return torch.cat([normal, self.score_norm(scores[:, :, 0])[:, :, None]], dim=2)

    def extra_repr(self) -> str:
        """Return what goes in and out."""
        return f"{self.conv.in_channels} channels -> {self.types} types x {self.dim}"


class MatrixCapsuleNetwork(CapsuleNetwork):
    """Stem, primary capsules on a map, capsule convolutions and class capsules.

    Parameters
    ----------
    stem : torch.nn.Module
        As for `CapsuleNetwork`.
    primary : MatrixPrimaryCapsules
        Gives poses and the logits of activations.
    layers : sequence of CapsuleConv2d, and last a ClassCapsules2d or CapsuleConv2d
        The last one's capsules are the classes.
    decoder : torch.nn.Module or None
        As for `CapsuleNetwork`.

    Notes
    -----
    Shapes: those of `CapsuleNetwork`.

    References
    ----------
    Hinton, Sabour, Frosst (2018), figure 1.

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import matrix_capsnet
    >>> network = matrix_capsnet((1, 28, 28), n_classes=5)
    >>> poses, coupling, activations = network(torch.rand(2, 1, 28, 28))
    >>> poses.shape, coupling.shape, activations.shape
    (torch.Size([2, 5, 16]), torch.Size([2, 144, 5]), torch.Size([2, 5]))
    """

    def __init__(
        self,
        stem: nn.Module,
        primary: MatrixPrimaryCapsules,
        layers: Sequence[CapsuleConv2d | ClassCapsules2d],
        decoder: nn.Module | None = None,
    ) -> None:
        super().__init__(stem, primary, (), decoder)
        self.layers = nn.ModuleList(layers)

    def separate(self, capsules: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return poses and activations, whose logits are beside the poses."""
        poses, logits = capsules.split((capsules.shape[2] - 1, 1), dim=2)
        return poses, torch.sigmoid(logits.squeeze(2))

    def route(self, poses: Tensor) -> Routed:
        """Return the class capsules from primary capsules, their logits beside them."""
        routed = super().route(poses)
        if routed.poses.ndim == 3:
            return routed
        # A convolution of which the kernel is the map.
        found, coupling, active = routed
        assert active is not None
        return Routed(found.flatten(2), coupling[:, 0, 0], active.flatten(1))


def matrix_capsnet(
    image_shape: ImageShape,
    n_classes: int,
    *,
    stem: str | nn.Module = "paper",
    conv_channels: int = 64,
    primary_capsules: int = 8,
    primary_dim: int = 16,
    hidden_capsules: Sequence[tuple[int, int]] = ((16, 16), (16, 16)),
    pose_dim: int = 16,
    routing: str = "em",
    routing_iterations: int = 3,
    decoder: str | None = None,
) -> CapsuleNetwork:
    """Build the matrix capsule network of Hinton, Sabour and Frosst for any image size.

    With ``routing="vb"`` it is that of Ribeiro, Leontidis and Kollias: convolution,
    primary capsules and the poses of all others are normalized by the batch.

    Parameters
    ----------
    image_shape : tuple of int
        ``(channels, height, width)``.
    n_classes : int
        Number of class capsules, at least 2.
    stem : "paper" or torch.nn.Module, default="paper"
        A module from images to feature maps instead of the paper's convolution.
    conv_channels : int, default=64
        Channels of the first convolution, the paper's A.
    primary_capsules : int, default=8
        Types of primary capsules at each place, the paper's B.
    primary_dim : int, default=16
        Numbers of a primary pose, a multiple of 4: a matrix of four rows.
    hidden_capsules : sequence of (int, int), default=((16, 16), (16, 16))
        Types, the paper's C and D, and numbers of a pose in each capsule convolution.
        With ``()`` primary capsules of 3x3 pixels are routed to the classes with a
        transformation for each place.
    pose_dim : int, default=16
        Numbers of a class pose, a multiple of 4.
    routing : {"em", "vb"}, default="em"
        A key of `skcaps.nn.MIXTURES`.
    routing_iterations : int, default=3
        Iterations in every layer.
    decoder : {"dense", "conv"} or None, default=None
        What decodes poses to images; the papers have none.

    Returns
    -------
    network : MatrixCapsuleNetwork
        For one channel and 5 classes: 67,154 trainable parameters with "em", for two
        channels 68,714 with "vb".

    Raises
    ------
    ValueError
        If a size or an option is out of range.

    References
    ----------
    Hinton, Sabour, Frosst (2018), "Matrix capsules with EM routing", section 4. ICLR.
    Ribeiro, Leontidis, Kollias (2020), "Capsule routing via variational Bayes", AAAI,
    arXiv 1905.11455.

    Examples
    --------
    >>> from skcaps.nn import matrix_capsnet
    >>> network = matrix_capsnet((1, 32, 32), 5)
    >>> sum(p.numel() for p in network.parameters())
    67154
    """
    check_sizes(image_shape, n_classes)
    check_option("routing", routing, MIXTURES)
    check_hidden_capsules(hidden_capsules)
    check_positive(
        conv_channels=conv_channels,
        primary_capsules=primary_capsules,
        primary_dim=primary_dim,
        pose_dim=pose_dim,
        routing_iterations=routing_iterations,
    )
    norm = "batch" if routing == "vb" else None
    n_convolutions = len(hidden_capsules)
    if isinstance(stem, nn.Module):
        custom = CustomStem(stem, image_shape)
        conv_channels, height, width = custom.out_shape
        trunk: nn.Module = custom
        at_primary, *geometry = matrix_primary_geometry(
            height, width, n_convolutions=n_convolutions
        )
    else:
        check_stem(stem)
        first, at_primary, *geometry = matrix_capsnet_geometry(
            *image_shape[1:], n_convolutions=n_convolutions
        )
        trunk = MatrixCapsNetStem(image_shape[0], conv_channels, first, norm=norm)
    primary = MatrixPrimaryCapsules(
        conv_channels, primary_capsules, primary_dim, at_primary, norm=norm
    )
    chain = ((primary_capsules, primary_dim), *hidden_capsules)
    layers: list[CapsuleConv2d | ClassCapsules2d] = [
        _convolution(below, above, layer, routing, routing_iterations)
        for (below, above), layer in zip(pairwise(chain), geometry, strict=True)
    ]
    classes = (n_classes, pose_dim)
    if hidden_capsules:
        layers.append(
            ClassCapsules2d(
                *chain[-1],
                *classes,
                pose_rows=_ROWS,
                routing=routing,
                weight_std=_std(chain[-1][1], routing),
                iterations=routing_iterations,
                **_NORMS[routing],
            )
        )
    else:
        whole = ConvGeometry(at_primary.output, (1, 1), (1, 1))
        layers.append(
            _convolution(chain[-1], classes, whole, routing, routing_iterations)
        )
    head = build_decoder(decoder, n_classes * pose_dim, image_shape, "normal")
    return MatrixCapsuleNetwork(trunk, primary, layers, head)


def _convolution(
    below: tuple[int, int],
    above: tuple[int, int],
    geometry: ConvGeometry,
    routing: str,
    iterations: int,
) -> CapsuleConv2d:
    return CapsuleConv2d(
        *below,
        *above,
        geometry.kernel,
        stride=geometry.stride,
        pose_rows=_ROWS,
        routing=routing,
        weight_std=_std(below[1], routing),
        iterations=iterations,
        **_NORMS[routing],
    )


def _std(dim: int, routing: str) -> float:
    """Return the deviation of weights that votes of a certain length start with."""
    return _VOTE_LENGTHS[routing] * math.sqrt(_ROWS / dim)


def _conv(
    in_channels: int, out_channels: int, geometry: ConvGeometry, norm: str | None
) -> nn.Conv2d:
    if norm is not None:
        check_option("norm", norm, ("batch",))
    kernel, stride, _ = geometry
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, bias=norm is None)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv
