"""Results as JSON, one object a line, so that a file has as many lines as results."""

import json

from files import write_whole


def read(path):
    """Return the objects of a file, none where there is no file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path, objects):
    """Replace the file by these objects."""
    text = "".join(f"{json.dumps(item)}\n" for item in objects)
    write_whole(path, text.encode())
