"""Classes whose annotated attributes are their parameters, documented once."""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
import re
from dataclasses import dataclass, fields
from typing import TypeVar, dataclass_transform

Class = TypeVar("Class", bound=type)

_SECTION = re.compile(r"^(\w[\w ]*)\n-+\n", re.MULTILINE)
_ENTRY = re.compile(r"^(?=\S)", re.MULTILINE)


@dataclass_transform(kw_only_default=True, eq_default=False)
def with_parameters(cls: Class) -> Class:
    """Make a class of parameters: its constructor, and the whole of its docstring.

    The constructor takes every annotated attribute, those of the classes above it too,
    by keyword, and stores it. The docstring gets the parameters and attributes that
    only a class above documents, and all parameters get their defaults.
    """
    dataclass(kw_only=True, eq=False, repr=False)(cls)
    # Python leaves docstrings out if it is asked to.
    if cls.__doc__:
        cls.__doc__ = _complete(cls)
    return cls


def _complete(cls: type) -> str:
    summary, sections = _split(cls.__doc__)
    above = [_split(parent.__doc__)[1] for parent in cls.__mro__[1:]]
    entries = _merge("Parameters", sections, above)
    parameters = [_with_default(entries[f.name], f.default) for f in fields(cls)]
    attributes = _merge("Attributes", sections, above).values()
    complete = {
        "Parameters": "".join(parameters),
        "Attributes": "".join(attributes),
        **sections,
    }
    parts = [f"{name}\n{'-' * len(name)}\n{complete[name]}" for name in complete]
    return "\n\n".join(part.rstrip() for part in [summary, *parts])


def _merge(name: str, sections: dict, above: list[dict]) -> dict[str, str]:
    """Take a section out, and add the entries that only a class above has."""
    entries = _entries(sections.pop(name, ""))
    for others in above:
        entries |= {
            key: entry
            for key, entry in _entries(others.get(name, "")).items()
            if key not in entries
        }
    return entries


def _split(docstring: str | None) -> tuple[str, dict[str, str]]:
    """Return what comes before the sections, and the text of each."""
    summary, *parts = _SECTION.split(inspect.cleandoc(docstring or ""))
    return summary, dict(zip(parts[::2], parts[1::2], strict=True))


def _entries(section: str) -> dict[str, str]:
    """Return the lines about each name."""
    entries = [entry for entry in _ENTRY.split(section) if entry]
    return {entry.partition(" : ")[0]: f"{entry.rstrip()}\n" for entry in entries}


def _with_default(entry: str, default: object) -> str:
    first, _, rest = entry.partition("\n")
    text = f'"{default}"' if isinstance(default, str) else repr(default)
    return f"{first.partition(', default=')[0]}, default={text}\n{rest}"


@functools.cache
def page_template() -> str:
    """Return where an estimator's page is, for scikit-learn to put its name in.

    That is below the documentation that the installed package names in its metadata
    (``[project.urls]`` in pyproject.toml), and empty, for no link, if it names none.
    """
    try:
        found = importlib.metadata.metadata("skcaps").get_all("Project-URL", [])
    except importlib.metadata.PackageNotFoundError:
        return ""
    urls = dict(entry.split(", ", maxsplit=1) for entry in found)
    home = urls.get("Documentation", "").rstrip("/")
    return f"{home}/api/skcaps.{{estimator_name}}.html" if home else ""
