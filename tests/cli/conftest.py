"""What the tests of the operator's tool share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.answering import Answering


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Answering]:
    """A daemon that is synchronized."""
    answering = Answering(tmp_path)
    yield answering
    answering.close()
