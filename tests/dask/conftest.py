"""Two workers for every test."""

import pytest

pytest.importorskip("dask")


@pytest.fixture(autouse=True, scope="module")
def _two_workers(two_workers: None) -> None:
    """Have every module use them."""
