"""
The cookies that a client keeps for one server (RFC 8915, sections 5.7 and 6).

Each is used once: a second use would let an observer see that two requests, perhaps sent from two networks, come from
one client.  So a cookie leaves the jar when it is taken, whatever becomes of the request.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

CAPACITY: Final = 8
"""Cookies that a client keeps; with them eight requests in a row may be lost (RFC 8915, section 4)."""

MAXIMUM_SIZE: Final = 256
"""Octets; known servers make cookies of 72 to 168 (a cookie holds two keys, and what encrypts them)."""


def is_acceptable(cookie: bytes) -> bool:
    """Tell whether a cookie has a size that is worth keeping."""
    return 1 <= len(cookie) <= MAXIMUM_SIZE


class CookieJar:
    """The cookies that were not used yet, oldest first; printed, it shows how many there are."""

    __slots__ = ("_cookies",)

    def __init__(self, cookies: Iterable[bytes] = ()) -> None:
        self._cookies: deque[bytes] = deque()
        for cookie in cookies:
            self.add(cookie)

    def __len__(self) -> int:
        return len(self._cookies)

    def __repr__(self) -> str:
        return f"<{len(self)} cookies>"

    def add(self, cookie: bytes) -> None:
        """Put a cookie in; one that is too large, empty or there already is dropped, and so is the ninth."""
        if len(self._cookies) < CAPACITY and is_acceptable(cookie) and cookie not in self._cookies:
            self._cookies.append(cookie)

    def take(self) -> bytes:
        """Take the oldest cookie out; IndexError when there is none."""
        return self._cookies.popleft()

    def contents(self) -> tuple[bytes, ...]:
        """Give the cookies that are left, so that they can be kept elsewhere; the jar must not be used after that."""
        return tuple(self._cookies)
