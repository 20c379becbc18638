"""
The commands of ``control.sock``: from a request to what is asked of ``IControl``, and from its report to the answer.

===================================== ==================================================================
request                               meaning
===================================== ==================================================================
``reload``                            read the files anew
``add`` ``source`` | ``words``        a ``[[source]]`` table as TOML, or as a list of ``key=value``
``remove`` ``sources``                names of sources, in a list
``online`` ``offline`` ``burst``      the same; no names stand for all sources
``step``                              step the clock by all that is left to correct
===================================== ==================================================================
"""

from __future__ import annotations

import json
import tomllib
from typing import Any

from twisted.internet.defer import Deferred

from ntptwist.control.report import Report
from ntptwist.errors import RequestError
from ntptwist.interfaces import IControl
from ntptwist.net.requests import Command

LONGEST_NAME = 300
Request = dict[str, Any]


def commands(control: IControl) -> dict[str, Command]:
    """Give the commands, each a function of its request."""

    def answered(report: Deferred[Report]) -> Deferred[Any]:
        return report.addCallback(Report.data)

    return {
        "reload": lambda _: answered(control.reload()),
        "add": lambda request: answered(control.add(source_table(request))),
        "remove": lambda request: answered(control.remove(_names(request))),
        "online": lambda request: answered(control.set_offline(_names(request), offline=False)),
        "offline": lambda request: answered(control.set_offline(_names(request), offline=True)),
        "burst": lambda request: answered(control.burst(_names(request))),
        "step": lambda _: answered(control.correct_now()),
    }


def source_table(request: Request) -> dict[str, Any]:
    """Give the values of the ``[[source]]`` table that a request has; RequestError when there is none."""
    text = request.get("source")
    if text is None:
        text = "\n".join(map(_statement, _texts(request, "words")))
    if not isinstance(text, str):
        raise RequestError("'source' is to be a text")
    values = _toml(text)
    if set(values) != {"source"}:
        return values
    match values["source"]:
        case [dict(table)]:
            return table
        case _:
            raise RequestError("one [[source]] is expected")


def _toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"not valid TOML: {error}") from error


def _statement(word: str) -> str:
    """Give ``key=value`` as TOML: what is no value of TOML's is a text."""
    key, equals, value = word.partition("=")
    if not equals or "\n" in word:
        raise RequestError(f"{word!r} is not KEY=VALUE")
    statement = f"{key} = {value}"
    try:
        tomllib.loads(statement)
    except (ValueError, RecursionError):
        return f"{key} = {json.dumps(value)}"
    return statement


def _names(request: Request) -> list[str]:
    return _texts(request, "sources") if "sources" in request else []


def _texts(request: Request, key: str) -> list[str]:
    """Give a list of texts from a request."""
    texts = request.get(key)
    if not isinstance(texts, list) or not all(isinstance(each, str) and len(each) <= LONGEST_NAME for each in texts):
        raise RequestError(f"{key!r} is to be a list of texts")
    return list(texts)
