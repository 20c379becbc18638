#!/usr/bin/env python3
"""
Everything a developer types.  Needs Python 3.11 with its venv module, and nothing else.

python3 dev.py run              run the daemon here, in the foreground, on its embedded default
python3 dev.py check            lint, format, types, layers, tests with coverage, docs, and the wheel in a bare venv
python3 dev.py check --fast     the part of it to run all day: no daemons, no wheel
python3 dev.py nightly          check, with the long tests and many more examples
python3 dev.py page [DIRECTORY] take pictures of the web page in Chromium, to look at
python3 dev.py vm               steer a real kernel clock in a virtual machine (root, some minutes)
python3 dev.py format           format and repair what can be repaired
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"
INPUTS = ("setup.cfg", "pyproject.toml", "constraints.txt")
COVERAGE_MINIMUM = 95
PURE = "ntptwist/algorithm/*,ntptwist/protocol/*,ntptwist/wire/*,ntptwist/measurement.py,ntptwist/snapshot.py,\
ntptwist/identifiers.py,ntptwist/timestamp.py,ntptwist/errors.py"


def say(*command: str | Path, cwd: Path = ROOT, **environment: str) -> None:
    """Run a command, showing it; end here with its status when it fails."""
    print("+", *command, flush=True)
    if status := subprocess.call([str(word) for word in command], cwd=cwd, env={**os.environ, **environment}):
        raise SystemExit(status)


@contextmanager
def part(name: str) -> Iterator[None]:
    """Print how long a part of the check took."""
    start = time.monotonic()
    yield
    print(f"= {name}: {time.monotonic() - start:.1f} s", flush=True)


def install(python: Path, *what: str) -> None:
    """Install with the pinned versions."""
    say(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", ROOT / "constraints.txt", *what)


def prepare(extras: str) -> None:
    """Make the virtual environment, or leave it when it is up to date."""
    parts = [*((ROOT / name).read_bytes() for name in INPUTS), extras.encode(), sys.version.encode()]
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()
    stamp = VENV / f".stamp-{extras}"
    if stamp.exists() and stamp.read_text() == digest:
        return
    if not (BIN / "python").exists():
        venv.create(VENV, with_pip=True, symlinks=True)
    install(BIN / "python", "-e", f".[{extras}]" if extras else ".")
    stamp.write_text(digest)


def run(*args: str) -> None:
    """Run the daemon on its embedded default: no root, no configuration, no network, no clock touched."""
    prepare("")
    os.execv(BIN / "ntptwist", ["ntptwist", "--demo", *args])


def lint() -> None:
    """Check what can be checked without running anything."""
    with part("lint and types"):
        say(BIN / "ruff", "check", ".")
        say(BIN / "ruff", "format", "--check", ".")
        say(BIN / "lint-imports", "--no-logo")
        say(BIN / "codespell")
        say(BIN / "interrogate", "-q", "--config", "setup.cfg", "tests")
        say(BIN / "mypy")


def tests(level: str) -> None:
    """
    Run the tests of a level: fast, check or nightly.

    Coverage doubles the time, so the fast level goes without; the others hold its gates.  Tests that start daemons
    mostly wait, each in a network of its own, so five of them run at a time.  Those that compute for hours of virtual
    time would take seven times as long under coverage, and cover nothing new.
    """
    without = "" if level == "nightly" else " and not nightly"
    pytest = ("-m", "pytest", "-q", "--dist", "worksteal", "-n")
    if level == "fast":
        with part("tests"):
            say(
                BIN / "python", *pytest, "2", "-m", f"not functional and not lengthy{without}", HYPOTHESIS_PROFILE="dev"
            )
        return
    for old in ROOT.glob(".coverage*"):
        old.unlink()
    profile = "ci" if level == "check" else level
    measured = (BIN / "coverage", "run", *pytest)
    with part("tests"):
        say(*measured, "2", "-m", f"not functional and not lengthy{without}", HYPOTHESIS_PROFILE=profile)
    with part("functional tests"):
        say(*measured, "5", "-m", f"functional{without}", HYPOTHESIS_PROFILE=profile)
    with part("scenarios"):
        say(BIN / "python", *pytest, "2", "-m", f"lengthy{without}")
    say(BIN / "coverage", "combine", "-q")
    say(BIN / "coverage", "report", "--fail-under", "100", "--skip-covered", "--include", PURE)
    say(BIN / "coverage", "report", "--fail-under", str(COVERAGE_MINIMUM), "--skip-covered")


def docs() -> None:
    """Build the manual; a warning is an error."""
    with part("docs"):
        say(BIN / "sphinx-build", "-q", "-W", "-b", "html", "docs", "build/docs")
        say(BIN / "sphinx-build", "-q", "-W", "-b", "man", "docs", "build/man")


def wheel() -> None:
    """Build the wheel and start it in a bare virtual environment, from another directory."""
    with part("wheel"), tempfile.TemporaryDirectory(prefix="ntptwist-wheel-") as scratch:
        there = Path(scratch)
        shutil.rmtree(ROOT / "build" / "lib", ignore_errors=True)
        say(BIN / "python", "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "--no-deps", "-w", there, ".")
        venv.create(there / "venv", with_pip=True, symlinks=True)
        (built,) = there.glob("ntptwist-*.whl")
        install(there / "venv/bin/python", str(built))
        say(there / "venv/bin/python", ROOT / "tests/wheel.py", cwd=there)


def peers() -> None:
    """Fetch and unpack the real peers that the functional tests run against."""
    with part("peers"):
        print("+ fetch the peers", flush=True)
        fetched = subprocess.call([BIN / "python", "tests/functional/peers/fetch.py"], cwd=ROOT)
    if fetched:
        print("The real peers could not be fetched, so the tests marked 'functional' that need them can't run.")
        raise SystemExit(fetched)


def check(*options: str) -> None:
    """Run everything, or with --fast the part for all day."""
    start = time.monotonic()
    prepare("dev")
    lint()
    if "--fast" in options:
        tests("fast")
        docs()
    else:
        peers()
        tests("check")
        docs()
        wheel()
    print(f"everything passed in {time.monotonic() - start:.0f} s")


def nightly() -> None:
    """Run the long tests too, with many more examples."""
    prepare("dev")
    lint()
    peers()
    tests("nightly")
    docs()
    wheel()
    print("everything passed")


def page(*args: str) -> None:
    """Take pictures of the web page in Chromium; fails where its script complains."""
    prepare("dev")
    say(BIN / "python", "-m", "tests.page.look", *args)


def vm(*args: str) -> None:
    """Run the daemon on a real kernel clock in a virtual machine."""
    prepare("dev")
    say(sys.executable, "tests/vm/run.py", *args)


def reformat() -> None:
    """Format the tree."""
    prepare("dev")
    say(BIN / "ruff", "check", "--fix", "-q", ".")
    say(BIN / "ruff", "format", ".")


TASKS: dict[str, Callable[..., None]] = {
    "run": run,
    "check": check,
    "nightly": nightly,
    "page": page,
    "vm": vm,
    "format": reformat,
}

if __name__ == "__main__":
    task, *rest = sys.argv[1:] or ["help"]
    if task not in TASKS:
        print(__doc__)
        raise SystemExit(0 if task in ("help", "-h", "--help") else 64)
    TASKS[task](*rest)
