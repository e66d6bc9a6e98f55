"""What an engine has done so far, for the summary of ``lineshaft run``."""

from __future__ import annotations

import resource
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lineshaft._engine import Engine

#: Of the default engine, once it has been shut down.
_last: dict[str, Any] | None = None


def default_engine_stats() -> dict[str, Any] | None:
    """Return what the default engine has done, also after its end; None if there was none."""
    from lineshaft import _engine

    engine = _engine._default
    if engine is None or engine.closed:
        return _last
    return of(engine)


def remember(engine: Engine) -> None:
    """Keep what an engine has done: it is about to end."""
    global _last
    _last = of(engine)


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
            "mean_s": group["total_s"] / max(1, group["finished"]),
            "max_s": group["max_s"],
        }
        for group in sorted(stats["groups"], key=lambda group: -group["total_s"])
    ]
    busy_s = sum(group["total_s"] for group in stats["groups"])
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    peak_bytes += sum(_peak_bytes(pid) for _, pid in stats["workers"])
    return {
        "tasks": sum(group["tasks"] for group in stats["groups"]),
        "failed": sum(group["failed"] - group["retried"] for group in stats["groups"]),
        "retried": sum(group["retried"] for group in stats["groups"]),
        "worker_deaths": stats["worker_deaths"],
        "elapsed_s": elapsed_s,
        "busy_fraction": min(1.0, busy_s / max(elapsed_s * engine.workers, 1e-9)),
        "peak_memory_bytes": peak_bytes,
        "groups": groups,
    }


def _peak_bytes(pid: int) -> int:
    """Return the most memory that a process ever had resident, in bytes; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/status") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
