"""The command ``lineshaft info``: what Lineshaft finds on this machine."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

from lineshaft._machine import cores, memory
from lineshaft._size import format_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lineshaft.cli.flags import Parsed

# Read from their metadata, never imported.
PACKAGES: Final = ("cloudpickle", "numpy", "joblib", "dask")
SHARED_MEMORY_FOLDER: Final = "/dev/shm"


def info(parsed: Parsed) -> int:
    """Print what `collect` finds."""
    facts = collect()
    try:
        if parsed.values["json"]:
            import json

            print(json.dumps(facts, indent=2))
        else:
            print(format_info(facts))
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stdout = None
    return 0


def collect() -> dict[str, dict[str, Any]]:
    """Return cores, memory, shared memory and versions; sizes in bytes, None for unknown."""
    return {
        "cores": cores()._asdict(),
        "memory": memory()._asdict(),
        "shared_memory": shared_memory(),
        "versions": {
            "lineshaft": version(),
            "python": f"{platform.python_version()} ({platform.python_implementation()})",
            "platform": platform.platform(),
            **{name: found for name in PACKAGES if (found := _version_of(name)) is not None},
        },
    }


def shared_memory() -> dict[str, Any]:
    """Return size and free space of shared memory, and whether memfds can be made and sealed."""
    total = free = None
    try:
        status = os.statvfs(SHARED_MEMORY_FOLDER)
        total, free = status.f_frsize * status.f_blocks, status.f_frsize * status.f_bavail
    except OSError:
        pass
    return {"total_bytes": total, "free_bytes": free, "memfd": _memfd_works()}


def version() -> str:
    """Return the version of Lineshaft."""
    return _version_of("lineshaft") or "unknown (not installed)"


def format_info(facts: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the text for `collect`'s facts.

    Examples
    --------
    >>> facts = {
    ...     "cores": {"total": 8, "affinity": 4, "cgroup_quota": 1.5, "usable": 2},
    ...     "memory": {"total_bytes": 16 << 30, "available_bytes": 9 << 30, "cgroup_limit_bytes": None},
    ...     "shared_memory": {"total_bytes": 64 << 20, "free_bytes": 60 << 20, "memfd": True},
    ...     "versions": {"lineshaft": "0.1.0", "python": "3.11.7 (CPython)"},
    ... }
    >>> print(format_info(facts))
    cores          2 usable: 8 in the machine, 4 by affinity, 1.5 by cgroup quota
    memory         16.0 GiB in the machine, 9.0 GiB available, no cgroup limit
    shared memory  60.0 MiB free of 64.0 MiB in /dev/shm, memfd works
    lineshaft      0.1.0
    python         3.11.7 (CPython)
    """
    core, mem, shared = facts["cores"], facts["memory"], facts["shared_memory"]
    quota, limit = core["cgroup_quota"], mem["cgroup_limit_bytes"]
    rows = {
        "cores": f"{core['usable']} usable: {core['total']} in the machine, {core['affinity']} by affinity, "
        + ("no cgroup quota" if quota is None else f"{quota:g} by cgroup quota"),
        "memory": f"{_size(mem['total_bytes'])} in the machine, {_size(mem['available_bytes'])} available, "
        + ("no cgroup limit" if limit is None else f"cgroup limit {_size(limit)}"),
        "shared memory": f"{_size(shared['free_bytes'])} free of {_size(shared['total_bytes'])} in "
        f"{SHARED_MEMORY_FOLDER}, memfd {'works' if shared['memfd'] else 'is missing'}",
        **facts["versions"],
    }
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {text}" for name, text in rows.items())


def _size(size_bytes: int | None) -> str:
    return "unknown" if size_bytes is None else format_size(size_bytes)


def _memfd_works() -> bool:
    if not hasattr(os, "memfd_create"):
        return False
    try:
        descriptor = os.memfd_create("lineshaft-info", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError:
        return False
    os.close(descriptor)
    return True


def _version_of(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
