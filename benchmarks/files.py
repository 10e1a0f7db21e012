"""How every result gets onto the disk."""

import os


def write_whole(path, content):
    """Write bytes beside the file and swap, so that nobody finds half of them.

    A run that is killed, or a full disk, costs what was being written and nothing that
    was there before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)
