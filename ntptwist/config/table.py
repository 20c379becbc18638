"""
One TOML table as its reader sees it: typed getters that note every problem and go on.

A reader asks for each key that it knows and ends with ``finish``, which refuses the keys that nobody asked for.
Nothing is raised meanwhile: after a problem a getter returns a stand-in of the right type, and the load fails in the
end with all problems of the file at once, so what was made of stand-ins is never used.

This is the face that source drivers see, built-in ones and those from outside: ``configure`` is given the driver's own
``[[source]]`` table, whose ``mode`` has been read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import EllipsisType
from typing import Any, TypeVar

from ntptwist.algorithm.config import PollLimits, SelectionOptions
from ntptwist.config import value
from ntptwist.config.lines import KeyPath
from ntptwist.config.value import Choice, HostPort

__all__ = ["Findings", "HostPort", "Table"]

Default = TypeVar("Default")
Parsed = TypeVar("Parsed")

SMALLEST_POLL = -2
LARGEST_POLL = 17
"""Poll exponents, log2 seconds: RFC 5905, section 7.2 ends at 17; below 0 is for our own servers."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}")


class Findings:
    """The problems and warnings of one file, each with its line; saying the same twice is saying it once."""

    __slots__ = ("_lines", "_problems", "_warnings", "file")

    def __init__(self, file: str, lines: Mapping[KeyPath, int] | None = None) -> None:
        self.file = file
        self._lines = lines or {}
        self._problems: dict[tuple[int, str], None] = {}
        self._warnings: dict[tuple[int, str], None] = {}

    def problem(self, path: KeyPath, text: str) -> None:
        """Note what makes the file unusable."""
        self._problems.setdefault(self._finding(path, text))

    def warning(self, path: KeyPath, text: str) -> None:
        """Note what an operator should know although the file can be used."""
        self._warnings.setdefault(self._finding(path, text))

    @property
    def problems(self) -> tuple[str, ...]:
        """All problems, as ``FILE:LINE: table.key: text``, by line."""
        return self._sorted(self._problems)

    @property
    def warnings(self) -> tuple[str, ...]:
        """All warnings, in the same form."""
        return self._sorted(self._warnings)

    def location(self, path: KeyPath) -> str:
        """Give ``FILE:LINE`` of a path, or of the nearest table around it that has a line; else the file alone."""
        line = self._line(path)
        return f"{self.file}:{line}" if line else self.file

    def _line(self, path: KeyPath) -> int:
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 0)

    def _finding(self, path: KeyPath, text: str) -> tuple[int, str]:
        return self._line(path), ": ".join(part for part in (self.location(path), dotted(path), text) if part)

    @staticmethod
    def _sorted(findings: Mapping[tuple[int, str], None]) -> tuple[str, ...]:
        return tuple(text for _, text in sorted(findings, key=lambda finding: finding[0]))


