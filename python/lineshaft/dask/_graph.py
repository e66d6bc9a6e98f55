"""From what Dask passes to a scheduler to tasks, values and aliases by key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import dask.config
from dask._expr import Expr, HLGExpr, _HLGExprSequence
from dask._task_spec import Alias, DataNode, GraphNode, List, Set, Task, TaskRef, Tuple, convert_legacy_task
from dask.highlevelgraph import HighLevelGraph
from dask.utils import ensure_dict

from lineshaft._modules import imported
from lineshaft.dask._chunk import Chunk

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lineshaft.futures import Future

#: By the name of an annotation, its value by key.
Annotations = dict[str, dict[Any, Any]]


class _Notation(NamedTuple):
    """What the native side takes apart instead of calling it."""

    node: type = GraphNode
    task: type = Task
    reference: type = TaskRef
    alias: type = Alias
    data: type = DataNode
    list: type = List
    tuple: type = Tuple
    set: type = Set


class Graph:
    """A graph whose every key is a task, a value that is known or a future's, or another name for a key.

    Parameters
    ----------
    layers
        By key: `GraphNode`, a task in one of the older notations, or a value.
    wanted
        The keys whose values are wanted.
    """

    notation = _Notation()

    def __init__(self, layers: Mapping[Any, Any], wanted: list[Any]) -> None:
        self.nodes: dict[Any, GraphNode] = {}
        self.values: dict[Any, Any] = {}
        self.futures: dict[Any, Future[Any]] = {}
        self.aliases: dict[Any, Any] = {}
        self.wanted = wanted
        for key, node in layers.items():
            if not isinstance(node, GraphNode):
                node = convert_legacy_task(key, node, layers)
            kind = type(node)
            if kind is DataNode:
                self.values[key] = node.value
            elif kind is Alias:
                # One for itself stands for what another scheduler has; it says nothing here.
                if node.target != key:
                    self.aliases[key] = node.target
            elif kind is Task and type(node.func) is Chunk:
                self.futures[key] = node.func.future
            elif isinstance(node, GraphNode):
                self.nodes[key] = node
            else:
                self.values[key] = node


def materialize(dsk: Any) -> tuple[Mapping[Any, Any], Annotations]:
    """Return the tasks by key, and the annotations.

    Parameters
    ----------
    dsk
        An expression, a `HighLevelGraph` or a mapping.
    """
    if isinstance(dsk, Expr):
        layers = _delayed_layers(dsk)
        if layers is not None:
            return _merged(layers)
        annotations = dsk.__dask_annotations__()
        return ensure_dict(dsk.__dask_graph__()), annotations
    if not isinstance(dsk, Mapping):
        dsk = dsk.__dask_graph__()
    if isinstance(dsk, HighLevelGraph):
        return _merged(dsk.layers.values())
    return dsk, {}


def _delayed_layers(expr: Expr) -> list[Any] | None:
    """Return the layers of delayed calls; None if there is anything else in the expression.

    All that Dask's optimizer does with delayed calls is to leave out those that are not needed, in
    quadratic time. The engine does that itself, in linear time.
    """
    operands = expr.operands if isinstance(expr, _HLGExprSequence) else [expr]
    # `dask.delayed` is a function; the module of this name is found among the modules only.
    delayed = imported("dask.delayed")
    if delayed is None or dask.config.get("optimization.fuse.delayed", False):
        return None
    layers: list[Any] = []
    for operand in operands:
        if not isinstance(operand, HLGExpr) or operand.low_level_optimizer is not delayed.optimize:
            return None
        graph = operand.hlg
        if not isinstance(graph, HighLevelGraph):
            return None
        layers += graph.layers.values()
    return layers


def _merged(layers: Iterable[Any]) -> tuple[dict[Any, Any], Annotations]:
    merged: dict[Any, Any] = {}
    annotations: Annotations = {}
    for layer in layers:
        merged.update(layer)
        for name, value in (layer.annotations or {}).items():
            by_key = annotations.setdefault(name, {})
            by_key.update((key, value(key) if callable(value) else value) for key in layer)
    return merged, annotations
