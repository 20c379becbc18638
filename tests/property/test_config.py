"""Whatever stands in a configuration file, it is read or refused in words."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ntptwist.config.lines import locate, statements
from ntptwist.config.loader import loads
from ntptwist.config.model import Config
from ntptwist.config.value import HostPort, address
from ntptwist.errors import ConfigError
from tests.config.stub import find_driver

SHIPPED = Path(__file__).parents[2] / "etc" / "ntptwist.toml"
IN_FORCE = re.sub(r"^#(?=[^ \n])", "", SHIPPED.read_text(encoding="utf-8"), flags=re.MULTILINE)
WORDS = sorted({*re.findall(r"[a-z][a-z-]+", IN_FORCE)})
MESSAGE = re.compile(r"<text>(:[0-9]+)?: [^\n]*[^\n ]")

values = st.one_of(
    st.integers().map(str),
    st.floats().map(repr),
    st.sampled_from(["true", "false", "'inf'", "{}", "[]", "[{}]", "07:32:00", "1979-05-27", "0x" + "f" * 5000]),
    st.sampled_from(WORDS).map("'{}'".format),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="'"), max_size=60).map(
        "'{}'".format
    ),
)
keys = st.sampled_from(WORDS)
lines = st.one_of(
    st.builds("{} = {}".format, keys, values),
    st.builds("{} = {{ {} = {}, {} = {} }}".format, keys, keys, values, keys, values),
    st.builds("[{}]".format, keys),
    st.builds("[{}.{}]".format, keys, keys),
    st.builds("[[{}]]".format, keys),
    st.sampled_from(IN_FORCE.splitlines()),
)


def read(text: str) -> Config | None:
    """Read a text; a refusal must consist of printable one-line messages, none of them twice."""
    config = None
    try:
        config = loads(text, find_driver)
        messages = config.warnings
    except ConfigError as error:
        messages = error.problems

        assert messages
    for message in messages:
        assert MESSAGE.fullmatch(message)
        assert message.isprintable()
    assert len(messages) == len(set(messages))
    return config


@settings(deadline=None)
@given(st.text())
@example("a = '\x00'")
@example("\ufeff")
@example("a = " + "{a=" * 2000 + "1" + "}" * 2000)
def test_any_text(text: str) -> None:
    """Any text is a configuration or is refused."""
    read(text)


@settings(deadline=None)
@given(st.lists(lines, max_size=12).map("\n".join))
def test_any_keys_and_values(text: str) -> None:
    """Known keys with any value, in any table, are a configuration or are refused."""
    read(text)


@settings(deadline=None)
@given(st.data())
def test_any_slip_of_the_hand(data: st.DataObject) -> None:
    """The shipped file with a piece lost, doubled or replaced is a configuration or is refused."""
    text = IN_FORCE
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(start + 40, len(text))))
        piece = data.draw(st.one_of(st.just(""), st.just(text[start:end] * 2), st.text(max_size=5), values))
        text = text[:start] + piece + text[end:]
    read(text)


@settings(deadline=None)
@given(st.permutations(IN_FORCE.split("\n\n\n")))
def test_the_order_of_sections_is_nobodys_concern(sections: list[str]) -> None:
    """The sections of a file mean the same in any order."""
    first = read(IN_FORCE)

    assert first is not None
    assert first == read("\n\n\n".join(sections))


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "\n\n", "# [ \" ' {\n", "\t"]),
            st.sampled_from(
                ["1", '"[#"', "'\"'", '"""\n"" [\n"""', "'''\n'' {\n'''", "[\n 1, # ]\n]", "{ a = [\n{}] }", '"\\"#"']
            ),
            st.booleans(),
        ),
        max_size=20,
    )
)
def test_every_key_is_found_on_its_line(parts: list[tuple[str, str, bool]]) -> None:
    """However a file is laid out, each key is found on the line on which it was written."""
    text = ""
    expected: dict[tuple[str | int, ...], int] = {}
    table: tuple[str | int, ...] = ()
    for index, (before, value, heads) in enumerate(parts):
        text += before
        if heads:
            table = ("t", "u") if ("t",) in expected else ("t",)
            if table == ("t",) or ("t", "u") not in expected:
                expected[table] = text.count("\n") + 1
                text += f"[{'.'.join(map(str, table))}] # [\n"
        key = f"k{index}"
        expected[(*table, key)] = text.count("\n") + 1
        text += f"{key} = {value}\n"
    found = locate(text)

    assert expected == {path: found[path] for path in expected}
    assert text == "".join(statement for _, statement in statements(text))


@settings(deadline=None)
@given(st.text())
@example("::1%eth0")
@example("[::ffff:192.0.2.1]:1")
def test_any_address(text: str) -> None:
    """Any text is an address, which is read as the same when it is written in full, or is refused."""
    try:
        parsed = address(text, 123)
    except ValueError:
        parsed = HostPort("localhost", 123)

    assert parsed == address(str(parsed), 124)
