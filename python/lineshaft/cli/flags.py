"""The command line as data: one table that parsing, ``--help`` and ``docs/cli.md`` are made from.

To add an option, add a `Flag` to its command. Options come before the program that `run` runs;
everything after it belongs to the program. There is no argparse here, because the program that `run`
runs should find the interpreter as plain `python` would leave it.
"""

from __future__ import annotations

from lineshaft._size import parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

HELP_WIDTH = 79


class UsageError(Exception):
    """The command line is wrong; the message says how."""


class Flag:
    """One option.

    Parameters
    ----------
    name
        With its dashes.
    help
        What it does, one or two sentences.
    metavar
        Name of its value in the help, or None for a switch.
    parse
        Turns the text of the value into the value; raises ValueError with a readable message.
    repeatable
        Whether it may be given several times; its value is then a list.
    choices
        Returns name and explanation of every permitted value; looked up only when needed.
    """

    def __init__(
        self,
        name: str,
        help: str,  # noqa: A002 - what it is called everywhere
        *,
        metavar: str | None = None,
        parse: Callable[[str], Any] = str,
        repeatable: bool = False,
        choices: Callable[[], dict[str, str]] | None = None,
    ) -> None:
        self.name = name
        self.help = help
        self.metavar = metavar
        self.parse = parse
        self.repeatable = repeatable
        self.choices = choices

    @property
    def key(self) -> str:
        """Name of the value among the parsed ones."""
        return self.name.lstrip("-").replace("-", "_")


class Command:
    """One command: its options and what comes after them.

    Parameters
    ----------
    name, summary, description
        How it is called, and what it does in a line and in a paragraph.
    usages
        What may follow ``lineshaft NAME``, one line each.
    ends_options
        Short options that end the options and start what follows, such as ``-m`` of `run`.
    takes_rest
        Whether anything may follow the options.
    """

    def __init__(
        self,
        *,
        name: str,
        summary: str,
        description: str,
        usages: tuple[str, ...],
        flags: tuple[Flag, ...],
        ends_options: tuple[str, ...] = (),
        takes_rest: bool = False,
    ) -> None:
        self.name = name
        self.summary = summary
        self.description = description
        self.usages = usages
        self.flags = flags
        self.ends_options = ends_options
        self.takes_rest = takes_rest

    def help_text(self) -> str:
        """Return what ``--help`` prints."""
        lines = [f"{'Usage:' if i == 0 else '      '} lineshaft {self.name} {u}" for i, u in enumerate(self.usages)]
        lines += ["", *_wrap(self.description, ""), "", "Options:"]
        for flag in (*self.flags, HELP):
            lines += [f"  {_spelling(flag)}", *_wrap(flag.help, " " * 6)]
            for choice, explanation in (flag.choices() if flag.choices else {}).items():
                lines += _wrap(f"{choice}: {explanation}", " " * 8)
        return "\n".join(lines)

    def markdown(self) -> str:
        """Return the section of ``docs/cli.md``."""
        lines = [f"## lineshaft {self.name}", "", "```"]
        lines += [f"lineshaft {self.name} {usage}" for usage in self.usages]
        lines += ["```", "", self.description, "", "| Option | Meaning |", "| --- | --- |"]
        for flag in self.flags:
            text = flag.help
            for choice, explanation in (flag.choices() if flag.choices else {}).items():
                text += f" `{choice}`: {explanation}."
            lines.append(f"| `{_spelling(flag)}` | {text} |")
        return "\n".join(lines)


class Parsed:
    """A parsed command line: the options by `Flag.key`, and what follows them."""

    def __init__(self, values: dict[str, Any], rest: list[str], *, help_wanted: bool = False) -> None:
        self.values = values
        self.rest = rest
        self.help_wanted = help_wanted


def parse(command: Command, arguments: Sequence[str]) -> Parsed:
    """Split `arguments` into options and what follows them.

    Raises
    ------
    UsageError
        If an option is unknown, lacks its value or has a wrong one.

    Examples
    --------
    >>> parse(COMMANDS["run"], ["--workers=2", "--no-summary", "script.py", "--workers"]).rest
    ['script.py', '--workers']
    """
    flags = {flag.name: flag for flag in command.flags}
    values: dict[str, Any] = {
        flag.key: [] if flag.repeatable else (False if flag.metavar is None else None) for flag in command.flags
    }
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] != "-" and rest[0] not in command.ends_options:
        name, given, text = rest.pop(0).partition("=")
        if name == "--":
            break
        if name in ("-h", "--help"):
            return Parsed(values, rest, help_wanted=True)
        flag = flags.get(name)
        if flag is None:
            raise UsageError(f"unknown option {name!r}")
        if flag.metavar is None:
            if given:
                raise UsageError(f"{name} takes no value")
            values[flag.key] = True
            continue
        if not given:
            if not rest:
                raise UsageError(f"{name} needs a value: {flag.metavar}")
            text = rest.pop(0)
        value = _value(flag, text)
        if flag.repeatable:
            values[flag.key].append(value)
        else:
            values[flag.key] = value
    if rest and not command.takes_rest:
        raise UsageError(f"unexpected argument {rest[0]!r}")
    return Parsed(values, rest)


