"""
What every test gets: a time limit, and a look at what it left behind.

A test fails when it leaves a delayed call or an open reader in the reactor, or when a failure was logged that it did
not expect (``logged_failures.flush(...)`` takes the expected ones away).
"""

from __future__ import annotations

import functools
import gc
import inspect
import os
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import hypothesis
import pytest
import pytest_twisted
from twisted.internet import defer, reactor, task
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure

LIMIT = 10.0
_reactor: Any = reactor

hypothesis.settings.register_profile("dev", max_examples=25, deadline=None)
hypothesis.settings.register_profile("ci", max_examples=100, deadline=None, print_blob=True)
hypothesis.settings.register_profile("nightly", max_examples=100_000, deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


def limited(function: Callable[..., Coroutine[Any, Any, Any]], seconds: float) -> Callable[..., defer.Deferred[Any]]:
    """Give an asynchronous test a time limit."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> defer.Deferred[Any]:
        return defer.Deferred.fromCoroutine(function(*args, **kwargs)).addTimeout(seconds, _reactor)

    return run


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Limit every coroutine test, those of hypothesis too."""
    for item in items:
        mark = item.get_closest_marker("limit")
        seconds = mark.args[0] if mark else LIMIT
        given = getattr(getattr(item, "obj", None), "hypothesis", None)
        if given is not None and inspect.iscoroutinefunction(given.inner_test):
            given.inner_test = limited(given.inner_test, seconds)
        elif inspect.iscoroutinefunction(getattr(item, "obj", None)):
            item.obj = limited(item.obj, seconds)


def pytest_collection_finish() -> None:
    """Keep the thousands of modules out of the garbage collection that follows every test."""
    gc.collect()
    gc.freeze()


class Failures(list[Failure]):
    """The failures that were logged during a test."""

    def flush(self, *types: type[BaseException]) -> list[Failure]:
        """Take away and return the failures of these types, or all."""
        out = [failure for failure in self if not types or failure.check(*types)]
        self[:] = [failure for failure in self if failure not in out]
        return out


def open_readers() -> set[Any]:
    """Give the readers in the reactor that are not its own."""
    return {reader for reader in _reactor.getReaders() if reader not in _reactor._internalReaders}


@pytest.fixture(autouse=True)
def logged_failures() -> Iterator[Failures]:
    """Fail a test that leaves something behind; gives what was logged."""
    seen = Failures()

    def observe(event: LogEvent) -> None:
        failure = event.get("log_failure") or event.get("failure")
        if failure is not None:
            seen.append(failure)

    publisher: Any = globalLogPublisher
    publisher.addObserver(observe)
    calls, readers = set(_reactor.getDelayedCalls()), open_readers()
    yield seen
    gc.collect()  # unhandled Deferreds report now
    for _ in range(5):  # connections that were closed need a turn of the reactor
        if (open_readers() - readers) or (set(_reactor.getDelayedCalls()) - calls):
            pytest_twisted.blockon(task.deferLater(_reactor, 0.01))
    publisher.removeObserver(observe)
    left = set(_reactor.getDelayedCalls()) - calls
    for call in left:
        call.cancel()
    left_open = open_readers() - readers
    if seen:
        pytest.fail("logged and not flushed: " + "; ".join(repr(f.value) for f in seen), pytrace=False)
    if left:
        pytest.fail(f"delayed calls left behind: {left}", pytrace=False)
    if left_open:
        pytest.fail(f"still open: {left_open}", pytrace=False)
