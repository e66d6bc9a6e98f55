"""What the graph of a persisted collection is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lineshaft._serial.parent import takes_references

if TYPE_CHECKING:
    from collections.abc import Callable

    from lineshaft.futures import Future


class Chunk:
    """The value of one key, which a future has or will have; a call without arguments gives it.

    Graphs on the engine take it from the future. For any other scheduler it is an ordinary task, that waits.
    """

    __slots__ = ("future", "key")

    def __init__(self, key: Any, future: Future[Any]) -> None:
        self.key = key
        self.future = future

    def __call__(self) -> Any:
        return self.future.result()

    def __dask_tokenize__(self) -> Any:
        return "lineshaft-chunk", self.key

    def __reduce__(self) -> tuple[Callable[[Any], Any], tuple[Any]]:
        return _Known, (self.future if takes_references() else self.future.result(),)


class _Known:
    """What is left of a `Chunk` that was pickled: its value."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self) -> Any:
        return self.value
