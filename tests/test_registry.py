"""Finding a source driver by the word that a configuration uses."""

from __future__ import annotations

from typing import Any

import pytest
from zope.interface.verify import verifyObject

from ntptwist.config.table import Table
from ntptwist.errors import DriverError
from ntptwist.interfaces import ISourceDriver
from ntptwist.registry import SourceDriver, drivers, find_driver


def test_built_in_driver_is_found() -> None:
    """``mode = "server"`` has a driver, and it offers what a driver must."""
    driver = find_driver("server")

    assert driver.name == "server"
    assert verifyObject(ISourceDriver, driver)


def test_all_drivers_are_listed() -> None:
    """The list of what is installed holds ours, and says in a line what each is."""
    found = drivers()

    assert "server" in found
    assert all(driver.name == name and driver.description for name, driver in found.items())


def test_unknown_driver_is_named_with_a_hint() -> None:
    """A word that is spelled wrongly gets the nearest right one, and the list."""
    with pytest.raises(DriverError, match=r"no driver called 'servr' \(did you mean 'server'\?\); found: .*server"):
        find_driver("servr")


@pytest.mark.parametrize("spawner", ["nowhere.at.All", "ntptwist.spawners.standard.Nothing"])
def test_a_driver_that_can_not_be_loaded(spawner: str) -> None:
    """A driver whose code is missing says which and why; nothing else is hurt."""
    driver = SourceDriver("broken", "a broken one", spawner)
    missing: Any = None
    with pytest.raises(DriverError, match=f"driver 'broken' can't be loaded from {spawner}"):
        driver.configure(missing)
    with pytest.raises(DriverError, match=f"driver 'broken' can't be loaded from {spawner}"):
        driver.spawner(None, missing, None)


def test_table_type_is_public() -> None:
    """Drivers from outside get their table in a documented type."""
    assert Table.__doc__
