"""Results on disk, written whole after each finished seed."""

import json
from pathlib import Path

from skcaps.persistence import replace_file


class Store:
    """The results of one experiment, in one JSON file.

    Parameters
    ----------
    path : pathlib.Path
        The file; read if it is there.
    settings : dict
        What the results depend on besides the seed.

    Raises
    ------
    ValueError
        If the file was written with other settings: its results cannot stand beside
        new ones.
    """

    def __init__(self, path, settings):
        self.path = Path(path)
        settings = json.loads(json.dumps(settings))
        self.content = {"settings": settings, "results": []}
        if self.path.exists():
            self.content = json.loads(self.path.read_text())
            self._check_settings(settings)

    def _check_settings(self, settings):
        found = self.content["settings"]
        changed = [
            key
            for key in sorted({*settings, *found})
            if settings.get(key) != found.get(key)
        ]
        if changed:
            raise ValueError(
                f"{self.path} was measured with other settings ({', '.join(changed)}); "
                "give another --output, or move the file away."
            )

    @property
    def results(self):
        """Return one dict for each finished cell and seed."""
        return self.content["results"]

    def has(self, cell, seed):
        """Return whether a seed of a cell is finished."""
        return any(row["cell"] == cell and row["seed"] == seed for row in self.results)

    def add(self, result):
        """Add a finished seed and write the file, which is never seen half-written."""
        self.results.append(result)
        write_whole(self.path, (json.dumps(self.content, indent=1) + "\n").encode())


def write_whole(path, content):
    """Write a file beside its place and move it there, in one step for readers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, content)
