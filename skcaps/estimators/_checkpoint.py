"""Trainings that go on where they were killed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from skcaps._replacing import replace_file

# What may change between the start of a training and its end.
_NO_MATTER = ("callbacks", "checkpoint", "compile", "device", "verbose")
_ROWS_AT_A_TIME = 1024


class Checkpoint:
    """The state of a training in a file, replaced after every epoch.

    Parameters
    ----------
    path : str or path-like
        Where the file is there, the training goes on from it.
    key : str
        From `find_key`.

    Raises
    ------
    ValueError
        If the file holds another training, or none.
    """

    def __init__(self, path: str | os.PathLike[str], key: str):
        self.path = Path(path)
        self.key = key
        self.state = self._read() if self.path.exists() else None

    @property
    def n_epochs(self) -> int:
        """How many epochs it holds."""
        return 0 if self.state is None else len(self.state["history"])

    def find_seed(self, seed: int) -> int:
        """Return the seed of the training that goes on, else the one given."""
        return seed if self.state is None else self.state["seed"]

    def _read(self) -> dict[str, Any]:
        try:
            # No code is run from the file.
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            is_same = state["key"] == self.key
        except (
            EOFError,
            KeyError,
            RuntimeError,
            TypeError,
            pickle.UnpicklingError,
        ) as error:
            raise ValueError(
                f"checkpoint={str(self.path)!r} is no file of a training, or a damaged "
                "one; name another file."
            ) from error
        if not is_same:
            raise ValueError(
                f"checkpoint={str(self.path)!r} holds a training with other parameters "
                "or other data; remove it, or name another file."
            )
        return state

    def restore(self, net) -> None:
        """Put a net, after all its callbacks have begun, where the training was."""
        if self.state is None:
            return
        state = self.state
        net.history.extend(state["history"])
        net.module_.load_state_dict(state["network"])
        for holder, values in zip(_holders(net), state["callbacks"], strict=True):
            holder.load_state_dict(values)
        net.optimizer_.load_state_dict(state["optimizer"])
        net.optimizer_.n_steps = state["n_steps"]
        net.stop_training = state["stop_training"]
        torch.set_rng_state(state["rng"])
        if _is_cuda(net) and state["cuda_rng"] is not None:
            torch.cuda.set_rng_state(state["cuda_rng"], net.device)

    def keep(self, net, seed: int) -> None:
        """Replace the file."""
        state = {
            "key": self.key,
            "seed": seed,
            "history": [dict(row) for row in net.history],
            "network": net.module_.state_dict(),
            "callbacks": [holder.state_dict() for holder in _holders(net)],
            "optimizer": net.optimizer_.state_dict(),
            "n_steps": net.optimizer_.n_steps,
            "stop_training": net.stop_training,
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(net.device) if _is_cuda(net) else None,
        }
        stream = io.BytesIO()
        torch.save(state, stream)
        replace_file(self.path, stream.getvalue())

    def remove(self) -> None:
        """Remove the file, after the training."""
        self.path.unlink(missing_ok=True)


def find_key(params: dict, dataset) -> str:
    """Return what distinguishes a training from others: parameters and data."""
    chosen = {
        name: _describe(value)
        for name, value in sorted(params.items())
        if name not in _NO_MATTER
    }
    digest = hashlib.sha256(json.dumps(chosen).encode())
    for values in (
        dataset.rows,
        dataset.encoded,
        dataset.sample_weight,
        dataset.sources,
    ):
        for start in range(0, 0 if values is None else len(values), _ROWS_AT_A_TIME):
            part = values[start : start + _ROWS_AT_A_TIME]
            digest.update(np.ascontiguousarray(torch.as_tensor(part).cpu()).tobytes())
    return digest.hexdigest()


def _is_cuda(net) -> bool:
    return torch.device(net.device).type == "cuda"


def _holders(net) -> list[Any]:
    """Return what has a state beside the net: learning rates, the best weights."""
    candidates = [
        getattr(callback, "lr_scheduler_", callback) for _, callback in net.callbacks_
    ]
    return [one for one in candidates if hasattr(one, "load_state_dict")]


def _describe(value) -> str:
    if isinstance(value, torch.nn.Module):
        tensors = value.state_dict().items()
        parts = [
            name.encode() + tensor.cpu().numpy().tobytes() for name, tensor in tensors
        ]
        return f"{value!r} {hashlib.sha256(b''.join(parts)).hexdigest()}"
    if isinstance(value, np.random.RandomState | np.random.Generator):
        return type(value).__name__
    return getattr(value, "__qualname__", repr(value))
