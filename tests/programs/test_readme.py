"""The Python of the README runs, in one go from top to bottom, and prints what its comments say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: A call of print alone on its line, and the value that the comment behind it begins with.
PROMISE = re.compile(r"^ *print\(.*\) +# (.+)$")


def promises(program: str) -> list[str]:
    """Return the values that comments behind calls of print promise, in order."""
    comments = [match[1] for line in program.splitlines() if (match := PROMISE.match(line))]
    # What follows a comma and a letter is an explanation.
    return [re.split(r", (?=[a-z])", comment)[0] for comment in comments]


def test_readme(tmp_path: Path) -> None:
    program = "\n".join(BLOCK.findall(README.read_text()))
    script = tmp_path / "readme.py"
    script.write_text(program)
    finished = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=100, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert finished.stderr == ""
    printed = iter(finished.stdout.splitlines())
    expected = promises(program)
    assert len(expected) > 10
    for value in expected:
        assert value in printed, f"{value} was not printed in its place:\n{finished.stdout}"
    assert "a worker process died while running 'crash': killed by SIGSEGV" in finished.stdout
