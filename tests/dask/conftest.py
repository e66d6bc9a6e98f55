"""Two workers for every test, wherever it runs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import lineshaft as ls

pytest.importorskip("dask")

from tests.futures.events import FileEvent


@pytest.fixture(autouse=True, scope="module")
def _two_workers() -> Iterator[None]:
    """Give each module a default engine of its own, with two workers."""
    ls.default_engine().shutdown()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LINESHAFT_WORKERS", "2")
        yield
        ls.default_engine().shutdown(wait=False)


@pytest.fixture
def event(tmp_path: Path) -> Callable[[str], FileEvent]:
    """Return a function that makes events which reach every process."""
    return lambda name: FileEvent(tmp_path / name)
