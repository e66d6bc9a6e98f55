"""The main example prints one and the same answer however it is run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = ["--bootstrap", "50"]


def run(*arguments: str) -> str:
    finished = subprocess.run([sys.executable, *arguments], cwd=EXAMPLES, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def test_with_lineshaft_as_with_python() -> None:
    assert "All 2 runs printed this same answer" in run("compare.py", "--rounds", "1", *SMALL)


def test_any_number_of_workers() -> None:
    assert run("flights.py", *SMALL, "--workers", "1") == run("flights.py", *SMALL, "--workers", "3")


def test_the_example_does_not_know_lineshaft() -> None:
    for part in EXAMPLES.glob("flights*.py"):
        assert "lineshaft" not in part.read_text().lower(), part.name
