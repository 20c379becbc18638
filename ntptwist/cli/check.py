"""
``check-config`` hands over to the daemon's own command, which reads the file with the very code that will run it.
"""

from __future__ import annotations

import os
import sys
from typing import Any


def register(subparsers: Any) -> None:
    """Add the command to a parser."""
    text = "read the configuration and list everything that is wrong with it"
    subparsers.add_parser("check-config", help=text, description=text)


def run(options: Any) -> int:
    """Become the daemon's command; this process does not come back."""
    given = ["-c", options.config] if options.config else []
    os.execv(sys.executable, [sys.executable, "-m", "ntptwist.cli.daemon", "--check-config", *given])
