"""
Start what a user installs: run by ``dev.py check`` with the Python of a bare virtual environment, elsewhere.

The wheel is the only thing installed there, so a file that is missing from it, or a plugin that twistd does not find,
fails here and nowhere else.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

BIN = Path(sys.executable).parent
LIMIT = 40.0
PAGE = ("index.html", "page.css", "page.js", "icon.svg", "uplot.js", "uplot.css", "uplot.LICENSE")
LIST_PAGE = "import os, ntptwist.observe.html as html; print(os.listdir(html.FILES))"


def say(*command: str | Path) -> str:
    """Run a command and return what it prints; end here when it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=LIMIT, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def expect(fact: bool, complaint: str) -> None:
    """End here unless something is as it should be."""
    if not fact:
        raise SystemExit(f"wheel: {complaint}")


def follow_demo(*command: str | Path) -> None:
    """Start the demo, look into it until it is synchronised, and stop it."""
    with subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True) as demo:
        try:
            expect(demo.stdout is not None, "no output")
            config = None
            for line in demo.stdout or ():
                if found := re.search(r"ntptwist-ctl -c (\S+) status", line):
                    config = found[1]
                    break
            expect(config is not None, "the demo did not name its configuration")
            deadline = time.monotonic() + LIMIT
            synchronized = False
            while not synchronized and time.monotonic() < deadline:
                status = subprocess.run(
                    [BIN / "ntptwist-ctl", "-c", str(config), "status", "--json"],
                    capture_output=True,
                    text=True,
                    timeout=LIMIT,
                    check=False,
                )
                synchronized = status.returncode == 0 and json.loads(status.stdout)["synchronized"]
                time.sleep(0.2)
            expect(synchronized, "the demo did not synchronise")
        finally:
            demo.send_signal(signal.SIGTERM)
            demo.stdout.close() if demo.stdout else None
            demo.wait(LIMIT)
    print(f"{command[0]}: synchronised")


def main() -> None:
    """Try every way of starting."""
    expect("An NTP daemon" in say(BIN / "twistd", "--help"), "twistd does not find the plugin")
    expect("ntptwist" in say(BIN / "ntptwist", "--version"), "no version")
    expect("status" in say(BIN / "ntptwist-ctl", "--help"), "the tool does not start")
    missing = [name for name in PAGE if name not in say(sys.executable, "-c", LIST_PAGE)]
    expect(not missing, f"the web page lacks {missing}")
    follow_demo(BIN / "ntptwist", "--demo")
    follow_demo(BIN / "twistd", "-n", "--pidfile=", "ntptwist", "--demo")


if __name__ == "__main__":
    main()