def overview() -> str:
    """Return what ``lineshaft --help`` prints."""
    width = max(map(len, COMMANDS))
    lines = ["Usage: lineshaft COMMAND ...", "", "One engine under the parallel Python code you already have.", ""]
    lines += [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    lines += ["", "'lineshaft COMMAND --help' explains a command; 'lineshaft --version' prints the version."]
    return "\n".join(lines)


def markdown() -> str:
    """Return ``docs/cli.md``."""
    sections = [command.markdown() for command in COMMANDS.values()]
    return "# The command line\n\n" + "\n\n".join(sections) + "\n"


def _value(flag: Flag, text: str) -> Any:
    if flag.choices is not None and text not in flag.choices():
        raise UsageError(f"{flag.name}: unknown {flag.metavar} {text!r}; known are {', '.join(flag.choices())}")
    try:
        return flag.parse(text)
    except ValueError as error:
        raise UsageError(f"{flag.name}: {error}") from None


def _spelling(flag: Flag) -> str:
    return flag.name if flag.metavar is None else f"{flag.name} {flag.metavar}"


def _wrap(text: str, indent: str) -> list[str]:
    lines, line = [], indent
    for word in text.split():
        if len(line) + len(word) > HELP_WIDTH and line.strip():
            lines.append(line.rstrip())
            line = indent
        line += word + " "
    return [*lines, line.rstrip()]


def _count(text: str) -> int:
    # No machine has workers of ten digits.
    if not text.isdecimal() or len(text) > 9 or int(text) < 1:
        raise ValueError(f"{text!r} is not a number of workers such as 4")
    return int(text)


def _libraries() -> dict[str, str]:
    from lineshaft._patch import LIBRARIES

    return {name: library.description for name, library in LIBRARIES.items()}


HELP = Flag("--help", "Print this text.")

RUN = Command(
    name="run",
    summary="run an unmodified program with its pools served by Lineshaft",
    description=(
        "Runs a program as `python` would: arguments, exit code, tracebacks and Ctrl-C are the same. The "
        "process and thread pools it uses run on one Lineshaft engine. If there are any, standard error says where "
        "its dashboard is, and a summary follows at the end. Options of the interpreter go before -m: "
        "python -O -m lineshaft run script.py"
    ),
    usages=(
        "[OPTION]... SCRIPT [ARGUMENT]...",
        "[OPTION]... -m MODULE [ARGUMENT]...",
        "[OPTION]... -c CODE [ARGUMENT]...",
    ),
    flags=(
        Flag(
            "--workers",
            "Worker processes and running threads at a time. By default, all usable cores.",
            metavar="N",
            parse=_count,
        ),
        Flag("--memory", "Memory for arguments and results, such as 8GiB.", metavar="SIZE", parse=parse_size),
        Flag(
            "--no-patch",
            "Leave a library alone. May be given several times. The libraries are:",
            metavar="NAME",
            repeatable=True,
            choices=_libraries,
        ),
        Flag("--progress", "Show a progress bar for each joblib.Parallel and lineshaft.map that takes over a second."),
        Flag(
            "--no-dashboard",
            "Serve no dashboard. Otherwise there are pages that show what runs, on a free port of 127.0.0.1 from 8787 "
            "on, from the first use of a pool to the end, and standard error says where.",
        ),
        Flag(
            "--trace",
            "Write what ran where and when to a file that Perfetto and chrome://tracing open. The last 260,000 "
            "attempts of tasks are kept; the end says how many there were.",
            metavar="FILE",
        ),
        Flag(
            "--report",
            "Write the dashboard's pages with what ran to one HTML file, which opens without a server.",
            metavar="FILE",
        ),
        Flag("--no-summary", "Print no summary at the end."),
    ),
    ends_options=("-m", "-c"),
    takes_rest=True,
)

INFO = Command(
    name="info",
    summary="print cores, memory, shared memory and versions",
    description="Prints what Lineshaft finds on this machine; a bug report should contain it.",
    usages=("[--json]",),
    flags=(Flag("--json", "Print one JSON object."),),
)

TOP = Command(
    name="top",
    summary="show what a running program does, in this terminal",
    description=(
        "Shows the numbers of a program's dashboard, by default of the one at http://127.0.0.1:8787, until Ctrl-C. "
        "Where the output is no terminal it shows them once."
    ),
    usages=("[--once] [ADDRESS]",),
    flags=(Flag("--once", "Show them once and end."),),
    takes_rest=True,
)

COMMANDS = {command.name: command for command in (RUN, TOP, INFO)}
