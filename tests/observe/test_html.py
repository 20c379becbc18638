"""The web page as it is without JavaScript."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from ntptwist.observe.html import MARKS, Event, distance, page
from ntptwist.observe.state import status_data
from ntptwist.snapshot import SourceSnapshot
from ntptwist.timestamp import Timestamp
from tests.observe.rows import START, server, source, system

VOID = {"meta", "link"}
OUTSIDE = re.compile(r"""(?:src|href)=["']?(?:[a-z]+:)?//""")


class Reader(HTMLParser):
    """Reads a page as a browser does, and checks that every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element of SVG that closes itself."""
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Close it."""
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        """Note a text."""
        self.words.append(data)


def read(text: str) -> Reader:
    """Read a whole page."""
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def shown(*sources: SourceSnapshot, events: tuple[Event, ...] = (), **fields: Any) -> str:
    """Give the page of a state."""
    status = status_data(system(*sources, **fields), [server(7)])
    return "".join(page(status, "host.example.net", events))


def test_the_verdict_comes_first() -> None:
    """The title and the first line say whether the clock may be trusted, and the tiles by how much."""
    words = " ".join(read(shown(source(1))).words)

    assert "host.example.net: synchronized" in words
    assert (
        words.index("Synchronized") < words.index("5.00 µs slow") < words.index("2.00 ms") < words.index("-3.500 ppm")
    )


def test_not_synchronized_says_why() -> None:
    """A daemon that waits says for what."""
    words = " ".join(read(shown(synchronized=False, state="waiting for 2 more sources")).words)

    assert "Not synchronized" in words
    assert "waiting for 2 more sources" in words


def test_every_source_has_a_row_and_a_reason() -> None:
    """The table has a row for each source, with its mark, its numbers and the reason in words."""
    best = source(1, "ntp1:123", selected=True, reason="used, best of 2")
    false = source(2, "ntp2:4460", offset=0.25, reason="falseticker: 250 ms from the majority")
    text = shown(best, false, source(None, "ntp3:123", offset=None, reason="no usable reply"))
    rows = re.findall(r'<tr class="(\w+)"><td class="mark"[^>]*><abbr title="([^"]+)">(.)</abbr></td>', text)

    assert rows == [
        ("best", "followed first", "*"),
        ("false", "contradicts the majority", "x"),
        ("lost", "of no use now", "?"),
    ]
    assert "falseticker: 250 ms from the majority" in text
    assert ">ntp1<" in text
    assert ">ntp2:4460<" in text


def test_every_mark_is_explained() -> None:
    """The marks are those of the tool's table."""
    assert set(MARKS) == set("*+-x?")


def test_what_comes_from_outside_is_escaped() -> None:
    """A name or a reason that looks like markup is shown as it is, and is none."""
    evil = "<script>alert(1)</script>\"'&"
    text = shown(source(1, evil, reason=evil), events=(Event(Timestamp(START), evil, evil),))
    scripts = [attributes for tag, attributes in read(text).found if tag == "script"]

    assert [each["src"] for each in scripts] == ["uplot.js", "page.js"]
    assert "alert(1)</script>" not in text


def test_nothing_from_outside_and_nothing_inline() -> None:
    """The page loads nothing from elsewhere and has no inline script or style, as its security policy demands."""
    text = shown(source(1))
    found = read(text).found

    assert not OUTSIDE.search(text)
    assert all(
        "style" not in attributes and not any(key.startswith("on") for key in attributes) for _, attributes in found
    )
    assert "style" not in {tag for tag, _ in found}


def test_the_agreement_is_drawn() -> None:
    """Each source that measures has a bar around its offset; one that is far away is an arrow at the edge."""
    near = source(1, "near", selected=True, offset=1e-3, uncertainty=0.0, delay=2e-3)
    text = shown(near, source(2, "far", offset=-0.5, reason="falseticker"), source(3, "new", offset=None))
    bars = dict(re.findall(r'<th scope="row" title="(\w+)">.*?<path class="bar" d="([^"]+)"', text))

    assert set(bars) == {"near", "far"}
    assert bars["near"] == "M500 12 H935"
    assert 'd="M14 4 L0 12 L14 20"' in text
    assert 'aria-label="+1.00 ms, right to within 1.00 ms"' in text


def test_the_scale_without_a_majority() -> None:
    """While no source is used the picture shows them all; sources that are right to the last bit draw no error."""
    text = shown(source(1, "one", offset=0.0, uncertainty=0.0, delay=0.0))

    assert "&minus;1.00 s" in text


def test_the_distance_of_a_source() -> None:
    """The bar is as long as the root distance: that of the algorithm where it is told, else made of its parts."""
    row = {"offset": 0.0, "delay": 2e-3, "root_delay": 4e-3, "root_dispersion": 1e-3, "uncertainty": 1e-4}

    assert distance(row) == pytest.approx(4.3e-3)
    assert distance({**row, "distance": 0.5}) == 0.5
    assert distance({**row, "offset": None}) is None


def test_without_anything() -> None:
    """A daemon without sources, servers and events says so."""
    status = status_data(system(offset=None, error_bound=None, frequency_error=None))
    words = " ".join(read("".join(page(status, "host", ()))).words)

    assert "No source is configured" in words
    assert "serves time to nobody" in words
    assert "Nothing has changed" in words


def test_events_and_servers() -> None:
    """Events stand with their time and their reason, servers with what they have done."""
    words = " ".join(read(shown(events=(Event(Timestamp(START), "step", "the clock was 2 s slow"),))).words)

    assert "2027-01-15 08:00:00" in words
    assert "the clock was 2 s slow" in words
    assert "0 of 7 requests answered" in words


def test_steps_are_counted_in_words() -> None:
    """The tiles say how often the clock was stepped."""
    assert "stepped once" in shown(steps=1)
    assert "stepped 2 times" in shown(steps=2)
