"""What a figure depends on besides the code."""

import platform

import numpy
import sklearn
import skorch
import torch

import skcaps


def describe_machine():
    """Return versions, device and threads."""
    has_gpu = torch.cuda.is_available()
    return {
        "skcaps": skcaps.__version__,
        "torch": torch.__version__,
        "skorch": skorch.__version__,
        "scikit-learn": sklearn.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name() if has_gpu else "cpu",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }


def has_bfloat16(device):
    """Return whether skcaps runs convolutions in bfloat16 there, if it is told to.

    Where a machine only imitates it, skcaps takes float32, and what is measured must
    not pass for bfloat16.

    Parameters
    ----------
    device : str
        A classifier's parameter.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    instructions = torch.cpu.get_capabilities()
    # The name on x86, and on ARM.
    return any(instructions.get(name, False) for name in ("avx512_bf16", "bf16"))


def processor_folder():
    """Name a folder for what depends on the processor's vector instructions."""
    return torch.backends.cpu.get_cpu_capability().lower()
