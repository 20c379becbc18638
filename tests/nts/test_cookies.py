"""A client keeps up to eight cookies and uses each once."""

from __future__ import annotations

import pytest

from ntptwist.nts.cookies import CookieJar


def test_oldest_first() -> None:
    """Cookies are used in the order in which they came, since servers forget old keys."""
    jar = CookieJar([b"one", b"two"])
    jar.add(b"three")

    assert [jar.take(), jar.take(), jar.take()] == [b"one", b"two", b"three"]
    assert len(jar) == 0


def test_a_taken_cookie_is_gone() -> None:
    """No cookie is used twice."""
    jar = CookieJar([b"one"])
    jar.take()

    with pytest.raises(IndexError):
        jar.take()


def test_eight_at_most() -> None:
    """A server that gives hundreds of cookies does not fill our memory."""
    jar = CookieJar(bytes([number]) for number in range(200))

    assert jar.contents() == tuple(bytes([number]) for number in range(8))


@pytest.mark.parametrize("cookie", [b"", bytes(257), bytes(65535)])
def test_bad_sizes_are_dropped(cookie: bytes) -> None:
    """An empty cookie asks for endless placeholders, a huge one for endless packets: neither is kept."""
    assert len(CookieJar([cookie])) == 0


@pytest.mark.parametrize("size", [1, 100, 256])
def test_good_sizes_are_kept(size: int) -> None:
    """From one octet to 256."""
    assert len(CookieJar([bytes(size)])) == 1


def test_the_same_cookie_twice_is_one() -> None:
    """A server that repeats itself does not make us use a cookie twice."""
    assert len(CookieJar([b"one", b"one"])) == 1


def test_cookies_are_not_shown() -> None:
    """Whatever prints the jar prints how many there are."""
    assert repr(CookieJar([b"one", b"two"])) == "<2 cookies>"
