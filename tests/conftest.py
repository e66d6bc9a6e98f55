"""What the tests of several front ends share."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.futures.events import FileEvent


@pytest.fixture
def event(tmp_path: Path) -> Callable[[str], FileEvent]:
    """Return a function that makes events which reach every process."""
    return lambda name: FileEvent(tmp_path / name)
