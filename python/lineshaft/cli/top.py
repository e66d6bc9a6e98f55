"""The command ``lineshaft top``: what a running program does, in a terminal, over its dashboard's HTTP interface."""

from __future__ import annotations

import http.client
import json
import shutil
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Final

from lineshaft._size import format_size
from lineshaft.cli import print_out
from lineshaft.cli.summary import format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lineshaft.cli.flags import Parsed

EVERY_S: Final = 1.0
TIMEOUT_S: Final = 5.0
DEFAULT_URL: Final = "http://127.0.0.1:8787"
#: Enters and leaves the terminal's second screen, where nothing scrolls away.
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
HOME, CLEAR_BELOW, CLEAR_RIGHT = "\x1b[H", "\x1b[J", "\x1b[K"
#: Title, width and rank of each column: the higher the rank, the sooner it is left out. Numbers have what they need.
FUNCTION_COLUMNS: Final = (
    ("FUNCTION", 18, 0),
    ("DONE", 0, 1),
    ("FAILED", 0, 3),
    ("DROPPED", 0, 5),
    ("TIME", 0, 2),
    ("MEDIAN", 0, 4),
    ("MOST", 0, 6),
)
WORKER_COLUMNS: Final = (
    ("WORKER", 18, 0),
    ("CORES", 0, 3),
    ("MEMORY", 0, 2),
    ("SPILLED", 0, 5),
    ("ATTEMPTS", 0, 4),
    ("RUNS", 12, 1),
)
#: Names of functions are cut after so many letters.
NAME_MOST: Final = 34
STATES: Final = ("running", "blocked", "ahead", "ready", "backoff", "waiting", "finished", "failed", "dropped")


def top(parsed: Parsed) -> int:
    """Show what the program at an address does, until it ends or Ctrl-C."""
    # As it stands in a browser: with the page that is shown.
    url = (parsed.rest[0] if parsed.rest else DEFAULT_URL).partition("#")[0]
    if url.isascii() and url.isdecimal():
        url = f"127.0.0.1:{url}"
    if "://" not in url:
        url = f"http://{url}"
    if parsed.values["once"] or not sys.stdout.isatty():
        return _once(url)
    try:
        sys.stdout.write(ENTER)
        return _follow(url)
    except KeyboardInterrupt:
        return 0
    finally:
        sys.stdout.write(LEAVE)
        sys.stdout.flush()


def _once(url: str) -> int:
    try:
        lines = _look(url, columns=shutil.get_terminal_size().columns)
    except OSError as error:
        print(f"lineshaft top: {url} does not answer: {_reason(error)}", file=sys.stderr)
        return 1
    return print_out("\n".join(lines))


def _follow(url: str) -> int:
    last: list[str] = []
    while True:
        size = shutil.get_terminal_size()
        try:
            last = lines = _look(url, columns=size.columns)
        except OSError as error:
            lines = [f"{url} does not answer: {_reason(error)}; trying again, Ctrl-C ends", "", *last]
        shown = lines[: size.lines - 1]
        if len(lines) > len(shown):
            shown[-1] = f"{len(lines) - len(shown) + 1} more lines"
        sys.stdout.write(HOME + "\n".join(line + CLEAR_RIGHT for line in shown) + "\n" + CLEAR_BELOW)
        sys.stdout.flush()
        time.sleep(EVERY_S)


def _look(url: str, *, columns: int) -> list[str]:
    try:
        return screen(_ask(url, "overview"), _ask(url, "workers"), columns=columns)
    except (http.client.InvalidURL, OverflowError) as error:
        raise OSError(str(error)) from error
    except (http.client.HTTPException, ValueError, LookupError, TypeError) as error:
        raise OSError("what answers there is no dashboard of Lineshaft") from error


def _ask(url: str, what: str) -> Any:
    # The dashboard is on this machine: no proxy is to be asked for it.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    address, _, token = url.partition("/?token=")
    if token:
        opener.addheaders.append(("Authorization", f"Bearer {token}"))
    with opener.open(f"{address.rstrip('/')}/api/{what}", timeout=TIMEOUT_S) as answer:
        return json.load(answer)


def _reason(error: OSError) -> str:
    return str(error.reason if isinstance(error, urllib.error.URLError) else error)


