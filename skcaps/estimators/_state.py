"""A fitted estimator as plain Python and NumPy, and back."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch

from skcaps.nn import CapsuleNetwork, capsnet, efficient_capsnet

BUILDERS: dict[str, Callable[..., CapsuleNetwork]] = {
    "capsnet": capsnet,
    "efficient_capsnet": efficient_capsnet,
}

# Rebuilt from the weights; skorch's net holds the optimiser, twice the weights.
_NOT_PICKLED = ("net_", "network_", "_callback_fit_ctx", "_skl_callbacks_to_teardown")


def build_network(architecture: dict) -> CapsuleNetwork:
    """Build the network that an architecture describes.

    Parameters
    ----------
    architecture : dict
        The key "builder" names a function of `BUILDERS`; the rest are its arguments.
    """
    arguments = dict(architecture)
    return BUILDERS[arguments.pop("builder")](**arguments)


def to_arrays(network: torch.nn.Module) -> dict[str, np.ndarray]:
    """Copy parameters and buffers to NumPy."""
    return {
        name: tensor.detach().cpu().numpy().copy()
        for name, tensor in network.state_dict().items()
    }


def restore_network(architecture, weights) -> CapsuleNetwork:
    """Build a network on the CPU and fill in its weights."""
    with torch.random.fork_rng(devices=[]):
        network = build_network(architecture)
    tensors = {name: torch.from_numpy(array) for name, array in weights.items()}
    # Weights of another precision than float32 set the network's.
    if any(tensor.dtype == torch.float64 for tensor in tensors.values()):
        network.double()
    if missing := network.state_dict().keys() ^ tensors.keys():
        raise ValueError(
            f"The weights {sorted(missing)} do not fit this version of skcaps, so an "
            "older or a newer one has kept them; load them there, or fit again."
        )
    network.load_state_dict(tensors)
    return network.eval()


def get_state(state: dict) -> dict:
    """Replace the network in an estimator's state by its weights."""
    kept = {name: value for name, value in state.items() if name not in _NOT_PICKLED}
    if "network_" not in state:
        return kept
    kept["_weights"] = to_arrays(state["network_"])
    stem = state["_architecture"]["stem"]
    if isinstance(stem, torch.nn.Module):
        # Loadable where there is no GPU; one object, so that it is pickled once.
        on_cpu = copy.deepcopy(stem).cpu()
        kept["_architecture"] = {**state["_architecture"], "stem": on_cpu}
        if state["stem"] is stem:
            kept["stem"] = on_cpu
    return kept


def set_state(state: dict) -> dict:
    """Replace the weights in an estimator's state by a network on the CPU."""
    restored = dict(state)
    weights = restored.pop("_weights", None)
    if weights is not None:
        restored["network_"] = restore_network(restored["_architecture"], weights)
    return restored
