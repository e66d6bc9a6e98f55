"""The summary that `lineshaft run` prints at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lineshaft._size import format_size

if TYPE_CHECKING:
    from collections.abc import Mapping

GROUPS_MAX: Final = 5
NAME_WIDTH_MAX: Final = 40
#: What calls waited in all for other tasks is shown from here on.
WAITED_LEAST_S: Final = 0.01


def format_summary(stats: Mapping[str, Any]) -> str:
    """Return the text for what an engine did.

    Parameters
    ----------
    stats
        As `lineshaft.default_engine_stats` returns it. A value that is missing or None is left out;
        an unknown one is ignored.

    Examples
    --------
    >>> groups = [{"name": "fit", "tasks": 8, "total_s": 4.0, "mean_s": 0.5, "max_s": 0.75}]
    >>> print(format_summary({"tasks": 1234, "retried": 2, "elapsed_s": 5.0, "busy_fraction": 0.876,
    ...                       "peak_memory_bytes": 3 << 29, "groups": groups}))
    lineshaft: 1,234 tasks in 5.0 s, 2 retried; cores 88% busy; peak memory 1.5 GiB
      slowest groups       tasks       total        mean         max
      fit                      8       4.0 s      500 ms      750 ms

    What calls waited for other tasks is no part of the times that they ran:

    >>> groups = [{"name": "plan", "tasks": 1, "total_s": 0.1, "mean_s": 0.1, "max_s": 0.1, "waited_s": 7.0}]
    >>> print(format_summary({"tasks": 1, "groups": groups}))
    lineshaft: 1 task
      slowest groups       tasks       total        mean         max      waited
      plan                     1      100 ms      100 ms      100 ms       7.0 s
    """
    tasks = stats.get("tasks") or 0
    parts = [f"{tasks:,} {'task' if tasks == 1 else 'tasks'}"]
    if stats.get("elapsed_s") is not None:
        parts[0] += f" in {format_duration(stats['elapsed_s'])}"
    parts += [f"{stats[key]:,} {key}" for key in ("failed", "retried", "cancelled") if stats.get(key)]
    facts = [", ".join(parts)]
    deaths = stats.get("worker_deaths")
    if deaths:
        facts.append(f"{deaths:,} {'worker' if deaths == 1 else 'workers'} died")
    if stats.get("busy_fraction") is not None:
        facts.append(f"cores {stats['busy_fraction']:.0%} busy")
    if stats.get("peak_memory_bytes"):
        facts.append(f"peak memory {format_size(stats['peak_memory_bytes'])}")
    return "\n".join(["lineshaft: " + "; ".join(facts), *_group_lines(stats.get("groups") or [])])


def format_duration(seconds: float) -> str:
    """Return a duration with about two or three digits.

    Examples
    --------
    >>> [format_duration(s) for s in (0, 4.2e-6, 0.00123, 0.5, 9.87, 75, 7500, 1e7)]
    ['0 us', '4 us', '1.2 ms', '500 ms', '9.9 s', '1 min 15 s', '2 h 5 min', '2,777 h']
    """
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        milliseconds = seconds * 1e3
        return f"{milliseconds:.{0 if milliseconds >= 9.95 else 1}f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, second = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {second} s"
    hours, minute = divmod(minutes, 60)
    return f"{hours} h {minute} min" if hours < 100 else f"{hours:,} h"


def _group_lines(groups: list[Mapping[str, Any]]) -> list[str]:
    if not groups:
        return []
    slowest = sorted(groups, key=lambda group: -group["total_s"])[:GROUPS_MAX]
    names = [_short(group["name"]) for group in slowest]
    width = max(map(len, ["slowest groups", *names]))
    columns = {"total": "total_s", "mean": "mean_s", "max": "max_s"}
    if any(group.get("waited_s", 0.0) >= WAITED_LEAST_S for group in slowest):
        columns["waited"] = "waited_s"
    titles = "".join(f"{title:>12}" for title in columns)
    lines = [f"  {'slowest groups':<{width}}{'tasks':>12}{titles}"]
    for name, group in zip(names, slowest, strict=True):
        # Of a group none of whose calls came to an end, no time is known.
        known = group.get("mean_s") is not None
        times = [f"{format_duration(group.get(key, 0.0)) if known else '-':>12}" for key in columns.values()]
        lines.append(f"  {name:<{width}}{group['tasks']:>12,}{''.join(times)}")
    return lines


def _short(name: str) -> str:
    # The end of a qualified name tells more than its beginning.
    return name if len(name) <= NAME_WIDTH_MAX else "..." + name[3 - NAME_WIDTH_MAX :]
