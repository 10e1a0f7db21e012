"""What is installed, for reports of bugs."""

from __future__ import annotations

import importlib.metadata
import platform
import sys

import torch

_PACKAGES = (
    "skcaps",
    "torch",
    "scikit-learn",
    "skorch",
    "numpy",
    "scipy",
    "joblib",
    "safetensors",
    "matplotlib",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "skops",
)


def show_versions() -> None:
    """Print the versions and the machine that a report of a bug should name.

    Returns
    -------
    None
        All is printed.

    Examples
    --------
    >>> import skcaps
    >>> skcaps.show_versions()
    System:
    ...
    Packages:
          skcaps: ...
    """
    blocks: dict[str, dict[str, object]] = {
        "System": {
            "python": sys.version.replace("\n", " "),
            "machine": platform.platform(),
        },
        "Packages": {name: version_of(name) for name in _PACKAGES},
        "PyTorch": {
            "threads": torch.get_num_threads(),
            "processor": torch.backends.cpu.get_cpu_capability(),
            "CUDA": torch.version.cuda,
            "GPU": ", ".join(_gpus()) or None,
        },
    }
    for title, facts in blocks.items():
        print(f"{title}:")
        for name, fact in facts.items():
            print(f"{name:>12}: {fact}")


def version_of(package: str) -> str:
    """Return the version of a package, "unknown" if it is not installed as one."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _gpus() -> list[str]:
    if not torch.cuda.is_available():
        return []
    numbers = range(torch.cuda.device_count())
    return [torch.cuda.get_device_name(number) for number in numbers]
