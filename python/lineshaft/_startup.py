"""What an engine starts with: its size and folder by default, and what its processes are told.

The default engine starts with a program's first call, so nothing is imported here that this does not need.
"""

from __future__ import annotations

import errno
import marshal
import operator
import os
import sys

from lineshaft import _process
from lineshaft._modules import imported
from lineshaft._size import SIZE_END_BYTES, parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.context import BaseContext
    from types import ModuleType
    from typing import Any

    from lineshaft._serial.parent import Encoder

#: The key of `_authkey`, once it was chosen.
_chosen_key: list[bytes] = []

#: Every count of workers or threads is below this.
COUNT_END = 1 << 32

#: Variables by which numerical libraries are told how many threads to use.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def default_workers() -> int:
    """Return how many workers an engine has that is not told."""
    if "workers" in _process.setup:
        return int(_process.setup["workers"])
    named = os.environ.get("LINESHAFT_WORKERS")
    if named:
        return check_count("LINESHAFT_WORKERS", int(named) if named.strip().isdecimal() else named)
    from lineshaft._machine import cores

    return cores().usable


def memory_bytes(memory: int | str | None) -> int:
    """Return the budget that a caller named, or half of what the machine has."""
    name = "memory"
    if memory is None:
        name, memory = "LINESHAFT_MEMORY", os.environ.get("LINESHAFT_MEMORY")
    if memory is None:
        from lineshaft._machine import memory as machine_memory

        found = machine_memory()
        limits = [limit for limit in (found.total_bytes, found.cgroup_limit_bytes) if limit]
        return min(limits) // 2 if limits else 1 << 30
    return size_bytes(name, memory)


def size_bytes(name: str, size: int | str) -> int:
    """Return a size that a caller gave for the parameter `name`, in bytes."""
    if isinstance(size, str):
        try:
            return parse_size(size)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size < SIZE_END_BYTES:
        raise ValueError(f"{name} must be a positive number of bytes or text such as '8GiB', not {size!r}")
    return size


def check_count(name: str, count: Any) -> int:
    """Return a count of workers, threads or tasks that a caller gave for the parameter `name`.

    Raises
    ------
    ValueError
        If it is none.
    """
    if isinstance(count, bool) or not hasattr(count, "__index__") or not 1 <= count < COUNT_END:
        raise ValueError(f"{name} must be a positive integer below 2**32, not {count!r}")
    return operator.index(count)


def temporary_folder() -> str:
    """Return the system's folder for temporary files."""
    # What tempfile finds in nearly all cases, without the modules that it imports.
    folder = os.environ.get("TMPDIR") or "/tmp"
    if os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK):
        return os.path.abspath(folder)
    import tempfile

    return tempfile.gettempdir()


def usable_folder(spill_dir: str | os.PathLike[str]) -> str:
    """Return the absolute path of a folder that a caller named.

    Raises
    ------
    TypeError
        If it is no path.
    OSError
        If no file can be made there.
    """
    import tempfile

    try:
        folder = os.path.abspath(os.fsdecode(spill_dir))
    except TypeError:
        raise TypeError(f"spill_dir must be a path, not {spill_dir!r}") from None
    why: int | None = 0
    if not os.path.exists(folder):
        why = errno.ENOENT
    elif not os.path.isdir(folder):
        why = errno.ENOTDIR
    else:
        # Permissions alone do not tell: some file systems take no files.
        try:
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            why = error.errno
    if why:
        raise OSError(why, f"spill_dir cannot be used: {os.strerror(why)}", folder)
    return folder


def zygote_command() -> list[str]:
    """Return the command that starts the process from which workers are forked."""
    # The package's own folder comes along, because the program may have found it by a path that a
    # new interpreter does not have, or that has another package of this name before it.
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = f"sys.path.insert(0, {folder!r}); from lineshaft._worker import main; sys.path.append(sys.path.pop(0))"
    code = f"import sys; {path}; main()"
    flags: list[str] = []
    if sys.orig_argv[1:2] and sys.orig_argv[1].startswith("-") and sys.orig_argv[1] not in ("-c", "-m"):
        import subprocess

        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return [sys.executable, *flags, "-c", code]


def zygote_environment(workers: int) -> list[tuple[str, str]]:
    """Return the variables by which so many workers share the cores; those that the user has set stay as they are."""
    from lineshaft._machine import cores

    threads = str(max(1, cores().usable // workers))
    return [(name, threads) for name in THREAD_VARIABLES if name not in os.environ]


def encoder_for(context: BaseContext, *, for_pool: bool) -> Encoder:
    """Return the encoder of a pool whose workers are as if `context` had started them afresh.

    They import the main module, if it bears that, before anything else.
    """
    from lineshaft._serial.imported import beginning, imported_main
    from lineshaft._serial.parent import Encoder

    kind = context.Process.__name__  # type: ignore[attr-defined]
    if for_pool:
        kind = kind.replace("Process", "PoolWorker")
    imported = imported_main(with_values=True)
    process = (kind, for_pool, context.get_start_method())
    return Encoder(imported, (beginning(imported.path if imported else None, process),))


def _working_folder() -> str | None:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None


def place() -> tuple[str | None, dict[Any, Any]]:
    """Return the program's working folder and environment as they are now, to be compared with others."""
    # What `os.environ` keeps: to read it all through that takes far longer.
    environment = dict(getattr(os.environ, "_data", os.environ))
    # Where pytest notes what it is at, for whoever looks at the process. No test is about it, each changes it.
    environment.pop(b"PYTEST_CURRENT_TEST", None)
    return _working_folder(), environment


def _authkey() -> bytes:
    """Return the key by which managers of `multiprocessing` know the program's processes."""
    process = imported("multiprocessing.process")
    if process is None:
        # The program may import it once the workers have started, so the key is chosen here.
        if not _chosen_key:
            from lineshaft import _patch

            _chosen_key.append(os.urandom(32))
            _patch.when_imported("multiprocessing.process", lambda process: adopt_key(process, _chosen_key[0]))
        return _chosen_key[0]
    return bytes(process.current_process().authkey)


def adopt_key(process: ModuleType, key: bytes) -> None:
    """Make this process one that a program's managers know; `process` is `multiprocessing.process`."""
    process.current_process().authkey = key


def description(environment: dict[str, str], spill_dir: str) -> bytes:
    """Describe to workers what they should know of this process as it is now.

    They were started with `environment`, and put what does not fit into memory into `spill_dir`.
    """
    from lineshaft._console import describe_streams, log_levels
    from lineshaft._serial.main_module import describe_main

    patch = sys.modules.get("lineshaft._patch")
    now = dict(os.environ)
    changes: dict[str, str | None] = {}
    if now != environment:
        changes = dict.fromkeys(environment.keys() - now.keys())
        changes.update(now.items() - environment.items())
    return marshal.dumps(
        {
            "main": dict(describe_main()),
            "folder": _working_folder(),
            "environment": changes,
            "spill_dir": spill_dir,
            "log_levels": log_levels(),
            "streams": describe_streams(),
            "patched": patch.applied() if patch else [],
            "workers": default_workers(),
            "authkey": _authkey(),
        }
    )
