"""The laws of routing."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from skcaps.functional import Routed, lengths
from skcaps.testing._laws import TOLERANCE, check_finite, close, hold, seeded

# All different, so that a sum over a wrong axis has a wrong size or a wrong value.
_BATCH, _CAPS_IN, _CAPS_OUT, _DIM_IN, _DIM_OUT = 4, 6, 3, 2, 5
_SIZES = (_CAPS_IN, _DIM_IN, _CAPS_OUT, _DIM_OUT)
_DTYPES = (torch.float64, torch.float32, torch.bfloat16)


class _Inputs(NamedTuple):
    poses: Tensor
    weight: Tensor
    activations: Tensor


def check_routing(routing: Callable[..., nn.Module]) -> None:
    """Run the laws of routing on a new module, in evaluation and on the CPU.

    Parameters
    ----------
    routing : callable
        Such as a class of `skcaps.nn.ROUTINGS`: called as ``routing(in_caps, in_dim,
        out_caps, out_dim)`` it returns a module that maps poses ``(batch, in_caps,
        in_dim)``, a weight ``(in_caps, out_caps, in_dim, out_dim)`` and activations
        ``(batch, in_caps)`` to a `Routed`. With its initial parameters it must treat
        all capsules and all dimensions alike, so without a bias. For the laws that
        do not need that, each parameter is raised by up to 0.1.

    Raises
    ------
    AssertionError
        If a law is broken; the message begins with its name. The laws, in float64:
        shapes and dtype; couplings from 0 to 1 that sum to 1 over the parents, or to at
        most 1 if the module is `leaky`; activations from 0 to 1; a permutation of
        children, parents or dimensions carries through; no image depends on the others
        of its batch, and one image alone may come; a weight of shape ``(1, out_caps,
        in_dim, out_dim)`` is that of every child; gradients reach poses and weight.

        Where the activations are the lengths of the poses, these are below 1, and a
        rotation of the votes turns the poses and leaves the couplings. Where those of
        the children have a part in it, they are amounts: the pose of a child with
        activation 0 changes nothing, and two halves of a child are the whole.

        What a module promises it keeps, see `skcaps.nn.Routing`: activations that sum
        to 1 (`shares_presence`), poses that are means of votes (`averages_votes`), and
        couplings that depend on nothing but the child (`decides_alone`).

        In float64, float32 and bfloat16, values and gradients are finite: for one
        child, one parent, equal votes, and poses and activations of zeros.

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
    module, inputs = _draw(routing, _SIZES)
    with torch.no_grad():
        routed = module(*inputs)
        for law in _LAWS_OF_A_NEW_ONE:
            law(module, inputs, routed)
    _check_gradients("finite gradients", module, inputs)
    with torch.no_grad():
        routed = _train(module)(*inputs)
        for law in _LAWS:
            law(module, inputs, routed)
    for dtype in _DTYPES:
        for name, sizes, change in _EXTREMES:
            module, inputs = _draw(routing, sizes)
            _train(module)
            changed = _Inputs(*(x.to(dtype) for x in change(*inputs)))
            _check_extreme(name, module.to(dtype), changed)


def _draw(
    routing: Callable[..., nn.Module], sizes: tuple[int, int, int, int]
) -> tuple[nn.Module, _Inputs]:
    in_caps, in_dim, out_caps, out_dim = sizes
    with seeded():
        module = routing(*sizes).double().eval()
        poses = torch.randn(_BATCH, in_caps, in_dim, dtype=torch.float64)
        weight = torch.randn(in_caps, out_caps, in_dim, out_dim, dtype=torch.float64)
        activations = torch.rand(_BATCH, in_caps, dtype=torch.float64)
    return module, _Inputs(poses, weight, activations)


def _train(module: nn.Module) -> nn.Module:
    """Move the parameters, so that none is left out because it is 0 at first."""
    with seeded(), torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.rand_like(parameter), alpha=0.1)
    return module


def _check_shapes(module: nn.Module, inputs: _Inputs, routed: Routed) -> None:
    poses, coupling, activations = routed
    shapes = tuple(poses.shape), tuple(coupling.shape)
    expected = (_BATCH, _CAPS_OUT, _DIM_OUT), (_BATCH, _CAPS_IN, _CAPS_OUT)
    hold(
        "shapes",
        shapes == expected,
        "poses must be (batch, out_caps, out_dim) and the coupling (batch, in_caps, "
        f"out_caps), here {expected}, got {shapes}",
    )
    dtypes = (poses.dtype, coupling.dtype)
    hold("dtype", set(dtypes) == {torch.float64}, f"float64 became {dtypes}")
    if activations is not None:
        hold(
            "activations",
            tuple(activations.shape) == (_BATCH, _CAPS_OUT)
            and bool(((activations >= 0) & (activations <= 1)).all()),
            "they must be (batch, out_caps) from 0 to 1, or None",
        )


