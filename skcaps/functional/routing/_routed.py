"""What a routing returns, and the shapes it takes."""

from typing import NamedTuple

from torch import Tensor
from torch.utils import _pytree

from skcaps.functional._checks import check_poses, check_shape
from skcaps.functional._lengths import lengths


class Routed(NamedTuple):
    """What a routing returns.

    Attributes
    ----------
    poses : Tensor of shape (batch, caps_out, dim_out)
        Parent capsules.
    coupling : Tensor of shape (batch, caps_in, caps_out)
        The coefficients that the last sum over the children used. May be a view with
        shared memory: copy it before writing to it.
    activations : Tensor of shape (batch, caps_out) or None
        How present each parent is, from 0 to 1: the length of its pose where the
        routing squashes poses. None, the default, where a routing leaves that open.
    """

    poses: Tensor
    coupling: Tensor
    activations: Tensor | None = None


# The name by which torch.export.save keeps it, and torch.export.load finds it. torch
# has no public function for that, and nothing else needs it.
if hasattr(_pytree, "_register_namedtuple"):
    _pytree._register_namedtuple(
        Routed, serialized_type_name="skcaps.functional.Routed"
    )


def with_lengths(poses: Tensor, coupling: Tensor) -> Routed:
    """Let the length of a pose say how present its capsule is."""
    return Routed(poses, coupling, lengths(poses))


def in_batch_order(poses: Tensor, parents: Tensor, coupling: Tensor | float) -> Routed:
    """Put the batch axis first again, and give a uniform coupling its shape."""
    if not isinstance(coupling, Tensor):
        filled = poses.new_full((), coupling)
        coupling = filled.expand(parents.shape[0], *poses.shape[:2])
    return with_lengths(parents.transpose(0, 1), coupling.permute(1, 2, 0))


def check_shapes(
    poses: Tensor, weight: Tensor, bias: Tensor | None, prior: Tensor | None = None
) -> None:
    """Raise ValueError unless the shapes fit; a wrong bias or prior would broadcast."""
    check_poses(poses, weight)
    _, caps_out, _, dim_out = weight.shape
    if bias is not None:
        check_shape("bias", bias, (caps_out, dim_out))
    if prior is not None:
        check_shape("prior", prior, (poses.shape[1], caps_out))
