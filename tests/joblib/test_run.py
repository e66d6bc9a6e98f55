"""Unmodified programs under `lineshaft run`, and progress bars."""

import os
import re
import subprocess
import sys
import textwrap

import pytest
from tests.joblib.calls import square

import lineshaft as ls
from joblib import Parallel, delayed
from lineshaft.joblib import bar

PROGRAM = """
import os, sys
from joblib import Parallel, delayed, parallel_config
from joblib.parallel import get_active_backend

def where(x):
    return os.getpid(), os.getppid()

def nested(x):
    return sum(Parallel(n_jobs=2)(delayed(abs)(-n) for n in range(x)))

shown = set()
for backend in (None, "loky", "multiprocessing", "threading"):
    with parallel_config(backend, n_jobs=2) if backend else parallel_config(n_jobs=2):
        assert Parallel()(delayed(nested)(x) for x in range(5)) == [0, 0, 1, 3, 6]
        shown.add(type(get_active_backend()[0]).__module__)
        pids = {pid for pid, _ in Parallel()(delayed(where)(x) for x in range(20))}
        assert (pids == {os.getpid()}) == (backend == "threading"), backend
assert set(Parallel(n_jobs=2, prefer="threads")(delayed(where)(x) for x in range(9))) == {where(0)}
print(*shown)
"""


OUTLIVES_THE_MAIN_THREAD = """
import threading
from joblib import Parallel, delayed

def call():
    threading.main_thread().join()
    for _ in range(2):
        print(Parallel(n_jobs=2, backend="BACKEND")(delayed(abs)(-x) for x in range(4)))

threading.Thread(target=call).start()
"""


LEFT_OPEN = """
import itertools, sys
import lineshaft as ls, lineshaft.joblib
from joblib import Parallel, delayed

def written(path):
    with open(path, "w") as file:
        file.write("done")

results = Parallel(n_jobs=2, return_as="RETURN_AS", backend="lineshaft", REQUIRE)(
    delayed(abs)(-n) for n in itertools.count()
)
assert next(results) >= 0
ls.submit(written, "written")
print("end", flush=True)
END
"""


@pytest.mark.parametrize("require", ["require=None", 'require="sharedmem"'])
@pytest.mark.parametrize("return_as", ["generator", "generator_unordered"])
@pytest.mark.parametrize(("end", "status"), [("", 0), ("sys.exit(3)", 3), ("raise ValueError", 1)])
def test_a_generator_that_is_left_open_ends_with_the_program(tmp_path, require, return_as, end, status):
    program = LEFT_OPEN.replace("RETURN_AS", return_as).replace("REQUIRE", require).replace("END", end)
    done = run(program.replace('"written"', repr(str(tmp_path / "written"))), tmp_path, runner=())
    assert (done.stdout, done.returncode) == ("end\n", status), done.stderr
    assert (tmp_path / "written").read_text() == "done"


ENDS_WHILE_SENDING = """
import itertools, time
import lineshaft.joblib
from joblib import Parallel, delayed

class Slow:
    def __reduce__(self):
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            pass
        return Slow, ()

calls = (delayed(type)(Slow()) for _ in itertools.count())
results = Parallel(n_jobs=2, return_as="generator", backend="lineshaft")(calls)
print(next(results) is Slow)
"""


def test_a_program_may_end_while_arguments_are_pickled(tmp_path):
    done = run(ENDS_WHILE_SENDING, tmp_path, runner=())
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr


READ_BY_A_THREAD = """
import itertools, threading
import lineshaft.joblib
from joblib import Parallel, delayed

results = Parallel(n_jobs=2, return_as="generator", backend="lineshaft")(delayed(abs)(-n) for n in itertools.count())

def read():
    threading.main_thread().join()
    print(list(itertools.islice(results, 100)) == list(range(100)))

threading.Thread(target=read).start()
"""


def test_a_thread_that_outlives_the_main_thread_reads_a_generator(tmp_path):
    done = run(READ_BY_A_THREAD, tmp_path, runner=())
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr


CHANGED_IN_PLACE = """
from joblib import Parallel, delayed

class Settings:
    scale = 0

cache = {}

def look_up(key):
    return cache.get(key), Settings.scale

def fill(keys):
    for n, key in enumerate(keys):
        cache[key] = n
        yield delayed(look_up)(key)

for scale in (1, 2):
    cache["a"] = Settings.scale = scale
    print(Parallel(n_jobs=2)(delayed(look_up)(key) for key in "ab"))
# Each batch finds what there is when it is dispatched.
print(Parallel(n_jobs=2, batch_size=1, pre_dispatch=1)(fill("xyz")))
"""


