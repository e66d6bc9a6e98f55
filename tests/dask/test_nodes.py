"""Nodes of every notation mean what they mean to Dask, on threads and in worker processes."""

import pytest
from dask._task_spec import Alias, DataNode, Dict, GraphNode, List, Set, Task, TaskRef, Tuple
from tests.dask.nodes import add, inc

from lineshaft.dask import get_processes, get_threads


def collect(*args, **kwargs):
    return args, kwargs


class Doubled(Task):
    """A task that calls otherwise than others do."""

    def __call__(self, values=()):
        return 2 * super().__call__(values)


class Reference(TaskRef):
    """A name of another class, as of a scheduler's futures."""


class Reversed(List):
    """A container of another class."""

    @staticmethod
    def to_container(*args, constructor):
        return constructor(reversed(args))


class Both(GraphNode):
    """A node that is no task."""

    def __init__(self, key, *needs):
        self.key = key
        self._dependencies = frozenset(needs)

    def __call__(self, values=()):
        return sorted(values.items())


BASE = {"x": DataNode("x", 1), "y": Task("y", inc, TaskRef("x")), "also y": Alias("also y", "y")}
NODES = {
    "plain": Task(None, collect, 1, "x", (TaskRef,), None, named=[1, 2]),
    "by name": Task(None, collect, TaskRef("y"), TaskRef("x"), TaskRef("y"), named=TaskRef("also y")),
    "derived name": Task(None, collect, Reference("y")),
    "alias": Task(None, collect, Alias("y"), Alias("other", "also y")),
    "value": Task(None, collect, DataNode(None, "y"), named=DataNode(None, [TaskRef("y")])),
    "containers": Task(
        None, collect, List(TaskRef("y"), Tuple(TaskRef("x"), 5, List())), named=Set(TaskRef("y"), TaskRef("also y"), 3)
    ),
    "dict": Task(None, collect, Dict({"a": TaskRef("y"), "b": List(TaskRef("x"))}), TaskRef("also y")),
    "nested call": Task(None, collect, Task(None, add, TaskRef("y"), Task(None, inc, TaskRef("x"))), TaskRef("x")),
    "call in a list": Task(None, collect, List(1, Task(None, inc, TaskRef("y")))),
    "derived container": Task(None, collect, Reversed(TaskRef("y"), TaskRef("x"))),
    "derived task": Doubled(None, add, TaskRef("y"), TaskRef("x")),
    "container": List(TaskRef("y"), TaskRef("x"), "x"),
    "fused": GraphNode.fuse(Task("one", inc, TaskRef("y")), Task("two", add, TaskRef("one"), TaskRef("x"))),
    "no task": Both(None, "y", "x", "also y"),
}


@pytest.mark.parametrize("scheduler", [get_threads, get_processes])
@pytest.mark.parametrize("name", NODES)
def test_a_node_means_what_it_means_to_dask(scheduler, name):
    values = {"x": 1, "y": 2, "also y": 2}
    node = NODES[name]
    expected = node({key: values[key] for key in node.dependencies})
    assert scheduler({**BASE, "it": node}, "it") == expected
