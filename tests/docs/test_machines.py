"""The tables of state machines in the manual, which are made from the machines themselves."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from ntptwist.spawners.service import build_machine

FILE = Path(__file__).parents[2] / "docs" / "machines.py"


@pytest.fixture
def machines() -> ModuleType:
    """The extension of Sphinx that makes them."""
    spec = importlib.util.spec_from_file_location("machines", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_has_every_state_and_input(machines: ModuleType) -> None:
    """Every state is a row, the initial one first, and every input is a column."""
    lines = machines.table_of(build_machine())

    assert [line[7:] for line in lines if line.startswith("   * - ")] == [
        "",
        "Stopped",
        "Resolving",
        "Running",
        "Waiting",
    ]
    assert [line[7:] for line in lines[5:10]] == ["complete", "due", "missing", "start", "stop"]


def test_a_cell_says_what_follows_and_what_is_done(machines: ModuleType) -> None:
    """A transition is shown with the next state and its action; where nothing happens the cell is empty."""
    cells = machines.cells_of(build_machine().__automat_automaton__)

    assert cells["Stopped", "start"] == "Resolving: attempt"
    assert cells["Resolving", "complete"] == "Running"
    assert cells["Running", "missing"] == "Waiting: wait"
    assert ("Stopped", "due") not in cells
