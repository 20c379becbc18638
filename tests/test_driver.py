"""What a driver from outside may build on: the names, the page that explains them, and the driver that it shows."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from zope.interface.verify import verifyObject

from ntptwist import driver
from ntptwist.config.loader import loads
from ntptwist.driver import ISource, ISpawner, SourceDriver
from ntptwist.sim.world import World
from ntptwist.spawners.service import SpawnerService
from tests.sim.daemon import VirtualDaemon

PAGE = (Path(__file__).parents[1] / "docs/reference/driver-interface.rst").read_text()

INTERFACES = {"ISource", "ISourceController", "ISourceDriver", "ISpawner", "ISystem"}
SHAPES = {"BlockingSource", "LocalSpawner", "OneWaySource", "PolledSource", "SingleSpawner"}
CONFIGURATION = {"HostPort", "OneWaySettings", "PollLimits", "SelectionOptions", "SourceDriver", "Table"}
MEASUREMENTS = {"Measurement", "OneWayMeasurement", "Reading", "TwoWayMeasurement"}
VALUES = {"EndReason", "Leap", "Monotonic", "NANOSECONDS", "ReferenceId", "SourceEnd", "SourceId", "SourceObservation"}
MORE_VALUES = {"SpawnerId", "Timestamp"}
ERRORS = {"DeviceError", "DriverError", "NTPTwistError", "ResolutionError", "WireError"}


def test_the_names() -> None:
    """The public face has these names and no others: one that goes away breaks somebody's driver."""
    assert set(driver.__all__) == INTERFACES | SHAPES | CONFIGURATION | MEASUREMENTS | VALUES | MORE_VALUES | ERRORS
    assert len(driver.__all__) == len(set(driver.__all__))
    assert all(hasattr(driver, name) for name in driver.__all__)


def test_every_name_is_explained() -> None:
    """The reference page has an entry for every name."""
    entries = {name for line in re.findall(r"^``.*``$", PAGE, re.MULTILINE) for name in re.findall(r"``(\w+)``", line)}

    assert set(driver.__all__) - entries == {"SourceDriver"}
    assert "``SourceDriver(name, description, spawner_class)``" in PAGE


@pytest.fixture
def example(tmp_path: Path) -> Iterator[SourceDriver]:
    """The driver of the page, installed as a module of its own."""
    block = PAGE.split(".. code-block:: python\n", 1)[1].split("\n.. _driver-found", 1)[0]
    (tmp_path / "filetime.py").write_text(dedent(block))
    sys.path.insert(0, str(tmp_path))
    yield SourceDriver("file", "the time that stands in a file", "filetime.FileSpawner")
    sys.path.remove(str(tmp_path))
    del sys.modules["filetime"]


def test_the_example_is_a_driver(example: SourceDriver, tmp_path: Path) -> None:
    """The driver that the page shows reads its table, makes its source and reports each second."""
    file = tmp_path / "time"
    file.write_text(str(time.time_ns()))
    text = f'[[source]]\nmode = "file"\npath = "{file}"\nprecision = 1e-3\n'
    configuration = loads(text, lambda _: example).sources[0].configuration
    world = World(1)
    with VirtualDaemon(world, "") as daemon:
        spawner = example.spawner(configuration, daemon.system, world.reactor)
        service = SpawnerService(spawner, daemon.system, world.reactor, "file")
        service.setServiceParent(daemon.system)
        daemon.run(1.5)
        (row,) = daemon.rows()
        (source,) = list(service)

        assert verifyObject(ISpawner, spawner)
        assert verifyObject(ISource, source)

    assert row.observation.name == str(file)
    assert row.observation.dropped + row.observation.received == 2
