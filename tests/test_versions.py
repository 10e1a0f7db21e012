import importlib.metadata

import pytest

import skcaps


@pytest.mark.parametrize("package", ["skcaps", "torch", "scikit-learn", "numpy"])
def test_show_versions(package, capsys):
    skcaps.show_versions()
    shown = capsys.readouterr().out
    assert f"{package}: {importlib.metadata.version(package)}\n" in shown


def test_package_that_is_not_there(capsys, monkeypatch):
    monkeypatch.setattr("skcaps._versions._PACKAGES", ("no-such-package",))
    skcaps.show_versions()
    assert "no-such-package: unknown" in capsys.readouterr().out
