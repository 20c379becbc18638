"""Sphinx configuration of the manual."""

import sys
from pathlib import Path

import ntptwist

sys.path.insert(0, str(Path(__file__).parent))  # our own extension

project = "ntptwist"
author = "The ntptwist developers"
copyright = "2026, the ntptwist developers"
version = release = ntptwist.__version__
extensions = ["sphinx.ext.mathjax", "sphinx.ext.doctest", "machines", "metrics"]
html_theme = "furo"
html_title = f"ntptwist {release}"
nitpicky = True
exclude_patterns = ["_build"]
