"""Sphinx's settings. Build with `sphinx-build -W -b html docs docs/_build/html`."""

import os
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "_ext"))
os.environ.setdefault("MINRAN_NUM_THREADS", "2")

import commands  # noqa: E402
import learn  # noqa: E402
import live  # noqa: E402

import minran  # noqa: E402

project = "minran"
author = "the minran authors"
project_copyright = "the minran authors"
version = release = minran.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
    "docstrings",
    "inline",
    "lines",
    "tags",
]
exclude_patterns = ["_build", "_ext", "_generated"]
templates_path: list[str] = []
html_theme = "furo"
html_title = "minran"
html_static_path = ["_static"]
html_extra_path = ["_generated/extra"]  # the live page
html_favicon = "_static/favicon.svg"
html_css_files = ["minran.css"]
html_js_files = [("equations.js", {"defer": "defer"})]
html_theme_options = {"navigation_with_keys": True}
html_show_sphinx = False
html_copy_source = False

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_inherit_docstrings = False  # what a base class says stands there
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
add_module_names = False
toc_object_entries_show_parents = "hide"

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist", "attrs_block"]
myst_heading_anchors = 3
math_numfig = False
math_eqref_format = "Eq. {number}"
nb_execution_mode = "off"  # docs/_ext/learn.py runs them
nb_merge_streams = True
suppress_warnings = ["mystnb.unknown_mime_type"]

commands.write_page(DOCS / "_generated" / "commands.md")
learn.from_environment(DOCS)
live.write(DOCS / "_generated" / "extra" / "live")
