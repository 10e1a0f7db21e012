"""Sphinx configuration."""

import os
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "skcaps"
author = "the skcaps developers"
copyright = "2026, the skcaps developers"
release = version = installed_version("skcaps")

extensions = [
    "matplotlib.sphinxext.plot_directive",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx-mathjax-offline",
    "sphinx_copybutton",
    "sphinx_design",
    "geometry_table",
    "skip_members",
]
exclude_patterns = ["_build", "_ext", "_templates"]
templates_path = ["_templates"]

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

# Links to other projects need their lists of names, which lie in the network.
if os.environ.get("SKCAPS_DOCS_LINKS"):
    extensions.append("sphinx.ext.intersphinx")
intersphinx_mapping = {
    "numpy": ("https://numpy.org/doc/stable/", None),
    "python": ("https://docs.python.org/3/", None),
    "sklearn": ("https://scikit-learn.org/stable/", None),
    "skorch": ("https://skorch.readthedocs.io/en/stable/", None),
    "torch": ("https://docs.pytorch.org/docs/stable/", None),
}

autodoc_typehints = "none"
autosummary_generate = True
# A package's page lists what its __all__ holds, wherever that is defined.
autosummary_ignore_module_all = False
autosummary_imported_members = True
numpydoc_class_members_toctree = False
numpydoc_show_class_members = False

plot_formats = [("png", 120)]
plot_html_show_formats = False
plot_html_show_source_link = False
plot_include_source = True

# Defaults in the API are code: no typographic quotes.
smartquotes = False
toc_object_entries_show_parents = "hide"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = f"skcaps {release}"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["skcaps.css"]
html_theme_options = {
    "header_links_before_dropdown": 6,
    "navbar_align": "left",
    "navigation_with_keys": False,
    "show_prev_next": False,
    "show_toc_level": 2,
}
# Only these have pages below them; the others would keep an empty column.
html_sidebars = {
    name: []
    for name in (
        "architecture",
        "benchmarks",
        "changelog",
        "geometry",
        "how_capsules_work",
        "index",
        "install",
        "reproductions",
    )
}
