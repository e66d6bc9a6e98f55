"""Runs the main example with plain ``python`` and with ``lineshaft run`` and compares what they print.

The answer is printed once, then both wall times. Each command runs ``--rounds`` times, in an order that turns
round, and the quickest run of each counts: what else runs on the machine only ever adds time. If the runs of one
command differ much, the comparison says so. Exits with 1 if any two answers differ or if a run fails. Other arguments
are handed on to the example::

    python examples/compare.py --rounds 1 --bootstrap 200
"""

from __future__ import annotations

import argparse
import difflib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

PROGRAM = Path(__file__).with_name("flights.py")
PLAIN, LINESHAFT = "python", "lineshaft run"
COMMANDS = {
    PLAIN: [sys.executable],
    # The console script of the same environment, without relying on its being on the path.
    LINESHAFT: [str(Path(sys.executable).with_name("lineshaft")), "run"],
}
#: Beyond this ratio of a command's slowest to its quickest run, the machine was busy with something else.
SPREAD_MAX = 1.25


@dataclass(frozen=True)
class Run:
    """What one run printed and took."""

    answer: str
    wall_s: float


def run(title: str, arguments: list[str]) -> Run:
    """Run the example once; its own timings go to standard error as they come."""
    print(f"--- {title} {os.path.relpath(PROGRAM)} {' '.join(arguments)}".rstrip(), flush=True)
    start = time.perf_counter()
    finished = subprocess.run(
        [*COMMANDS[title], str(PROGRAM), *arguments], stdout=subprocess.PIPE, text=True, check=False
    )
    wall_s = time.perf_counter() - start
    if finished.returncode != 0:
        sys.exit(f"{title}: exit code {finished.returncode}\n{finished.stdout}")
    return Run(finished.stdout, wall_s)


def check_same(expected: Run, other: Run, title: str) -> None:
    """Stop with a diff if two runs printed different answers."""
    if other.answer != expected.answer:
        before, after = expected.answer.splitlines(keepends=True), other.answer.splitlines(keepends=True)
        sys.stdout.writelines(difflib.unified_diff(before, after, PLAIN, title))
        sys.exit("the answers differ")


def main() -> None:
    """Run both, compare, and show answer and times."""
    parser = argparse.ArgumentParser(description="Runs examples/flights.py with python and with lineshaft run.")
    parser.add_argument("--rounds", type=int, default=2, metavar="N", help="runs of each (%(default)s)")
    options, arguments = parser.parse_known_args()
    if not Path(COMMANDS[LINESHAFT][0]).exists():
        sys.exit(f"there is no lineshaft beside {sys.executable}: install the wheel into its environment (make demo)")

    runs: dict[str, list[Run]] = {title: [] for title in COMMANDS}
    for turn in range(options.rounds):
        for title in COMMANDS if turn % 2 == 0 else reversed(COMMANDS):
            runs[title].append(run(title, arguments))
            check_same(runs[PLAIN][0] if runs[PLAIN] else runs[title][0], runs[title][-1], title)

    print(f"\n{runs[PLAIN][0].answer}")
    print(f"All {2 * options.rounds} runs printed this same answer. Quickest run of each, seconds:")
    best = {title: min(each, key=lambda one: one.wall_s) for title, each in runs.items()}
    for title, one in best.items():
        print(f"  {title:15}{one.wall_s:6.1f}")
    print(f"  {LINESHAFT} is {best[PLAIN].wall_s / best[LINESHAFT].wall_s:.1f} times as fast.")
    for title, each in runs.items():
        if max(one.wall_s for one in each) > SPREAD_MAX * best[title].wall_s:
            walls = ", ".join(f"{one.wall_s:.1f}" for one in each)
            print(f"  The machine is busy: {title} took {walls} s. Do not trust the ratio.")


if __name__ == "__main__":
    main()
