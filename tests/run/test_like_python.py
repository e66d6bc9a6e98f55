"""`lineshaft run` against plain `python`: same output, same errors, same exit code.

Each case runs a program of `corpus/` both ways and compares byte for byte, after replacing what
differs between any two runs: addresses, and the seconds that unittest prints.
"""

import os
import py_compile
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CORPUS = Path(__file__).parent / "corpus"
SCRIPTS = sorted(path.name for path in CORPUS.glob("*.py"))


def environment(**extra):
    python_path = os.pathsep.join(p for p in sys.path if p)
    return {**os.environ, "PYTHONPATH": python_path, "PYTHONDONTWRITEBYTECODE": "1", **extra}


def outcome(command, *, stdin=b"", **options):
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False, **options)
    hide = re.compile(rb"(?<=0x)[0-9a-f]{6,}|(?<=in )[0-9.]+(?=s\n)")
    return done.returncode, hide.sub(b"?", done.stdout), hide.sub(b"?", done.stderr)


@pytest.fixture
def corpus(tmp_path):
    """Return a copy of the corpus that a test may change."""
    return Path(shutil.copytree(CORPUS, tmp_path / "corpus"))


@pytest.fixture
def same(corpus):
    """Return a function that runs a command line both ways, compares, and returns the outcome."""

    def compare(*arguments, interpreter=(), stdin=b"", env=None, cwd="."):
        options = {"stdin": stdin, "cwd": corpus / cwd, "env": environment(**(env or {}))}
        expected = outcome([sys.executable, *interpreter, *arguments], **options)
        run = [sys.executable, *interpreter, "-m", "lineshaft", "run", "--no-summary", "--no-dashboard"]
        assert outcome([*run, *arguments], **options) == expected
        return expected

    return compare


@pytest.mark.parametrize("script", SCRIPTS)
def test_script(same, script):
    same(script, "one", "-c", "--two", "-m", stdin=b"first\nsecond third\n")


@pytest.mark.parametrize(
    "path", ["./identity.py", "../corpus/identity.py", "container/../identity.py", "container//../identity.py"]
)
def test_spellings_of_a_path(same, path):
    same(path)


def test_absolute_path_and_another_folder(same, corpus):
    assert same(str(corpus / "identity.py"), cwd="container")[0] == 0


def test_symbolic_links(same, corpus):
    (corpus / "container/link.py").symlink_to("../identity.py")
    (corpus / "other").symlink_to("container")
    same("container/link.py")
    same("other/link.py")
    same("other")


@pytest.mark.parametrize("path", ["missing.py", "container/missing", "package/empty", "identity.py/x"])
def test_what_cannot_be_opened(same, path):
    assert same(path)[0] in (1, 2)


def test_a_folder_without_main(same):
    assert same("shadow")[0] == 1


def test_an_unreadable_script(same, corpus):
    (corpus / "empty.py").chmod(0)
    same("empty.py")


@pytest.mark.parametrize("path", ["container", "./container", "container/"])
def test_a_folder(same, path):
    code, _, err = same(path, "x")
    assert code == 1
    assert b"from a helper" in err


def test_a_zip_file(same, corpus):
    with zipfile.ZipFile(corpus / "app.pyz", "w") as file:
        for name in ("__main__.py", "helper.py"):
            file.write(corpus / "container" / name, name)
    same("app.pyz", "x")


def test_compiled_scripts(same, corpus):
    py_compile.compile(corpus / "uncaught.py", corpus / "compiled.pyc")
    same("compiled.pyc")
    (corpus / "bad.pyc").write_bytes(b"no bytecode at all")
    assert same("bad.pyc")[0] == 1


@pytest.mark.parametrize(
    "module",
    [
        "package",
        "package.inner",
        "package.failing",
        "package.broken",
        "package.nothing",
        "nothing",
        "nothing.nothing",
        ".relative",
        "shadow",
        "identity",
        "identity.py",
        "uncaught",
        "exit_text",
        "interrupt",
        "pickling",
        "spawned",
    ],
)
def test_module(same, module):
    same("-m", module, "one", "-m", "two")


def test_modules_of_the_standard_library(same):
    assert same("-m", "json.tool", stdin=b"[1]")[0] == 0
    same("-m", "json.tool", stdin=b"[")
    same("-m", "timeit", "-n", "1", "-h")
    same("-m", "unittest", "unit_tests.Nothing", "-q")


@pytest.mark.parametrize(
    "code",
    [
        "import sys; print(sys.argv, sys.path[0] == '', list(globals()), __builtins__, __loader__)",
        "1/0",
        "def f():\n  raise ValueError\nf()",
        "x =",
        "import sys; sys.exit('text')",
        "raise KeyboardInterrupt",
        "import package; package.inner",
        "",
        "print('caf\u00e9')",
    ],
)
def test_code(same, code):
    same("-c", code, "one", "-c")


@pytest.mark.parametrize("source", [b"import sys; print(sys.argv, sys.path[0], __name__)", b"1/0", b"x = (", b""])
def test_standard_input(same, source):
    same("-", "one", stdin=source)


@pytest.mark.parametrize("script", ["argparse.py", "random.py", "script.py", "queue.py"])
def test_names_that_shadow_the_standard_library(same, script):
    assert same(f"shadow/{script}")[0] == 0
    assert same(script, cwd="shadow")[0] == 0


@pytest.mark.parametrize("options", [("-O",), ("-P",), ("-I",), ("-W", "error"), ("-u",), ("-X", "dev"), ("-s",)])
@pytest.mark.parametrize("script", ["identity.py", "uncaught.py", "warnings_shown.py"])
def test_options_of_the_interpreter(same, options, script):
    if options == ("-I",):
        pytest.skip("the package under test comes from PYTHONPATH, which -I ignores")
    same(script, interpreter=options)


def test_ctrl_c_kills_by_sigint(corpus):
    command = [sys.executable, "-m", "lineshaft", "run", "-c", "import time; print(1, flush=True); time.sleep(60)"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), cwd=corpus)
    assert child.stdout.read(1) == b"1"
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=20)
    assert child.returncode == -signal.SIGINT
    assert err == b'Traceback (most recent call last):\n  File "<string>", line 1, in <module>\nKeyboardInterrupt\n'
