"""Sphinx configuration of the manual."""

import sys
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

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
man_pages = [
    ("man/ntptwist.8", "ntptwist", "keep this machine's clock right", author, 8),
    ("man/ntptwist-ctl.1", "ntptwist-ctl", "look into a running ntptwist daemon", author, 1),
    ("man/ntptwist-lab.1", "ntptwist-lab", "run ntptwist in a virtual world", author, 1),
    ("man/ntptwist.toml.5", "ntptwist.toml", "configuration of ntptwist", author, 5),
]


def without_links(app: Sphinx, doctree: nodes.document, _: str) -> None:
    """Leave the titles of pages in man pages, where nothing can be followed."""
    if app.builder.format == "man":
        for link in list(doctree.findall(nodes.reference)):
            if "://" not in link.get("refuri", ""):
                link.replace_self(link.children)


def setup(app: Sphinx) -> None:
    """Register what is special about man pages."""
    app.connect("doctree-resolved", without_links)
