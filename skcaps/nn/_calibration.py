"""Initial weights that fit the images, so that every network starts able to learn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import singledispatch

import torch
from torch import Tensor, nn

from skcaps.functional import SQUASHES, lengths, mask_by_label, uniform_routing
from skcaps.functional._squash import Squash
from skcaps.nn._capsules import CapsuleLayer
from skcaps.nn._decoders import ConvDecoder, DenseDecoder
from skcaps.nn._networks import CapsuleNetwork
from skcaps.nn._primary import DepthwisePrimaryCapsules, PrimaryCapsules
from skcaps.nn._stems import CapsNetStem
from skcaps.nn.routing import ActivationRouting, Routing

# About what CapsNet's published values give on the images that it was published for:
# primary capsules of length 0.08 from features of standard deviation 0.125. Adam moves
# all weights equally far, so larger features would make steps that are too large: with
# standard deviation 1 and lengths of 0.5 and 0.4, 7.0 instead of 4.7 % of held-out
# digits were wrong (docs/benchmarks.md).
_LENGTH = 0.1
_SPREAD = 0.125
# Of a layer's capsules, by its squash. The first is flat at 0, so it may not start
# shorter. The second is not, and there a short start generalizes better: 0.1 instead of
# 0.01 costs 16 points on 20 noisy patterns (docs/benchmarks.md).
_LAYER_LENGTHS = {"squash": 0.1, "squash_exp": 0.01}
_TOLERANCE = 0.05
_MOST_TRIES = 20
# Below 1 / 2, the inverse of the quadratic squash at 0, it would need more tries;
# above 1 it would swing.
_CAUTION = 0.7
# A pixel that is black in all images may not start at minus infinity.
_DARKEST, _BRIGHTEST = 0.01, 0.99


@torch.no_grad()
def calibrate(
    network: CapsuleNetwork,
    images: Tensor,
    targets: Tensor,
    sample_weight: Tensor | None = None,
) -> None:
    r"""Scale the initial weights of a network in place, layer by layer.

    Afterwards each channel of CapsNet's stem has mean 0 and standard deviation 0.125
    before its ReLU, and each channel of the primary capsules has mean 0. The mean
    length is 0.1 for the primary capsules. For those of every layer above, where all
    children are shared equally, it is 0.1 by the squash of CapsNet and 0.01 by that of
    Efficient-CapsNet, a routing bias left out, and what a routing without a squash
    wants. The decoder starts with the mean image, its seed, if it has one, with
    standard deviation 0.125 for poses of length 0.1. So the start depends neither on
    the number of classes, capsules and layers nor on how bright the images are.
    Directions stay as they were drawn.

    Parameters
    ----------
    network : CapsuleNetwork
        On the device and of the dtype of `images`. Its mode and its running statistics
        stay as they are.
    images : Tensor of shape (batch, channels, height, width)
        Some tens of training images, values in [0, 1].
    targets : Tensor of shape (batch, n_classes)
        1 where the class is present, else 0.
    sample_weight : Tensor of shape (batch,), optional
        Weights of the images; one of weight two counts like two images.

    Notes
    -----
    Of a matrix capsule network only the decoder is changed.

    What has no scale stays as it is: a channel that is constant over all images, and a
    layer whose capsules all have length 0.

    References
    ----------
    Krähenbühl, Doersch, Donahue, Darrell (2016), "Data-dependent initializations of
    convolutional neural networks", arXiv 1511.06856; Mishkin, Matas (2016), "All you
    need is a good init", arXiv 1511.06422. The lengths were chosen for skcaps.

    Examples
    --------
    >>> import torch
    >>> from skcaps.functional import lengths
    >>> from skcaps.nn import calibrate, capsnet
    >>> network = capsnet((1, 28, 28), n_classes=2, conv_channels=16)
    >>> images, targets = torch.rand(32, 1, 28, 28), torch.eye(2).repeat(16, 1)
    >>> calibrate(network, images, targets)
    >>> round(lengths(network(images).poses).mean().item(), 1)
    0.1
    """
    # Images whose channels come last would be added up in another order.
    images = images.contiguous()
    weight = torch.ones_like(images[:, 0, 0, 0])
    if sample_weight is not None:
        weight = sample_weight.to(weight.dtype)
    with _in_training(network):
        _calibrate(network.stem, images, weight)
        features = network.stem(images, sample_weight)
        _calibrate(network.primary, features, weight)
        poses, activations = network.separate(network.primary(features))
        for layer in network.layers:
            _calibrate(layer, poses, weight)
            _, _, activations = routed = layer(poses, activations)
            poses = routed.poses
        if network.decoder is not None:
            masked = mask_by_label(poses, targets.to(poses.dtype)).flatten(1)
            _calibrate(network.decoder, _to_length(masked, weight), weight)
            _start_with_mean_image(network.decoder, images, weight)


@singledispatch
def _calibrate(module: nn.Module, inputs: Tensor, weight: Tensor) -> None:
    """Leave a module of another kind as it is, such as a normalized stem."""


@_calibrate.register
def _(stem: CapsNetStem, inputs: Tensor, weight: Tensor) -> None:
    conv = stem.conv
    _center(conv, inputs, weight)
    variance = _channel_means(conv(inputs).square(), weight)
    scale = _SPREAD * torch.where(variance > 0, variance, _SPREAD**2).rsqrt()
    conv.weight *= scale.view(-1, 1, 1, 1)
    _bias(conv).mul_(scale)


@_calibrate.register(PrimaryCapsules)
@_calibrate.register(DepthwisePrimaryCapsules)
def _(
    primary: PrimaryCapsules | DepthwisePrimaryCapsules, inputs: Tensor, weight: Tensor
) -> None:
    conv = primary.conv
    _center(conv, inputs, weight)
    _scale_to_length(
        (conv.weight, _bias(conv)),
        lambda: _mean_length(primary(inputs), weight),
        _LENGTH,
    )


@_calibrate.register
def _(layer: CapsuleLayer, inputs: Tensor, weight: Tensor) -> None:
    shorten, wanted = _start(layer.routing)

    # By another coupling large weights may make one parent long, all others short; and
    # a bias alone may make them longer than they should be.
    def measure() -> float:
        routed = uniform_routing(inputs, layer.weight, squash=shorten)
        return _mean_length(routed.poses, weight)

    _scale_to_length((layer.weight,), measure, wanted)


def _start(routing: Routing) -> tuple[Squash, float]:
    """Return how a routing shortens poses, and how long they should start."""
    if isinstance(routing, ActivationRouting):
        return _keep, routing.start_length
    name = routing.squash
    return SQUASHES[name], _LAYER_LENGTHS.get(name, _LENGTH)


def _keep(poses: Tensor) -> Tensor:
    return poses


@_calibrate.register
def _(decoder: ConvDecoder, inputs: Tensor, weight: Tensor) -> None:
    spread = _weighted_mean(decoder.seed(inputs).square(), weight).sqrt()
    if spread > 0:
        decoder.seed.weight *= _SPREAD / spread


def _to_length(masked: Tensor, weight: Tensor) -> Tensor:
    """Scale poses, so that a decoder's start does not depend on how short they are.

    In training squashed ones will all grow to about 0.9, and a seed that was large for
    short ones would then have driven the output to where the sigmoid is flat.
    """
    found = _mean_length(masked.unsqueeze(1), weight)
    return masked * (_LENGTH / found) if found else masked


def _start_with_mean_image(decoder: nn.Module, images: Tensor, weight: Tensor) -> None:
    """Set the last bias; a decoder of users has its own start."""
    if not isinstance(decoder, DenseDecoder | ConvDecoder):
        return
    mean = torch.einsum("bchw,b->chw", images, weight) / weight.sum()
    mean = nn.functional.adaptive_avg_pool2d(mean, decoder.decoded_shape[1:])
    odds = torch.logit(mean.clamp(_DARKEST, _BRIGHTEST))
    if isinstance(decoder, DenseDecoder):
        _bias(decoder.layers[-1]).copy_(odds.flatten())
    else:
        _bias(decoder.convs[-1]).copy_(odds.mean(dim=(1, 2)))


def _scale_to_length(
    parameters: Sequence[Tensor], measure: Callable[[], float], wanted: float
) -> None:
    """Scale parameters until what is measured is about the wanted mean length."""
    for _ in range(_MOST_TRIES):
        found = measure()
        if not found or not math.isfinite(found):
            return
        if abs(found / wanted - 1) < _TOLERANCE:
            return
        for parameter in parameters:
            parameter *= (wanted / found) ** _CAUTION


def _center(conv: nn.Conv2d, inputs: Tensor, weight: Tensor) -> None:
    """Give every channel mean 0, so that what all images share says nothing."""
    _bias(conv).sub_(_channel_means(conv(inputs), weight))


def _channel_means(maps: Tensor, weight: Tensor) -> Tensor:
    return (weight @ maps.mean(dim=(2, 3))) / weight.sum()


def _mean_length(poses: Tensor, weight: Tensor) -> float:
    return float(_weighted_mean(lengths(poses), weight))


def _weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    return (weight @ values.flatten(1).mean(dim=1)) / weight.sum()


def _bias(layer: nn.Module) -> Tensor:
    bias = layer.bias
    assert isinstance(bias, Tensor)
    return bias


@contextmanager
def _in_training(network: nn.Module) -> Iterator[None]:
    """Normalize by the batch, as training will, and keep the running statistics."""
    modes = [(module, module.training) for module in network.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    network.train()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for buffer, before in buffers:
            buffer.copy_(before)
