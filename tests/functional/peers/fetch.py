"""
Real time daemons of several Debian releases, unpacked side by side and never installed.

Every release has a private apt state, so neither the package lists nor the package database of the machine change, and
no root is needed.  The packages and the libraries that they name (with the C library) are unpacked with ``dpkg-deb -x``
and run through the dynamic loader of their own release; maintainer scripts never run, so no service starts.  What apt
is configured for on this machine (archive, proxy, trust) is what is used; only its hooks are left out.

A release is unpacked aside and renamed into place when each of its programs has run, so what the cache holds is whole.
Only the standard library is used: ``python3 tests/functional/peers/fetch.py`` fills the cache before the tests run.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

PACKAGES = {
    "bookworm": {
        "chrony": ("chronyd", "chronyc"),
        "ntpsec": ("ntpd",),
        "python3-ntp": ("ntpq",),
        "ntpsec-ntpdig": ("ntpdig",),
    },
    "sid": {
        "chrony": ("chronyd", "chronyc"),
        "ntpsec": ("ntpd",),
        "ntpd-rs": ("ntp-daemon", "ntp-ctl"),
        "gpsd": ("gpsd",),
    },
}
"""
What is unpacked of each release, and the programs that run then.

gpsd is of sid only: that of bookworm writes no samples of serial time.  ntpq and ntpdig run on the machine's own Python
and C library, for which the library of the newest release is too new.
"""
PROGRAMS = {
    "chronyd": "chrony/usr/sbin/chronyd",
    "chronyc": "chrony/usr/bin/chronyc",
    "ntpd": "ntpsec/usr/sbin/ntpd",
    "ntpq": "ntpsec/usr/bin/ntpq",
    "ntpdig": "ntpsec-ntpdig/usr/bin/ntpdig",
    "ntp-daemon": "ntpd-rs/usr/bin/ntp-daemon",
    "ntp-ctl": "ntpd-rs/usr/bin/ntp-ctl",
    "gpsd": "gpsd/usr/sbin/gpsd",
}
_MODULES = "python3-ntp/usr/lib/python3/dist-packages"
_RECIPE = 1
"""Raise when a release has to be unpacked anew although it shall have the same packages and programs."""

_LIBRARY = re.compile(r"lib(?!c-gconv|python|perl)")
_MAIN_RELEASES = {"bullseye", "bookworm", "trixie", "forky", "sid", "stable", "testing", "unstable"}
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_PRIVATE = re.compile(r"(Dir(::|\s)|APT::Sandbox|.*(Pre|Post)-(Invoke|Install))")
_LIST_SECONDS, _DOWNLOAD_SECONDS, _SHORT_SECONDS, _LOCK_SECONDS = 240, 300, 30, 600


class FetchError(Exception):
    """The peers of a release could not be fetched; the text is one line for whoever runs the tests."""


class PeersMissingError(Exception):
    """The peers of a release are not in the cache."""


@dataclass(frozen=True, slots=True)
class Peers:
    """The unpacked programs of one release, and how to run them."""

    directory: Path
    versions: dict[str, str]
    programs: list[str]
    loader: str
    libraries: list[str]

    def command(self, program: str) -> list[str]:
        """Give the words that run a program; raise PeersMissingError where the release has none of that name."""
        if program not in self.programs:
            raise PeersMissingError(f"{self.directory.name} has no {program}")
        path = self.directory / PROGRAMS[program]
        if program in ("ntpq", "ntpdig"):
            return ["env", f"PYTHONPATH={self.directory / _MODULES}", sys.executable, str(path)]
        libraries = ":".join(str(self.directory / each) for each in self.libraries)
        loader = str(self.directory / self.loader)
        return [loader, "--library-path", libraries, "--argv0", program, str(path)]


def cache_directory() -> Path:
    """Give the directory of the unpacked peers: NTPTWIST_CACHE, or ``.cache`` in the project."""
    named = os.environ.get("NTPTWIST_CACHE")
    return (Path(named) if named else Path(__file__).resolve().parents[3] / ".cache") / "peers"


def unpacked(suite: str) -> Peers:
    """Give the peers of a release from the cache; raise PeersMissingError where this recipe did not unpack them."""
    return _read(cache_directory() / suite, suite)


def _read(directory: Path, suite: str) -> Peers:
    """Give the peers in a directory that this recipe made."""
    try:
        stamp = json.loads((directory / "stamp.json").read_text())
    except FileNotFoundError:
        stamp = {}
    if stamp.get("recipe") != _recipe(suite):
        this = "/".join(Path(__file__).parts[-4:])
        raise PeersMissingError(f"no peers of {suite} in {directory.parent}: run python3 {this}")
    return Peers(directory, *(stamp[each.name] for each in fields(Peers)[1:]))


def _recipe(suite: str) -> list[object]:
    """Give what decides whether a release in the cache is still the right one."""
    return [_RECIPE, {package: list(programs) for package, programs in PACKAGES[suite].items()}]


def _run(
    *command: str | Path,
    seconds: float = _SHORT_SECONDS,
    directory: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> str:
    """Give what a command prints; raise FetchError with its complaint where it fails or takes too long."""
    name = " ".join(map(str, command[:2]))
    try:
        done = subprocess.run(
            command,
            check=False,
            text=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            cwd=directory,
            env={**environment, "LC_ALL": "C.UTF-8"},
        )
    except FileNotFoundError as error:
        raise FetchError(f"{command[0]} is not on this machine") from error
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"{name} took more than {seconds:g} s") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["it says nothing"]
        complaint = next((line for line in lines if line.startswith("E: ")), lines[-1])
        raise FetchError(f"{name} exited with {done.returncode}: {complaint}")
    return done.stdout


def _configured_archives() -> list[str]:
    """Give the archives of whole Debian releases that apt on this machine is configured for, the first one first."""
    lines = _run(
        *("apt-get", "indextargets", "--no-release-info", "Created-By: Packages"),
        *("--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"),
    ).splitlines()
    rows = [line.split() for line in lines]
    whole = [each[0] for each in rows if len(each) == 3 and each[1] in _MAIN_RELEASES and each[2] == "main"]
    if not whole:
        raise FetchError("apt on this machine knows no archive of a whole Debian release")
    return list(dict.fromkeys(whole))


class _Apt:
    """A private apt for one release: the machine's configuration with other directories and without hooks."""

    def __init__(self, state: Path, suite: str, archive: str) -> None:
        """Write the configuration of an apt that keeps all it has in ``state``."""
        for each in ("lists/partial", "archives/partial", "debs"):
            (state / each).mkdir(parents=True, exist_ok=True)
        (state / "status").touch()
        trust = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
        (state / "sources.list").write_text(f"deb {trust}{archive} {suite} main\n")
        private = {
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::parts": "/dev/null",
            "Dir::Etc::sourcelist": state / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::State": state,
            "Dir::State::lists": state / "lists",
            "Dir::State::status": state / "status",
            "Dir::Cache": state,
            "Dir::Cache::archives": state / "archives",
            "Acquire::Languages": "none",
            "Acquire::Retries": "2",
            "Acquire::http::Timeout": "20",
            "Acquire::https::Timeout": "20",
            "APT::Sandbox::User": "root",
            "APT::Update::Error-Mode": "any",
        }
        kept = [
            line
            for line in _run("apt-config", "dump", "--no-empty").splitlines()
            if not _PRIVATE.match(line) and not line.startswith("Acquire::Languages")
        ]
        own = [f'{name} "{value}";' for name, value in private.items()]
        (state / "apt.conf").write_text("\n".join([*kept, *own, ""]))
        self._debs = state / "debs"
        self._environment = {**os.environ, "APT_CONFIG": str(state / "apt.conf")}

    def update(self) -> None:
        """Download the package list of the release."""
        _run("apt-get", "update", seconds=_LIST_SECONDS, environment=self._environment)

    def libraries_of(self, packages: Iterable[str]) -> list[str]:
        """Give the library packages that packages depend on, at any remove; the first of alternatives counts."""
        index = {}
        for paragraph in _run("apt-cache", "dumpavail", environment=self._environment).split("\n\n"):
            if paragraph.startswith("Package: "):
                index[paragraph[9 : paragraph.index("\n")]] = paragraph
        missing = [each for each in packages if each not in index]
        if missing:
            raise FetchError(f"the archive has no {', '.join(missing)}")
        waiting, found = list(packages), set(packages)
        while waiting:
            for field in re.findall(r"^(?:Pre-)?Depends: (.*)$", index[waiting.pop()], re.MULTILINE):
                names = {re.split(r"[ :|]", each.strip())[0] for each in field.split(",")}
                fresh = {each for each in names - found if _LIBRARY.match(each) and each in index}
                found |= fresh
                waiting += fresh
        return sorted(found - set(packages))

    def download(self, packages: Iterable[str]) -> dict[str, Path]:
        """Download packages, their digests checked by apt, and give the file of each."""
        download = ("apt-get", "download", *packages)
        _run(*download, seconds=_DOWNLOAD_SECONDS, directory=self._debs, environment=self._environment)
        return {each.name.split("_")[0]: each for each in self._debs.glob("*.deb")}


