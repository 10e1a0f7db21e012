"""How an axis is cut into parts."""


def equal_step(size: int, most: int) -> int:
    """Return the step that cuts an axis into about equal parts of at most so many."""
    n_parts = -(-size // max(1, most))
    return -(-size // max(1, n_parts)) or 1
