"""
Take pictures of the web page in headless Chromium, for people to look at: run by ``dev.py page``, or by hand.

It shows a day of a virtual machine (``showcase``), served by the real listener.  The script fails when the page could
not be drawn or its script complained; whether it looks right is for whoever looks.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.internet.utils import getProcessOutputAndValue

from ntptwist.config.value import HostPort
from ntptwist.observe.web import WebServer
from ntptwist.observing import make_pages
from tests.page.showcase import Showcase

_reactor: Any = reactor

PICTURES: dict[str, tuple[str, tuple[str, ...]]] = {
    "light": ("1600,1350", ()),
    "dark": ("1600,1350", ("--force-dark-mode",)),
    "narrow": ("360,3200", ()),
    "telephone": ("360,1240", ()),
    "without-javascript": ("1200,1250", ()),
}
"""Name: size of the window, and what else Chromium is told."""

FORBIDDEN = '{"profile": {"default_content_setting_values": {"javascript": 2}}}'
"""A Chromium's preferences in which pages have no JavaScript."""


async def draw(chromium: str, address: str, name: str, target: Path) -> list[str]:
    """Take one picture; give what the page complained of."""
    size, options = PICTURES[name]
    scratch = target / f"profile-{name}"
    (scratch / "Default").mkdir(parents=True)
    if name == "without-javascript":
        (scratch / "Default" / "Preferences").write_text(FORBIDDEN)
    command = [
        *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr", "--v=0"),
        *("--no-first-run", "--disable-background-networking", "--virtual-time-budget=4000"),
        *(f"--user-data-dir={scratch}", f"--window-size={size}", f"--screenshot={target / name}.png"),
        *(*options, address),
    ]
    _, complaints, status = await getProcessOutputAndValue(
        chromium, command, env={"HOME": str(scratch), "PATH": "/usr/bin:/bin"}
    )
    shutil.rmtree(scratch, ignore_errors=True)
    words = complaints.decode(errors="replace")
    found = re.findall(r"CONSOLE[^\n]*", words)
    if status or not (target / f"{name}.png").exists():
        found.append(f"Chromium ended with {status}: {words[-2000:]}")
    return found


async def main(target: Path) -> int:
    """Take all pictures."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        print("look: there is no Chromium on this machine")
        return 1
    showcase = Showcase()
    server = WebServer(HostPort("127.0.0.1", 0), make_pages(showcase.views).get, "no pictures", _reactor)
    server.startService()
    target.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in PICTURES:
        complaints = await draw(chromium, f"http://127.0.0.1:{server.port}/", name, target)
        print(f"{target / name}.png", *complaints, sep="\n  ")
        failed |= bool(complaints)
    await server.stopService()
    return failed


def begin(_: Any, target: str = "build/page") -> Deferred[None]:
    """Run it, and end with its status."""

    async def run() -> None:
        """Take the pictures."""
        raise SystemExit(await main(Path(target).resolve()))

    return Deferred.fromCoroutine(run())


if __name__ == "__main__":
    react(begin, sys.argv[1:])
