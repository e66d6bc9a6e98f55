"""Two workers for every test, wherever it runs."""

from collections.abc import Iterator

import pytest

import lineshaft as ls

pytest.importorskip("dask")


@pytest.fixture(autouse=True, scope="module")
def _two_workers() -> Iterator[None]:
    """Give each module a default engine of its own, with two workers."""
    ls.default_engine().shutdown()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LINESHAFT_WORKERS", "2")
        yield
        ls.default_engine().shutdown(wait=False)