def _unpack(suite: str, archive: str, aside: Path) -> None:
    """Make a whole release in ``aside``: its programs, their libraries, and the stamp that says how to run them."""
    wanted = PACKAGES[suite]
    state = aside / "apt"
    apt = _Apt(state, suite, archive)
    apt.update()
    versions = {}
    for package, file in apt.download([*wanted, *apt.libraries_of(wanted)]).items():
        _run("dpkg-deb", "-x", file, aside / (package if package in wanted else "lib"))
        if package in wanted:
            versions[package] = _run("dpkg-deb", "-f", file, "Version").strip()
    shutil.rmtree(state)
    if "python3-ntp" in wanted:  # it looks for its library beside itself before it looks in the system
        modules = aside / _MODULES / "ntp"
        library = next((aside / "python3-ntp").rglob("libntpc.so"))
        (modules / library.name).symlink_to(os.path.relpath(library, modules))
    loaders = [each for each in (aside / "lib").rglob("ld-linux*.so.*") if not each.is_symlink()]
    if len(loaders) != 1:
        raise FetchError(f"{len(loaders)} dynamic loaders among the libraries of {suite}")
    loader = loaders[0]
    libraries = [f"lib/{each}/{loader.parent.name}" for each in ("usr/lib", "lib")]
    programs = [program for each in wanted.values() for program in each]
    stamp = {
        "recipe": _recipe(suite),
        "versions": versions,
        "programs": programs,
        "loader": str(loader.relative_to(aside)),
        "libraries": [each for each in libraries if (aside / each).is_dir()],
    }
    (aside / "stamp.json").write_text(json.dumps(stamp, indent=1) + "\n")
    for program in programs:
        _run(*_read(aside, suite).command(program), "--version")