def screen(overview: dict[str, Any], workers: dict[str, Any], *, columns: int) -> list[str]:
    """Return the lines that say what an engine does.

    Parameters
    ----------
    overview, workers
        What ``/api/overview`` and ``/api/workers`` answer.
    columns
        How long a line may be.
    """
    tasks, cores, memory = overview["tasks"], overview["cores"], overview["memory"]
    ended = tasks["finished"] + tasks["failed"] + tasks["dropped"]
    spilled = f", {format_size(memory['spilled_bytes'])} on disk" if memory["spilled_bytes"] else ""
    used, budget = memory["used_bytes"], memory["budget_bytes"]
    states = ", ".join(f"{tasks[state]:,} {state}" for state in STATES if tasks[state])
    lines = [
        f"lineshaft  {'ended' if overview['ended'] else 'up'} after {format_duration(max(0.0, overview['at_s']))}",
        f"tasks      {ended:,} of {tasks['submitted']:,} ended, {overview['tasks_per_s']:,.0f} per second",
        f"           {states or 'none'}",
        f"cores      {_bar(cores['busy'], cores['budget'])} {cores['busy']:.2f} of {cores['budget']} busy",
        f"memory     {_bar(used, budget)} {format_size(used)} of {format_size(budget)}{spilled}",
        "",
    ]
    rows = []
    for group in overview["groups"]:
        median, most = ("", "") if group["ran_s"] is None else map(format_duration, group["ran_s"][2::2])
        counts = [f"{group[key]:,}" if group[key] else "" for key in ("failed", "dropped")]
        done = f"{group['finished']:,}/{group['submitted']:,}"
        rows.append([group["name"], done, *counts, format_duration(group["total_s"]), median, most])
    lines += _table(FUNCTION_COLUMNS, rows, columns)
    if overview["groups_more"]:
        lines.append(f"{overview['groups_more']:,} more functions took less time")
    rows = []
    for worker in workers["workers"]:
        if worker["down_s"] is not None:
            continue
        places = {"threads": f"{worker['slots']} threads", "event-loop": "event loop"}
        place = places.get(worker["kind"], f"process {worker['pid'] or 'starting'}")
        process = worker["process"] or {"cores": None, "resident_bytes": None}
        busy = "" if process["cores"] is None else f"{process['cores']:.2f}"
        resident = "" if process["resident_bytes"] is None else format_size(process["resident_bytes"])
        runs = ", ".join(f"{running['name']} for {format_duration(running['for_s'])}" for running in worker["running"])
        if worker["running_more"]:
            runs += f", and {worker['running_more']:,} more"
        spilled = worker["wrote"]["spilled_bytes"]
        disk = format_size(spilled) if spilled else ""
        rows.append([f"{worker['worker']} ({place})", busy, resident, disk, f"{worker['attempts']:,}", runs])
    lines += ["", *_table(WORKER_COLUMNS, rows, columns)]
    died = overview["workers"]["died"]
    if died:
        lines += ["", f"{died:,} {'worker' if died == 1 else 'workers'} died"]
    return [_cut(line, columns) for line in lines]


def _bar(value: float, most: float, width: int = 24) -> str:
    filled = round(width * min(1.0, value / most)) if most else 0
    return "[" + "#" * filled + " " * (width - filled) + "]"


def _table(columns: Sequence[tuple[str, int, int]], rows: list[list[str]], width: int) -> list[str]:
    """Lay out rows below titles; columns are left out, the least important first, so that no number is cut."""
    table = [[title for title, _, _ in columns], *rows]
    longest = [max(len(row[place]) for row in table) + 2 for place in range(len(columns))]
    # Text can be read when it is cut: the name in front, which gets what is left, and what a worker runs.
    widths = [least or longest[place] for place, (_, least, _) in enumerate(columns)]
    shown = list(range(1, len(columns)))
    while shown and widths[0] + sum(widths[place] for place in shown) > width:
        shown.remove(max(shown, key=lambda place: columns[place][2]))
    widths[0] = max(widths[0], min(NAME_MOST, width - sum(widths[place] for place in shown)))
    lines = []
    for row in table:
        line = f"{_cut(row[0], widths[0] - 1):<{widths[0]}}"
        lines.append(
            line
            + "".join(f"  {row[place]}" if columns[place][1] else f"{row[place]:>{widths[place]}}" for place in shown)
        )
    return lines


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + "~"
