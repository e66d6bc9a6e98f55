"""Runs the main example with plain ``python`` and with ``lineshaft run`` and compares what they print.

The answer is printed once, then both wall times and their ratio. Exits with 1 if the answers differ or if a run fails.
Arguments are handed on to the example::

    python examples/compare.py --bootstrap 200
"""

from __future__ import annotations

import difflib
import subprocess
import sys
import time
from pathlib import Path

PROGRAM = Path(__file__).with_name("flights.py")
#: The console script of the same environment, without relying on its being on the path.
LINESHAFT = Path(sys.executable).with_name("lineshaft")


def run(title: str, command: list[str]) -> tuple[str, float]:
    """Run a command, letting its timings through.

    Returns
    -------
    tuple of str and float
        What it printed and its wall time in seconds.
    """
    print(f"--- {title}", flush=True)
    start = time.perf_counter()
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    wall = time.perf_counter() - start
    if finished.returncode != 0:
        sys.exit(f"{title}: exit code {finished.returncode}\n{finished.stdout}")
    return finished.stdout, wall


def main() -> None:
    """Run both, compare, and show answer and times."""
    program = [str(PROGRAM), *sys.argv[1:]]
    expected, plain = run("python examples/flights.py", [sys.executable, *program])
    answer, shaft = run("lineshaft run examples/flights.py", [str(LINESHAFT), "run", *program])
    if answer != expected:
        sys.stdout.writelines(
            difflib.unified_diff(expected.splitlines(True), answer.splitlines(True), "python", "lineshaft run")
        )
        sys.exit("the two answers differ")
    print(f"\n{answer}")
    print("Both runs printed this same answer.")
    print(f"  python         {plain:6.1f} s")
    print(f"  lineshaft run  {shaft:6.1f} s   {plain / shaft:.1f} times as fast")


if __name__ == "__main__":
    main()
