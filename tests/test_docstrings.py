"""Every public name is documented, and every ``__all__`` is right."""

import importlib
import inspect

import pytest
import torch
from numpydoc.validate import validate

PACKAGES = ["", "functional", "nn", "datasets", "inspection", "metrics", "testing"]

# GL03 double blank lines, GL06 unknown section, GL07 order of sections, GL08 no
# docstring, SS03 no period, SS06 summary longer than a line, PR01 to PR04 and PR07
# parameters, RT01 no Returns, YD01 no Yields.
CODES = {
    "GL03", "GL06", "GL07", "GL08", "SS03", "SS06",
    "PR01", "PR02", "PR03", "PR04", "PR07", "RT01", "YD01",
}  # fmt: skip
# For a record, which has fields, and for the methods of a module, which take and give
# what the class says.
SHORT_CODES = {"GL08", "SS03", "SS06"}
NO_EXAMPLES = "EX01"


def find_packages():
    for name in PACKAGES:
        module = f"skcaps.{name}".rstrip(".")
        try:
            yield importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise


MODULES = list(find_packages())


def name_of(value):
    return getattr(value, "__name__", str(value))


def is_documentable(value):
    return inspect.isclass(value) or inspect.isfunction(value)


def is_record(value):
    return inspect.isclass(value) and issubclass(value, tuple)


def is_torch_module(value):
    return inspect.isclass(value) and issubclass(value, torch.nn.Module)


def resolve(full_name):
    module, _, name = full_name.rpartition(".")
    return getattr(importlib.import_module(module), name)


def public_objects():
    """The full name of each public class and function, once."""
    found = {}
    for module in MODULES:
        for name in getattr(module, "__all__", []):
            value = getattr(module, name)
            if is_documentable(value):
                found.setdefault(value, f"{module.__name__}.{name}")
    return sorted(found.values())


def public_methods():
    """Class and name of each public method that this package defines itself."""
    for full_name in public_objects():
        value = resolve(full_name)
        if not inspect.isclass(value):
            continue
        for method, function in inspect.getmembers(value, inspect.isfunction):
            own = function.__module__.startswith("skcaps")
            if own and not method.startswith("_"):
                yield full_name, method


def problems(full_name, codes):
    return [
        f"{code} {message}"
        for code, message in validate(full_name)["errors"]
        if code in codes
    ]


@pytest.mark.parametrize("full_name", public_objects())
def test_public_object(full_name):
    codes = SHORT_CODES if is_record(resolve(full_name)) else CODES | {NO_EXAMPLES}
    assert not problems(full_name, codes)


@pytest.mark.parametrize(("full_name", "method"), list(public_methods()))
def test_public_method(full_name, method):
    codes = SHORT_CODES if is_torch_module(resolve(full_name)) else CODES
    assert not problems(f"{full_name}.{method}", codes)


def style_order(name):
    """Constants, then classes, then the rest, as the linter sorts them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_all_is_sorted(module):
    assert module.__all__ == sorted(set(module.__all__), key=style_order)


@pytest.mark.parametrize(
    "module", [found for found in MODULES if hasattr(found, "__path__")], ids=name_of
)
def test_all_holds_every_public_name(module):
    public = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert set(module.__all__) - {"__version__"} == public
