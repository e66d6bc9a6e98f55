"""The engine's order of a graph holds no more results than Dask's does, on the graphs of Dask's own tests of it."""

import json
import os
import subprocess
import sys

import pytest

#: Run in a process of its own, because it replaces what Dask's tests call.
COLLECT = """
import json, sys
import pytest
import dask.order
import dask.tests.test_order as corpus
from dask._task_spec import convert_legacy_graph

graphs, running, order = [], [], dask.order.order

def noted(dsk, *args, **kwargs):
    found = order(dsk, *args, **kwargs)
    nodes = convert_legacy_graph(dict(dsk))
    position = {key: index for index, key in enumerate(nodes)}
    needs = [sorted({position[k] for k in n.dependencies if k in nodes and k != key}) for key, n in nodes.items()]
    ranks = [found.get(key, -1) for key in nodes]
    graphs.append((running[-1], needs, sorted(range(len(nodes)), key=ranks.__getitem__)))
    return found

class Noting:
    def pytest_runtest_setup(self, item):
        running.append(item.name)

corpus.order = noted
options = ["-q", "-p", "no:cacheprovider", "-W", "ignore", "--rootdir", sys.argv[1], "-c", "/dev/null"]
pytest.main([*options, "--pyargs", "dask.tests.test_order"], plugins=[Noting()])
json.dump(graphs, open(sys.argv[2], "w"))
"""


def held_max(needs, order):
    """The results that are held at worst if the tasks run one by one."""
    holders = [0] * len(needs)
    for row in needs:
        for need in row:
            holders[need] += 1
    ran, held, most = set(), 0, 0
    for task in order:
        assert ran.issuperset(needs[task])
        ran.add(task)
        held += holders[task] > 0
        most = max(most, held)
        for need in needs[task]:
            holders[need] -= 1
            held -= holders[need] == 0
    assert len(ran) == len(needs) == len(order)
    return most


@pytest.mark.timeout(300)
def test_no_more_is_held_than_by_dasks_own_order(tmp_path):
    native = pytest.importorskip("lineshaft._native")
    found = tmp_path / "graphs.json"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", COLLECT, str(tmp_path), str(found)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    graphs = json.loads(found.read_text())
    assert len(graphs) > 60
    held = [
        (name, held_max(needs, native.static_order(needs)), held_max(needs, order)) for name, needs, order in graphs
    ]
    assert [(name, ours, dasks) for name, ours, dasks in held if ours > dasks] == []
    assert sum(ours < dasks for _, ours, dasks in held) >= 10


def test_a_graph_that_is_none_has_no_order():
    from lineshaft._native import static_order

    assert static_order([]) == []
    with pytest.raises(ValueError, match="circle"):
        static_order([[1], [0]])
    with pytest.raises(ValueError, match="not there"):
        static_order([[1]])
