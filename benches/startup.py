"""A fresh interpreter: from its start to the first results of two workers, imports included."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial

from benches import pools
from benches.measure import WORKERS, Measure, Target

_EXECUTOR = """
from {module} import ProcessPoolExecutor
with ProcessPoolExecutor(max_workers={workers}) as pool:
    futures = [pool.submit(abs, -1) for _ in range({workers})]
    assert [future.result() for future in futures] == [1] * {workers}
    print("done", flush=True)
"""
_POOL = """
from multiprocessing import Pool
with Pool({workers}) as pool:
    assert pool.map(abs, [-1] * {workers}, chunksize=1) == [1] * {workers}
    print("done", flush=True)
"""
_JOBLIB = """
from joblib import Parallel, delayed
assert Parallel(n_jobs={workers})(delayed(abs)(-1) for _ in range({workers})) == [1] * {workers}
print("done", flush=True)
"""
_NOTHING = 'print("done", flush=True)'

PROGRAMS = {
    pools.LINESHAFT_PROCESSES: _EXECUTOR.format(module="lineshaft", workers=WORKERS),
    pools.PROCESS_POOL: _EXECUTOR.format(module="concurrent.futures", workers=WORKERS),
    pools.MULTIPROCESSING: _POOL.format(workers=WORKERS),
    pools.LOKY: _EXECUTOR.format(module="loky", workers=WORKERS),
    pools.JOBLIB: _JOBLIB.format(workers=WORKERS),
    "python alone": _NOTHING,
}


def until_first_result(program: str) -> float:
    """Return the milliseconds from starting an interpreter until its program prints that it is done."""
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        line = child.stdout.readline()
        milliseconds = (time.perf_counter() - start) * 1e3
        _, complaint = child.communicate()
    if line != "done\n":
        last = complaint.strip().splitlines()[-1] if complaint.strip() else "it printed nothing"
        raise (ImportError if last.startswith("ModuleNotFoundError") else RuntimeError)(last)
    return milliseconds


MEASURES = [
    Measure(
        name="startup",
        title=f"fresh interpreter, import to the first results of {WORKERS} workers",
        unit="ms",
        contestants={name: partial(until_first_result, program) for name, program in PROGRAMS.items()},
        targets=[Target(ours=pools.LINESHAFT_PROCESSES, peer=pools.PROCESS_POOL, at_most=1.5)],
    )
]
