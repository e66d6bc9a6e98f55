"""Runs scripts in fresh interpreters that can import `lineshaft` and the emulated worker."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import lineshaft

HERE = Path(__file__).parent
#: The package that these tests run with, wherever it is, and the emulator.
PATHS = os.pathsep.join([str(Path(lineshaft.__file__).parents[1]), str(HERE)])
ENVIRONMENT = {**os.environ, "PYTHONPATH": PATHS}


@pytest.fixture
def environment():
    """Variables for interpreters that are to find `lineshaft` and the emulator."""
    return ENVIRONMENT


def _run(arguments, text=None, cwd=None):
    return subprocess.run(
        [sys.executable, *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=100,
        cwd=cwd,
        env=ENVIRONMENT,
        check=False,
    )


PRELUDE = "from emulator import Worker\n"


@pytest.fixture(params=["file", "command", "interactive"])
def script(request, tmp_path):
    """Run a script in each of the ways in which ``__main__`` comes about; it must print ``ok`` last."""

    def run(text):
        text = PRELUDE + textwrap.dedent(text) + "\nprint('ok')\n"
        if request.param == "file":
            path = tmp_path / "script.py"
            path.write_text(text)
            done = _run([str(path)], cwd=tmp_path)
        elif request.param == "command":
            done = _run(["-c", text], cwd=tmp_path)
        else:
            # Compound statements end at an empty line, and must not be broken by one.
            done = _run(["-i", "-q"], text=_as_typed(text), cwd=tmp_path)
        assert done.stdout.splitlines()[-1:] == ["ok"], done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr

    return run


@pytest.fixture
def file_script(tmp_path):
    """Run a script from a file; returns what it printed."""

    def run(text, **files):
        for name, content in files.items():
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(content))
        path = tmp_path / "script.py"
        path.write_text(PRELUDE + textwrap.dedent(text))
        done = _run([str(path)], cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def _as_typed(text):
    import ast

    lines = text.splitlines()
    typed = []
    for node in ast.parse(text).body:
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        typed += [line for line in lines[first - 1 : node.end_lineno] if line.strip()]
        typed.append("")
    return "\n".join(typed) + "\n"
