"""The representation in notebooks."""

import importlib.metadata
from email.message import Message

import pytest

from skcaps.estimators._documentation import page_template

from ._small import X, Y, make


@pytest.fixture
def metadata(monkeypatch):
    """The metadata of the installed package, to be filled."""
    found = Message()
    monkeypatch.setattr(importlib.metadata, "metadata", lambda name: found)
    page_template.cache_clear()
    yield found
    page_template.cache_clear()


def test_documentation_is_linked(metadata):
    metadata["Project-URL"] = "Source, https://example.org/source"
    metadata["Project-URL"] = "Documentation, https://example.org/docs/"
    page = "https://example.org/docs/api/skcaps.EfficientCapsNetClassifier.html"
    assert make()._get_doc_link() == page
    assert page in make()._repr_html_()
    assert "Documentation for" in make()._repr_html_()


def test_no_link_without_documentation(metadata):
    metadata["Project-URL"] = "Source, https://example.org/source"
    assert make()._get_doc_link() == ""
    assert "Documentation for" not in make()._repr_html_()


def test_fitted_attributes_are_short():
    clf = make().fit(X, Y)
    page = clf._repr_html_()
    assert len(page) < len(make()._repr_html_()) + 20_000
