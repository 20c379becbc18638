"""
The exception tree.

A peer that breaks the rules, an operator's mistake and our own misuse are different classes.  What is expected to
happen (a kiss code, a bogus reply, no majority) is a value and never an exception.
"""

from __future__ import annotations


class NTPTwistError(Exception):
    """Base of every error that this package raises on purpose."""


class WireError(NTPTwistError):
    """
    Bytes from outside break the rules of their format.

    ``offset`` is the position, in octets from the start of the message, where reading failed.
    """

    def __init__(self, reason: str, offset: int = 0) -> None:
        super().__init__(f"{reason} (at octet {offset})")
        self.reason = reason
        self.offset = offset


class ConfigError(NTPTwistError):
    """
    A configuration can't be used.

    ``problems`` are complete sentences of the form ``file:line: table.key: what is wrong``, in the file's order.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ClockError(NTPTwistError):
    """A clock operation was refused; ``errno`` and ``reason`` are the kernel's, as a number and in words."""

    def __init__(self, operation: str, errno: int, reason: str) -> None:
        super().__init__(f"{operation}: {reason}")
        self.operation = operation
        self.errno = errno
        self.reason = reason


class ResolutionError(NTPTwistError):
    """A name gave no address that can be used."""


class KeyExchangeError(NTPTwistError):
    """An NTS key exchange gave no keys; the words are one line for people."""


class DeviceError(NTPTwistError):
    """A device or a socket of this machine can't be used; the text says which, and why."""


class RequestError(NTPTwistError):
    """What an operator asks a running daemon for can't be done; the text says why."""


class DriverError(NTPTwistError):
    """A source driver could not be found or loaded."""
