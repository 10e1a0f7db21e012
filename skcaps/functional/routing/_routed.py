"""What a routing returns, and the shapes it takes."""

from typing import NamedTuple

from torch import Tensor

from skcaps.functional._checks import check_poses, check_shape


class Routed(NamedTuple):
    """What a routing returns.

    Attributes
    ----------
    poses : Tensor of shape (batch, caps_out, dim_out)
        Squashed parent capsules.
    coupling : Tensor of shape (batch, caps_in, caps_out)
        The coefficients that the last sum over the children used. May be a view with
        shared memory: copy it before writing to it.
    """

    poses: Tensor
    coupling: Tensor


def in_batch_order(poses: Tensor, parents: Tensor, coupling: Tensor | float) -> Routed:
    """Put the batch axis first again, and give a uniform coupling its shape."""
    if not isinstance(coupling, Tensor):
        filled = poses.new_full((), coupling)
        coupling = filled.expand(len(parents), *poses.shape[:2])
    return Routed(parents.transpose(0, 1), coupling.permute(1, 2, 0))


def check_shapes(
    poses: Tensor, weight: Tensor, bias: Tensor | None, prior: Tensor | None = None
) -> None:
    """Raise ValueError unless the shapes fit; a wrong bias or prior would broadcast."""
    check_poses(poses, weight)
    caps_in, caps_out, _, dim_out = weight.shape
    if bias is not None:
        check_shape("bias", bias, (caps_out, dim_out))
    if prior is not None:
        check_shape("prior", prior, (caps_in, caps_out))
