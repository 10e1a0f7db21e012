"""Results in a CSV file, one line a measurement, which is not repeated."""

import csv


def read(path):
    """Return the rows of a file as dicts, none where there is no file."""
    if not path.exists():
        return []
    with path.open() as file:
        return list(csv.DictReader(file))


def add(path, fields, key, measure):
    """Measure and append a row, unless one begins with the key already.

    Parameters
    ----------
    path : Path
    fields : sequence of str
        The columns; the first ones are those of the key.
    key : tuple of str
    measure : callable
        Called with the key, returns the values of the other columns.
    """
    rows = read(path)
    if key in {tuple(row[name] for name in fields[: len(key)]) for row in rows}:
        return
    found = measure(*key)
    print(*key, *found, sep="  ", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if not rows:
            writer.writerow(fields)
        writer.writerow((*key, *found))
