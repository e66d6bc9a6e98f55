"""The command ``lineshaft run``: serve libraries, run the program, print a summary at exit."""

from __future__ import annotations

import atexit
import os
import sys

from lineshaft import _patch
from lineshaft.cli.flags import UsageError
from lineshaft.cli.target import Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lineshaft.cli.flags import Parsed

# Read by the default engine when it starts, in this process and in those it starts.
WORKERS_VARIABLE = "LINESHAFT_WORKERS"
MEMORY_VARIABLE = "LINESHAFT_MEMORY"


def run(parsed: Parsed) -> int:
    """Run the program that follows the options; return its exit code if it comes to its end."""
    if not parsed.rest:
        raise UsageError("no program to run")
    if parsed.rest[0] in ("-m", "-c") and len(parsed.rest) == 1:
        raise UsageError(f"{parsed.rest[0]} needs a value")
    target = Target.from_arguments(parsed.rest)
    options = parsed.values
    if options["workers"] is not None:
        os.environ[WORKERS_VARIABLE] = str(options["workers"])
    if options["memory"] is not None:
        os.environ[MEMORY_VARIABLE] = str(options["memory"])
    _patch.apply(name for name in _patch.LIBRARIES if name not in options["no_patch"])
    if options["progress"]:
        from lineshaft._bars import progress

        progress()
    if not options["no_dashboard"]:
        from lineshaft._observe import serve_default_engine

        serve_default_engine()
    if options["trace"] is not None or options["report"] is not None:
        from lineshaft._observe import write_default_engine

        try:
            write_default_engine(trace=options["trace"], report=options["report"])
        except OSError as error:
            raise UsageError(f"cannot write to {error.filename}: {error.strerror}") from None
    if not options["no_summary"]:
        # Registered before the program can register anything, so that it runs last.
        atexit.register(_print_summary, os.getpid())
    return target.execute()


def _print_summary(pid: int) -> None:
    # A child that the program forked inherits this hook.
    if os.getpid() != pid or sys.stderr is None:
        return
    stats = _engine_stats()
    if stats is None:
        return
    from lineshaft.cli.summary import format_summary

    try:
        print(format_summary(stats), file=sys.stderr)
    except (OSError, ValueError):
        # Standard error is closed or gone; there is nobody to tell.
        return


def _engine_stats() -> dict[str, Any] | None:
    # Asking must not import the engine that the program did not need.
    if "lineshaft.futures" not in sys.modules and "lineshaft._native" not in sys.modules:
        return None
    ask = getattr(sys.modules["lineshaft"], "default_engine_stats", None)
    stats: dict[str, Any] | None = None if ask is None else ask()
    return stats