def _check_sums(module: nn.Module, inputs: _Inputs, routed: Routed) -> None:
    low, high = routed.coupling.min().item(), routed.coupling.max().item()
    hold(
        "range of the couplings",
        low >= -TOLERANCE and high <= 1 + TOLERANCE,
        f"they must be from 0 to 1, got {low:.4g} to {high:.4g}",
    )
    law, sums = "sum of the couplings over the parents", routed.coupling.sum(dim=2)
    if getattr(module, "leaky", False):
        most = sums.max().item()
        hold(law, most <= 1 + TOLERANCE, f"it must be at most 1, got {most:.4g}")
    else:
        close(law, sums, torch.ones_like(sums))


def _check_lengths(module: nn.Module, inputs: _Inputs, routed: Routed) -> None:
    if not torch.allclose(_presence(routed), lengths(routed.poses)):
        return
    longest = lengths(routed.poses).max().item()
    hold("lengths below 1", longest < 1, f"got {longest:.4g}")
    with seeded():
        rotation = torch.linalg.qr(torch.randn(_DIM_OUT, _DIM_OUT).double())[0]
    turned = module(*inputs._replace(weight=inputs.weight @ rotation))
    expected = Routed(routed.poses @ rotation, routed.coupling)
    _same("rotation of the votes", turned, expected)


def _check_permutations(module: nn.Module, inputs: _Inputs, routed: Routed) -> None:
    poses, weight, activations = inputs
    children = torch.tensor([2, 0, 5, 1, 4, 3])
    _same(
        "permutation of the children",
        module(poses[:, children], weight[children], activations[:, children]),
        routed._replace(coupling=routed.coupling[:, children]),
    )
    parents = torch.tensor([2, 0, 1])
    _same(
        "permutation of the parents",
        module(poses, weight[:, parents], activations),
        Routed(
            routed.poses[:, parents],
            routed.coupling[:, :, parents],
            _presence(routed)[:, parents],
        ),
    )
    dims = torch.tensor([3, 0, 4, 2, 1])
    _same(
        "permutation of the dimensions",
        module(poses, weight[..., dims], activations),
        Routed(routed.poses[..., dims], routed.coupling),
    )


def _check_images(module: nn.Module, inputs: _Inputs, routed: Routed) -> None:
    poses, weight, activations = inputs
    for part in (slice(1, 3), slice(1, 2)):
        _same(
            "independence of the images of a batch",
            module(poses[part], weight, activations[part]),
            Routed(routed.poses[part], routed.coupling[part], _presence(routed)[part]),
        )


def _check_shared_weight(module: nn.Module, inputs: _Inputs, routed: Routed) -> None:
    shared = inputs.weight[:1]
    repeated = shared.expand_as(inputs.weight)
    _same(
        "one weight for all children",
        module(*inputs._replace(weight=shared)),
        module(*inputs._replace(weight=repeated)),
    )


def _check_absent(module: nn.Module, inputs: _Inputs, routed: Routed) -> None:
    absent = _without_last(inputs)
    before = module(*absent)
    if torch.equal(before.poses, routed.poses):
        # Not all routings ask how present the children are.
        return
    moved = inputs.poses.clone()
    moved[:, -1] += 1
    after = module(*absent._replace(poses=moved))
    _same(
        "a child with activation 0", _of_all_but_last(after), _of_all_but_last(before)
    )


def _check_halves(module: nn.Module, inputs: _Inputs, routed: Routed) -> None:
    absent = _without_last(inputs)
    whole = module(*absent)
    if torch.equal(whole.poses, routed.poses):
        return
    # The last child takes the place of half of the one before.
    twins = torch.tensor([0, 1, 2, 3, 4, 4])
    halves = torch.tensor([1, 1, 1, 1, 0.5, 0.5]).double()
    found = module(
        absent.poses[:, twins],
        absent.weight[twins],
        absent.activations[:, twins] * halves,
    )
    _same("two halves of a child", _of_all_but_last(found), _of_all_but_last(whole))