def run(program, tmp_path, *options, runner=("-m", "lineshaft", "run")):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(program))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "LINESHAFT_WORKERS": "2"}
    command = [sys.executable, *runner, *options, str(script)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=100, check=False)


def test_globals_changed_in_place(tmp_path):
    done = run(CHANGED_IN_PLACE, tmp_path)
    lines = ["[(1, 1), (None, 1)]", "[(2, 2), (None, 2)]", "[(0, 2), (1, 2), (2, 2)]"]
    assert done.stdout.splitlines() == lines, done.stderr


CHANGED_BETWEEN_CALLS = """
from joblib import Parallel, delayed

numbers, settings, limit = [0], {"limit": 0}, 0

def look(found):
    return found[0], settings["limit"], limit

def look_up_limit(_):
    return limit

def change(function, argument):
    global limit
    for limit in range(40):
        numbers[0] = settings["limit"] = limit
        yield delayed(function)(argument)

for return_as in ("list", "generator", "generator_unordered"):
    for pre_dispatch in ("all", "2 * n_jobs", 4):
        for function, argument in ((look, numbers), (look_up_limit, 0)):
            parallel = Parallel(n_jobs=2, batch_size=1, pre_dispatch=pre_dispatch, return_as=return_as)
            found = sorted(parallel(change(function, argument)))
            # joblib reads two of them, and dispatches both.
            read = [n | 1 for n in range(40)]
            print(found == (read if function is look_up_limit else [(n, n, n) for n in read]))
"""


@pytest.mark.parametrize("workers", ["2", "4"])
def test_batches_are_sent_as_they_are_when_they_are_dispatched(tmp_path, workers):
    done = run(CHANGED_BETWEEN_CALLS, tmp_path, "--workers", workers)
    assert done.stdout.splitlines() == ["True"] * 18, done.stderr


CHANGED_BY_CALLS = """
import random
from joblib import Parallel, delayed

params, total, numbers = {"rate": 1}, 0, random.Random(1)

def update(key):
    global total
    total += 1
    params[key] = key
    return sorted(params), total, numbers.random()

def make():
    seen = []
    def gather(n, also=[]):
        seen.append(n)
        also.append(n)
        return seen, also
    return gather

for _ in range(2):
    found = Parallel(n_jobs=2, batch_size=1)(delayed(update)(key) for key in "abcd")
    print(found == [([key, "rate"], 1, random.Random(1).random()) for key in "abcd"])
    gather = make()
    print(Parallel(n_jobs=2, batch_size=1)(delayed(gather)(n) for n in range(4)) == [([n], [n]) for n in range(4)])
"""


def test_what_calls_change_other_batches_do_not_see(tmp_path):
    """As with loky, which pickles functions and what they look up for each batch."""
    done = run(CHANGED_BY_CALLS, tmp_path)
    assert done.stdout.splitlines() == ["True"] * 4, done.stderr


@pytest.mark.parametrize("guard", ["", 'if __name__ == "__main__": pass'])
def test_a_global_that_cannot_be_sent_stops_the_call(tmp_path, guard):
    program = f"""
    print("started")
    import pickle, threading
    from joblib import Parallel, delayed
    lock = threading.Lock()
    def locked(x):
        with lock:
            return x
    try:
        Parallel(n_jobs=2)(delayed(locked)(x) for x in range(4))
    except pickle.PicklingError as error:
        print("lock is a _thread.lock" in str(error))
    {guard}
    """
    done = run(program, tmp_path)
    assert done.stdout.splitlines() == ["started", "True"], (done.stdout, done.stderr)


