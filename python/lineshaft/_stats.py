"""What an engine has done so far, for the summary of ``lineshaft run``."""

from __future__ import annotations

import os
import resource
import time
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from lineshaft._engine import Engine
    from lineshaft._native import Engine as NativeEngine

#: Of the default engine, once it has been shut down.
_last: dict[str, Any] | None = None


def default_engine_stats() -> dict[str, Any] | None:
    """Return what the default engine has done, also after its end; None if there was none."""
    from lineshaft import _running

    engine = _running.default
    if engine is None or engine.closed:
        return _last
    return of(engine)


def remember(engine: Engine) -> None:
    """Keep what an engine has done: it is about to end."""
    global _last
    _last = of(engine)


def complete(engine: Engine) -> None:
    """Add what is known only after the end of an engine: time and memory of processes that have been reaped."""
    if _last is not None:
        busy_s = cpu_s() - engine._started_cpu_s
        _last["busy_fraction"] = max(_last["busy_fraction"], _fraction(busy_s, _last["elapsed_s"], engine.workers))
        if engine._native is not None:
            # With that of workers that have ended since, as reports have it.
            most_bytes = engine._native.most_memory()
            _last["peak_memory_bytes"] = most_bytes or _last["peak_memory_bytes"]


def cpu_s(workers: Iterable[int] = ()) -> float:
    """Return the processor time, in seconds, that this process and those it started have taken.

    Parameters
    ----------
    workers
        Worker processes that run. They and the zygote that reaps them have not been reaped here.
    """
    total_s = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    zygotes = set()
    for pid in workers:
        zygote, process_s = _times(pid)
        zygotes.add(zygote)
        total_s += process_s
    return total_s + sum(_times(pid)[1] for pid in zygotes if pid)


def of(engine: Engine) -> dict[str, Any] | None:
    """Return what `engine` has done, as `lineshaft.default_engine_stats` describes it."""
    native = engine._native
    if native is None:
        return None
    stats = native.stats()
    elapsed_s = time.monotonic() - engine._started_s
    groups = [
        {
            "name": group["name"] or "task",
            "tasks": group["tasks"],
            "total_s": group["total_s"],
            "waited_s": group["waited_s"],
            "mean_s": group["total_s"] / group["measured"] if group["measured"] else None,
            "max_s": group["max_s"] if group["measured"] else None,
        }
        for group in sorted(stats["groups"], key=lambda group: -group["total_s"])
    ]
    busy_s = cpu_s(pid for _, pid in stats["workers"]) - engine._started_cpu_s
    return {
        "tasks": sum(group["tasks"] for group in stats["groups"]),
        "failed": sum(group["failed"] - group["retried"] for group in stats["groups"]),
        "retried": sum(group["retried"] for group in stats["groups"]),
        "worker_deaths": stats["worker_deaths"],
        "elapsed_s": elapsed_s,
        "busy_fraction": _fraction(busy_s, elapsed_s, engine.workers),
        "peak_memory_bytes": _peak_bytes(native, stats),
        "groups": groups,
    }


def _fraction(busy_s: float, elapsed_s: float, cores: int) -> float:
    return max(0.0, min(1.0, busy_s / max(elapsed_s * cores, 1e-9)))


def _times(pid: int) -> tuple[int, float]:
    """Return a process's parent, and the seconds that it and those it reaped have taken; zeros if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", errors="replace") as status:
            # Behind the name, which may contain anything: state, parent, ...
            fields = status.read().rpartition(")")[2].split()
    except OSError:
        return 0, 0.0
    return int(fields[1]), sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _peak_bytes(native: NativeEngine, stats: dict[str, Any]) -> int:
    """Return the most memory of this process and its workers, what they share counted once, in bytes.

    It is the dashboard's, which looks four times a second. If nobody has asked for that, it is as if that had looked
    only now: the most that each process ever had without what it shares at this moment, and the most of the objects.
    """
    most_bytes = native.most_memory()
    if most_bytes is not None:
        return most_bytes
    memory = [_memory(pid) for _, pid in stats["workers"]]
    shared_bytes = min((shared for _, shared in memory if shared), default=0)
    # As many of the largest as there were workers at a time: one that replaced another had its memory after it.
    own_bytes: list[int] = [max(0, peak - shared_bytes) for peak in stats["peaks_bytes"]]
    own_bytes += [peak - shared for peak, shared in memory]
    workers_max: int = stats["workers_max"]
    objects_bytes: int = stats["memory_peak_bytes"]
    peak, shared = _memory(os.getpid())
    return peak - shared + sum(sorted(own_bytes, reverse=True)[:workers_max]) + objects_bytes


def _memory(pid: int) -> tuple[int, int]:
    """Return the most memory that a process ever had resident, and what of it others may have now; zeros if it is gone.

    Not `ru_maxrss`, in which the kernel counts what the process was before it became this program.
    """
    sizes = dict.fromkeys(("VmHWM", "RssFile", "RssShmem", "Shared_Dirty"), 0)
    for file in ("status", "smaps_rollup"):
        with suppress(OSError), open(f"/proc/{pid}/{file}") as lines:
            for line in lines:
                name, _, size = line.partition(":")
                if name in sizes:
                    sizes[name] = int(size.split()[0]) * 1024
    # What it was forked with is shared too: written to before, and no object.
    inherited = max(0, sizes["Shared_Dirty"] - sizes["RssShmem"]) if pid != os.getpid() else 0
    return sizes["VmHWM"], sizes["RssFile"] + sizes["RssShmem"] + inherited
