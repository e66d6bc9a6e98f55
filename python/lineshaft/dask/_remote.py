"""How a node of a graph is sent to a worker process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dask._task_spec import Alias, DataNode, GraphNode, List, Set, Task, TaskRef, Tuple

from lineshaft._serial import worker

#: Containers of nodes that are sent as what they stand for.
_PLAIN_CONTAINERS: dict[type, Callable[[list[Any]], Any]] = {List: list, Tuple: tuple, Set: set}


class StandIn:
    """Stands in pickled arguments for the input of this index; the worker finds its value there."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index

    def __reduce__(self) -> tuple[Callable[[int], Any], tuple[int]]:
        return worker.input_value, (self.index,)


class _NodeNeededError(Exception):
    """There is a call among the arguments, so the node itself must be sent."""


def to_call(
    node: GraphNode, values: dict[Any, Any]
) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any] | None]:
    """Return the function and the arguments that a worker is to call.

    Parameters
    ----------
    node
        The task.
    values
        What it needs, or stand-ins for that, by key.

    Returns
    -------
    tuple
        The task's own function if its arguments can be written out: the function is then sent once
        for all tasks that call it, and the worker needs no Dask. Else one that calls the node.
    """
    if type(node) is Task:
        try:
            args = tuple([_written_out(arg, values) for arg in node.args])
            kwargs = {name: _written_out(arg, values) for name, arg in node.kwargs.items()}
        except _NodeNeededError:
            pass
        else:
            return node.func, args, kwargs or None
    return call_node, (node, values), None


def _written_out(arg: Any, values: dict[Any, Any]) -> Any:
    if isinstance(arg, TaskRef):
        return values[arg.key]
    if not isinstance(arg, GraphNode):
        return arg
    if isinstance(arg, (List, Tuple, Set)):
        return _PLAIN_CONTAINERS[type(arg)]([_written_out(item, values) for item in arg.args])
    if isinstance(arg, DataNode):
        return arg.value
    if isinstance(arg, Alias):
        return values[arg.target]
    raise _NodeNeededError


def call_node(node: GraphNode, values: dict[Any, Any]) -> Any:
    """Call a node with the values that it needs."""
    return node(values)
