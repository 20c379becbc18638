"""From a request on ``control.sock`` to what is asked of the daemon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from ntptwist.control.commands import commands, source_table
from ntptwist.control.report import Report
from ntptwist.errors import RequestError

DONE = Report(changes=("it is so now",))


class Asked:
    """An IControl that notes what is asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def _note(self, *call: Any) -> Deferred[Report]:
        self.calls.append(call)
        return succeed(DONE)

    def reload(self) -> Deferred[Report]:
        """Note it."""
        return self._note("reload")

    def add(self, values: dict[str, Any]) -> Deferred[Report]:
        """Note it."""
        return self._note("add", values)

    def remove(self, names: Sequence[str]) -> Deferred[Report]:
        """Note it."""
        return self._note("remove", names)

    def set_offline(self, names: Sequence[str], *, offline: bool) -> Deferred[Report]:
        """Note it."""
        return self._note("offline" if offline else "online", names)

    def burst(self, names: Sequence[str]) -> Deferred[Report]:
        """Note it."""
        return self._note("burst", names)

    def correct_now(self) -> Deferred[Report]:
        """Note it."""
        return self._note("step")


@pytest.mark.parametrize(
    ("request_", "call"),
    [
        ({"command": "reload"}, ("reload",)),
        ({"command": "step"}, ("step",)),
        ({"command": "remove", "sources": ["a", "b"]}, ("remove", ["a", "b"])),
        ({"command": "online"}, ("online", [])),
        ({"command": "offline", "sources": ["a"]}, ("offline", ["a"])),
        ({"command": "burst", "sources": []}, ("burst", [])),
        ({"command": "add", "words": ["mode=server"]}, ("add", {"mode": "server"})),
    ],
)
def test_every_command(request_: dict[str, Any], call: tuple[Any, ...]) -> None:
    """Each reaches the daemon with what it is about, and the report is the answer."""
    asked = Asked()
    answers: list[Any] = []
    commands(asked)[request_["command"]](request_).addCallback(answers.append)  # type: ignore[arg-type]  # it has all

    assert asked.calls == [call]
    assert answers == [{"done": True, "changes": ["it is so now"], "later": [], "warnings": [], "problems": []}]


def test_a_report_with_problems() -> None:
    """Where there are problems nothing was done."""
    assert Report(problems=("no",)).data()["done"] is False


@pytest.mark.parametrize(
    ("words", "table"),
    [
        (["mode=server", "address=192.0.2.1"], {"mode": "server", "address": "192.0.2.1"}),
        (["prefer=true", "count=3"], {"prefer": True, "count": 3}),
        (["address=2001:db8::1"], {"address": "2001:db8::1"}),
        (["path=/dev/pps0", "precision=1e-6"], {"path": "/dev/pps0", "precision": 1e-6}),
        (["poll-interval-limits.min=4", "poll-interval-limits.max=6"], {"poll-interval-limits": {"min": 4, "max": 6}}),
        (["limits={ min = 4 }"], {"limits": {"min": 4}}),
        (['quoted="a b"', "empty=", 'said=a "b"'], {"quoted": "a b", "empty": "", "said": 'a "b"'}),
    ],
)
def test_words(words: list[str], table: dict[str, Any]) -> None:
    """A value that TOML does not know is a text, so nobody has to quote for two readers."""
    assert source_table({"words": words}) == table


@pytest.mark.parametrize("text", ["mode = 'server'", "[[source]]\nmode = 'server'", "source = [{ mode = 'server' }]"])
def test_a_table_as_text(text: str) -> None:
    """It may be copied from a file, with its head or without."""
    assert source_table({"source": text}) == {"mode": "server"}


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"source": "= 1"}, "not valid TOML"),
        ({"source": "x = " + "[" * 10_000}, "not valid TOML"),
        ({"source": "[[source]]\n[[source]]\n"}, "one \\[\\[source\\]\\] is expected"),
        ({"source": "[source]\nmode = 'server'\n"}, "one \\[\\[source\\]\\] is expected"),
        ({"source": 3}, "'source' is to be a text"),
        ({"words": "mode=server"}, "'words' is to be a list of texts"),
        ({"words": [3]}, "'words' is to be a list of texts"),
        ({"words": ["server"]}, "'server' is not KEY=VALUE"),
        ({"words": ["a=1\nb=2"]}, "is not KEY=VALUE"),
        ({"words": ["a=1", "a=2"]}, "not valid TOML"),
        ({"words": ["a=" + "x" * 300]}, "'words' is to be a list of texts"),
        ({}, "'words' is to be a list of texts"),
    ],
)
def test_what_is_no_source(request_: dict[str, Any], reason: str) -> None:
    """A request that makes no sense is refused in words."""
    with pytest.raises(RequestError, match=reason):
        source_table(request_)


def test_what_is_no_list_of_names() -> None:
    """Names stand in a list, also where there is one."""
    with pytest.raises(RequestError, match="'sources' is to be a list of texts"):
        commands(Asked())["burst"]({"command": "burst", "sources": "a"})  # type: ignore[arg-type]  # it has all
