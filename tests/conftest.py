"""What the tests of several front ends share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.events import FileEvent

import lineshaft as ls


@pytest.fixture
def event(tmp_path: Path) -> Callable[[str], FileEvent]:
    """Return a function that makes events which reach every process."""
    return lambda name: FileEvent(tmp_path / name)


@pytest.fixture(scope="module")
def two_workers() -> Iterator[None]:
    """Give the module a default engine of its own, with two workers wherever the tests run."""
    ls.default_engine().shutdown()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LINESHAFT_WORKERS", "2")
        yield
        ls.default_engine().shutdown(wait=False)
