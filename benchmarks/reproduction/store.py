"""The results of an experiment on disk, written whole after each finished seed."""

import json
from pathlib import Path

import jsonl


class Store:
    """A file with the settings in its first line and then a line for each result.

    Parameters
    ----------
    path : pathlib.Path
        The file; read if it is there.
    settings : dict
        What the results depend on besides the seed.

    Attributes
    ----------
    results : list of dict
        One for each finished cell and seed.

    Raises
    ------
    ValueError
        If the file was written with other settings: its results cannot stand beside
        new ones.
    """

    def __init__(self, path, settings):
        self.path = Path(path)
        # As a file gives them back, without tuples.
        self.settings = json.loads(json.dumps(settings))
        found, *self.results = jsonl.read(self.path) or [self.settings]
        self._check_settings(found)

    def _check_settings(self, found):
        changed = [
            key
            for key in sorted({*self.settings, *found})
            if self.settings.get(key) != found.get(key)
        ]
        if changed:
            raise ValueError(
                f"{self.path} was measured with other settings ({', '.join(changed)}); "
                "give another --output, or move the file away."
            )

    def has(self, cell, seed):
        """Return whether a seed of a cell is finished."""
        return any(row["cell"] == cell and row["seed"] == seed for row in self.results)

    def add(self, result):
        """Add a finished seed and write the file, which is never seen half-written."""
        self.results.append(result)
        jsonl.write(self.path, [self.settings, *self.results])
