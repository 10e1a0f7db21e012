"""Sphinx configuration."""

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
    "sphinx.ext.mathjax",
    "geometry_table",
    "skip_members",
]
exclude_patterns = ["_build", "_ext", "_templates"]
templates_path = ["_templates"]

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

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

html_theme = "pydata_sphinx_theme"
html_title = f"skcaps {release}"
html_show_sourcelink = False
html_theme_options = {"show_prev_next": False}
