"""The children that each position of a convolution sees, for capsules on a map."""

import torch
from torch.nn.functional import pad


def unfold(maps, kernel, stride, padding=0):
    """Turn (n, types, height, width, ...) into (n, rows, columns, kernel * kernel *
    types, ...), the children in the order (kernel row, kernel column, type)."""
    dims = maps.flatten(4) if maps.ndim > 4 else maps.unsqueeze(4)
    dims = pad(dims, (0, 0, *(2 * (padding, padding))))
    windows = dims.unfold(2, kernel, stride).unfold(3, kernel, stride)
    # The axes are n, types, rows, columns, dims, kernel rows, kernel columns.
    windows = windows.permute(0, 2, 3, 5, 6, 1, 4).flatten(3, 5)
    return windows.unflatten(4, maps.shape[4:]) if maps.ndim > 4 else windows[..., 0]


def children(types, height, width, kernel, stride, padding=0):
    """The number of the child at each place, and 0 where there is none."""
    numbers = torch.arange(1, 1 + types * height * width, dtype=torch.float64)
    maps = numbers.view(1, types, height, width)
    return unfold(maps, kernel, stride, padding)[0].long()


def over_all_parents(numbers):
    """The log softmax over the parents of a child at all positions that see it."""
    absent = (numbers == 0).unsqueeze(-1)
    flat = numbers.flatten()

    def log_softmax(logits):
        highest = logits.detach().amax(dim=(1, 2, 3, 4), keepdim=True)
        powers = (logits - highest).exp().sum(dim=-1).flatten(1)
        sums = powers.new_zeros(len(powers), int(flat.max()) + 1)
        sums = sums.index_add(1, flat, powers)[:, flat].view(logits.shape[:-1])
        log_coupling = logits - highest - sums.log().unsqueeze(-1)
        return torch.where(absent, -torch.inf, log_coupling)

    return log_softmax
