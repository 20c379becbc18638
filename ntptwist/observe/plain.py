"""
The algorithm's frozen values as plain data that JSON can hold, and back, to the last bit.

A dataclass or named tuple is the list of its fields, an enum its name, octets are hexadecimal, a mapping is a list of
pairs.  Nothing says of itself what it is: whoever reads names the type that was written.  JSON keeps every int and,
since Python writes the shortest digits that mean the same, every float.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

Value = TypeVar("Value")


def pack(value: Any) -> Any:
    """Give the plain form of a value; TypeError for one that is none of these."""
    match value:
        case Enum():
            return value.name
        case None | bool() | int() | float() | str():
            return value
        case bytes():
            return value.hex()
        case Mapping():
            return [[pack(key), pack(item)] for key, item in value.items()]
        case frozenset():
            return sorted(map(pack, value))
        case tuple():
            return list(map(pack, value))
    return [pack(getattr(value, name)) for name in _fields(value.__class__)]


def unpack(kind: Callable[..., Value], data: Any) -> Value:
    """Give the value of a type whose plain form this is; ValueError if it is not."""
    try:
        value: Value = _unpacker(kind)(data)
    except (TypeError, KeyError) as error:
        raise ValueError(f"not a {kind}: {error}") from error
    return value


@cache
def _fields(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


@cache
def _unpacker(kind: Any) -> Callable[[Any], Any]:
    """Give the function that makes a value of a type from its plain form."""
    kind = getattr(kind, "__supertype__", kind)  # a NewType is its int
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _optional(inner)
    if origin is tuple and inner[1:] == (...,):
        item = _unpacker(inner[0])
        return lambda data: tuple(map(item, data))
    if origin is frozenset:
        item = _unpacker(inner[0])
        return lambda data: frozenset(map(item, data))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        key, item = map(_unpacker, inner)
        return lambda data: {key(k): item(v) for k, v in data}
    return _plain_class(kind)


def _optional(inner: tuple[Any, ...]) -> Callable[[Any], Any]:
    some = [_unpacker(kind) for kind in inner if kind is not types.NoneType]
    if len(some) != 1:
        raise TypeError(f"nothing tells which of {inner} was written")
    return lambda data: None if data is None else some[0](data)


def _plain_class(kind: Any) -> Callable[[Any], Any]:
    if dataclasses.is_dataclass(kind) or hasattr(kind, "_fields"):
        hints = get_type_hints(kind)
        names = kind._fields if hasattr(kind, "_fields") else _fields(kind)
        items = [_unpacker(hints[name]) for name in names]
        return lambda data: kind(*(item(part) for item, part in zip(items, data, strict=True)))
    if issubclass(kind, Enum):
        return lambda data: kind[data]
    if issubclass(kind, bytes):
        return lambda data: kind(bytes.fromhex(data))
    return lambda data: data
