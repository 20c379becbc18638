"""What ntpq is told, as it parses it."""

from __future__ import annotations

from dataclasses import replace
from struct import pack, unpack_from

import pytest

from ntptwist.identifiers import ReferenceId, SourceId
from ntptwist.observe.mode6 import (
    ControlAnswers,
    clock_variables,
    source_variables,
    status_of_source,
    status_of_system,
    system_variables,
)
from ntptwist.snapshot import SourceSnapshot, SystemSnapshot
from tests.observe.picture import BEST, FALSE, JUST_STARTED, PICTURE, PULSE, SILENT_CLOCK, USED

BY_PULSE = replace(
    PICTURE, used=(SourceId(4),), sources=(replace(PULSE, estimate=replace(PULSE.estimate, standing="best")),)
)
BY_SOCK = replace(PICTURE, used=(SourceId(5),), sources=(SILENT_CLOCK,))


def ask(snapshot: SystemSnapshot, operation: int, association: int = 0, names: bytes = b"") -> tuple[int, bytes]:
    """Give the status and the data of the whole answer; an error is its number without data."""
    request = pack("!BBHHHHH", 0x16, operation, 1, 0, association, 0, len(names)) + names
    messages = ControlAnswers(lambda: snapshot)(request)
    headers = [unpack_from("!BBHHHHH", message) for message in messages]
    data = b"".join(message[12 : 12 + header[6]] for message, header in zip(messages, headers, strict=True))
    return (headers[0][3] >> 8 if headers[0][1] & 0x40 else headers[0][3]), data


@pytest.mark.parametrize(
    ("snapshot", "status"), [(PICTURE, 0x4600), (JUST_STARTED, 0xC000), (BY_PULSE, 0x4100), (BY_SOCK, 0x4400)]
)
def test_status_of_the_system(snapshot: SystemSnapshot, status: int) -> None:
    """The leap second, and whether the clock is kept by NTP, by pulses or by a receiver."""
    assert status_of_system(snapshot) == status


@pytest.mark.parametrize(
    ("row", "snapshot", "status"),
    [
        (BEST, PICTURE, 0xF600),
        (BEST, replace(PICTURE, used=()), 0xF400),
        (USED, PICTURE, 0x9400),
        (FALSE, PICTURE, 0x9100),
        (PULSE, PICTURE, 0x9300),
        (SILENT_CLOCK, PICTURE, 0x8000),
        (BY_PULSE.sources[0], BY_PULSE, 0x9700),
    ],
)
def test_status_of_a_source(row: SourceSnapshot, snapshot: SystemSnapshot, status: int) -> None:
    """The tally of ``ntpq -p``, whether it is reached, and whether it uses NTS."""
    assert status_of_source(row, snapshot) == status


def test_system_variables() -> None:
    """A slow clock has a positive offset, in milliseconds; the frequency is the correction, in ppm."""
    shown = system_variables(PICTURE)
    expected = {
        "leap": 1,
        "stratum": 2,
        "refid": "192.0.2.1",
        "rootdelay": "3.000000",
        "rootdisp": "7.812500",
        "peer": 1,
        "peeradr": "192.0.2.1:123",
        "peermode": 3,
        "tc": 6,
        "offset": "250.000000",
        "frequency": "40.000",
        "clk_jitter": "31.250000",
        "clock": f"0x{1_795_000_000 + 2_208_988_800:08x}.00000000",
    }

    assert {name: shown[name] for name in expected} == expected


def test_the_address_of_the_peer() -> None:
    """An IPv6 address stands in brackets before its port; a clock of this machine has no port."""
    by_ipv6 = replace(PICTURE, used=(SourceId(2),))

    assert system_variables(by_ipv6)["peeradr"] == "[2001:db8::1]:123"
    assert system_variables(BY_SOCK)["peeradr"] == "127.127.28.5:0"


def test_system_variables_before_anything_is_known() -> None:
    """A daemon that has just started follows nobody."""
    shown = system_variables(JUST_STARTED)
    expected = {
        "leap": 3,
        "stratum": 16,
        "refid": "INIT",
        "peer": 0,
        "offset": "0.000000",
        "reftime": "0x00000000.00000000",
    }

    assert {name: shown[name] for name in expected} == expected


