"""The laws that every routing, squash, loss and decoder obeys, for anyone's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from skcaps.functional import Routed, lengths
from skcaps.functional import squash as _squash

__all__ = ["check_decoder", "check_loss", "check_routing", "check_squash"]

_TOLERANCE = 1e-9
# All different, so that a sum over a wrong axis has a wrong size or a wrong value.
_BATCH, _CAPS_IN, _CAPS_OUT, _DIM_IN, _DIM_OUT = 4, 6, 3, 2, 5


def check_routing(routing: Callable[..., nn.Module]) -> None:
    """Run the laws of routing on a new module, in evaluation, float64 and on the CPU.

    Parameters
    ----------
    routing : callable
        Such as a class of `skcaps.nn.ROUTINGS`: called as ``routing(in_caps, in_dim,
        out_caps, out_dim)`` it returns a module that maps poses ``(batch, in_caps,
        in_dim)``, a weight ``(in_caps, out_caps, in_dim, out_dim)`` and activations
        ``(batch, in_caps)`` to a `Routed`. With its initial parameters it must treat
        all capsules and all dimensions alike, so without a bias.

    Raises
    ------
    AssertionError
        If a law is broken; the message begins with its name. The laws: shapes and
        dtype; couplings from 0 to 1 that sum to 1 over the parents; activations from 0
        to 1; a permutation of children, parents or dimensions carries through; no image
        depends on the others of its batch, and one image alone may come; gradients
        reach poses and weight and are finite, also at poses and activations of zeros.
        Where the activations are the lengths of the poses, these are below 1, and a
        rotation of the votes turns the poses and leaves the couplings. Where those of
        the children have a part in it, the pose of a child with activation 0 has none.

    See Also
    --------
    skcaps.nn.Routing : What to subclass.

    References
    ----------
    Sabour, Frosst, Hinton (2017), section 2. A softmax over the children instead of
    the parents, the mistake most often found in ports, breaks the couplings' sum.

    Examples
    --------
    >>> from skcaps.nn import DynamicRouting
    >>> from skcaps.testing import check_routing
    >>> check_routing(DynamicRouting)
    """
    with _seeded():
        module = routing(_CAPS_IN, _DIM_IN, _CAPS_OUT, _DIM_OUT).double().eval()
        poses = torch.randn(_BATCH, _CAPS_IN, _DIM_IN, dtype=torch.float64)
        weight = torch.randn(
            (_CAPS_IN, _CAPS_OUT, _DIM_IN, _DIM_OUT), dtype=torch.float64
        )
        present = torch.rand(_BATCH, _CAPS_IN, dtype=torch.float64)
        rotation = torch.linalg.qr(torch.randn(_DIM_OUT, _DIM_OUT).double())[0]
    with torch.no_grad():
        routed = module(poses, weight, present)
        _check_routed(routed)
        if _is_by_length(routed):
            _check_lengths(routed, module(poses, weight @ rotation, present), rotation)
        children = torch.tensor([2, 0, 5, 1, 4, 3])
        _same(
            "permutation of the children",
            module(poses[:, children], weight[children], present[:, children]),
            routed.poses,
            routed.coupling[:, children],
            routed.activations,
        )
        parents = torch.tensor([2, 0, 1])
        _same(
            "permutation of the parents",
            module(poses, weight[:, parents], present),
            routed.poses[:, parents],
            routed.coupling[:, :, parents],
            None if routed.activations is None else routed.activations[:, parents],
        )
        dims = torch.tensor([3, 0, 4, 2, 1])
        _same(
            "permutation of the dimensions",
            module(poses, weight[..., dims], present),
            routed.poses[..., dims],
            routed.coupling,
        )
        for part in (slice(1, 3), slice(1, 2)):
            found = module(poses[part], weight, present[part])
            _same(
                "independence of the images of a batch",
                found,
                routed.poses[part],
                routed.coupling[part],
                None if routed.activations is None else routed.activations[part],
            )
        _check_absent(module, poses, weight, present)
    for factor in (1.0, 0.0):
        _check_gradients(module, factor * poses, weight, factor * present)


def _check_routed(routed: Routed) -> None:
    poses, coupling, activations = routed
    shapes = tuple(poses.shape), tuple(coupling.shape)
    expected = (_BATCH, _CAPS_OUT, _DIM_OUT), (_BATCH, _CAPS_IN, _CAPS_OUT)
    _hold(
        "shapes",
        shapes == expected,
        "poses must be (batch, out_caps, out_dim) and the coupling (batch, in_caps, "
        f"out_caps), here {expected}, got {shapes}",
    )
    dtypes = (poses.dtype, coupling.dtype)
    _hold("dtype", set(dtypes) == {torch.float64}, f"float64 became {dtypes}")
    low, high = coupling.min().item(), coupling.max().item()
    _hold(
        "range of the couplings",
        low >= -_TOLERANCE and high <= 1 + _TOLERANCE,
        f"they must be from 0 to 1, got {low:.4g} to {high:.4g}",
    )
    _close(
        "sum of the couplings over the parents",
        coupling.sum(dim=2),
        torch.ones_like(coupling[:, :, 0]),
    )
    if activations is not None:
        _hold(
            "activations",
            tuple(activations.shape) == (_BATCH, _CAPS_OUT)
            and bool(((activations >= 0) & (activations <= 1)).all()),
            "they must be (batch, out_caps) from 0 to 1, or None",
        )


def _is_by_length(routed: Routed) -> bool:
    """Return whether the lengths say how present the parents are."""
    poses, _, activations = routed
    return activations is None or torch.allclose(activations, lengths(poses))


def _check_lengths(routed: Routed, turned: Routed, rotation: Tensor) -> None:
    longest = lengths(routed.poses).max().item()
    _hold("lengths below 1", longest < 1, f"got {longest:.4g}")
    _same("rotation of the votes", turned, routed.poses @ rotation, routed.coupling)


def _check_absent(
    module: nn.Module, poses: Tensor, weight: Tensor, present: Tensor
) -> None:
    """Change the pose of a child that is not there."""
    without, moved = present.clone(), poses.clone()
    without[:, 2] = 0
    moved[:, 2] += 1
    before, after = (module(values, weight, without) for values in (poses, moved))
    # Not all routings ask how present the children are.
    if not torch.equal(before.poses, module(poses, weight, present).poses):
        law = "a child with activation 0"
        _close(f"{law}, poses", after.poses, before.poses)
        if before.activations is not None and after.activations is not None:
            _close(f"{law}, activations", after.activations, before.activations)


def _check_gradients(
    module: nn.Module, poses: Tensor, weight: Tensor, present: Tensor
) -> None:
    name = "finite gradients" if poses.any() else "finite gradients at zero"
    leaves = [poses.clone().requires_grad_(), weight.clone().requires_grad_()]
    # Nothing has to reach these.
    present = present.clone().requires_grad_()
    routed = module(*leaves, present)
    # A constant coupling has no gradient.
    total = routed.poses.sum() + routed.coupling.square().sum()
    if routed.activations is not None:
        total = total + routed.activations.sum()
    _check_finite(name, total, leaves, [present, *module.parameters()])


def check_squash(squash: Callable[[Tensor], Tensor]) -> None:
    """Run the laws of squashing on a function, in float64 on the CPU.

    Parameters
    ----------
    squash : callable
        Maps vectors ``(..., dim)`` to vectors of the same shape.

    Raises
    ------
    AssertionError
        If a law is broken; the message begins with its name. The laws: shape and dtype;
        the direction stays; the length is below 1 and grows with that of the vector;
        every vector counts for itself; zero stays zero; gradients are there and finite.

    References
    ----------
    Sabour, Frosst, Hinton (2017), equation 1.

    Examples
    --------
    >>> from skcaps.functional import squash
    >>> from skcaps.testing import check_squash
    >>> check_squash(squash)
    """
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(7, 4, generator=generator, dtype=torch.float64)
    directions = nn.functional.normalize(directions, dim=-1)
    norms = torch.logspace(-3, 1, 7, dtype=torch.float64)
    vectors = directions * norms.unsqueeze(1)
    found = squash(vectors)
    same = found.shape == vectors.shape and found.dtype == vectors.dtype
    _hold("shape and dtype", same, f"got {tuple(found.shape)} of {found.dtype}")
    long = lengths(found)
    _close("direction", found, directions * long.unsqueeze(1))
    _hold("length below 1", bool((long < 1).all()), f"got {long.max().item():.4g}")
    of_norm = lengths(squash(directions[:1] * norms.unsqueeze(1)))
    _hold(
        "growth with the vector",
        bool((of_norm.diff() > 0).all()),
        f"vectors of length {norms.tolist()} became {of_norm.tolist()}",
    )
    alone = torch.stack([squash(vector) for vector in vectors])
    _close("independence of the vectors", alone, found)
    zeros = torch.zeros_like(vectors)
    _hold("zero stays zero", not squash(zeros).any(), f"got {squash(zeros[0])}")
    for value in (vectors, zeros):
        leaf = value.clone().requires_grad_()
        _check_finite("finite gradients", squash(leaf).sum(), [leaf])


def check_loss(loss: Callable[..., Tensor]) -> None:
    """Run the laws of losses on a function, in float64 on the CPU.

    Parameters
    ----------
    loss : callable
        Called as ``loss(lengths, targets, sample_weight)``, with lengths and targets of
        shape ``(batch, n_classes)`` and weights of shape ``(batch,)`` or None; returns
        a number, ``sum(sample_weight * loss) / batch``.

    Raises
    ------
    AssertionError
        If a law is broken; the message begins with its name. The laws: one finite
        number, at least 0; a right answer costs less than a wrong one; the order of
        images and of classes makes no difference; the weights count as above;
        gradients are there and finite.

    References
    ----------
    Sabour, Frosst, Hinton (2017), section 3.

    Examples
    --------
    >>> from skcaps.functional import margin_loss
    >>> from skcaps.testing import check_loss
    >>> check_loss(margin_loss)
    """
    generator = torch.Generator().manual_seed(0)
    found = torch.rand(6, 4, generator=generator, dtype=torch.float64)
    targets = torch.eye(4, dtype=torch.float64)[[0, 1, 2, 3, 1, 1]]
    weight = torch.tensor([2.0, 0.0, 1.0, 0.5, 1.0, 3.0], dtype=torch.float64)
    whole = loss(found, targets, None)
    _hold("one number", whole.ndim == 0, f"got the shape {tuple(whole.shape)}")
    value = whole.item()
    _hold("at least 0", 0 <= value < torch.inf, f"got {value}")
    right, wrong = 0.1 + 0.8 * targets, 0.9 - 0.8 * targets
    right_value, wrong_value = (
        loss(answer, targets, None).item() for answer in (right, wrong)
    )
    _hold(
        "a right answer costs less",
        right_value < wrong_value,
        f"the right one costs {right_value:.4g}, the wrong one {wrong_value:.4g}",
    )
    _close("order of the images", loss(found.flip(0), targets.flip(0), None), whole)
    _close("order of the classes", loss(found.flip(1), targets.flip(1), None), whole)
    each = torch.stack(
        [loss(found[i : i + 1], targets[i : i + 1], None) for i in range(len(found))]
    )
    _close("mean over the images", each.mean(), whole)
    weighted = loss(found, targets, weight)
    _close("weights of the images", (weight * each).mean(), weighted)
    for lowest in (0.0, 0.5):
        leaf = (lowest * found).requires_grad_()
        _check_finite("finite gradients", loss(leaf, targets, weight), [leaf])


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
        with _seeded():
            module = decoder(2 * 4, shape)
            # As long as squashed poses.
            poses = _squash(torch.randn(3, 2, 4))
        # As for one class of two, and as no mask leaves them.
        for seen in (poses * torch.tensor([[0.0], [1.0]]), poses):
            _check_images(module, seen.flatten(1), shape)


def _check_images(
    module: nn.Module, poses: Tensor, shape: tuple[int, int, int]
) -> None:
    poses.requires_grad_()
    images = module(poses)
    _hold(
        "shape",
        tuple(images.shape) == (3, *shape),
        f"images must be {(3, *shape)}, got {tuple(images.shape)}",
    )
    low, high = images.min().item(), images.max().item()
    _hold("values from 0 to 1", 0 <= low <= high <= 1, f"got {low} to {high}")
    alone = module(poses[1:2])
    _close("independence of the images", alone, images[1:2], tolerance=1e-5)
    differs = not torch.equal(images[0], images[1])
    _hold("other poses, another image", differs, "two poses made the same image")
    _check_finite("finite gradients", images.sum(), [poses], module.parameters())


@contextmanager
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would seed every CUDA device too.
        torch.default_generator.manual_seed(0)
        yield


def _hold(law: str, holds: bool, found: str) -> None:
    if not holds:
        raise AssertionError(f"{law}: {found}.")


def _close(
    law: str, found: Tensor, expected: Tensor, tolerance: float = _TOLERANCE
) -> None:
    try:
        assert_close(found, expected, rtol=tolerance, atol=tolerance)
    except AssertionError as error:
        raise AssertionError(f"{law}: {error}") from error


def _same(
    law: str,
    found: Any,
    poses: Tensor,
    coupling: Tensor,
    activations: Tensor | None = None,
) -> None:
    _close(f"{law}, poses", found.poses, poses)
    _close(f"{law}, couplings", found.coupling, coupling)
    if activations is not None:
        _close(f"{law}, activations", found.activations, activations)


def _check_finite(
    law: str, total: Tensor, leaves: list[Tensor], others: Iterable[Tensor] = ()
) -> None:
    """Check gradients, and that those of the leaves are there."""
    own = [other for other in others if other.requires_grad]
    grads: list[Tensor | None] = [None] * len(leaves)
    if total.requires_grad:
        grads = list(torch.autograd.grad(total, [*leaves, *own], allow_unused=True))
    reached = all(grad is not None for grad in grads[: len(leaves)])
    _hold(law, reached, "an input gets none")
    finite = all(grad is None or bool(grad.isfinite().all()) for grad in grads)
    _hold(law, finite, "one is infinite or not a number")
