"""What the workers run. It imports nothing at the top, so that a task costs what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt


def noop(value: int) -> int:
    """Do nothing."""
    return value


def wait_briefly() -> None:
    """Occupy a worker for 50 ms, so that another one must be started for the next task."""
    import time

    time.sleep(0.05)


def total(array: npt.NDArray[Any]) -> float:
    """Read all of an array."""
    return float(array.sum())


def fresh(value: int, size_mb: int) -> npt.NDArray[Any]:
    """Make an array of `size_mb` million bytes."""
    import numpy as np

    return np.full(size_mb * 1_000_000 // 8, float(value))
