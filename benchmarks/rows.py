"""Results in a CSV file, one line a measurement, which is not repeated."""

import csv
import io

from files import write_whole


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
    # Read now: another process may have added rows while this one measured.
    before = path.read_bytes() if path.exists() else _line(fields)
    write_whole(path, before + _line((*key, *found)))


def _line(values):
    text = io.StringIO()
    csv.writer(text).writerow(values)
    return text.getvalue().encode()