def test_every_backend_is_served(tmp_path):
    done = run(PROGRAM, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "lineshaft.joblib.backend\n"
    assert re.search(r"lineshaft: [\d,]+ tasks", done.stderr)
    assert "nested" in done.stderr


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_a_thread_that_outlives_the_main_thread_may_call(tmp_path, backend):
    done = run(OUTLIVES_THE_MAIN_THREAD.replace("BACKEND", backend), tmp_path)
    assert done.stdout == "[0, 1, 2, 3]\n" * 2, done.stderr


def test_forked_workers_see_the_program_as_it_was(tmp_path):
    program = """
    import json, multiprocessing, os
    from joblib import Parallel, delayed, parallel_config

    LARGE = {}
    lock = multiprocessing.Lock()

    def look(_):
        with lock:
            return json.setting, LARGE["key"], multiprocessing.current_process().daemon

    def look_inside(x):
        return Parallel(n_jobs=2)(delayed(abs)(n) for n in range(x))

    for json.setting in (1, 2):
        LARGE["key"] = 10 * json.setting
        found = Parallel(n_jobs=2, backend="multiprocessing")(delayed(look)(n) for n in range(8))
        assert set(found) == {(json.setting, 10 * json.setting, True)}, found
    with parallel_config("multiprocessing", n_jobs=2):
        assert Parallel()(delayed(look_inside)(x) for x in range(3)) == [[], [0], [0, 1]]
    with parallel_config("multiprocessing", n_jobs=2, maxtasksperchild=1):
        assert len(set(Parallel(batch_size=1)(delayed(os.getpid)() for _ in range(4)))) == 4
    """
    for runner in (("-m", "lineshaft", "run"), ()):
        done = run(program, tmp_path, runner=runner)
        assert done.returncode == 0, done.stderr


def test_threads_of_libraries_are_limited_where_joblib_can(tmp_path):
    program = """
    from joblib import parallel_config
    for backend in ("loky", "multiprocessing", "threading"):
        try:
            with parallel_config(backend, inner_max_num_threads=2):
                print(backend)
        except AssertionError as error:
            print("does not accept setting the inner_max_num_threads" in str(error))
    """
    for runner in ((), ("-m", "lineshaft", "run")):
        done = run(program, tmp_path, runner=runner)
        assert done.stdout == "loky\nTrue\nTrue\n", done.stderr


def test_without_processes(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import os\nfrom joblib import Parallel, delayed, effective_n_jobs\n"
        "pids = Parallel(n_jobs=2)(delayed(os.getpid)() for _ in range(4))\n"
        "print(effective_n_jobs(-1), effective_n_jobs(4), set(pids) == {os.getpid()})\n"
    )
    command = [sys.executable, "-m", "lineshaft", "run", "--no-dashboard", "--no-summary", str(program)]
    env = {**os.environ, "JOBLIB_MULTIPROCESSING": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=env)
    assert done.stdout == "1 1 True\n"


def test_unless_told_otherwise(tmp_path):
    done = run(PROGRAM, tmp_path, "--no-patch", "joblib", "--no-patch", "multiprocessing")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "joblib._parallel_backends\n"


def test_a_script_needs_no_guard_and_may_be_imported_late(tmp_path):
    program = """
    import lineshaft.joblib
    print("started")
    from joblib import Parallel, delayed
    factor = 2
    def double(x):
        return factor * x
    print(Parallel(n_jobs=2, backend="lineshaft")(delayed(double)(x) for x in range(5)))
    factor = 3
    print(Parallel(n_jobs=2, backend="lineshaft")(delayed(double)(x) for x in range(5)))
    """
    done = run(program, tmp_path, runner=())
    assert done.stdout.splitlines() == ["started", "[0, 2, 4, 6, 8]", "[0, 3, 6, 9, 12]"], done.stderr


BARS = """
from joblib import Parallel, delayed
from lineshaft import _progress
_progress.FIRST_DRAW_S = _progress.REDRAW_LOG_S = 0.0
def nested(x):
    return sum(Parallel(n_jobs=2)(delayed(abs)(-n) for n in range(x)))
for n_jobs in (1, 2):
    assert Parallel(n_jobs=n_jobs)(delayed(nested)(x) for x in range(6)) == [0, 0, 1, 3, 6, 10]
    assert len(list(Parallel(n_jobs=n_jobs, return_as="generator")([delayed(abs)(-x) for x in range(7)]))) == 7
"""


def test_bars_under_run(tmp_path):
    done = run(BARS, tmp_path, "--progress", "--no-summary")
    assert done.returncode == 0, done.stderr
    for n_jobs in (1, 2):
        lines = [line for line in done.stderr.splitlines() if line.startswith(f"Parallel(n_jobs={n_jobs})")]
        assert any("6/6" in line for line in lines), done.stderr
        assert any("7/7" in line for line in lines), done.stderr
    assert run(BARS, tmp_path, "--no-summary", "--no-dashboard").stderr == ""


@pytest.mark.parametrize("backend", ["lineshaft", "threading", "sequential"])
def test_bars_of_this_process(backend, capsys, monkeypatch):
    monkeypatch.setattr("lineshaft._progress.FIRST_DRAW_S", 0.0)
    with ls.progress():
        Parallel(2, backend)(delayed(square)(x) for x in range(8))
        with pytest.raises(ZeroDivisionError):
            Parallel(2, backend)(delayed(divmod)(1, 3 - x) for x in range(8))
    assert "8/8" in capsys.readouterr().err
    Parallel(2, backend)(delayed(square)(x) for x in range(8))
    assert capsys.readouterr().err == ""
    assert bar.install.__doc__
