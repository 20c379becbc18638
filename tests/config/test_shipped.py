"""The file that is shipped can be read, as it is and with its examples in force."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ntptwist.algorithm.config import SynchronizationPolicy
from ntptwist.config.loader import load, loads
from ntptwist.config.model import AccessSettings, Config, KeySetSettings, ServerSettings
from tests.config.stub import find_driver

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "etc" / "ntptwist.toml"
REFERENCE = ROOT / "docs" / "reference" / "configuration.rst"
OPTION = re.compile(r"^#(?=[^ \n])", re.MULTILINE)
IN_FORCE = OPTION.sub("", SHIPPED.read_text(encoding="utf-8"))
"""The shipped file with every option in force: the "#" of an option has no blank behind it."""


def keys(values: Any) -> Iterator[str]:
    """Give every key of a TOML value, at any depth."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield key
            yield from keys(value)
    elif isinstance(values, list):
        for value in values:
            yield from keys(value)


def test_as_shipped_nothing_is_configured() -> None:
    """Installing the package neither asks anybody for the time nor touches the clock."""
    config = load(str(SHIPPED), find_driver)

    assert config == Config(path=str(SHIPPED), policy=SynchronizationPolicy(voting_sources=0))
    assert "pool" not in SHIPPED.read_text(encoding="utf-8")


def test_the_examples_can_be_used() -> None:
    """With every option in force the file is good, gives no warning, has its four sources and serves time."""
    config = loads(IN_FORCE, find_driver)

    assert config.warnings == ()
    assert [str(source.configuration.address) for source in config.sources] == [
        "ntp1.example.net:123",
        "ntp2.example.net:123",
        "ntp.example.com:123",
        "[2001:db8::123]:123",
    ]
    assert [str(server.listen) for server in config.servers] == ["[::]:123"]


def test_the_options_show_the_defaults() -> None:
    """What stands in the file as an option, but for the sources, is what holds without it."""
    config = loads(IN_FORCE, find_driver)
    (server,) = config.servers
    access = dataclasses.replace(AccessSettings(), allow=server.access.allow)
    default = Config(
        sources=config.sources,
        servers=(ServerSettings(server.listen, access),),
        keyset=KeySetSettings(),
        policy=SynchronizationPolicy(voting_sources=len(config.sources)),
    )

    assert config.policy.minimum_agreeing_sources == default.policy.agreeing
    assert default == dataclasses.replace(
        config, policy=dataclasses.replace(config.policy, minimum_agreeing_sources=None)
    )


@pytest.mark.parametrize("key", sorted({*keys(tomllib.loads(IN_FORCE))}))
def test_the_reference_explains_every_option(key: str) -> None:
    """Whatever the shipped file offers stands in the reference."""
    assert re.search(rf"``\[{{0,2}}{key}\]{{0,2}}``", REFERENCE.read_text(encoding="utf-8"))
