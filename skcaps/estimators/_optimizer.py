"""Adam, without what it loads and does not use."""

from __future__ import annotations

import inspect

import torch


class Adam(torch.optim.Adam):
    """torch's Adam, which does not load torch's compiler.

    The wrappers around these methods import it when they are first called, only to say
    that it should leave them alone. That takes some seconds and 120 MB in every process
    that trains, each worker of a search too.
    """

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)
    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))
