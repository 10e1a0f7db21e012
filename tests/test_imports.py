"""The import rule: each layer knows the ones below it and nothing above."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "skcaps").rglob("*.py"))

NETWORKS = {"functional", "nn", "estimators"}
MAY_IMPORT = {
    "_kernels": {"_kernels"},
    "functional": {"functional"},
    "nn": {"_kernels", "functional", "nn"},
    "_replacing": {"_replacing"},
    "metrics": {"metrics"},
    "estimators": NETWORKS | {"_replacing", "metrics"},
    "inspection": NETWORKS | {"inspection"},
    "persistence": NETWORKS | {"_replacing", "persistence"},
    "testing": NETWORKS | {"testing"},
    "datasets": {"datasets"},
}
MAY_IMPORT["__init__"] = set(MAY_IMPORT)

OPTIONAL = {
    "dask",
    "distributed",
    "matplotlib",
    "onnx",
    "onnxscript",
    "pandas",
    "polars",
    "rich",
    "skops",
    "torchvision",
}
# Always there, but slow to load, and only a download needs it.
LATE = OPTIONAL | {"pooch"}


def label(path):
    return path.relative_to(ROOT).as_posix()


def layer(path):
    return path.relative_to(ROOT / "skcaps").parts[0].removesuffix(".py")


def imported_modules(path, node):
    """The absolute names that an import statement loads."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    module = node.module or ""
    if node.level:
        package = path.relative_to(ROOT).parts[: -node.level]
        module = ".".join([*package, module]).rstrip(".")
    return [f"{module}.{alias.name}" for alias in node.names]


def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path):
    return [
        name
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in imported_modules(path, node)
    ]


def imports_at_load(path):
    """As `imports`, without those inside a function."""
    found, nodes = [], [parse(path)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            found += imported_modules(path, node)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            nodes += ast.iter_child_nodes(node)
    return found


def top(name):
    return name.partition(".")[0]


def files_that_import(wanted):
    return [label(path) for path in FILES if any(map(wanted, imports(path)))]


@pytest.mark.parametrize("path", FILES, ids=label)
def test_layer_imports_only_what_lies_below(path):
    assert layer(path) in MAY_IMPORT, "give this layer its place in MAY_IMPORT"
    allowed = MAY_IMPORT[layer(path)]
    wrong = [
        name
        for name in imports(path)
        if top(name) == "skcaps" and name.split(".")[1] not in allowed
    ]
    assert not wrong


@pytest.mark.parametrize("path", FILES, ids=label)
def test_packages_seldom_needed_are_imported_late(path):
    assert not LATE & set(map(top, imports_at_load(path)))


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if layer(path) in {"datasets", "metrics"}],
    ids=label,
)
def test_datasets_and_metrics_know_no_torch(path):
    assert not {"torch", "skorch"} & set(map(top, imports(path)))


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if layer(path) in {"_kernels", "functional", "nn"}],
    ids=label,
)
def test_layers_know_no_estimator_library(path):
    assert not {"sklearn", "skorch"} & set(map(top, imports(path)))


def test_one_file_knows_skorch():
    assert len(files_that_import(lambda name: top(name) == "skorch")) == 1


def test_one_file_validates_input():
    assert len(files_that_import(lambda name: name.endswith(".validate_data"))) == 1


def modules_after(statement):
    code = f"import sys, {statement}; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    return set(map(top, run.stdout.split()))


def test_import_loads_no_optional_package():
    # scikit-learn and skorch load some of these themselves where they find them.
    theirs = modules_after("joblib, sklearn.utils, skorch, torch")
    assert sorted(OPTIONAL & (modules_after("skcaps") - theirs)) == []
