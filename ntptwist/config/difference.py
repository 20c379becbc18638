"""
What lies between two configurations: what is done to go from one to the other, and what it takes a restart for.

Sources and servers are compared entry by entry: one that only moved, inside a file or to another one, is the same and
keeps running.  One that changed at all ends and starts afresh; it is told as a change where mode and address are the
same.  What this module does not know how to change in a running daemon needs a restart, so a setting that is new to it
is never taken for one in force.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum
from typing import Any, TypeVar

from ntptwist.algorithm.config import SynchronizationPolicy
from ntptwist.config.model import Config, KeyServerSettings, ServerSettings, SourceEntry

Entry = TypeVar("Entry")

Places = tuple[int | None, ...]
"""For each new entry its place among the old ones; None where it is to be made."""

_LONGEST_SHOWN = 40
_APPLIED = ("sources", "source_defaults", "servers", "key_servers", "policy", "reference_id", "observability")
"""The fields of a Config that can change while it runs; of the last one ``log_level`` alone."""

_FOLLOWS = ("voting_sources", "needs_required")
"""What a policy takes from the sources, whose changes are told themselves."""


@dataclass(frozen=True, slots=True)
class Difference:
    """
    The way from one configuration to another.

    ``config`` is what runs at its end: the new one, but for what needs a restart.  ``changes`` and ``later`` say in
    sentences for people what changes at once, and what only a restart brings.
    """

    config: Config
    sources: Places
    servers: Places
    key_servers: Places
    changes: tuple[str, ...]
    later: tuple[str, ...]


def compare(old: Config, new: Config) -> Difference:
    """Give the way from the configuration that runs to another one."""
    later = tuple(_restarts(old, new))
    config = replace(new, **{name: getattr(old, name) for name in _fixed(old)})
    config = replace(config, observability=replace(old.observability, log_level=new.observability.log_level))
    if old.keyset is None:
        config = replace(config, key_servers=())  # a process without keys can't serve them
    sources = _match(old.sources, config.sources, _name)
    key_servers = _match(old.key_servers, config.key_servers, _describe_key_server)
    servers = _match(old.servers, config.servers, _describe_server)
    if (old.policy.local_stratum, old.reference_id) != (config.policy.local_stratum, config.reference_id):
        servers = (None,) * len(servers)  # each holds what it says while nobody tells it the time
    return Difference(
        config,
        sources,
        servers,
        key_servers,
        (
            *_sentences(old.sources, config.sources, sources, describe_source),
            *_sentences(old.servers, config.servers, servers, _describe_server),
            *_sentences(old.key_servers, config.key_servers, key_servers, _describe_key_server),
            *_settings(old, config),
        ),
        later,
    )


def describe_source(entry: SourceEntry) -> str:
    """Give the name of a source for people: its mode, and its address or path as far as its driver has one."""
    name = _name(entry)
    return f"source {name}" if " " in name else f"source {name} {entry.location}"


def _name(entry: SourceEntry) -> str:
    """Give what does not depend on where it stands."""
    name = getattr(entry.configuration, "address", None) or getattr(entry.configuration, "path", None)
    return entry.mode if name is None else f"{entry.mode} {name}"


def _describe_server(entry: ServerSettings) -> str:
    return f"server {entry.listen}"


def _describe_key_server(entry: KeyServerSettings) -> str:
    return f"key exchange server {entry.listen}"


def _fixed(config: Config) -> Iterator[str]:
    """Give the fields that only a restart changes."""
    for each in fields(config):
        if each.compare and each.name not in _APPLIED:
            yield each.name


def _restarts(old: Config, new: Config) -> Iterator[str]:
    """Say what only a restart changes."""
    for name in _fixed(old):
        for change in _changes(getattr(old, name), getattr(new, name), name):
            yield f"needs a restart: {change}"
    seen, wanted = old.observability, new.observability
    for change in _changes(replace(seen, log_level=wanted.log_level), wanted, "observability"):
        yield f"needs a restart: {change}"
    if old.keyset is None and new.key_servers:
        yield "needs a restart: key exchange servers, where there were none"


def _settings(old: Config, new: Config) -> Iterator[str]:
    """Say what changes beside sources and servers."""
    follows = {name: getattr(new.policy, name) for name in _FOLLOWS}
    before: SynchronizationPolicy = replace(old.policy, leap_table=new.policy.leap_table, **follows)
    yield from _changes(before, new.policy, "synchronization")
    if old.policy.agreeing != new.policy.agreeing and before.agreeing == new.policy.agreeing:
        yield f"sources that must agree: {old.policy.agreeing}, now {new.policy.agreeing}"
    if old.policy.leap_table != new.policy.leap_table:
        yield "the list of leap seconds is another one"
    yield from _changes(old.reference_id, new.reference_id, "synchronization.reference-id")
    yield from _changes(old.observability.log_level, new.observability.log_level, "observability.log-level")


def _match(old: Sequence[Entry], new: Sequence[Entry], name: Callable[[Entry], str]) -> Places:
    """Find each entry among the old ones of its name; each of those is found once."""
    free: dict[str, list[int]] = {}
    for index, entry in enumerate(old):
        free.setdefault(name(entry), []).append(index)
    places: list[int | None] = []
    for entry in new:
        candidates = free.get(name(entry), [])
        place = next((index for index in candidates if old[index] == entry), None)
        places.append(place)
        if place is not None:
            candidates.remove(place)
    return tuple(places)


def _sentences(
    old: Sequence[Entry], new: Sequence[Entry], places: Places, describe: Callable[[Entry], str]
) -> Iterator[str]:
    """Say what goes, what comes, and what goes and comes in another form."""
    kept = set(places)
    come: dict[str, list[Entry]] = {}
    for entry, place in zip(new, places, strict=True):
        if place is None:
            come.setdefault(describe(entry), []).append(entry)
    for index, entry in enumerate(old):
        if index in kept:
            continue
        name = describe(entry)
        successors = come.get(name)
        if successors:
            what = ", ".join(_changes(entry, successors.pop(0), "")) or "what it serves"
            yield f"{name} starts afresh: {what}"
        else:
            yield f"{name} goes"
    for name, entries in come.items():
        yield from [f"{name} is new"] * len(entries)


def _changes(old: Any, new: Any, name: str) -> Iterator[str]:
    """Say how two values differ, the fields of a dataclass one by one: ``clock.control: system, now observe``."""
    if old == new:
        return
    if type(old) is type(new) and is_dataclass(old) and "__str__" not in vars(type(old)):
        for each in fields(old):
            if each.compare:
                key = "" if each.name == "configuration" else each.name.replace("_", "-")
                path = ".".join(part for part in (name, key) if part)
                yield from _changes(getattr(old, each.name), getattr(new, each.name), path)
        return
    before, after = _shown(old), _shown(new)
    name = name.replace("_", "-")
    if before is None or after is None or before == after:
        yield f"{name} changed".strip()
    else:
        yield f"{name}: {before}, now {after}".removeprefix(": ")


def _shown(value: Any) -> str | None:
    """Give a value for people; None when it is too long for a line."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bytes):
        return None
    text = {None: "none", True: "true", False: "false"}.get(value) if isinstance(value, bool | None) else str(value)
    return text if text is not None and len(text) <= _LONGEST_SHOWN and text.isprintable() else None
