"""
``ntptwist-ctl drivers``: the kinds of source that are installed, and the plugins that could not be loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import provider

from ntptwist.cli.terminal import write, write_json
from ntptwist.registry import drivers

EX_OK, EX_BROKEN = 0, 1


def main(arguments: Sequence[str]) -> int:
    """Print them; 1 when a plugin is broken."""
    broken: list[str] = []

    @provider(ILogObserver)
    def note(event: LogEvent) -> None:
        failure = event.get("log_failure")
        if failure is not None:
            broken.append(failure.getErrorMessage())

    globalLogPublisher.addObserver(note)
    found = {name: driver.description for name, driver in sorted(drivers().items())}
    globalLogPublisher.removeObserver(note)
    if "--json" in arguments:
        write_json({"drivers": found, "broken": broken})
    else:
        room = max(map(len, found), default=0)
        write([f"{name:<{room}}  {text}" for name, text in found.items()] + [f"broken: {text}" for text in broken])
    return EX_BROKEN if broken else EX_OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
