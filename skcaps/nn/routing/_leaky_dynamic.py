"""Routing by agreement that may leave a part unassigned, as a module."""

from __future__ import annotations

from skcaps.nn.routing._dynamic import DynamicRouting


class LeakyDynamicRouting(DynamicRouting):
    """Routing by agreement with an orphan category beside the parents.

    What fits no parent goes there; see `leaky` in `skcaps.functional.dynamic_routing`.

    Parameters
    ----------
    in_caps, in_dim, out_caps, out_dim, iterations : int
        As for `Routing`.
    squash : str
        As for `Routing`.
    bias : bool
        As for `Routing`.

    References
    ----------
    Sabour, Frosst, Hinton (2017), section 7; Zhao, Ye, Yang, Lei, Zhang, Zhao (2018).

    Examples
    --------
    >>> import torch
    >>> from skcaps.nn import LeakyDynamicRouting
    >>> module = LeakyDynamicRouting(6, 4, 3, 5, iterations=1)
    >>> module(torch.ones(2, 6, 4), torch.ones(6, 3, 4, 5)).coupling.unique()
    tensor([0.2500])
    """

    leaky = True
