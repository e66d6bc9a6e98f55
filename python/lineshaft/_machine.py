"""What this machine offers to this process: cores and memory, as affinity and cgroups limit them.

Reading is separate from parsing. `cores` and `memory` read files below `root` (the real ``/``, or a
tree that a test made); everything else is a pure function of text. A file that is missing or does
not parse means "no limit": this module never fails because a kernel is unusual.

Sources: cgroup v2, https://docs.kernel.org/admin-guide/cgroup-v2.html (``cpu.max``, ``memory.max``);
cgroup v1, ``cpu.cfs_quota_us``, ``cpu.cfs_period_us``, ``memory.limit_in_bytes``.
"""

from __future__ import annotations

import math
import os
import sys
from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, TypeAlias

    Folder: TypeAlias = str | os.PathLike[str]

ROOT: Final = "/"

# cgroup v1 says "no limit" with the largest page-aligned number of bytes.
UNLIMITED_BYTES_MIN: Final = 1 << 60


class Cores(namedtuple("Cores", ("total", "affinity", "cgroup_quota", "usable"))):
    """Cores, counted in four ways.

    Attributes
    ----------
    total
        Logical cores of the machine.
    affinity
        Logical cores this process may run on.
    cgroup_quota
        CPU time per wall time that the cgroup grants, or None without a limit. May be fractional.
    usable
        What a pool should start by default: the least of the above, rounded up, at least 1.
    """

    total: int
    affinity: int
    cgroup_quota: float | None
    usable: int


class Memory(namedtuple("Memory", ("total_bytes", "available_bytes", "cgroup_limit_bytes"))):
    """Memory in bytes; None where the system does not say.

    Attributes
    ----------
    total_bytes
        Physical memory of the machine.
    available_bytes
        What can be used without swapping, by the kernel's estimate; not above the cgroup's rest.
    cgroup_limit_bytes
        Limit of the cgroup, or None without one.
    """

    total_bytes: int | None
    available_bytes: int | None
    cgroup_limit_bytes: int | None


def cores(root: Folder = ROOT) -> Cores:
    """Return the cores that this process may use.

    Examples
    --------
    >>> 1 <= cores().usable <= cores().affinity
    True
    """
    total = os.cpu_count() or 1
    # Not every platform has affinities.
    affinity = len(os.sched_getaffinity(0)) if sys.platform == "linux" else total
    quota = cgroup_cpu_quota(root)
    usable = affinity if quota is None else min(affinity, math.ceil(quota))
    return Cores(total, affinity, quota, max(1, usable))


def memory(root: Folder = ROOT) -> Memory:
    """Return the memory of the machine and the limit on this process.

    Examples
    --------
    >>> memory().total_bytes > 0
    True
    """
    info = parse_meminfo(read(os.path.join(root, "proc/meminfo")))
    total, available = info.get("MemTotal"), info.get("MemAvailable")
    if total is None and hasattr(os, "sysconf"):
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit, used = cgroup_memory(root)
    if limit is not None and total is not None and limit >= total:
        limit = None
    if limit is not None and used is not None:
        rest = max(0, limit - used)
        available = rest if available is None else min(available, rest)
    return Memory(total, available, limit)


def cgroup_cpu_quota(root: Folder = ROOT) -> float | None:
    """Return the tightest CPU quota on the way from this process's cgroup to the root, in cores."""
    quotas = [parse_cpu_max(read(os.path.join(folder, "cpu.max"))) for folder in cgroup_folders(root, controller=None)]
    quotas += [
        parse_cfs(read(os.path.join(folder, "cpu.cfs_quota_us")), read(os.path.join(folder, "cpu.cfs_period_us")))
        for folder in cgroup_folders(root, controller="cpu")
    ]
    return min((quota for quota in quotas if quota is not None), default=None)


def cgroup_memory(root: Folder = ROOT) -> tuple[int | None, int | None]:
    """Return the tightest memory limit of the cgroups and what that cgroup uses, in bytes."""
    pairs = [
        (read(os.path.join(folder, "memory.max")), read(os.path.join(folder, "memory.current")))
        for folder in cgroup_folders(root, controller=None)
    ]
    pairs += [
        (read(os.path.join(folder, "memory.limit_in_bytes")), read(os.path.join(folder, "memory.usage_in_bytes")))
        for folder in cgroup_folders(root, controller="memory")
    ]
    limits = [(limit, parse_bytes(used)) for text, used in pairs if (limit := parse_bytes(text)) is not None]
    return min(limits, key=lambda pair: pair[0], default=(None, None))


