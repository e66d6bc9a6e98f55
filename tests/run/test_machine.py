"""Cores and memory, from trees of files that imitate kernels and containers."""

import os
from pathlib import Path

import pytest

from lineshaft._machine import Cores, cgroup_folders, cgroup_memory, cores, memory, parse_cpu_max

GIB = 1 << 30
V2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
V1 = (
    "31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "32 24 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)


@pytest.fixture
def tree(tmp_path):
    """Return a function that writes files below a root and returns it."""

    def write(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def test_no_proc_at_all(tmp_path):
    found = cores(tmp_path)
    assert found.cgroup_quota is None
    assert found.usable == found.affinity
    assert memory(tmp_path).cgroup_limit_bytes is None
    assert memory(tmp_path).total_bytes > 0


def test_v2_takes_the_tightest_limit_up_to_the_root(tree):
    root = tree(
        {
            "proc/self/cgroup": "0::/user.slice/app.service\n",
            "proc/self/mountinfo": V2,
            "proc/meminfo": f"MemTotal: {16 * GIB // 1024} kB\nMemAvailable: {9 * GIB // 1024} kB\n",
            "sys/fs/cgroup/user.slice/cpu.max": "50000 100000\n",
            "sys/fs/cgroup/user.slice/memory.max": f"{4 * GIB}\n",
            "sys/fs/cgroup/user.slice/memory.current": f"{GIB}\n",
            "sys/fs/cgroup/user.slice/app.service/cpu.max": "max 100000\n",
            "sys/fs/cgroup/user.slice/app.service/memory.max": f"{8 * GIB}\n",
            "sys/fs/cgroup/user.slice/app.service/memory.current": "4096\n",
        }
    )
    found = cores(root)
    assert found == Cores(os.cpu_count(), found.affinity, 0.5, 1)
    assert memory(root) == (16 * GIB, 3 * GIB, 4 * GIB)


def test_v2_in_a_container_with_its_own_namespace(tree):
    root = tree(
        {
            "proc/self/cgroup": "0::/\n",
            "proc/self/mountinfo": V2,
            "sys/fs/cgroup/cpu.max": "150000 100000\n",
        }
    )
    assert cores(root).cgroup_quota == 1.5
    assert cores(root).usable == min(2, cores(root).affinity)


def test_v1(tree):
    root = tree(
        {
            "proc/self/cgroup": "5:memory:/job\n4:cpu,cpuacct:/job\n1:name=systemd:/\n",
            "proc/self/mountinfo": V1,
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "100000\n",
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/job/memory.limit_in_bytes": f"{2 * GIB}\n",
            "sys/fs/cgroup/memory/job/memory.usage_in_bytes": f"{GIB}\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        }
    )
    assert cores(root).cgroup_quota == 1.0
    assert cores(root).usable == 1
    assert cgroup_memory(root) == (2 * GIB, GIB)


def test_v1_in_a_container_without_namespace(tree):
    # The path names the host's hierarchy; the mount starts at the container's own folder.
    root = tree(
        {
            "proc/self/cgroup": "4:cpu:/docker/abc\n",
            "proc/self/mountinfo": "31 24 0:27 /docker/abc /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        }
    )
    assert cores(root).cgroup_quota == 2.0


def test_a_path_that_is_not_mounted_falls_back_to_the_mount(tree):
    root = tree(
        {
            "proc/self/cgroup": "0::/../other\n",
            "proc/self/mountinfo": V2,
            "sys/fs/cgroup/cpu.max": "300000 100000\n",
        }
    )
    assert [Path(folder).name for folder in cgroup_folders(root, controller=None)] == ["cgroup"]
    assert cores(root).cgroup_quota == 3.0


def test_a_limit_above_the_machine_is_none(tree):
    root = tree(
        {
            "proc/self/cgroup": "0::/\n",
            "proc/self/mountinfo": V2,
            "proc/meminfo": f"MemTotal: {GIB // 1024} kB\n",
            "sys/fs/cgroup/memory.max": f"{2 * GIB}\n",
        }
    )
    assert memory(root) == (GIB, None, None)


@pytest.mark.parametrize("text", ["", "max", "garbage", "max 100000", "1 2 3", "100000 0", "-1 100000"])
def test_odd_text_means_no_limit(text):
    assert parse_cpu_max(text) is None


def test_affinity_is_respected():
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("no affinities here")
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert cores().affinity == 1
        assert cores().usable == 1
    finally:
        os.sched_setaffinity(0, before)
