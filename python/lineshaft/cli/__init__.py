"""The command ``lineshaft``: `run` and `info`.

Only `sys` and Lineshaft's own small modules are imported before a command is chosen. What `run`
imports would be visible to the program it runs, and would cost it time.

Exit codes: 0, 2 for wrong usage as `python` has it, and for `run` whatever the program exits with.
"""

from __future__ import annotations

import sys

from lineshaft.cli.flags import COMMANDS, UsageError, overview, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lineshaft.cli.flags import Parsed

USAGE_EXIT_CODE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv`, by default the one of this process; return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        return print_out(overview())
    if name in ("-V", "--version"):
        from lineshaft.cli.info import version

        return print_out(f"lineshaft {version()}")
    command = COMMANDS.get(name)
    if command is None:
        known = ", ".join(COMMANDS)
        return _usage_error("lineshaft", f"unknown command {name!r}; known are {known}")
    try:
        parsed = parse(command, arguments[1:])
        return print_out(command.help_text()) if parsed.help_wanted else _body(name)(parsed)
    except UsageError as error:
        return _usage_error(f"lineshaft {name}", str(error))


def _body(name: str) -> Callable[[Parsed], int]:
    # Imported one by one: `info` needs much that `run` must not import.
    if name == "run":
        from lineshaft.cli.run import run

        return run
    if name == "top":
        from lineshaft.cli.top import top

        return top
    from lineshaft.cli.info import info

    return info


def _usage_error(program: str, message: str) -> int:
    print(f"{program}: {message}", file=sys.stderr)
    print(f"Try '{program} --help'.", file=sys.stderr)
    return USAGE_EXIT_CODE


def print_out(text: str) -> int:
    """Print what was asked for; return the exit code."""
    try:
        print(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`head`, a pager) has seen enough. Keep the interpreter from flushing again.
        sys.stdout = None
    return 0
