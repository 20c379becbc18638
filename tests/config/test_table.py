"""A table tells all its problems with file, line and key, and refuses what nobody asked for."""

from __future__ import annotations

import math
import tomllib

import pytest

from ntptwist.algorithm.config import PollLimits, SelectionOptions
from ntptwist.config.lines import locate
from ntptwist.config.table import Findings, HostPort, Table, dotted


def read(text: str) -> tuple[Table, Findings]:
    """Give the root table of a text, and what will be said of it."""
    findings = Findings("f.toml", locate(text))
    return Table(tomllib.loads(text), (), findings), findings


def test_values_of_every_kind() -> None:
    """Each getter gives the value of its key."""
    table, findings = read(
        """
        text = "x"
        word = "b"
        flag = true
        whole = 7
        real = 2
        endless = "inf"
        names = ["a", "b"]
        place = "/a/b"
        address = "[::1]:124"
        inner = { key = 1 }
        """
    )
    got = (
        table.text("text"),
        table.choice("word", ("a", "b")),
        table.boolean("flag"),
        table.integer("whole"),
        table.number("real"),
        table.number("endless", infinite=True),
        table.strings("names"),
        table.path("place"),
        table.address("address", 123),
        table.table("inner").integer("key"),
    )
    table.finish()

    assert got == ("x", "b", True, 7, 2.0, math.inf, ("a", "b"), "/a/b", HostPort("::1", 124), 1)
    assert findings.problems == ()


def test_defaults_are_given_as_they_are() -> None:
    """A key that is missing has its default, even one outside the limits; a table is empty."""
    table, findings = read("")
    got = (
        table.text("a", None),
        table.choice("b", ("x",), "y"),
        table.boolean("c", default=None),
        table.integer("d", -5, minimum=0),
        table.number("e", None),
        table.strings("f", ()),
        table.path("g", None),
        table.table("h").text("i", "z"),
        table.tables("j"),
        table.poll_limits(),
        table.ntp_version(),
    )
    table.finish()

    assert got == (None, "y", None, -5, None, (), None, "z", [], PollLimits(), 4)
    assert findings.problems == findings.warnings == ()


def test_every_required_key_that_is_missing_is_told() -> None:
    """A missing key is told with the line of its table, and reading goes on with a stand-in of the right type."""
    table, findings = read("\n[[source]]\n")
    source = table.tables("source")[0]
    got = (
        source.text("text"),
        source.choice("word", ("a", "b")),
        source.boolean("flag"),
        source.integer("whole"),
        source.integer("limited", minimum=2, maximum=3),
        source.number("real"),
        source.number("limited-real", maximum=0.5),
        source.strings("names"),
        source.path("place"),
        source.address("address", 123),
    )

    assert got == ("?", "a", False, 0, 2, 1.0, 0.5, (), "/", HostPort("?", 123))
    assert findings.problems == tuple(
        f"f.toml:2: source[1].{key}: required key is missing"
        for key in ["text", "word", "flag", "whole", "limited", "real", "limited-real", "names", "place", "address"]
    )


def test_a_bad_value_is_told_with_its_line_and_replaced() -> None:
    """After a problem the default stands in, or something of the right type."""
    table, findings = read('a = 1\n"b c" = 2\n[d]\ne = 3\n')
    got = (table.text("a", "x"), table.text("b c"), table.table("d").text("e", None))

    assert got == ("x", "?", None)
    assert findings.problems == (
        "f.toml:1: a: expected a text, not 1",
        "f.toml:2: 'b c': expected a text, not 2",
        "f.toml:4: d.e: expected a text, not 3",
    )


def test_tables_that_are_none() -> None:
    """A value where a table belongs is told; its table reads as empty."""
    table, findings = read("a = 1\n[b]\n")
    inner = table.table("a")

    assert inner.text("x", "empty") == "empty"
    assert table.tables("b") == []
    assert findings.problems == (
        "f.toml:1: a: expected a table, not 1",
        "f.toml:2: b: expected tables with [[b]] above each, not a table",
    )


