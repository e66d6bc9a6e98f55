"""Two workers for every test, and joblib as it is without Lineshaft's own names for its backends."""

from collections.abc import Iterator

import pytest

import lineshaft as ls
import lineshaft.joblib

pytest.importorskip("joblib")


@pytest.fixture(autouse=True, scope="module")
def _two_workers(two_workers: None) -> None:
    """Have every module use them."""


@pytest.fixture
def engine() -> Iterator[ls.Engine]:
    """Return a default engine that nobody has used."""
    ls.default_engine().shutdown(wait=False)
    yield ls.default_engine()
    ls.default_engine().shutdown(wait=False)