def cgroup_folders(root: Folder, *, controller: str | None) -> list[str]:
    """Return the folders of this process's cgroup and its ancestors, nearest first.

    Parameters
    ----------
    root
        Root of the file system.
    controller
        A controller of cgroup v1, or None for the unified hierarchy of v2.
    """
    group = parse_proc_cgroup(read(os.path.join(root, "proc/self/cgroup")), controller)
    mount = parse_mountinfo(read(os.path.join(root, "proc/self/mountinfo")), controller)
    if group is None or mount is None:
        return []
    mount_root, mount_point = mount
    # In a container the mount shows only part of the hierarchy: `mount_root` is its top.
    relative = group.removeprefix(mount_root.rstrip("/")).strip("/")
    top = os.path.join(root, mount_point.lstrip("/"))
    parts = [part for part in relative.split("/") if part and part != ".."]
    folders = [os.path.join(top, *parts[:depth]) for depth in range(len(parts), -1, -1)]
    return [folder for folder in folders if os.path.isdir(folder)]


def parse_proc_cgroup(text: str, controller: str | None) -> str | None:
    r"""Return the path of the cgroup in one hierarchy, from ``/proc/self/cgroup``.

    Examples
    --------
    >>> parse_proc_cgroup("4:cpu,cpuacct:/a/b\n0::/c", "cpu")
    '/a/b'
    >>> parse_proc_cgroup("4:cpu,cpuacct:/a/b\n0::/c", None)
    '/c'
    """
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if (controller or "") in controllers.split(","):
            return path
    return None


def parse_mountinfo(text: str, controller: str | None) -> tuple[str, str] | None:
    """Return root and mount point of one cgroup hierarchy, from ``/proc/self/mountinfo``.

    Examples
    --------
    >>> line = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw"
    >>> parse_mountinfo(line, None)
    ('/', '/sys/fs/cgroup')
    >>> parse_mountinfo("31 24 0:27 /docker /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu", "cpu")
    ('/docker', '/sys/fs/cgroup/cpu')
    """
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(" "), right.split(" ")
        if len(fields) < 5 or len(kind) < 3:
            continue
        if controller is None:
            wanted = kind[0] == "cgroup2"
        else:
            wanted = kind[0] == "cgroup" and controller in kind[2].split(",")
        if wanted:
            return fields[3], fields[4].replace("\\040", " ")
    return None


def parse_cpu_max(text: str) -> float | None:
    """Return the quota in cores, from ``cpu.max`` of cgroup v2.

    Examples
    --------
    >>> parse_cpu_max("150000 100000"), parse_cpu_max("max 100000"), parse_cpu_max("")
    (1.5, None, None)
    """
    quota, _, period = text.strip().partition(" ")
    return parse_cfs(quota, period or "100000")


def parse_cfs(quota: str, period: str) -> float | None:
    """Return the quota in cores, from the two files of cgroup v1.

    Examples
    --------
    >>> parse_cfs("50000", "100000"), parse_cfs("-1", "100000")
    (0.5, None)
    """
    quota_us, period_us = parse_int(quota), parse_int(period)
    if quota_us is None or not period_us or quota_us <= 0:
        return None
    return quota_us / period_us


def parse_bytes(text: str) -> int | None:
    """Return a number of bytes, or None for what means "no limit".

    Examples
    --------
    >>> parse_bytes("1048576"), parse_bytes("max"), parse_bytes("9223372036854771712")
    (1048576, None, None)
    """
    value = parse_int(text)
    return value if value is not None and 0 <= value < UNLIMITED_BYTES_MIN else None


def parse_meminfo(text: str) -> dict[str, int]:
    r"""Return the entries of ``/proc/meminfo`` in bytes.

    Examples
    --------
    >>> parse_meminfo("MemTotal:  2 kB\nHugePages_Total: 3\nodd")
    {'MemTotal': 2048, 'HugePages_Total': 3}
    """
    entries = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        number, _, unit = rest.strip().partition(" ")
        value = parse_int(number)
        if value is not None:
            entries[name] = value * 1024 if unit == "kB" else value
    return entries


def parse_int(text: str) -> int | None:
    """Return the integer, or None if `text` is none."""
    try:
        return int(text)
    except ValueError:
        return None


def read(path: Folder) -> str:
    """Return the text of a small file, or an empty string if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
