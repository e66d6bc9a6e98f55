"""Two workers for every test, and joblib as it is without Lineshaft's own names for its backends."""

from collections.abc import Iterator

import pytest

import lineshaft as ls
import lineshaft.joblib

pytest.importorskip("joblib")


@pytest.fixture(autouse=True, scope="session")
def _two_workers() -> Iterator[None]:
    """Give the default engine two workers wherever the tests run."""
    ls.default_engine().shutdown()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LINESHAFT_WORKERS", "2")
        yield
        ls.default_engine().shutdown(wait=False)


@pytest.fixture
def engine() -> Iterator[ls.Engine]:
    """Return a default engine that nobody has used."""
    ls.default_engine().shutdown(wait=False)
    yield ls.default_engine()
    ls.default_engine().shutdown(wait=False)
