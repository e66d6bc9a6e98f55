"""Executors of both kinds."""

from collections.abc import Iterator

import pytest

import lineshaft as ls

Executor = ls.ProcessPoolExecutor | ls.ThreadPoolExecutor


@pytest.fixture(params=["ProcessPoolExecutor", "ThreadPoolExecutor"], ids=["processes", "threads"])
def executor_class(request: pytest.FixtureRequest) -> type[Executor]:
    """Return each executor in turn."""
    made: type[Executor] = getattr(ls, request.param)
    return made


@pytest.fixture
def executor(executor_class: type[Executor]) -> Iterator[Executor]:
    """Return an executor of each kind with two workers."""
    with executor_class(2) as made:
        yield made


@pytest.fixture
def processes() -> Iterator[ls.ProcessPoolExecutor]:
    """Return two worker processes."""
    with ls.ProcessPoolExecutor(2) as made:
        yield made


@pytest.fixture
def threads() -> Iterator[ls.ThreadPoolExecutor]:
    """Return two threads."""
    with ls.ThreadPoolExecutor(2) as made:
        yield made