def _without_last(inputs: _Inputs) -> _Inputs:
    activations = inputs.activations.clone()
    activations[:, -1] = 0
    return inputs._replace(activations=activations)


def _of_all_but_last(routed: Routed) -> Routed:
    return routed._replace(coupling=routed.coupling[:, :-1])


def _check_presence(module: nn.Module, inputs: _Inputs, routed: Routed) -> None:
    if getattr(module, "shares_presence", False):
        total = _presence(routed).sum(dim=1)
        close("sum of the activations", total, torch.ones_like(total))


def _check_means(module: nn.Module, inputs: _Inputs, routed: Routed) -> None:
    if not getattr(module, "averages_votes", False):
        return
    # One number of a pose that is 1 moves all votes by a row of the matrices.
    poses, weight = inputs.poses.clone(), inputs.weight.clone()
    poses[:, :, 0] = 1
    moves = torch.linspace(-1, 2, _CAPS_OUT * _DIM_OUT).double()
    moves = moves.view(_CAPS_OUT, _DIM_OUT)
    before = module(poses, weight, inputs.activations)
    weight[:, :, 0] += moves
    _same(
        "moved votes for a parent",
        module(poses, weight, inputs.activations),
        before._replace(poses=before.poses + moves),
    )


def _check_decisions(module: nn.Module, inputs: _Inputs, routed: Routed) -> None:
    if not getattr(module, "decides_alone", False):
        return
    others = inputs.poses.flip(0)
    others[:, 0] = inputs.poses[:, 0]
    changed = module(others, inputs.weight.flip(0), inputs.activations.flip(0))
    close("decision of one child", changed.coupling[:, 0], routed.coupling[:, 0])


# Capsules of which each has its own parameters are alike at first only.
_LAWS_OF_A_NEW_ONE = (
    _check_shapes,
    _check_sums,
    _check_lengths,
    _check_permutations,
    _check_images,
    _check_absent,
    _check_halves,
)
_LAWS = (
    _check_absent,
    _check_shared_weight,
    _check_presence,
    _check_means,
    _check_decisions,
)


def _zeros(poses: Tensor, weight: Tensor, activations: Tensor) -> tuple[Tensor, ...]:
    return 0 * poses, weight, 0 * activations


def _keep(*inputs: Tensor) -> tuple[Tensor, ...]:
    return inputs


_EXTREMES: tuple[
    tuple[str, tuple[int, int, int, int], Callable[..., tuple[Tensor, ...]]], ...
] = (
    ("one child", (1, _DIM_IN, _CAPS_OUT, _DIM_OUT), _keep),
    ("one parent", (_CAPS_IN, _DIM_IN, 1, _DIM_OUT), _keep),
    (
        "equal votes",
        _SIZES,
        lambda u, w, a: (u[:, :1].expand_as(u), w[:1, :1].expand_as(w), a),
    ),
    ("poses of zeros", _SIZES, lambda u, w, a: (0 * u, w, a)),
    ("activations of zeros", _SIZES, lambda u, w, a: (u, w, 0 * a)),
    ("zeros", _SIZES, _zeros),
)


def _check_extreme(name: str, module: nn.Module, inputs: _Inputs) -> None:
    dtype = inputs.poses.dtype
    with torch.no_grad():
        routed = module(*inputs)
    for part in routed:
        finite = part is None or bool(part.isfinite().all())
        hold(f"{name}, {dtype}", finite, "a value is infinite or not a number")
    _check_gradients(f"finite gradients, {name}, {dtype}", module, inputs)


def _check_gradients(law: str, module: nn.Module, inputs: _Inputs) -> None:
    poses, weight, activations = (x.clone().requires_grad_() for x in inputs)
    routed = module(poses, weight, activations)
    # A constant coupling has no gradient.
    total = routed.poses.sum() + routed.coupling.square().sum()
    if routed.activations is not None:
        total = total + routed.activations.sum()
    # Nothing has to reach the others.
    check_finite(law, total, [poses, weight], [activations, *module.parameters()])


def _presence(routed: Routed) -> Tensor:
    """Return the activations, which are the lengths where a routing has no others."""
    if routed.activations is None:
        return lengths(routed.poses)
    return routed.activations


def _same(law: str, found: Routed, expected: Routed) -> None:
    """Compare all that is expected."""
    close(f"{law}, poses", found.poses, expected.poses)
    close(f"{law}, couplings", found.coupling, expected.coupling)
    if expected.activations is not None:
        close(f"{law}, activations", _presence(found), expected.activations)