def test_unknown_keys_are_refused_everywhere() -> None:
    """A key that nobody asked for is an error in every table, with the known key that is closest."""
    table, findings = read('addr = "x"\nzzz = 1\n[[source]]\nmin = 1\n[source.limits]\nmix = 2\n')
    table.text("address", None)
    source = table.tables("source")[0]
    source.accept(["min"])
    source.table("limits").integer("max", 1)
    table.finish()

    assert findings.problems == (
        "f.toml:1: addr: unknown key (did you mean 'address'?)",
        "f.toml:2: zzz: unknown key",
        "f.toml:6: source[1].limits.mix: unknown key (did you mean 'max'?)",
    )


def test_finishing_twice_says_nothing_twice() -> None:
    """A driver may finish its own table before the loader finishes the file."""
    table, findings = read("[[source]]\na = 1\n")
    table.tables("source")[0].finish()
    table.finish()

    assert findings.problems == ("f.toml:2: source[1].a: unknown key",)


def test_a_table_is_the_same_however_often_it_is_taken() -> None:
    """Two readers of one table do not refuse each other's keys."""
    table, findings = read("[a]\nb = 1\nc = 2\n")
    table.table("a").integer("b")
    table.table("a").integer("c")
    table.finish()

    assert findings.problems == ()


def test_everything_can_be_accepted() -> None:
    """Where nobody knows the right keys, none is refused."""
    table, findings = read("a = 1\nb = 2\n")
    table.accept_all()
    table.finish()

    assert findings.problems == ()


def test_problems_are_in_the_order_of_lines() -> None:
    """Whatever was read first, an operator goes through the file from top to bottom."""
    table, findings = read("a = 1\nb = 2\nc = 3\n")
    table.warning("b", "second warning")
    table.warning(None, "first warning")
    for key in ("c", "a", "b"):
        table.text(key)

    assert [line.split(":")[1] for line in findings.problems] == ["1", "2", "3"]
    assert findings.warnings == ("f.toml: first warning", "f.toml:2: b: second warning")


def test_own_problems_and_where_a_table_stands() -> None:
    """A driver may note a problem with its table or a key of it, and say where it stands."""
    table, findings = read("\n\n[[source]]\na = 1\n")
    source = table.tables("source")[0]
    before = source.sound
    source.problem("a", "is wrong")
    source.problem(None, "is wrong too")

    assert (before, source.sound, table.sound) == (True, False, True)
    assert source.location == "f.toml:3"
    assert findings.problems == ("f.toml:3: source[1]: is wrong too", "f.toml:4: source[1].a: is wrong")


def test_what_the_file_gives() -> None:
    """A table tells which keys it holds and which of them are tables."""
    table, _ = read("a = 1\nb = {}\n")

    assert ("a" in table, "c" in table) == (True, False)
    assert (table.holds_table("a"), table.holds_table("b"), table.holds_table("c")) == (False, True, False)


