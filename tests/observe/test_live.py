"""The live screen and its keys."""

from __future__ import annotations

import pytest

from ntptwist.observe.live import BLOCKS, ORDERS, LiveView, sparkline
from tests.observe.canned import events, lost, source, status


def view() -> LiveView:
    """Give a screen that knows five sources."""
    there = LiveView("host1")
    there.update(status(), events())
    return there


def test_sparkline_spans_its_values() -> None:
    """The least value is the lowest block, the largest the highest; equal ones are in the middle."""
    assert sparkline([1.0, 2.0, 3.0], 10) == BLOCKS[0] + BLOCKS[4] + BLOCKS[7]
    assert sparkline([5.0, 5.0], 10) == BLOCKS[3] * 2
    assert sparkline([], 10) == ""


def test_a_long_course_is_condensed() -> None:
    """More values than columns are averaged."""
    assert len(sparkline([float(i) for i in range(1000)], 40)) == 40


@pytest.mark.parametrize(("width", "height"), [(20, 4), (60, 10), (80, 24), (100, 8), (132, 50)])
@pytest.mark.parametrize("keys", [[], ["enter"]])
def test_frames_fit_the_terminal(width: int, height: int, keys: list[str]) -> None:
    """A frame has just as many lines as the terminal, none of them wider than that."""
    there = view()
    for key in keys:
        there.press(key)
    there.answer = {"status": status(), "source": source(), "events": []} if keys else None
    frame = there.frame(width, height)

    assert len(frame) == height
    assert max(map(len, frame)) <= width


def test_q_ends() -> None:
    """Only q ends the screen; a key without meaning does nothing."""
    there = view()

    assert there.press("x")
    assert not there.press("q")


def test_arrows_stop_at_the_ends() -> None:
    """The choice moves from source to source, and no further than the first and the last."""
    there = view()
    chosen = []
    for key in ["up", "down", "down", "down", "down", "down", "up"]:
        there.press(key)
        chosen.append(there.chosen)

    assert chosen == [1, 2, 3, 4, 5, 5, 4]


def test_sorting_goes_round() -> None:
    """Each press of s takes the next order, and after the last the configuration's again."""
    there = view()
    orders = []
    for _ in ORDERS:
        there.press("s")
        orders.append(there.frame(80, 30)[-1].split("sort: ")[1].split()[0])

    assert orders == [*list(ORDERS)[1:], "configuration"]


def test_sorted_by_offset_the_worst_is_first() -> None:
    """By offset the source that is farthest off comes first, and one that has none last."""
    there = view()
    there.press("s")

    assert "".join(line[1] for line in there.frame(80, 30)[5:10]) == "x+*+?"


def test_details_open_and_close() -> None:
    """Enter opens what is known of the source that was chosen, Enter or Escape closes it."""
    there = view()
    there.press("enter")
    opened = there.details
    there.press("escape")

    assert opened
    assert not there.details


def test_a_source_that_ends_closes_its_details() -> None:
    """When the source that was chosen is no more, another one is chosen."""
    there = view()
    there.press("enter")
    there.update(status(sources=[source(id=7)]), [])

    assert (there.chosen, there.details) == (7, False)


def test_nothing_to_choose() -> None:
    """Without a source the keys do no harm."""
    there = LiveView("host1")
    there.update(lost(), [])
    for key in ("up", "down", "enter", "escape", "s"):
        there.press(key)

    assert there.chosen is None
    assert "  no source yet" in there.frame(80, 24)
    assert "waiting for 2 more sources" in there.frame(80, 24)[1]


def test_a_daemon_that_is_gone() -> None:
    """While the daemon does not answer, what was known stays and is said to be old."""
    there = view()
    there.trouble = "no daemon answers"

    assert "what follows is old: no daemon answers" in there.frame(80, 24)[1]
    there.update(status(), [])
    assert "old" not in there.frame(80, 24)[1]


def test_before_the_first_answer() -> None:
    """Before the daemon has answered the screen says that it asks."""
    assert LiveView("host1").frame(40, 5)[0] == "asking the daemon"


def test_events_are_kept_by_number() -> None:
    """The screen knows which entry it has seen last, and shows the latest."""
    there = view()

    assert there.last_event == 8
    assert LiveView("host1").last_event == 0
    assert any("falseticker: 251 ms" in line for line in there.frame(80, 24))


def test_another_daemon_has_another_journal() -> None:
    """After a restart of the daemon its entries count from 1 again, and the old ones are gone."""
    there = view()
    there.update(status(last_event=1), [])

    assert there.last_event == 0


def test_many_sources_scroll_with_the_choice() -> None:
    """With more sources than lines those around the choice are shown."""
    there = LiveView("host1")
    there.update(status(sources=[source(id=i, name=f"ntp{i}.example") for i in range(1, 101)]), [])
    for _ in range(70):
        there.press("down")
    shown = "\n".join(there.frame(80, 24))

    assert ">+ ntp71.example" in shown
    assert "ntp1.example" not in shown
