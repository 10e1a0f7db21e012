"""Adam, with a warm-up and without what it loads and does not use."""

from __future__ import annotations

import inspect

import torch


class Adam(torch.optim.Adam):
    """torch's Adam, which does not load torch's compiler.

    The wrappers around these methods import it when they are first called, only to say
    that it should leave them alone. That takes some seconds and 120 MB in every process
    that trains, each worker of a search too.

    Parameters
    ----------
    params : iterable of Parameter
    warmup_steps : int, default=0
        The first steps grow in proportion to their number, up to this one. Adam's first
        step moves every weight by the whole learning rate, all in the same direction:
        for a sum over thousands of inputs that is further than the squash can follow.
    **options
        As for torch's Adam.

    References
    ----------
    Ma, Yarats (2021), "On the adequacy of untuned warmup for adaptive optimization",
    arXiv 1910.04209.
    """

    def __init__(self, params, warmup_steps=0, **options):
        super().__init__(params, **options)
        self.warmup_steps = warmup_steps
        self.n_steps = 0

    def step(self, closure=None):
        """Update the parameters once."""
        self.n_steps += 1
        if self.n_steps >= self.warmup_steps:
            return self._whole_step(closure)
        rates = [group["lr"] for group in self.param_groups]
        for group in self.param_groups:
            group["lr"] *= self.n_steps / self.warmup_steps
        try:
            return self._whole_step(closure)
        finally:
            for group, rate in zip(self.param_groups, rates, strict=True):
                group["lr"] = rate

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)
    _whole_step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))
