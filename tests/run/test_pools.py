"""Programs with pools give the same output and exit code under `lineshaft run`, on the real engine."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

if importlib.util.find_spec("lineshaft._native") is None:
    pytest.skip("lineshaft._native is not built", allow_module_level=True)

POOLS = Path(__file__).parent / "pools"
RUN = [sys.executable, "-m", "lineshaft", "run", "--no-dashboard"]


def environment():
    python_path = os.pathsep.join(p for p in sys.path if p)
    return {**os.environ, "PYTHONPATH": python_path, "PYTHONDONTWRITEBYTECODE": "1"}


def outcome(command):
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=environment(), cwd=POOLS
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("script", sorted(path.name for path in POOLS.glob("*.py")))
def test_same_answers(script):
    assert outcome([*RUN, "--no-summary", script]) == outcome([sys.executable, script])


@pytest.mark.parametrize("module", ["executors", "pools"])
def test_same_answers_as_modules(module):
    assert outcome([*RUN, "--no-summary", "-m", module]) == outcome([sys.executable, "-m", module])


def test_no_guard_and_no_file_needed():
    code = "from multiprocessing import Pool\nf = lambda x: x + 1\nwith Pool(2) as p: print(p.map(f, range(3)))"
    assert outcome([*RUN, "--no-summary", "-c", code]) == (0, "[1, 2, 3]\n", "")


def test_thread_names():
    code = (
        "from concurrent.futures import ThreadPoolExecutor as T; import threading\n"
        "with T(1, thread_name_prefix='mine') as e: print(e.submit(lambda: threading.current_thread().name).result())"
    )
    assert outcome([*RUN, "--no-summary", "-c", code]) == outcome([sys.executable, "-c", code])


def test_the_summary_counts_the_tasks():
    code = "from concurrent.futures import ThreadPoolExecutor as T\nwith T(2) as e: list(e.map(abs, range(100)))"
    returncode, out, err = outcome([*RUN, "--workers", "1", "-c", code])
    assert (returncode, out) == (0, "")
    assert err.startswith("lineshaft: 100 tasks in ")
    assert "abs" in err


@pytest.mark.parametrize("pool", ["Pool", "ThreadPool"])
def test_ctrl_c_ends_a_program_that_waits_for_a_pool(pool):
    code = (
        f"import time\nfrom multiprocessing.pool import {pool} as P\n"
        "def stay(_):\n print('in\\n', end='', flush=True)\n time.sleep(60)\n"
        "with P(2) as p:\n p.map(stay, range(2), 1)"
    )
    child = subprocess.Popen(
        [*RUN, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), cwd=POOLS
    )
    assert [child.stdout.readline() for _ in range(2)] == [b"in\n"] * 2
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=20)
    assert child.returncode == -signal.SIGINT
    assert b"KeyboardInterrupt" in err


def test_ctrl_c_ends_the_calls_that_threads_wait_for():
    """The terminal's signal reaches the workers of the originals."""
    code = """if True:
        import time
        from concurrent.futures import ThreadPoolExecutor
        from joblib import Parallel, delayed
        def work(_):
            print("in", flush=True)
            time.sleep(1e6)
        with ThreadPoolExecutor(1) as threads:
            threads.submit(lambda: Parallel(n_jobs=2)(delayed(work)(n) for n in range(8))).result()
    """
    child = subprocess.Popen(
        [*RUN, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), cwd=POOLS
    )
    assert child.stdout.readline() == b"in\n"
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=20)
    assert child.returncode == -signal.SIGINT
    assert b"KeyboardInterrupt" in err


@pytest.mark.parametrize("pool", ["ThreadPoolExecutor", "ProcessPoolExecutor"])
def test_the_summary_takes_sleep_for_no_work(pool):
    code = f"import time; from concurrent.futures import {pool} as P\nwith P(2) as e: list(e.map(time.sleep, [2, 2]))"
    err = outcome([*RUN, "--workers", "2", "-c", code])[2]
    assert int(re.search("cores ([0-9]+)% busy", err)[1]) < 50


def test_the_summary_takes_calls_that_compute_for_work():
    # However long it takes on a machine that does other things as well: most of what it computes is in calls.
    code = """if True:
        import time
        from multiprocessing import Pool
        def work(_):
            end = time.process_time() + 1
            while time.process_time() < end: pass
        began = time.perf_counter()
        with Pool(1) as pool: pool.map(work, [0])
        print(time.perf_counter() - began)
    """
    _, out, err = outcome([*RUN, "--workers", "1", "-c", code])
    busy = int(re.search("cores ([0-9]+)% busy", err)[1])
    assert busy >= int(90 / max(1.0, float(out.split()[-1])) / 2)
