"""
Source drivers: the stock implementation, and how one is found by the ``mode`` word of a configuration.

Drivers are plugins (``twisted.plugin``); the built-in ones use the very interface that outside drivers use.  A driver
line names its spawner class as a string, so finding drivers imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from twisted.plugin import IPlugin, getPlugins
from twisted.python.reflect import InvalidName, namedAny, namedModule
from zope.interface import implementer

from ntptwist.errors import DriverError
from ntptwist.interfaces import ISourceDriver, ISpawner, ISystem

if TYPE_CHECKING:
    from ntptwist.config.table import Table


@implementer(IPlugin, ISourceDriver)
@dataclass(frozen=True, slots=True)
class SourceDriver:
    """
    A driver whose work is done by its spawner class, named as ``"package.module.Class"``.

    The class is called with ``(configuration, system, reactor)`` and has a static method ``configure(table)`` that
    returns the frozen configuration.
    """

    name: str
    description: str
    spawner_class: str

    def _load(self) -> Any:
        try:
            return namedAny(self.spawner_class)
        except (ImportError, AttributeError, SyntaxError, InvalidName) as error:
            raise DriverError(f"driver {self.name!r} can't be loaded from {self.spawner_class}: {error}") from error

    def configure(self, table: Table) -> Any:
        """Read one ``[[source]]`` table; problems are noted in the table.  DriverError when it can't be loaded."""
        return self._load().configure(table)

    def spawner(self, configuration: Any, system: ISystem, reactor: Any) -> ISpawner:
        """Make the spawner of a configuration.  DriverError when it can't be loaded."""
        spawner: ISpawner = self._load()(configuration, system, reactor)
        return spawner


def drivers() -> dict[str, ISourceDriver]:
    """Give every driver that is installed, by name; of two with one name the first found counts, ours before all."""
    found = _built_in()
    plugins: Iterable[ISourceDriver] = getPlugins(ISourceDriver)
    for driver in plugins:
        found.setdefault(driver.name, driver)
    return found


def find_driver(mode: str) -> ISourceDriver:
    """
    Give the driver of a ``mode`` word; DriverError names the drivers that there are.

    The search through every plugin of every package takes longer than all the rest of a start, so it is made only for
    a word that is not one of ours.
    """
    found = _built_in()
    if mode not in found:
        found = drivers()
    if mode in found:
        return found[mode]
    close = get_close_matches(mode, found, 1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise DriverError(f"no driver called {mode!r}{hint}; found: {', '.join(sorted(found)) or 'none'}")


def _built_in() -> dict[str, ISourceDriver]:
    """Give the drivers of our own plugin module."""
    plugin = vars(namedModule("twisted.plugins.ntptwist_plugin"))
    return {value.name: value for value in plugin.values() if isinstance(value, SourceDriver)}
