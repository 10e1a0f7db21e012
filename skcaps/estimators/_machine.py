"""Devices, number formats and random states."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from inspect import signature

import numpy as np
import torch

from skcaps.estimators._warnings import warn
from skcaps.nn import CapsuleNetwork

PRECISIONS = {
    "float32": torch.float32,
    # Weights and sums stay in float32; autocast runs convolutions in bfloat16.
    "bfloat16": torch.float32,
    "float64": torch.float64,
}

# By default all networks together may have eight graphs; the rest run uncompiled. An
# older torch has no such options.
_COMPILE_OPTIONS = {
    name: value
    for name, value in {"isolate_recompiles": True, "recompile_limit": 32}.items()
    if name in signature(torch.compile).parameters
}


def resolve_device(device) -> torch.device:
    """Return the torch device of a `device` parameter.

    Raises
    ------
    ValueError
        If torch does not know the device or it is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        # Torch names devices too that it was not built for or that hold no values.
        if resolved.type not in ("cpu", "cuda"):
            torch.zeros(1, device=resolved).item()
    except (AssertionError, ImportError, NotImplementedError, RuntimeError) as error:
        raise ValueError(
            'device must be "auto", "cpu", "cuda", "cuda:N" or another device that '
            f"torch can compute on here, got {device!r}."
        ) from error
    if resolved.type == "cuda":
        _check_cuda(device, resolved.index)
    if resolved.type == "cpu" and resolved.index:
        raise ValueError(
            f"device={device!r} was asked for, but all cores are one device; pass "
            '"cpu", and limit them with torch.set_num_threads.'
        )
    return resolved


def _check_cuda(device, index: int | None) -> None:
    if not torch.cuda.is_available():
        raise ValueError(
            f"device={device!r} was asked for, but torch sees no CUDA device; pass "
            'device="auto" to use the CPU where there is none.'
        )
    n_devices = torch.cuda.device_count()
    if index is not None and index >= n_devices:
        raise ValueError(
            f"device={device!r} was asked for, but torch sees {n_devices} CUDA "
            f'device(s), the last of which is "cuda:{n_devices - 1}".'
        )


def fits_on(device: torch.device, rows: np.ndarray) -> bool:
    """Return whether rows may be kept on a GPU; half of its free memory is for them."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return rows.nbytes <= free // 2


def has_bfloat16(device: torch.device) -> bool:
    """Return whether bfloat16 is of use; some machines only imitate it, very slowly."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return True
    onednn = torch.backends.mkldnn.is_available()
    if not (onednn and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return False
    # To oneDNN any processor with AVX-512 supports it.
    if "AVX" not in torch.backends.cpu.get_cpu_capability():
        return True
    # An older torch does not know every feature.
    ask = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    return ask()


def warn_without_bfloat16(device: torch.device, precision: str) -> None:
    """Warn if float32 takes the place of bfloat16."""
    if precision == "bfloat16" and not has_bfloat16(device):
        warn(
            f'precision="bfloat16" was asked for, but the {device.type} device has no '
            "instructions for it; float32 takes its place, which is faster here."
        )


@dataclass(frozen=True)
class Machine:
    """Where a network runs, and in which number format.

    Attributes
    ----------
    asked : str or torch.device
        The `device` parameter.
    device : torch.device
        What was found for it.
    precision : str
        A key of `PRECISIONS`.
    compiled : bool
    """

    asked: str | torch.device
    device: torch.device
    precision: str
    compiled: bool

    @classmethod
    def find(cls, params: dict) -> Machine:
        """Resolve an estimator's parameters."""
        asked = params["device"]
        found = resolve_device(asked)
        return cls(asked, found, params["precision"], params["compile"])

    def follow(self, params: dict) -> Machine:
        """Resolve parameters that may have changed.

        A device that was not there when the estimator was loaded stays replaced.
        """
        if params["device"] != self.asked:
            return Machine.find(params)
        return replace(self, precision=params["precision"], compiled=params["compile"])

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and results."""
        return PRECISIONS[self.precision]

    @property
    def in_bfloat16(self) -> bool:
        """Whether convolutions run in bfloat16."""
        return self.precision == "bfloat16" and has_bfloat16(self.device)

    def autocast(self) -> torch.autocast:
        """Run the convolutions of a block in bfloat16 if they should."""
        return torch.autocast(self.device.type, torch.bfloat16, self.in_bfloat16)

    def place(self, network: CapsuleNetwork) -> None:
        """Move a network here, and compile it if wanted."""
        network.to(self.device)
        compile_if(self.compiled, network)


def compile_if(wanted: bool, module: torch.nn.Module) -> None:
    """Compile a module that is not compiled yet, or forget its compilation."""
    if not wanted:
        module._compiled_call_impl = None
    elif module._compiled_call_impl is None:
        module.compile(**_COMPILE_OPTIONS)


def draw_seed(random_state) -> int:
    """Return a seed without touching NumPy's global random state.

    Parameters
    ----------
    random_state : int, RandomState, Generator or None
        None draws from the operating system; the other objects advance by one draw.
    """
    if random_state is None:
        random_state = np.random.default_rng()
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31 - 1))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    return int(random_state)


class _Lock:
    """A lock that a process forked while it was held finds open."""

    def __init__(self):
        self.renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.renew)

    def renew(self):
        self._lock = threading.RLock()

    def __enter__(self):
        self._lock.acquire()

    def __exit__(self, *error):
        self._lock.release()


# torch draws initial weights and batches from one generator for all threads.
_LOCK = _Lock()


@contextmanager
def kept_random_state(devices=()):
    """Give back torch's random state after a block, for which other threads wait.

    Parameters
    ----------
    devices : sequence of torch.device
        CUDA devices whose random state is kept too.
    """
    with _LOCK, torch.random.fork_rng(devices):
        yield


@contextmanager
def undisturbed(device: torch.device):
    """Run a block without the default device and the autocast of whoever calls.

    Parameters
    ----------
    device : torch.device
        Where the block computes.
    """
    with ExitStack() as stack:
        # torch 2.4's own function for this fails after set_default_device(None).
        if torch.empty(0).device.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        for kind in {"cpu", device.type}:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


@contextmanager
def isolated_random_state(seed: int, step: int, device: torch.device):
    """Seed torch for a block and give back its random state afterwards.

    Its default dtype is given back too, and other threads wait for the block's end.

    Parameters
    ----------
    seed : int
        Of the whole estimator.
    step : int
        Number of the call, so that every `partial_fit` draws anew.
    device : torch.device
        Its random state is kept too.
    """
    mixed = int(np.random.SeedSequence([seed, step]).generate_state(1)[0])
    devices = [device] if device.type == "cuda" else []
    with kept_random_state(devices), undisturbed(device):
        # Read now, as another thread may have changed it for a block of its own.
        dtype = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        # torch.manual_seed would seed every CUDA device, also those of others.
        torch.default_generator.manual_seed(mixed)
        if devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(mixed)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
