"""A full budget of shared memory, a full disk, and tasks that want more memory than there is."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.events import eventually

import lineshaft as ls
from lineshaft.errors import WorkerDied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.conftest import Program

MIB = 1 << 20


def fill(value: int, size_bytes: int) -> np.ndarray:
    return np.full(size_bytes, value, dtype=np.uint8)


def total(array: np.ndarray) -> int:
    return int(array.sum(dtype=np.int64))


def is_filled(array: np.ndarray, value: int, size_bytes: int) -> bool:
    return array.nbytes == size_bytes and bool((array == value).all())


def used(engine: ls.Engine) -> tuple[int, int]:
    stats = engine._native.stats()
    return stats["memory_bytes"], stats["spilled_bytes"]


def all_freed(engine: ls.Engine) -> None:
    eventually(lambda: used(engine) == (0, 0), f"everything freed, used are {used(engine)}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a disk of one mebibyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no permission to mount a small disk: {mounted.stderr.strip()}")
    yield folder
    assert list(folder.iterdir()) == []
    # It cannot be unmounted as long as anybody has a file open on it.
    eventually(
        lambda: not subprocess.run(["umount", str(folder)], capture_output=True, check=False).returncode,
        "the disk is unused",
    )


def test_results_beyond_the_budget_spill_and_come_back(make_engine: Callable[..., ls.Engine]) -> None:
    engine = make_engine(memory=8 * MIB)
    futures = [engine.submit(fill, n, 2 * MIB) for n in range(20)]
    # All of them are kept: most are on disk.
    engine._native.wait_idle()
    memory_bytes, spilled_bytes = used(engine)
    assert memory_bytes <= 8 * MIB
    assert memory_bytes + spilled_bytes >= 40 * MIB
    for n, future in enumerate(futures):
        assert is_filled(future.result(), n, 2 * MIB)
    del futures, future
    all_freed(engine)


def test_arguments_beyond_the_budget_spill(make_engine: Callable[..., ls.Engine]) -> None:
    engine = make_engine(memory=8 * MIB)
    arrays = [fill(n, 2 * MIB) for n in range(12)]
    futures = [engine.submit(total, array) for array in arrays]
    assert [future.result() for future in futures] == [n * 2 * MIB for n in range(12)]
    # One larger than the whole budget.
    assert engine.submit(total, fill(1, 20 * MIB)).result() == 20 * MIB
    assert engine.submit(fill, 3, 20 * MIB).result()[-1] == 3


def test_inputs_of_other_tasks_beyond_the_budget(make_engine: Callable[..., ls.Engine]) -> None:
    engine = make_engine(memory=4 * MIB)
    made = [engine.submit(fill, n, 2 * MIB) for n in range(10)]
    sums = [engine.submit(total, future) for future in made]
    assert [future.result() for future in sums] == [n * 2 * MIB for n in range(10)]
    del made, sums
    all_freed(engine)


def test_full_disk_is_the_error_of_the_task_that_met_it(
    make_engine: Callable[..., ls.Engine], small_disk: Path
) -> None:
    engine = make_engine(memory=4 * MIB, spill_dir=small_disk)
    # Four of these fit into memory, and one into the disk.
    futures = [engine.submit(fill, n, 900_000) for n in range(10)]
    engine._native.wait_idle()
    failed = [future for future in futures if future.exception() is not None]
    kept = [(n, future) for n, future in enumerate(futures) if future.exception() is None]
    assert 1 <= len(failed) <= 6
    for future in failed:
        error = future.exception()
        assert isinstance(error, OSError)
        assert str(small_disk) in str(error)
        assert "spill" in str(error)
    for n, future in kept:
        assert is_filled(future.result(), n, 900_000)
    # Those that are needed no longer make room, and everything goes on.
    del futures, failed, kept, future, error
    all_freed(engine)
    for n in range(20):
        assert is_filled(engine.submit(fill, n, 900_000).result(), n, 900_000)
    assert engine._native.stats()["worker_deaths"] == 0


def test_full_disk_refuses_an_argument(make_engine: Callable[..., ls.Engine], small_disk: Path) -> None:
    engine = make_engine(memory=2 * MIB, spill_dir=small_disk)
    with pytest.raises(OSError, match="spill") as raised:
        engine.submit(total, fill(1, 8 * MIB)).result()
    assert str(small_disk) in str(raised.value)
    del raised
    assert engine.submit(total, fill(1, MIB)).result() == MIB
    all_freed(engine)


def test_limit_on_file_size(make_engine: Callable[..., ls.Engine]) -> None:
    # What stands for a full disk where nothing may be mounted: the kernel refuses to let files grow.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, before[1]))
    try:
        engine = make_engine(memory=64 * MIB)
        assert engine.submit(fill, 5, MIB // 2).result()[0] == 5
        with pytest.raises(OSError, match=r"memory|spill"):
            engine.submit(fill, 5, 2 * MIB).result()
        with pytest.raises(OSError, match=r"memory|spill"):
            engine.submit(total, fill(1, 2 * MIB)).result()
        assert engine.submit(fill, 6, MIB // 2).result()[0] == 6
        engine.shutdown()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_spill_folder_that_vanishes(make_engine: Callable[..., ls.Engine], tmp_path: Path) -> None:
    folder = tmp_path / "vanishes"
    folder.mkdir()
    engine = make_engine(memory=2 * MIB, spill_dir=folder)
    folder.rmdir()
    error = engine.submit(fill, 1, 8 * MIB).exception()
    assert isinstance(error, OSError)
    assert engine.submit(fill, 1, MIB).result()[0] == 1


def test_memory_error_is_the_tasks_own(engine: ls.Engine) -> None:
    def want_too_much() -> int:
        # Far beyond what is mapped already, so that it hits this task and nothing else.
        resource.setrlimit(resource.RLIMIT_AS, (1 << 32, resource.RLIM_INFINITY))
        try:
            return len(bytearray(1 << 33))
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    with pytest.raises(MemoryError):
        engine.submit(want_too_much).result()
    assert engine.submit(pow, 2, 10).result() == 1024
    assert engine._native.stats()["worker_deaths"] == 0


@pytest.fixture
def memory_group() -> Iterator[Path]:
    """Return a control group whose processes may together use 300 MiB."""
    groups = [line.split(":") for line in Path("/proc/self/cgroup").read_text().splitlines()]
    own = next((path for _, controllers, path in groups if "memory" in controllers.split(",")), None)
    if own is not None:
        parent, limit = Path("/sys/fs/cgroup/memory") / own.lstrip("/"), "memory.limit_in_bytes"
    else:
        own = next(path for number, _, path in groups if number == "0")
        parent, limit = Path("/sys/fs/cgroup") / own.lstrip("/"), "memory.max"
    group = parent / f"lineshaft-{uuid.uuid4().hex}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no permission to make a control group: {error}")
    try:
        (group / limit).write_text(str(300 * MIB))
        with contextlib.suppress(OSError):  # where there is no swap to limit
            (group / "memory.swap.max").write_text("0")
    except OSError as error:
        group.rmdir()
        pytest.skip(f"control groups here do not limit memory: {error}")
    yield group
    eventually(lambda: not (group / "cgroup.procs").read_text(), "the group is empty")
    group.rmdir()


def test_out_of_memory_kill(program: Callable[..., Program], memory_group: Path) -> None:
    started = program(
        f"""
        import os, pathlib
        pathlib.Path({str(memory_group / "cgroup.procs")!r}).write_text(str(os.getpid()))
        import lineshaft as ls
        from lineshaft.errors import WorkerDied

        def hog():
            held = []
            while True:
                held.append(bytearray(os.urandom(1 << 20)))

        with ls.Engine(workers=2) as engine:
            others = [engine.submit(pow, n, 2) for n in range(10)]
            try:
                engine.submit(hog).result()
            except WorkerDied as error:
                print(error.signal, error.oom_killed, error.peak_memory_bytes >> 20, error.task)
                print(error)
            print([future.result() for future in others] == [n * n for n in range(10)])
            print(engine.submit(pow, 2, 10).result())
        """
    )
    out, err = started.end()
    assert (started.process.returncode, err) == (0, ""), out + err
    lines = out.splitlines()
    number, oom_killed, peak_mib, task = lines[0].split()
    assert (int(number), oom_killed, task) == (signal.SIGKILL, "True", "hog")
    assert 100 < int(peak_mib) < 300
    assert "because memory ran out" in lines[1]
    assert lines[2:] == ["True", "1024"]


@pytest.mark.parametrize(("times", "outcome"), [(1, "[9, 16, 25]"), (2, "memory ran out")])
def test_a_batch_of_joblib_has_one_more_attempt(
    program: Callable[..., Program], memory_group: Path, tmp_path: Path, times: int, outcome: str
) -> None:
    started = program(
        f"""
        import os, pathlib
        pathlib.Path({str(memory_group / "cgroup.procs")!r}).write_text(str(os.getpid()))
        from joblib import Parallel, delayed
        import lineshaft.joblib
        from lineshaft.errors import WorkerDied

        def square(n):
            attempts = pathlib.Path({str(tmp_path / "attempts")!r})
            with attempts.open("a") as file:
                file.write(str(n))
            held = []
            while n == 4 and attempts.read_text().count("4") <= {times}:
                held.append(bytearray(os.urandom(1 << 20)))
            return n * n

        try:
            print(Parallel(2, "lineshaft", batch_size=1)(delayed(square)(n) for n in (3, 4, 5)))
        except WorkerDied as error:
            print(error.oom_killed, error)
        print(Parallel(2, "lineshaft")(delayed(abs)(-n) for n in range(3)))
        """
    )
    out, err = started.end()
    assert (started.process.returncode, err) == (0, ""), out + err
    first, then = out.splitlines()
    assert outcome in first
    assert then == "[0, 1, 2]"
    assert (tmp_path / "attempts").read_text().count("4") == 2


def test_kill_without_lack_of_memory_is_not_called_so(engine: ls.Engine) -> None:
    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    error = engine.submit(die).exception()
    assert isinstance(error, WorkerDied)
    assert not error.oom_killed
    assert "memory ran out" not in str(error)
