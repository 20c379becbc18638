"""Sphinx configuration of the manual."""

import ntptwist

project = "ntptwist"
author = "The ntptwist developers"
copyright = "2026, the ntptwist developers"
version = release = ntptwist.__version__
extensions = ["sphinx.ext.mathjax", "sphinx.ext.doctest"]
html_theme = "furo"
html_title = f"ntptwist {release}"
nitpicky = True
exclude_patterns = ["_build"]