def test_source_variables() -> None:
    """What ``ntpq -p`` makes its line of: milliseconds, the register in hexadecimal, the last answer's time."""
    shown = source_variables(BEST, PICTURE)
    expected = {
        "srcadr": "192.0.2.1",
        "srcport": 123,
        "srchost": '"ntp.example"',
        "stratum": 1,
        "refid": "GPS",
        "reach": "0xff",
        "hpoll": 6,
        "offset": "250.000000",
        "delay": "2.000000",
        "jitter": "0.004000",
        "ntscookies": 8,
        "rec": f"0x{1_794_999_980 + 2_208_988_800:08x}.00000000",
    }

    assert {name: shown[name] for name in expected} == expected


def test_a_server_that_was_configured_by_its_address() -> None:
    """It has no name beside that, and without NTS no cookies; its own reference is an address."""
    shown = source_variables(USED, PICTURE)

    assert (shown["srcadr"], shown["refid"]) == ("2001:db8::1", "192.0.2.7")
    assert not {"srchost", "ntscookies"} & shown.keys()


def test_a_clock_of_this_machine() -> None:
    """It has one of ntpd's addresses and names, by which ntpq takes it for a clock."""
    shown = source_variables(SILENT_CLOCK, PICTURE)
    other = replace(SILENT_CLOCK, observation=replace(SILENT_CLOCK.observation, mode="sundial"))

    assert (shown["srcadr"], shown["srchost"], shown["stratum"]) == ("127.127.28.5", '"SOCK(5)"', 16)
    assert (shown["leap"], shown["refid"], shown["rec"]) == (3, "INIT", "0x00000000.00000000")
    assert source_variables(other, PICTURE)["srchost"] == '"LOCAL(5)"'
    assert clock_variables(PULSE) == {
        "name": '"PPS"', "device": '"/dev/pps0"', "poll": 9, "baddata": 2, "stratum": 0, "refid": "PPS",
    }  # fmt: skip
    assert clock_variables(SILENT_CLOCK)["refid"] == "SOCK"


def test_a_reference_that_is_no_text() -> None:
    """A server of stratum 1 whose reference id is no word is shown by numbers, as by ntpd."""
    row = replace(BEST, estimate=replace(BEST.estimate, reference_id=ReferenceId(b"\x7f\x7f\1\1")))

    assert source_variables(row, PICTURE)["refid"] == "127.127.1.1"


def test_the_list_of_associations() -> None:
    """Every source with an address is an association, with its status."""
    assert ask(PICTURE, 1) == (0x4600, bytes.fromhex("0001f600 00029400 00039100 00049300 00058000"))


def test_variables_of_the_system_and_of_a_source() -> None:
    """Association 0 is the system; without names everything is told, and the status of a source tells the same."""
    assert ask(PICTURE, 2, names=b"offset,leap") == (0x4600, b"offset=250.000000,\r\nleap=1")
    assert ask(PICTURE, 2, 3, b"offset") == (0x9100, b"offset=-1000.000000")
    assert ask(PICTURE, 1, 3, b"offset") == (0x9100, b"offset=-1000.000000")
    assert b"jitter=0.004000" in ask(PICTURE, 2, 1)[1]


@pytest.mark.parametrize(
    ("snapshot", "operation", "association", "names", "error"),
    [
        (PICTURE, 2, 99, b"", 4),
        (PICTURE, 2, 0, b"offset,nonsense", 5),
        (PICTURE, 3, 0, b"offset=1", 3),
        (PICTURE, 8, 0, b"server 192.0.2.66", 3),
        (PICTURE, 10, 0, b"", 3),
        (PICTURE, 4, 1, b"", 4),
        (JUST_STARTED, 4, 0, b"", 4),
    ],
)
def test_what_is_refused(snapshot: SystemSnapshot, operation: int, association: int, names: bytes, error: int) -> None:
    """Unknown associations and variables, everything that writes, and clocks that are none."""
    assert ask(snapshot, operation, association, names) == (error, b"")


def test_variables_of_a_clock() -> None:
    """``ntpq -c cv`` shows a clock of this machine: the one asked for, or the one that is followed."""
    assert b'device="/dev/pps0"' in ask(PICTURE, 4, 4)[1]
    assert b'device="/dev/pps0"' in ask(BY_PULSE, 4)[1]


def test_what_is_no_question_is_not_answered() -> None:
    """Nobody is told that something is here."""
    assert ControlAnswers(lambda: PICTURE)(b"\x16\x82 nonsense") == []
