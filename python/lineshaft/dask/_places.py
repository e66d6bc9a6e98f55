"""Where each task of a graph runs, and how: defaults by collection, and annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from dask._expr import HLGExpr, HLGFinalizeCompute, _HLGExprSequence

from lineshaft import _native
from lineshaft._modules import imported
from lineshaft._task import PRIORITY_END, RETRIES_END

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lineshaft.dask._graph import Annotations, Graph

#: Where tasks run: on threads of this process, or in worker processes.
Place = Literal["threads", "processes"]

#: The annotation by which a program says where tasks run.
ANNOTATION = "lineshaft"


def places(dsk: Any, graph: Graph, annotations: Annotations, default: Place | None) -> dict[Any, Place]:
    """Return for each task that does not run on threads where it does.

    Parameters
    ----------
    dsk
        What Dask passed.
    graph
        The same, by key.
    annotations
        Of these, ``lineshaft="processes"`` and ``lineshaft="threads"`` count most.
    default
        Where the rest runs; None means where its collection does by default: bags in processes, all
        else on threads. What both a bag and another collection need runs on threads.

    Raises
    ------
    ValueError
        If an annotation names no place.
    """
    found: dict[Any, Place] = {}
    if default == "processes":
        found = dict.fromkeys(graph.nodes, "processes")
    elif default is None and (bag_keys := list(_bag_keys(dsk))):
        found = dict.fromkeys(_needed(graph, bag_keys), "processes")
        wanted_of_bags = set(bag_keys)
        others = [key for key in graph.wanted if key not in wanted_of_bags]
        for key in _needed(graph, others) if others else ():
            found.pop(key, None)
    # What puts the parts of a result together does it where the result is wanted.
    for key in _final_keys(dsk):
        found.pop(key, None)
    for key, place in annotations.get(ANNOTATION, {}).items():
        if place == "threads":
            found.pop(key, None)
        elif place == "processes":
            found[key] = place
        else:
            raise ValueError(f"the annotation {ANNOTATION} must be 'threads' or 'processes', not {place!r}")
    return found


def options(annotations: Annotations) -> dict[Any, _native.TaskOptions]:
    """Return the options of tasks by key: annotations `priority` and `retries`.

    Those that name machines (`workers`, `resources`, `allow_other_workers`) mean nothing here.

    Raises
    ------
    ValueError
        If one makes no sense.
    """
    priorities, retries = annotations.get("priority", {}), annotations.get("retries", {})
    found = {}
    for key in {**priorities, **retries}:
        again = _retries(retries.get(key, 0))
        found[key] = _native.TaskOptions(priority=_priority(priorities.get(key, 0)), retries=again, death_retries=again)
    return found


def _priority(value: Any) -> int:
    """Return an annotation `priority` as the engine takes it; those beyond its ends count as the ends."""
    if not hasattr(value, "__float__") or value != value:
        raise ValueError(f"the annotation priority must be a number, not {value!r}")
    return int(max(-PRIORITY_END, min(value, PRIORITY_END - 1)))


def _retries(value: Any) -> int:
    if not hasattr(value, "__index__") or not 0 <= value < RETRIES_END:
        raise ValueError(f"the annotation retries must be a small non-negative integer, not {value!r}")
    return int(value)


def _operands(dsk: Any) -> list[Any]:
    return list(dsk.operands) if isinstance(dsk, _HLGExprSequence) else [dsk]


def _bag_keys(dsk: Any) -> Iterator[Any]:
    """Yield the keys that bags among the collections have."""
    bag = imported("dask.bag.core")
    if bag is None:
        return
    for operand in _operands(dsk):
        if not isinstance(operand, HLGExpr):
            continue
        ends = operand.postcompute if isinstance(operand.postcompute, list) else [operand.postcompute]
        of_bag = operand.low_level_optimizer is bag.optimize or any(
            end and getattr(end[0], "__module__", None) == bag.__name__ for end in ends
        )
        if of_bag:
            yield from _flat(operand.__dask_keys__())


def _final_keys(dsk: Any) -> Iterator[Any]:
    for operand in _operands(dsk):
        if isinstance(operand, HLGFinalizeCompute):
            yield from _flat(operand.__dask_keys__())


def _flat(keys: Any) -> Iterator[Any]:
    for key in keys:
        if isinstance(key, list):
            yield from _flat(key)
        else:
            yield key


def _needed(graph: Graph, keys: Iterable[Any]) -> Iterator[Any]:
    """Yield the tasks that are needed for the values of keys."""
    seen: set[Any] = set()
    stack = list(keys)
    while stack:
        key = stack.pop()
        if key in seen:
            continue
        seen.add(key)
        node = graph.nodes.get(key)
        if node is not None:
            yield key
            stack.extend(node.dependencies)
        elif key in graph.aliases:
            stack.append(graph.aliases[key])