@contextlib.contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Hold the cache's lock, so that two runs do not fill it at once."""
    cache.mkdir(parents=True, exist_ok=True)
    (cache / ".gitignore").write_text("*\n")
    deadline = time.monotonic() + _LOCK_SECONDS
    with (cache / "lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise FetchError(f"another run has held {lock.name} for {_LOCK_SECONDS} s") from error
                time.sleep(0.2)
        yield


def fetch(suite: str) -> Peers:
    """Give the peers of a release, fetched first where the cache lacks them; raise FetchError where that fails."""
    cache = cache_directory()
    with contextlib.suppress(PeersMissingError):
        return unpacked(suite)
    with _alone(cache):
        with contextlib.suppress(PeersMissingError):
            return unpacked(suite)
        aside, place = cache / f"{suite}.partial", cache / suite
        failures = []
        for archive in _configured_archives():
            shutil.rmtree(aside, ignore_errors=True)
            try:
                _unpack(suite, archive, aside)
            except FetchError as error:
                failures.append(str(error))
                shutil.rmtree(aside, ignore_errors=True)
                continue
            shutil.rmtree(place, ignore_errors=True)
            aside.rename(place)
            return unpacked(suite)
    raise FetchError("; ".join(failures))


def main() -> int:
    """Fill the cache; exit with 1 and one line for each release that could not be fetched."""
    failed = 0
    for suite in PACKAGES:
        began = time.monotonic()
        try:
            peers = fetch(suite)
        except (FetchError, OSError) as error:
            print(f"peers of {suite}: not fetched: {error}", file=sys.stderr)
            failed = 1
        else:
            versions = ", ".join(f"{name} {version}" for name, version in sorted(peers.versions.items()))
            print(f"peers of {suite}: {versions} ({time.monotonic() - began:.1f} s)")
    return failed


if __name__ == "__main__":
    sys.exit(main())
