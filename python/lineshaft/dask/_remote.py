"""What is sent to worker processes for the nodes of a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lineshaft._serial import worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from dask._task_spec import GraphNode


class StandIn:
    """Stands in pickled arguments for the input of this index; the worker finds its value there."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index

    def __reduce__(self) -> tuple[Callable[[int], Any], tuple[int]]:
        return worker.input_value, (self.index,)


def call_node(node: GraphNode, values: dict[Any, Any]) -> Any:
    """Call a node with the values that it needs."""
    return node(values)
