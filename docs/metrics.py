"""
A directive that lists the metrics, made from their tables when the manual is built::

    .. metrics:: ntptwist_clock

The argument is what the names begin with.  Each row is a metric with its kind, its labels and what it means.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

from ntptwist.observe.catalogue import catalogue


def table_of(prefix: str) -> list[str]:
    """Give the table of the metrics whose names begin so, in reStructuredText."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 40 10 20 30", ""]
    lines += ["   * - metric", "     - kind", "     - labels", "     - meaning"]
    for name, kind, labels, words in catalogue():
        if name.startswith(prefix):
            cells = (kind, ", ".join(f"``{label}``" for label in labels), words.replace("|", r"\|"))
            lines += [f"   * - ``{name}``", *(f"     - {cell}".rstrip() for cell in cells)]
    return lines


class MetricsDirective(Directive):
    """``.. metrics:: beginning``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        container = nodes.container()
        lines = StringList(table_of(self.arguments[0]), source="metrics")
        self.state.nested_parse(lines, self.content_offset, container)
        return list(container.children)


def setup(app: Any) -> dict[str, bool]:
    """Make the directive known."""
    app.add_directive("metrics", MetricsDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
