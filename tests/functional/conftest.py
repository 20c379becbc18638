"""The private place in which functional tests run daemons, and what happens when a real peer is missing."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.functional.peers.fetch import PeersMissingError
from tests.functional.peers.lab import Lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A network, mounts and port 123 for one test; whatever runs in it ends with the test."""
    with closing(Lab()) as made:
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, Any, Any]:
    """Skip a test that wants a real peer which was not fetched, and say what fetches it."""
    try:
        return (yield)
    except PeersMissingError as error:
        pytest.skip(str(error))
