"""An engine that has nothing to show yet."""

import pytest

import lineshaft as ls


@pytest.fixture
def engine():
    """Return a default engine that nobody has used."""
    ls.default_engine().shutdown(wait=False)
    yield ls.default_engine()
    ls.default_engine().shutdown(wait=False)
