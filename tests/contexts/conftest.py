"""Runs programs in fresh interpreters that find the same `lineshaft` as this one."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

import lineshaft

#: A hang must end as a failure that shows what was printed, long before pytest's own limit.
SECONDS_MAX = 60

#: Runs `child` in a forked child, passes on what it raises, and never waits for ever.
FORK = """
import os, signal, sys, traceback
import lineshaft as ls

def in_child(child):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.alarm(30)
            child()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


class Programs:
    """Writes files and runs interpreters in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        paths = [str(Path(lineshaft.__file__).parent.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}

    def write(self, files: dict[str, str]) -> None:
        """Write files, by their names."""
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))

    def start(self, *arguments: str, **options: object) -> "subprocess.Popen[str]":
        command = [sys.executable, *arguments]
        options = {"cwd": self.folder, "env": self.environment, "text": True, **options}
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
        )

    def run(self, *arguments: str, text: str = "", returncode: int = 0, **options: object) -> tuple[str, str]:
        """Run an interpreter; return what it printed to standard output and error."""
        process = self.start(*arguments, **options)
        try:
            out, err = process.communicate(text, timeout=SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"it hangs\n{out}\n{err}") from None
        assert process.returncode == returncode, f"exit status {process.returncode}\n{out}\n{err}"
        return out, err

    def script(self, text: str, **options: object) -> str:
        """Run a script; return what it printed. It must print nothing to standard error."""
        self.write({"script.py": text})
        out, err = self.run("script.py", **options)
        assert err == "", err
        return out


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    """Return a folder to write programs to, and the means to run them."""
    return Programs(tmp_path)


@pytest.fixture
def script(programs: Programs) -> Callable[..., str]:
    """Run a script; return what it printed."""
    return programs.script


@pytest.fixture
def forking(script):
    """Run a script that may call `in_child`; return what it printed."""
    return lambda text: script(FORK + textwrap.dedent(text))