class Table:
    """
    One table of a configuration file.

    A getter called without a default asks for a key that is required.  Its default is returned as it is, whatever the
    limits.  Whatever was asked for is a known key, be it in the file or not.

    ``default_limits`` is what ``poll_limits`` falls back on; tables taken from this one inherit it.  ``sound`` is False
    once a problem was noted here: comparing two keys makes sense only before.
    """

    __slots__ = ("_children", "_findings", "_known", "_path", "_values", "default_limits", "sound")

    def __init__(
        self,
        values: Mapping[str, Any],
        path: KeyPath,
        findings: Findings,
        default_limits: PollLimits | None = None,
    ) -> None:
        self.default_limits = default_limits or PollLimits()
        self.sound = True
        self._values = values
        self._path = path
        self._findings = findings
        self._known: dict[str, bool] = {}  # and whether its value counts
        self._children: dict[KeyPath, Table] = {}

    def __contains__(self, key: str) -> bool:
        """Tell whether the file gives this key; asking so does not make it a known one."""
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        """Give the keys of the file; that does not make them known ones."""
        return iter(self._values)

    @property
    def location(self) -> str:
        """Where the table begins: ``FILE:LINE``."""
        return self._findings.location(self._path)

    def problem(self, key: str | None, text: str) -> None:
        """Note a problem with a key, or with the table as a whole."""
        self.sound = False
        self._findings.problem(self._at(key), text)

    def warning(self, key: str | None, text: str) -> None:
        """Note a warning about a key, or about the table as a whole."""
        self._findings.warning(self._at(key), text)

    def text(self, key: str, default: Default | EllipsisType = ...) -> str | Default:
        """Give a text that is not empty."""
        return self.parsed(key, value.text, default, "?")

    def choice(self, key: str, choices: Sequence[Choice], default: Default | EllipsisType = ...) -> Choice | Default:
        """Give one of some words."""
        return self.parsed(key, lambda given: value.choice(given, choices), default, choices[0])

    def boolean(self, key: str, default: Default | EllipsisType = ...) -> bool | Default:
        """Give a truth value."""
        return self.parsed(key, value.boolean, default, False)  # noqa: FBT003 - a stand-in, not a switch

    def integer(
        self,
        key: str,
        default: Default | EllipsisType = ...,
        *,
        minimum: int | None = None,
        maximum: int | None = None,
    ) -> int | Default:
        """Give a whole number; both limits are included."""
        stand_in = minimum or maximum or 0
        return self.parsed(key, lambda given: value.integer(given, minimum, maximum), default, stand_in)

    def number(
        self,
        key: str,
        default: Default | EllipsisType = ...,
        *,
        minimum: float | None = None,
        maximum: float | None = None,
        positive: bool = False,
        infinite: bool = False,
    ) -> float | Default:
        """
        Give a finite number as a float; both limits are included, ``positive`` stands for greater than 0.

        With ``infinite`` the file may also say ``"inf"`` or ``inf``.
        """
        return self.parsed(
            key,
            lambda given: value.number(given, minimum, maximum, positive=positive, infinite=infinite),
            default,
            minimum or maximum or 1.0,
        )

    def strings(self, key: str, default: Default | EllipsisType = ...) -> tuple[str, ...] | Default:
        """Give a list of texts."""
        nothing: tuple[str, ...] = ()
        return self.parsed(key, value.strings, default, nothing)

    def path(self, key: str, default: Default | EllipsisType = ...) -> str | Default:
        """Give an absolute path."""
        return self.parsed(key, value.absolute_path, default, "/")

    def address(self, key: str, default_port: int) -> HostPort:
        """Give a required host with a port: ``host``, ``host:port``, a literal address, or ``[IPv6]:port``."""
        return self.parsed(key, lambda given: value.address(given, default_port), ..., HostPort("?", default_port))

    def parsed(
        self,
        key: str,
        parse: Callable[[Any], Parsed],
        default: Default | EllipsisType,
        stand_in: Parsed,
    ) -> Parsed | Default:
        """
        Give what ``parse`` makes of the value; its ValueError is noted as a problem, in its own words.

        ``...`` as the default asks for a required key.  After a problem the default or else ``stand_in`` is returned.
        """
        self._known[key] = True
        if key not in self._values:
            if not isinstance(default, EllipsisType):
                return default
            self.problem(key, "required key is missing")
        else:
            try:
                return parse(self._values[key])
            except ValueError as error:
                self.problem(key, str(error))
        return stand_in if isinstance(default, EllipsisType) else default

    def holds_table(self, key: str) -> bool:
        """Tell whether the value of a key is a table, where another form is possible too."""
        return isinstance(self._values.get(key), dict)

    def table(self, key: str) -> Table:
        """Give the table of a key; an empty one when the file has none."""
        return self._child(self.parsed(key, value.table, {}, {}), key)

    def tables(self, key: str) -> list[Table]:
        """Give the tables of an array, ``[[key]]``; none when the file has none."""
        nothing: list[dict[str, Any]] = []
        given = self.parsed(key, lambda given: value.tables(given, key), nothing, nothing)
        return [self._child(values, key, index) for index, values in enumerate(given)]

    def poll_limits(self) -> PollLimits:
        """
        Give the poll limits of a source, read from its ``poll-interval-limits``.

        What is missing comes from ``[source-defaults]``.  ntpd-rs' ``initial-poll-interval`` is accepted beside it.
        """
        table = self.table("poll-interval-limits")
        minimum = table.integer("min", self.default_limits.minimum, minimum=SMALLEST_POLL, maximum=LARGEST_POLL)
        maximum = table.integer("max", self.default_limits.maximum, minimum=SMALLEST_POLL, maximum=LARGEST_POLL)
        self.without_effect(["initial-poll-interval"], "every source starts at the algorithm's own pace")
        if minimum <= maximum:
            return PollLimits(minimum, maximum)
        if table.sound:
            defaults = [f"{key} is a default" for key in ("min", "max") if key not in table]
            hint = f" ({defaults[0]})" if defaults else ""
            self.problem("poll-interval-limits", f"min {minimum} is greater than max {maximum}{hint}")
        return self.default_limits

    def selection_options(self) -> SelectionOptions:
        """Give what is said of a source beside others: ``noselect``, ``prefer``, ``trust``, ``require``, ``group``."""
        options = SelectionOptions(
            noselect=self.boolean("noselect", default=False),
            prefer=self.boolean("prefer", default=False),
            trust=self.boolean("trust", default=False),
            require=self.boolean("require", default=False),
            group=self.text("group", None),
        )
        if options.noselect:
            for key in ("prefer", "trust", "require"):
                if getattr(options, key):
                    self.problem(key, "a source with noselect is never followed")
        return options

    def ntp_version(self) -> int:
        """
        Give the protocol version of a source, 3 or 4, read from its ``ntp-version``.

        ntpd-rs' 5 and ``"auto"`` are accepted with a warning and mean 4.
        """
        version = self.parsed("ntp-version", value.ntp_version, 4, 4)
        if version in (3, 4):
            return version
        self.without_effect(["ntp-version"], "NTPv5 is not built yet, version 4 is used")
        return 4

    def accept(self, keys: Iterable[str]) -> None:
        """Make keys known ones without reading them."""
        for key in keys:
            self._known.setdefault(key, False)

    def accept_all(self) -> None:
        """Make every key of the file a known one, where nobody can tell which are right."""
        self.accept(self._values)

    def without_effect(self, keys: Sequence[str], reason: str) -> None:
        """Accept keys, whatever their values, and say in one warning which of them have no effect and why."""
        self.accept(keys)
        present = [key for key in keys if key in self._values]
        if len(present) == 1:
            self.warning(present[0], f"has no effect: {reason}")
        elif present:
            self.warning(None, f"{', '.join(present)} have no effect: {reason}")

    def finish(self) -> None:
        """
        Refuse every key that nobody asked for, here and in the tables that were taken from here.

        The loader does it for the whole file after the last driver: a driver need not.
        """
        for key in self._values:
            if key not in self._known:
                self.problem(key, f"unknown key{value.suggestion(key, sorted(self._known))}")
        for child in self._children.values():
            child.finish()

    def known(self) -> Iterator[tuple[KeyPath, bool]]:
        """
        Give every key that was asked for, here and below, and whether its value was looked at or only accepted.

        Tables of an array are one: ``("source", "address")``.
        """
        path = tuple(part for part in self._path if isinstance(part, str))
        yield from (((*path, key), counts) for key, counts in self._known.items())
        for child in self._children.values():
            yield from child.known()

    def _at(self, key: str | None) -> KeyPath:
        return self._path if key is None else (*self._path, key)

    def _child(self, values: Mapping[str, Any], *below: str | int) -> Table:
        """Give the table at a path below this one: the same one each time, since it knows what was asked for."""
        path = (*self._path, *below)
        return self._children.setdefault(path, Table(values, path, self._findings, self.default_limits))


def dotted(path: KeyPath) -> str:
    """Give a path as people write it; tables of an array are counted from 1: ``source[2].address``."""
    name = ""
    for part in path:
        if isinstance(part, int):
            name += f"[{part + 1}]"
        else:
            name += ("." if name else "") + (part if _BARE_KEY.fullmatch(part) else value.shown(part))
    return name
