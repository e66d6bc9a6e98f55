"""Programs of Dask arrays, dataframes and delayed calls beside Dask's own schedulers: time, and memory at the peak.

Three programs are known for holding more than they need, if tasks that read run ahead of tasks that reduce: many reads
with a slow reduction, an array that is added to its transpose, and what is left of an array after the mean of each
group has been taken off. `distributed` runs on one worker with two threads, in the same process, so that its memory is
counted in the same way; it starts before the clock does.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benches.measure import WORKERS, Measure, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 1 << 20


# ---------------------------------------------------------------------------------------------------------------------
# Programs. Each returns what is to be computed.
# ---------------------------------------------------------------------------------------------------------------------


def read_and_reduce() -> Any:
    """Return the sum over 300 reads of 2 MiB, eight of which are sorted together at a time."""
    import numpy as np

    dask: Any = import_module("dask")

    def read(seed: int) -> Any:
        return np.random.default_rng(seed).random(2 * MIB // 8)

    def reduce(*parts: Any) -> float:
        return float(np.sort(np.concatenate(parts))[::1000].sum())

    reads = [dask.delayed(read, pure=False)(i) for i in range(304)]
    parts = [dask.delayed(reduce, pure=False)(*reads[i : i + 8]) for i in range(0, len(reads), 8)]
    return dask.delayed(sum)(parts)


def transpose() -> Any:
    """Return an array of 128 MiB plus its transpose, summed up."""
    da: Any = import_module("dask.array")
    x = da.random.default_rng(1).random((4096, 4096), chunks=(512, 512))
    return (x + x.T).sum()


def anomaly() -> Any:
    """Return the mean square of what is left of three years of daily fields without the mean of their months."""
    import numpy as np

    da: Any = import_module("dask.array")
    days, months = 1080, np.arange(1080) // 30 % 12
    fields = da.random.default_rng(1).random((days, 128, 128), chunks=(15, 128, 128))
    means = da.stack([fields[months == month].mean(axis=0) for month in range(12)])
    return ((fields - means[months]) ** 2).mean()


def products() -> Any:
    """Return the trace of a product of matrices."""
    da: Any = import_module("dask.array")
    x = da.random.default_rng(1).random((4096, 4096), chunks=(512, 4096))
    return da.dot(x, x.T).trace()


def groups() -> Any:
    """Return means and standard deviations by group of a table of a million rows, joined to a table of names."""
    import numpy as np
    import pandas as pd

    dd: Any = import_module("dask.dataframe")

    rng = np.random.default_rng(1)
    rows = 1_000_000
    table = pd.DataFrame({"name": rng.integers(100, size=rows), "x": rng.random(rows), "y": rng.random(rows)})
    names = pd.DataFrame({"name": range(100), "weight": rng.random(100)})
    joined = dd.from_pandas(table, npartitions=40).merge(names, on="name")
    return joined.assign(z=joined.x * joined.weight).groupby("name")[["y", "z"]].agg(["mean", "std"])


# ---------------------------------------------------------------------------------------------------------------------
# Schedulers and what is measured of them. All are named alike: by a name or a client Dask imports `distributed` before
# the clock starts, by a function only when a program comes to need it.
# ---------------------------------------------------------------------------------------------------------------------


@contextmanager
def lineshaft_threads() -> Iterator[dict[str, Any]]:
    """Give the options of `compute` for Lineshaft."""
    import_module("lineshaft.dask")
    yield {"scheduler": "lineshaft", "num_workers": WORKERS}


@contextmanager
def dask_threads() -> Iterator[dict[str, Any]]:
    """Give the options of `compute` for Dask's scheduler for threads."""
    yield {"scheduler": "threads", "num_workers": WORKERS}


@contextmanager
def distributed_threads() -> Iterator[dict[str, Any]]:
    """Give the options of `compute` for a worker of `distributed` with threads, in this process."""
    client_class: Any = import_module("distributed").Client
    with client_class(
        processes=False, n_workers=1, threads_per_worker=WORKERS, dashboard_address=None, memory_limit=0
    ) as client:
        yield {"scheduler": client}


SCHEDULERS: dict[str, Callable[[], Any]] = {
    "lineshaft": lineshaft_threads,
    "dask.threaded": dask_threads,
    "distributed": distributed_threads,
}


def prepare(program: Callable[[], Any], scheduler: Callable[[], Any], stack: ExitStack) -> Callable[[], object]:
    """Return what computes the program once; a small graph has been through the scheduler before."""
    dask: Any = import_module("dask")
    options = stack.enter_context(scheduler())
    dask.delayed(sum)([dask.delayed(abs)(i) for i in range(10)]).compute(**options)
    lazy = program()
    return lambda: lazy.compute(**options)


def seconds(program: Callable[[], Any], scheduler: Callable[[], Any]) -> float:
    """Return the time of one `compute`."""
    with ExitStack() as stack:
        compute = prepare(program, scheduler, stack)
        began_s = time.perf_counter()
        compute()
        return time.perf_counter() - began_s


def peak_mib(program: Callable[[], Any], scheduler: Callable[[], Any]) -> float:
    """Return by how much the memory of this process is greater at the peak of a `compute` than before it."""
    with ExitStack() as stack:
        compute = prepare(program, scheduler, stack)
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew
        before = status_kib("VmRSS")
        compute()
        return (status_kib("VmHWM") - before) / 1024


def status_kib(name: str) -> int:
    """Return a line of the kernel's account of this process."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0])


#: Timers, and what another program does meanwhile, make two runs of the same program differ by so much.
NOISE = 1.05

MEASURES = [
    *(
        Measure(
            name=f"dask-{program.__name__.replace('_', '-')}",
            title=f"Dask: {title}",
            unit="s",
            contestants={name: partial(seconds, program, scheduler) for name, scheduler in SCHEDULERS.items()},
            targets=[Target(ours="lineshaft", peer=peer, at_most=NOISE) for peer in ("dask.threaded", "distributed")],
        )
        for program, title in {
            transpose: "an array and its transpose",
            products: "a product of matrices",
            anomaly: "an array without the means of groups",
            groups: "a dataframe, joined and grouped",
        }.items()
    ),
    *(
        Measure(
            name=f"dask-{program.__name__.replace('_', '-')}-memory",
            title=f"Dask, memory at the peak: {title}",
            unit="MiB",
            contestants={name: partial(peak_mib, program, scheduler) for name, scheduler in SCHEDULERS.items()},
            targets=[Target(ours="lineshaft", peer=peer, at_most=NOISE) for peer in ("dask.threaded", "distributed")],
        )
        for program, title in {
            read_and_reduce: "many reads, and a slow reduction",
            transpose: "an array and its transpose",
            anomaly: "an array without the means of groups",
        }.items()
    ),
]