def test_keys_without_effect() -> None:
    """Keys without effect are accepted, and one warning names those that are there."""
    table, findings = read("[none]\n[one]\nb = 1\n[two]\nb = 1\na = 2\n")
    for name in ("none", "one", "two"):
        table.table(name).without_effect(["a", "b"], "they are old")
    table.finish()

    assert findings.problems == ()
    assert findings.warnings == (
        "f.toml:3: one.b: has no effect: they are old",
        "f.toml:4: two: a, b have no effect: they are old",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", PollLimits(4, 8)),
        ("poll-interval-limits = { min = 5 }", PollLimits(5, 8)),
        ("poll-interval-limits = { max = 17 }", PollLimits(4, 17)),
        ("poll-interval-limits = { min = -2, max = -2 }", PollLimits(-2, -2)),
    ],
)
def test_poll_limits(text: str, expected: PollLimits) -> None:
    """What a source does not say of its poll interval comes from the defaults of all sources."""
    table, findings = read(f"[[source]]\n{text}\n")
    table.default_limits = PollLimits(4, 8)
    limits = table.tables("source")[0].poll_limits()
    table.finish()

    assert expected == limits
    assert findings.problems == findings.warnings == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{ min = 9, max = 7 }", ": min 9 is greater than max 7"),
        ("{ min = 9 }", ": min 9 is greater than max 8 (max is a default)"),
        ("{ max = 3 }", ": min 4 is greater than max 3 (min is a default)"),
        ("{ min = -3, max = 3 }", ".min: expected a whole number from -2 to 17, not -3"),
        ("{ min = 4, max = 18 }", ".max: expected a whole number from -2 to 17, not 18"),
        ("{ min = 4, max = 6.0 }", ".max: expected a whole number from -2 to 17, not 6.0"),
        ("{ min = 4, maximum = 6 }", ".maximum: unknown key (did you mean 'max'?)"),
        ("4", ": expected a table, not 4"),
    ],
)
def test_bad_poll_limits(text: str, problem: str) -> None:
    """Poll limits outside the protocol's range or upside down are told, once."""
    table, findings = read(f"[[source]]\npoll-interval-limits = {text}\n")
    table.default_limits = PollLimits(4, 8)
    table.tables("source")[0].poll_limits()
    table.finish()

    assert findings.problems == (f"f.toml:2: source[1].poll-interval-limits{problem}",)


def test_the_initial_poll_interval_of_ntpd_rs() -> None:
    """ntpd-rs' initial-poll-interval is accepted with a warning."""
    table, findings = read("initial-poll-interval = 4\n")
    limits = table.poll_limits()
    table.finish()

    assert limits == PollLimits()
    assert findings.problems == ()
    assert findings.warnings == (
        "f.toml:1: initial-poll-interval: has no effect: every source starts at the algorithm's own pace",
    )


@pytest.mark.parametrize(("text", "expected", "warned"), [("3", 3, 0), ("4", 4, 0), ("5", 4, 1), ('"auto"', 4, 1)])
def test_protocol_versions(text: str, expected: int, warned: int) -> None:
    """Versions 3 and 4 are spoken; a wish for version 5 is answered with version 4 and a warning."""
    table, findings = read(f"ntp-version = {text}\n")
    version = table.ntp_version()
    table.finish()
    warning = "f.toml:1: ntp-version: has no effect: NTPv5 is not built yet, version 4 is used"

    assert expected == version
    assert (warning,) * warned == findings.warnings
    assert findings.problems == ()


def test_no_protocol_version() -> None:
    """A version that never was is refused."""
    table, findings = read("ntp-version = 6\n")
    table.ntp_version()

    assert findings.problems == ("f.toml:1: ntp-version: expected 3, 4, 5 or 'auto', not 6",)


def test_names_of_paths() -> None:
    """Array tables are counted from 1, and a strange key is quoted so that a message stays on one line."""
    names = [dotted(("source", 1, "address")), dotted(("a b\n", "\x1b", "")), dotted(("k" * 61,)), dotted(())]

    assert names == ["source[2].address", "'a b\\n'.'\\x1b'.''", f"'{'k' * 40}'...", ""]


def test_without_lines() -> None:
    """Findings that know no lines name the file alone."""
    findings = Findings("f.toml")
    findings.problem(("a",), "is wrong")

    assert findings.problems == ("f.toml: a: is wrong",)


def test_selection_options() -> None:
    """Each word that an operator can say of a source is read; what is not said is not so."""
    table, findings = read('prefer = true\ntrust = true\nrequire = true\ngroup = "office"\n')
    options = table.selection_options()
    nothing = read("")[0].selection_options()

    assert options == SelectionOptions(prefer=True, trust=True, require=True, group="office")
    assert nothing == SelectionOptions()
    assert findings.problems == ()


def test_noselect_contradicts_every_wish_to_follow() -> None:
    """A source that is only measured can't be preferred, trusted or required."""
    table, findings = read("noselect = true\nprefer = true\ntrust = true\nrequire = false\n")
    table.selection_options()

    assert findings.problems == (
        "f.toml:2: prefer: a source with noselect is never followed",
        "f.toml:3: trust: a source with noselect is never followed",
    )
