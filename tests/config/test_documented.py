"""Every key that the loader knows is documented, and nothing else is."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ntptwist.config.loader import parse, read
from ntptwist.registry import drivers, find_driver

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCE = (DOCS / "reference" / "configuration.rst").read_text(encoding="utf-8")
PAGES = ("pool", "nts", "gps-and-pps", "shm")
DRIVERS = [(DOCS / "howto" / f"{page}.rst").read_text(encoding="utf-8") for page in PAGES]
"""The pages that explain the keys of drivers; those of ``server`` stand in the reference itself."""

EVERYTHING = """
[synchronization]
startup-step-panic-threshold = {}
[[server]]
allowlist = {}
denylist = {}
[[nts-ke-server]]
[keyset]
[statistics]
""" + "".join(f'[[source]]\nmode = "{name}"\n' for name in drivers())
"""A file in which the loader looks at all there is; that it is wrong does not matter."""

HEADING = re.compile(r"^``\[.*\n-+$", re.MULTILINE)
CELL = re.compile(r"^   \* - ((?:``.*|(?<=- ).*\n       ``.*)+)", re.MULTILINE)
SHIPPED = re.sub(
    r"^#(?=[^ \n])|^# (?=[\[a-z][][a-z0-9-]*(?: =|]))", "", (ROOT / "etc/ntptwist.toml").read_text(), flags=re.MULTILINE
)
"""The shipped file with all its options and remarks in force."""


def known() -> dict[tuple[str, ...], bool]:
    """Give the keys that the loader knows, and whether each has an effect."""
    root, _ = parse(EVERYTHING, "everything")
    read(root, find_driver)
    found: dict[tuple[str, ...], bool] = {}
    for path, counts in root.known():
        names = tuple(str(part) for part in path)
        found[names] = found.get(names, False) or counts
    return found


KNOWN = known()


def sections() -> Iterator[tuple[set[str], str]]:
    """Give the sections of the reference: the tables that a heading names, and the text below it."""
    starts = list(HEADING.finditer(REFERENCE))
    ends = [*(match.start() for match in starts[1:]), REFERENCE.index("\nSections that are refused\n")]
    for match, end in zip(starts, ends, strict=True):
        yield set(re.findall(r"\[{1,2}([a-z-]+)\]", match[0])), REFERENCE[match.end() : end]


SECTIONS = list(sections())


REFUSED = set(re.findall(r"``\[{1,2}([a-z-]+)\]", REFERENCE[REFERENCE.index("\nSections that are refused\n") :]))
"""Tables of ntpd-rs that this daemon does not do."""


FOREIGN = {
    ("nts-ke-server", "accepted-pool-authentication-tokens"),
    ("synchronization", "algorithm"),
    ("synchronization", "warn-on-jump"),
}
"""Keys of ntpd-rs whose values are looked at, for a better message."""


def text_of(table: str) -> str:
    """Give what the manual says of a table."""
    return "".join(text for tables, text in SECTIONS if table in tables) + "".join(DRIVERS if table == "source" else [])


def keys(values: Any, *path: str) -> Iterator[tuple[str, ...]]:
    """Give the path of every key of a TOML value."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield (*path, key)
            yield from keys(value, *path, key)
    elif isinstance(values, list):
        for value in values:
            yield from keys(value, *path)


def test_something_is_known() -> None:
    """The list of known keys is that of the loader and of all drivers."""
    assert ("server", "allowlist", "filter") in KNOWN
    assert ("source", "poll-interval-limits", "min") in KNOWN
    assert ("source", "lock") in KNOWN
    assert KNOWN["synchronization", "algorithm"] is True
    assert KNOWN["clock", "timestamp-mode"] is False
    assert len(KNOWN) > 100


@pytest.mark.parametrize("path", [path for path in KNOWN if "algorithm" not in path[:-1]], ids=".".join)
def test_the_reference_explains_every_key(path: tuple[str, ...]) -> None:
    """Whatever may stand in a file is explained where its table is."""
    if len(path) == 1:
        assert f"[{path[0]}]" in REFERENCE
    else:
        assert re.search(rf"``[^`]*\b{path[-1]}\b[^`]*``", text_of(path[0]))


@pytest.mark.parametrize(("tables", "text"), SECTIONS, ids=[" ".join(sorted(tables)) for tables, _ in SECTIONS])
def test_the_reference_explains_nothing_else(tables: set[str], text: str) -> None:
    """Every key in the first column of a table of the reference is one that the loader knows there."""
    documented = {key for cell in CELL.findall(text) for key in re.findall(r"``([a-z0-9-]+)``", cell)}

    assert documented
    assert documented <= {path[-1] for path in KNOWN if path[0] in tables}


def test_the_shipped_file_offers_nothing_else() -> None:
    """Every option and every remark of the shipped file is a key that the loader knows."""
    assert set(keys(tomllib.loads(SHIPPED))) <= set(KNOWN)


def test_the_shipped_file_offers_every_key() -> None:
    """Whatever has an effect, but for keys of sources and those for ntpd-rs' files alone, can be found in it."""
    offered = set(keys(tomllib.loads(SHIPPED)))
    wanted = {path for path, counts in KNOWN.items() if counts and path[0] not in {"source", *REFUSED}}

    assert sorted(wanted - offered) == sorted(FOREIGN)
