"""The Python of the README and of pages runs, each in one go from top to bottom, and prints what its comments say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: A call of print alone on its line, and the value that the comment behind it begins with.
PROMISE = re.compile(r"^ *print\(.*\) +# (.+)$")


def promises(program: str) -> list[str]:
    """Return the values that comments behind calls of print promise, in order."""
    comments = [match[1] for line in program.splitlines() if (match := PROMISE.match(line))]
    # What follows a comma and a letter is an explanation.
    return [re.split(r", (?=[a-z])", comment)[0] for comment in comments]


def run(page: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the Python of a page, compare what it prints with its comments, and return both streams."""
    program = "\n".join(BLOCK.findall(page.read_text()))
    script = folder / "page.py"
    script.write_text(program)
    finished = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=100, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    printed = iter(finished.stdout.splitlines())
    expected = promises(program)
    assert expected, "nothing is promised"
    for value in expected:
        assert value in printed, f"{value} was not printed in its place:\n{finished.stdout}"
    return finished


def test_readme(tmp_path: Path) -> None:
    finished = run(ROOT / "README.md", tmp_path)
    assert "a worker process died while running 'crash': killed by SIGSEGV" in finished.stdout
    assert len(finished.stdout.splitlines()) > 10
    assert finished.stderr == ""


def test_page_about_joblib(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    # On a busy machine its progress bar is seen.
    run(ROOT / "docs" / "joblib.md", tmp_path)


def test_page_about_dask(tmp_path: Path) -> None:
    for needed in ("dask", "numpy"):
        pytest.importorskip(needed)
    finished = run(ROOT / "docs" / "dask.md", tmp_path)
    assert finished.stderr == ""
