"""Whether torch records the operators that run, as a graph to run elsewhere."""

import torch


def is_recorded() -> bool:
    """Return whether `torch.export` or `torch.jit.trace` records what runs now.

    Such a graph is to run without skcaps and with batches of another size, so it may
    hold no autograd function, and no choice that was made by the size of this batch.
    """
    is_traced: bool = torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    return is_traced or _is_exporting()


def _is_exporting() -> bool:
    if hasattr(torch.compiler, "is_exporting"):
        return torch.compiler.is_exporting()
    # An older torch has one mark for all that compile, and one for Dynamo among them.
    return torch.compiler.is_compiling() and not torch.compiler.is_dynamo_compiling()
