"""`lineshaft run`: programs that use Dask are served without a change."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, threading
import dask, dask.array as da, dask.bag as db

def where(*_):
    return os.getpid(), threading.current_thread().name

if __name__ == "__main__":
    array_pid, array_thread = da.ones(4, chunks=2).map_blocks(
        lambda block: __import__("numpy").array([where()], dtype=object), dtype=object, chunks=(1, 2)
    ).compute().ravel()[:2]
    bag_pid, _ = db.from_sequence([1]).map(where).compute()[0]
    delayed_pid, delayed_thread = dask.delayed(where)().compute()
    named_pid, named_thread = dask.delayed(where)().compute(scheduler="threads")
    sync_pid, sync_thread = dask.delayed(where)().compute(scheduler="sync")
    assert array_pid == delayed_pid == named_pid == sync_pid == os.getpid() != bag_pid
    print(array_thread[:9], delayed_thread[:9], named_thread[:9], sync_thread[:9])
"""


def run(tmp_path, *arguments, program=PROGRAM):
    script = Path(tmp_path, "program.py")
    script.write_text(program)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, *arguments, str(script)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, env=env)


def test_all_collections_run_on_the_engine(tmp_path):
    done = run(tmp_path, "-m", "lineshaft", "run", "--no-summary", "--no-dashboard")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["lineshaft", "lineshaft", "lineshaft", "MainThrea"]


@pytest.mark.parametrize("arguments", [(), ("-m", "lineshaft", "run", "--no-summary", "--no-patch", "dask")])
def test_and_otherwise_on_dasks_own_schedulers(tmp_path, arguments):
    done = run(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    assert "lineshaft" not in done.stdout


BEFORE_AND_AFTER = """
import sys, threading
if sys.argv[1:] == ["before"]:
    import dask.array, dask.bag
from lineshaft import _patch
_patch.apply(["dask"])
import dask.array as da, dask.bag as db, dask.base, dask.threaded
from lineshaft._dask import get_processes, get_threads
array, bag, lazy = da.ones(3), db.from_sequence([1]), dask.delayed(len)([])
assert [c.__dask_scheduler__ for c in (array, bag, lazy)] == [get_threads, get_processes, get_threads]
assert dask.base.get_scheduler(scheduler="threads") is dask.threaded.get is get_threads
assert float(array.sum().compute()) == 3
_patch.undo(["dask"])
original = dask.threaded.get
assert original.__module__ == "dask.threaded"
assert array.__dask_scheduler__ is lazy.__dask_scheduler__ is dask.base.named_schedulers["threads"] is original
assert bag.__dask_scheduler__ is dask.multiprocessing.get
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_dask_may_be_imported_before_it_is_served_and_is_given_back(when):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-c", BEFORE_AND_AFTER, when]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, env=env)
    assert (done.returncode, done.stderr) == (0, "")


CTRL_C = """
import os, signal, threading
from lineshaft.dask import get
started = threading.Event()

def hold():
    started.set()
    threading.Event().wait(0.5)

def press():
    started.wait()
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=press).start()
try:
    get({("hold", i): (hold,) for i in range(1000)}, [("hold", i) for i in range(1000)], num_workers=2)
except KeyboardInterrupt:
    print("interrupted")
print(get({"x": (sum, [1, 2])}, "x"))
"""


def test_ctrl_c_ends_the_graph_and_not_the_engine(tmp_path):
    done = run(tmp_path, program=CTRL_C)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["interrupted", "3"]


CTRL_C_IN_PROCESSES = """
import os, signal, threading
import dask
from lineshaft.dask import get_processes

begun = os.path.join(os.path.dirname(__file__), "begun")
os.mkfifo(begun)

def hold():
    open(begun, "w").close()
    threading.Event().wait()

def press():
    open(begun).close()
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=press).start()
dask.config.set({"multiprocessing.context": CONTEXT})
try:
    get_processes({"x": (hold,), "y": (sum, ["x", "x"])}, "y")
except KeyboardInterrupt:
    print("interrupted")
print(get_processes({"x": (sum, [1, 2])}, "x"))
"""


@pytest.mark.parametrize("context", ["spawn", "fork"])
def test_ctrl_c_ends_calls_in_worker_processes(tmp_path, context):
    done = run(tmp_path, program=f"CONTEXT = {context!r}\n{CTRL_C_IN_PROCESSES}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["interrupted", "3"]
