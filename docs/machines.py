"""
A directive that shows an Automat machine as a table, made from the machine itself when the manual is built::

    .. machine:: ntptwist.spawners.service.build_machine

The argument is what gives the machine.  Each row is a state, each column an input; a cell names the state that follows
and, behind it, what is done on the way.  The first row is the initial state.  An empty cell: nothing happens.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from twisted.python.reflect import namedAny


def inputs_of(automaton: Any) -> list[str]:
    """Give the inputs, in an order that is the same in every build."""
    return sorted(automaton.inputAlphabet())


def states_of(automaton: Any) -> list[Any]:
    """Give the states, the initial one first, then in the order in which they can be reached."""
    found = [automaton.initialState]
    for state in found:
        following = [to for start, _, to, _ in automaton.allTransitions() if start is state and to not in found]
        found += sorted(set(following), key=lambda each: str(each.name))
    return found


def cells_of(automaton: Any) -> dict[tuple[str, str], str]:
    """Give what each input does in each state: ``Waiting: wait``; nothing where the machine stays and does nothing."""
    cells = {}
    for start, happened, to, outputs in automaton.allTransitions():
        done = [output.name for output in outputs if not output.name.startswith("returns(")]
        if to is not start or done:
            cells[start.name, happened] = ": ".join([to.name, *done])
    return cells


def table_of(machine: Any) -> list[str]:
    """Give the table in reStructuredText."""
    automaton = machine.__automat_automaton__
    inputs, cells = inputs_of(automaton), cells_of(automaton)
    lines = [".. list-table::", "   :header-rows: 1", "   :stub-columns: 1", ""]
    for head, *row in [
        ["", *inputs],
        *([state.name, *(cells.get((state.name, each), "") for each in inputs)] for state in states_of(automaton)),
    ]:
        lines += [f"   * - {head}", *(f"     - {cell}" for cell in row)]
    return lines


class MachineDirective(Directive):
    """``.. machine:: dotted.name``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        name = self.arguments[0]
        container = nodes.container()
        self.state.nested_parse(StringList(table_of(namedAny(name)()), source=name), self.content_offset, container)
        return list(container.children)


def setup(app: Any) -> dict[str, bool]:
    """Make the directive known."""
    app.add_directive("machine", MachineDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
