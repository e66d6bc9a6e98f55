"""Fault tests: real processes, and nothing left behind by any of them.

Tests and tasks wait for each other by messages, never by time.
"""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import textwrap
import threading
import uuid
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from tests.events import PATIENCE_S, eventually
from tests.faults.tasks import Mailbox

import lineshaft as ls
import lineshaft.futures

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

PACKAGE = Path(ls.__file__).parent.parent
#: Marks every process that a test starts, whoever its parent is by then.
TOKEN_VARIABLE = "LINESHAFT_FAULT_TEST"
#: The kernel ends processes and closes their descriptors a moment after it was asked to.
SETTLE_S = 5.0


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[Callable[[], Mailbox]]:
    """Make mailboxes that tasks can be given."""
    made: list[Mailbox] = []

    def make() -> Mailbox:
        made.append(Mailbox(tmp_path / f"mailbox-{len(made)}"))
        return made[-1]

    yield make
    for box in made:
        box.close()


@pytest.fixture
def spill_dir(tmp_path: Path) -> Path:
    """Return a folder for objects that do not fit into memory."""
    folder = tmp_path / "spill"
    folder.mkdir()
    return folder


@pytest.fixture
def make_engine(spill_dir: Path) -> Iterator[Callable[..., ls.Engine]]:
    """Start engines that end with the test."""
    made: list[ls.Engine] = []

    def make(**options: Any) -> ls.Engine:
        made.append(ls.Engine(**{"workers": 2, "spill_dir": spill_dir, **options}))
        return made[-1]

    yield make
    for engine in made:
        engine.shutdown(wait=False)
    assert list(spill_dir.iterdir()) == []


@pytest.fixture
def engine(make_engine: Callable[..., ls.Engine]) -> ls.Engine:
    """Return an engine of two workers."""
    return make_engine()


def worker_pids(engine: ls.Engine) -> list[int]:
    """Processes of the engine's workers, in the order in which they were started."""
    return [pid for _, pid in sorted(engine._native.stats()["workers"])]


def find_zygote(engine: ls.Engine) -> psutil.Process | None:
    """Return the process that the engine's workers are forked from, if there are workers."""
    # A worker that is listed may just have ended, and be nobody's child or this process's.
    for pid in worker_pids(engine):
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(pid).parent()
            if parent is not None and parent.ppid() == os.getpid():
                return parent
    return None


def zygote_of(engine: ls.Engine) -> psutil.Process:
    """Return the process that the engine's workers are forked from."""
    return eventually(partial(find_zygote, engine), "a worker is known")


def is_alive(pid: int) -> bool:
    """Whether the process exists and has not ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@dataclass
class Program:
    """A program in a session of its own, so that it can be interrupted and killed as a whole."""

    process: subprocess.Popen[str]

    def line(self) -> str:
        """Return the next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def end(self) -> tuple[str, str]:
        """Wait for its end; return the rest of its output."""
        return self.process.communicate(timeout=PATIENCE_S)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Run Python programs that can import `lineshaft`."""
    started: list[subprocess.Popen[str]] = []

    def run(text: str, *arguments: str, **options: Any) -> Program:
        path = tmp_path / f"program_{len(started)}.py"
        path.write_text(textwrap.dedent(text))
        process = subprocess.Popen(
            [sys.executable, *arguments, str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(PACKAGE), "TMPDIR": str(tmp_path)},
            **options,
        )
        started.append(process)
        return Program(process)

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@dataclass
class Held:
    """What this process holds, and which others it has started."""

    descriptors: dict[str, str] = field(default_factory=dict)
    mappings: list[str] = field(default_factory=list)
    children: set[int] = field(default_factory=set)
    threads: set[str] = field(default_factory=set)

    @classmethod
    def now(cls) -> Held:
        held = cls()
        for link in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # the listing's own
                held.descriptors[link.name] = str(link.readlink())
        maps = Path("/proc/self/maps").read_text().splitlines()
        held.mappings = [line for line in maps if "memfd:" in line or "(deleted)" in line]
        held.children = {child.pid for child in psutil.Process().children(recursive=True)}
        for task in Path("/proc/self/task").iterdir():
            try:
                name = (task / "comm").read_text().rstrip()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if name.startswith("lineshaft"):
                held.threads.add(f"{name} ({task.name})")
        return held

    def beyond(self, before: Held) -> dict[str, Any]:
        """Return what is held now and was not before."""
        left = {
            "descriptors": dict(set(self.descriptors.items()) - set(before.descriptors.items())),
            "mappings": self.mappings[len(before.mappings) :],
            "children": self.children - before.children,
            "threads": self.threads - before.threads,
        }
        return {what: things for what, things in left.items() if things}


def marked_processes(token: str) -> list[str]:
    """Describe the processes that were started under the token and are alive, orphans included."""
    mark = f"{TOKEN_VARIABLE}={token}".encode()
    found = []
    for process in psutil.process_iter():
        try:
            environment = Path(f"/proc/{process.pid}/environ").read_bytes()
            if mark in environment.split(b"\0") and process.pid != os.getpid():
                found.append(f"{process.pid}: {process.cmdline()}")
        except (OSError, psutil.NoSuchProcess):
            continue
    return found


_failed = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[_failed] = item.stash.get(_failed, False) or report.failed
    return report


@pytest.fixture(autouse=True, scope="module")
def _nothing_before() -> None:
    """End the engines that tests of other folders keep for the next ones, whatever the order."""
    for engine in list(lineshaft._running.engines):
        engine.shutdown(wait=False)


@pytest.fixture(autouse=True)
def _nothing_left(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test that leaves a process, a descriptor, a mapping or a thread behind."""
    token = uuid.uuid4().hex
    monkeypatch.setenv(TOKEN_VARIABLE, token)
    gc.collect()
    before = Held.now()
    yield
    if request.node.stash.get(_failed, False):
        return  # its traceback holds what it held
    assert not lineshaft._running.engines, "the test left an engine open"
    # An engine's last descriptors go with its object, which the test runner would keep for longer.
    request.node.funcargs.clear()
    gc.collect()
    left: dict[str, Any] = {}

    def nothing() -> bool:
        nonlocal left
        left = Held.now().beyond(before)
        if processes := marked_processes(token):
            left["processes"] = processes
        return not left

    try:
        eventually(nothing, "", SETTLE_S)
    except AssertionError:
        raise AssertionError(f"left behind: {left}; threads: {threading.enumerate()}") from None


@pytest.fixture
def token() -> str:
    """Return what marks the processes of this test."""
    return os.environ[TOKEN_VARIABLE]
