"""What the routings share that compute activations."""

from __future__ import annotations

from torch import Tensor

from skcaps.functional import lengths
from skcaps.nn.routing._routing import Routing


class ActivationRouting(Routing):
    """Routing that computes how present a parent is, apart from its pose.

    Parameters
    ----------
    in_caps, in_dim, out_caps, out_dim, iterations : int
        As for `Routing`.
    squash : str
        Unused: the length of a pose says nothing.
    bias : bool
        Only False.

    Attributes
    ----------
    start_length : float
        Of the mean vote for a parent, which `skcaps.nn.calibrate` makes.

    Raises
    ------
    ValueError
        If a bias is asked for.

    Examples
    --------
    >>> from skcaps.nn import ROUTINGS, ActivationRouting
    >>> [key for key, kind in ROUTINGS.items() if issubclass(kind, ActivationRouting)]
    ['em', 'vb', 'self', 'inverted_attention']
    """

    # With 0.1 variational Bayes has 6 points fewer of held-out digits, EM 2.
    start_length = 0.01

    def __init__(
        self,
        in_caps: int,
        in_dim: int,
        out_caps: int,
        out_dim: int,
        *,
        iterations: int = 3,
        squash: str = "squash",
        bias: bool = False,
    ) -> None:
        if bias:
            raise ValueError(
                f"{type(self).__name__} squashes no sum that a bias could be added to, "
                "got bias=True; leave it out."
            )
        super().__init__(
            in_caps, in_dim, out_caps, out_dim, iterations=iterations, squash=squash
        )

    @staticmethod
    def presence(poses: Tensor, activations: Tensor | None) -> Tensor:
        """Return the activations of the children, by default their lengths."""
        return lengths(poses) if activations is None else activations

    @staticmethod
    def presence_on_map(poses: Tensor, activations: Tensor | None) -> Tensor:
        """As `presence`, for (batch, types, dim, height, width)."""
        return lengths(poses.movedim(2, -1)) if activations is None else activations
