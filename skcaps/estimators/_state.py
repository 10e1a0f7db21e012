"""A fitted estimator as plain Python and NumPy, and back."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch

from skcaps.estimators._fitted import FittedNetwork
from skcaps.estimators._labels import KINDS as LABEL_KINDS
from skcaps.estimators._layout import ImageLayout
from skcaps.estimators._machine import Machine, kept_random_state, resolve_device
from skcaps.estimators._masks import MaskLabels
from skcaps.estimators._warnings import warn
from skcaps.nn import CapsuleNetwork

KINDS: dict[str, type] = {**LABEL_KINDS, "mask": MaskLabels}

# Rebuilt from the weights; skorch's net holds the optimiser, twice the weights.
_NOT_PICKLED = ("net_", "_fitted", "_callback_fit_ctx", "_skl_callbacks_to_teardown")


def get_state(state: dict) -> dict:
    """Replace the fitted network in an estimator's state by plain values."""
    kept = {name: value for name, value in state.items() if name not in _NOT_PICKLED}
    if "_fitted" not in state:
        return kept
    fitted: FittedNetwork = state["_fitted"]
    architecture = fitted.architecture
    stem = architecture.get("stem")
    if isinstance(stem, torch.nn.Module):
        # Loadable where there is no GPU; one object, so that it is pickled once.
        on_cpu = copy.deepcopy(stem).cpu()
        architecture = {**architecture, "stem": on_cpu}
        if state["stem"] is stem:
            kept["stem"] = on_cpu
    kept["_description"] = {
        "architecture": architecture,
        "image_shape": fitted.layout.shape,
        "axes": fitted.layout.axes,
        "input_range": fitted.input_range,
        "labels": next(
            name for name, kind in KINDS.items() if isinstance(fitted.labels, kind)
        ),
        "classes": fitted.labels.classes,
        "label_options": fitted.labels.options,
        "precision": fitted.machine.precision,
        "loss": fitted.loss,
        "seed": fitted.seed,
        "n_trainings": fitted.n_trainings,
    }
    kept["_weights"] = {
        name: tensor.detach().cpu().numpy().copy()
        for name, tensor in fitted.network.state_dict().items()
    }
    return kept


def set_state(state: dict, build: Callable[..., CapsuleNetwork]) -> dict:
    """Undo `get_state`, with the function that builds the network."""
    restored = dict(state)
    if "_weights" not in restored:
        return restored
    weights = restored.pop("_weights")
    if "_description" not in restored:
        raise ValueError(
            "This estimator was kept by an older version of skcaps; load it there, or "
            "fit again."
        )
    plain = restored.pop("_description")
    machine = _machine_here(state["device"], plain["precision"], state["compile"])
    network = _rebuild(build, plain["architecture"], machine.dtype, weights)
    machine.place(network.eval())
    restored["_fitted"] = FittedNetwork(
        network,
        plain["architecture"],
        ImageLayout(tuple(plain["image_shape"]), tuple(plain["axes"])),
        plain["input_range"],
        # Older files have none.
        KINDS[plain["labels"]](plain["classes"], **plain.get("label_options", {})),
        machine,
        plain["loss"],
        plain["seed"],
        plain["n_trainings"],
    )
    return restored


def _rebuild(
    build: Callable[..., CapsuleNetwork],
    architecture: dict[str, Any],
    dtype: torch.dtype,
    weights: dict[str, Any],
) -> CapsuleNetwork:
    """Build a network and give it its values, without drawing others first."""
    tensors = {name: torch.from_numpy(array) for name, array in weights.items()}
    if isinstance(architecture.get("stem"), torch.nn.Module):
        # It has values of its own, and is run to find out what it returns.
        with kept_random_state(), torch.device("cpu"):
            network = build(**architecture).to(dtype)
        _check_weights(network, tensors)
        network.load_state_dict(tensors)
        return network
    # Without values a network of any size costs nothing.
    with torch.device("meta"):
        network = build(**architecture).to(dtype)
    _check_weights(network, tensors)
    placed = {
        name: _arrange_like(tensor, tensors[name])
        for name, tensor in network.state_dict().items()
    }
    network.load_state_dict(placed, assign=True)
    return network


def _check_weights(network: CapsuleNetwork, tensors: dict[str, torch.Tensor]) -> None:
    expected = {name: _describe(t) for name, t in network.state_dict().items()}
    found = {name: _describe(tensor) for name, tensor in tensors.items()}
    if differ := expected.keys() ^ found.keys():
        raise ValueError(
            f"The weights {sorted(differ)} do not fit this version of skcaps, so an "
            "older or a newer one has kept them; load them there, or fit again."
        )
    for name, (shape, dtype) in expected.items():
        if found[name] != (shape, dtype):
            raise ValueError(
                f"The weights {name} must have the shape {shape} and the type {dtype}, "
                f"got {found[name][0]} and {found[name][1]}; fit again."
            )


def _arrange_like(pattern: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """Copy a tensor in another one's order of axes, by which convolutions round."""
    arranged = torch.empty_strided(
        pattern.shape, pattern.stride(), dtype=pattern.dtype, device="cpu"
    )
    return arranged.copy_(tensor)


def _describe(tensor: torch.Tensor) -> tuple[tuple[int, ...], torch.dtype]:
    return tuple(tensor.shape), tensor.dtype


def _machine_here(device, precision, compiled) -> Machine:
    try:
        found = resolve_device(device)
    except ValueError:
        warn(f"device={device!r} is not here; the estimator runs on the CPU.")
        found = torch.device("cpu")
    return Machine(device, found, precision, compiled)
