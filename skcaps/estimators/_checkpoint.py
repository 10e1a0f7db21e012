"""Trainings that go on where they were killed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
from pathlib import Path
from types import FunctionType
from typing import Any

import joblib
import numpy as np
import torch

from skcaps._replacing import replace_file
from skcaps.estimators import _inputs
from skcaps.estimators._dataset import ImageDataset
from skcaps.estimators._fitted import FittedNetwork

# What may change between the start of a training and its end.
_NO_MATTER = ("callbacks", "checkpoint", "compile", "device", "verbose")
_ROWS_AT_A_TIME = 1024
_PLAIN = (bool, int, float, str)


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
    FileNotFoundError
        If there is no such folder.
    ValueError
        If the file holds another training, or none.
    """

    def __init__(self, path: str | os.PathLike[str], key: str):
        # What a link leads to, as it is replaced and in the end removed.
        self.path = Path(os.path.realpath(path))
        self.key = key
        if not self.path.parent.is_dir():
            raise FileNotFoundError(
                f"checkpoint={str(path)!r} needs a folder to write into, and there is "
                f"no {self.path.parent}."
            )
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
        except (EOFError, KeyError, RuntimeError, pickle.UnpicklingError) as error:
            raise self._refusal() from error
        if not isinstance(state, dict) or "key" not in state:
            raise self._refusal()
        if state["key"] != self.key:
            raise ValueError(
                f"checkpoint={str(self.path)!r} holds a training with other parameters "
                "or other data, or a later one of a warm start; remove it, or name "
                "another file. The clones of a search have one file for all of them: "
                "set checkpoint=None there."
            )
        return state

    def _refusal(self) -> ValueError:
        return ValueError(
            f"checkpoint={str(self.path)!r} is no file of a training, or a damaged "
            "one; name another file."
        )

    def restore(self, net) -> None:
        """Put a net where the training was."""
        if self.state is None:
            return
        state = self.state
        net.history.extend(state["history"])
        net.module_.load_state_dict(state["network"])
        net.optimizer_.load_state_dict(state["optimizer"])
        _arrange(net.optimizer_.state)
        net.optimizer_.n_steps = state["n_steps"]
        net.stop_training = state["stop_training"]
        torch.set_rng_state(state["rng"])
        if _is_cuda(net) and state["cuda_rng"] is not None:
            torch.cuda.set_rng_state(state["cuda_rng"], net.device)

    def keep(self, net, seed: int, callbacks: dict[str, Any]) -> None:
        """Replace the file.

        Parameters
        ----------
        net : CapsuleNet
        seed : int
            Of the estimator.
        callbacks : dict
            What callbacks have to know to go on, by their names.
        """
        state = {
            "key": self.key,
            "seed": seed,
            "history": [_keep_plain(row) for row in net.history],
            "network": net.module_.state_dict(),
            "callbacks": callbacks,
            "optimizer": net.optimizer_.state_dict(),
            "n_steps": net.optimizer_.n_steps,
            "stop_training": bool(net.stop_training),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(net.device) if _is_cuda(net) else None,
        }
        stream = io.BytesIO()
        torch.save(state, stream)
        replace_file(self.path, stream.getvalue())

    def remove(self) -> None:
        """Remove the file, after the training."""
        self.path.unlink(missing_ok=True)


def find_key(params: dict, fitted: FittedNetwork, dataset: ImageDataset) -> str:
    """Return what distinguishes a training from others: parameters, data, its start."""
    chosen = {
        name: _describe(value)
        for name, value in sorted(params.items())
        if name not in _NO_MATTER
    }
    digest = hashlib.sha256(json.dumps(chosen).encode())
    digest.update(repr((dataset.layout, fitted.n_trainings)).encode())
    for values in (
        dataset.rows,
        dataset.encoded,
        dataset.sample_weight,
        *(dataset.sources or ()),
    ):
        if values is not None:
            _add_values(digest, values)
    # The first training starts with what the seed draws.
    if fitted.n_trainings > 1:
        _add_tensors(digest, fitted.network)
    return digest.hexdigest()


def plain(value: Any) -> Any:
    """Return a NumPy number as Python's own, and anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def _keep_plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return what a file without pickled code can hold of a row of the history."""
    values = {name: plain(value) for name, value in row.items()}
    return {name: v for name, v in values.items() if isinstance(v, _PLAIN)}


def _add_values(digest, values) -> None:
    digest.update(repr(tuple(values.shape)).encode())
    for start in range(0, len(values), _ROWS_AT_A_TIME):
        part = values[start : start + _ROWS_AT_A_TIME]
        # As it would be on a GPU too.
        if not isinstance(part, torch.Tensor):
            part = _inputs.as_tensor(part)
        digest.update(repr(part.dtype).encode() + _bytes_of(part))


def _add_tensors(digest, module: torch.nn.Module) -> None:
    for name, tensor in module.state_dict().items():
        digest.update(repr((name, tensor.dtype)).encode() + _bytes_of(tensor))


def _bytes_of(tensor: torch.Tensor) -> bytes:
    flat = tensor.detach().cpu().contiguous().flatten()
    return flat.view(torch.uint8).numpy().tobytes()


def _arrange(state: dict) -> None:
    """Give means of gradients the order in memory of their parameters.

    A fused optimiser walks through both as they lie there.
    """
    for parameter, values in state.items():
        for name, value in values.items():
            if value.shape == parameter.shape:
                like = torch.empty_like(parameter, dtype=value.dtype)
                values[name] = like.copy_(value)


def _is_cuda(net) -> bool:
    return torch.device(net.device).type == "cuda"


def _describe(value) -> str:
    """Return the same text for the same value in every process."""
    if isinstance(value, torch.nn.Module):
        digest = hashlib.sha256(repr(value).encode())
        _add_tensors(digest, value)
        return digest.hexdigest()
    if isinstance(value, FunctionType):
        # Two lambdas may have one name.
        code = value.__code__
        numbers = [item for item in code.co_consts if isinstance(item, _PLAIN)]
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        used = [_describe(item) for item in (*(value.__defaults__ or ()), *cells)]
        name = value.__module__, value.__qualname__
        return repr((name, code.co_code, code.co_names, numbers, used))
    if isinstance(value, np.random.RandomState | np.random.Generator):
        return type(value).__name__
    try:
        return joblib.hash(value)
    except (AttributeError, TypeError, pickle.PicklingError):
        return type(value).__qualname__
