"""Two workers for every test, and joblib as it is without Lineshaft's own names for its backends."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import lineshaft as ls
import lineshaft.joblib

pytest.importorskip("joblib")

from tests.futures.events import FileEvent


@pytest.fixture(autouse=True)
def _two_workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give each test a default engine of its own, with two workers wherever it runs."""
    ls.default_engine().shutdown()
    monkeypatch.setenv("LINESHAFT_WORKERS", "2")
    yield
    ls.default_engine().shutdown(wait=False)


@pytest.fixture
def event(tmp_path: Path) -> Callable[[str], FileEvent]:
    """Return a function that makes events which reach every process."""
    return lambda name: FileEvent(tmp_path / name)
