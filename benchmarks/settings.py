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


def processor_folder():
    """Name a folder for what depends on the processor's vector instructions."""
    return torch.backends.cpu.get_cpu_capability().lower()
