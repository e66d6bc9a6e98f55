"""The command line: its table, its errors, the summary, and what `run` serves."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lineshaft import cli
from lineshaft._size import format_size, parse_size
from lineshaft.cli.flags import COMMANDS, RUN, UsageError, markdown, parse
from lineshaft.cli.summary import format_summary

HERE = Path(__file__).parent
DOCS = HERE.parent.parent / "docs" / "cli.md"


def lineshaft(*arguments, before="", **options):
    """Run a command line in a new interpreter, with the stub in place of `lineshaft.futures`."""
    text = (
        f"import sys, lineshaft; lineshaft.__path__.insert(0, {str(HERE / 'stub')!r}); {before}\n"
        "from lineshaft.__main__ import main; sys.exit(main())"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-c", text, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env, **options)


# parsing


def test_options_end_where_the_program_begins():
    parsed = parse(RUN, ["--workers", "3", "--memory=2GiB", "x.py", "--workers", "--help"])
    assert parsed.values["workers"] == 3
    assert parsed.values["memory"] == 2 << 30
    assert parsed.rest == ["x.py", "--workers", "--help"]
    assert parse(RUN, ["-m", "pytest", "--no-summary"]).rest == ["-m", "pytest", "--no-summary"]
    assert parse(RUN, ["--", "--odd-name.py"]).rest == ["--odd-name.py"]
    assert parse(RUN, ["-", "x"]).rest == ["-", "x"]


def test_repeated_options_add_up():
    values = parse(RUN, ["--no-patch", "multiprocessing", "--no-patch=concurrent.futures", "x"]).values
    assert values["no_patch"] == ["multiprocessing", "concurrent.futures"]
    nothing = {
        "workers": None,
        "memory": None,
        "no_patch": [],
        "progress": False,
        "no_dashboard": False,
        "report": None,
        "trace": None,
        "no_summary": False,
    }
    assert parse(RUN, ["x"]).values == nothing


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nope"], "unknown option '--nope'"),
        (["-x"], "unknown option '-x'"),
        (["--workers"], "--workers needs a value: N"),
        (["--workers", "0"], "--workers: '0' is not a number of workers"),
        (["--workers", "99999999999999999999"], "--workers: '99999999999999999999' is not a number of workers"),
        (["--memory", "999999999TiB"], "--memory: '999999999TiB' is not a size such as"),
        (["--workers=two"], "--workers: 'two' is not a number of workers"),
        (["--memory", "lots"], "--memory: 'lots' is not a size such as"),
        (["--no-patch", "numpy"], "--no-patch: unknown NAME 'numpy'; known are concurrent.futures,"),
        (["--no-summary=yes"], "--no-summary takes no value"),
    ],
)
def test_wrong_usage(arguments, message, capsys):
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        parse(RUN, arguments)
    assert cli.main(["run", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"lineshaft run: {message}")
    assert err.endswith("Try 'lineshaft run --help'.\n")


@pytest.mark.parametrize("arguments", [["run"], ["run", "-m"], ["run", "-c"], ["run", "--no-summary"], ["nope"]])
def test_nothing_to_do(arguments, capsys):
    assert cli.main(arguments) == 2
    assert "Try 'lineshaft" in capsys.readouterr().err
    assert cli.main(["info", "extra"]) == 2


def test_help_explains_every_option_and_library(capsys):
    assert cli.main(["run", "--help"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    for flag in RUN.flags:
        assert f"\n  {flag.name}" in text
    for name in ("concurrent.futures", "multiprocessing", "joblib", "dask"):
        assert f"{name}: " in text
    assert cli.main([]) == cli.main(["--help"]) == cli.main(["--version"]) == cli.main(["info", "--help"]) == 0
    assert all(name in capsys.readouterr().out for name in [*COMMANDS][:1])


def test_the_documentation_is_made_from_the_table():
    if not DOCS.exists():
        pytest.skip("not a checkout")
    assert DOCS.read_text() == markdown(), (
        "run: python -c \"from lineshaft.cli.flags import *; print(markdown(), end='')\""
    )


def test_a_closed_pipe_is_no_error():
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    for command in ("info", "run --help"):
        shell = f"{sys.executable} -m lineshaft {command} | true; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False, env=env)
        assert (done.returncode, done.stderr) == (0, "")


# sizes


@pytest.mark.parametrize("text", ["", "GiB", "-1", "0", "1XB", "nan", "inf", "1e400", "1 2"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="is not a size such as"):
        parse_size(text)


@pytest.mark.parametrize("size", [1, 999, 1000, 1023, 1024, 1 << 20, 5 << 30, 1 << 60])
def test_sizes_stay_short(size):
    assert len(format_size(size)) <= 12


# info


def test_info_as_json():
    done = lineshaft("info", "--json")
    facts = json.loads(done.stdout)
    assert set(facts) == {"cores", "memory", "shared_memory", "versions"}
    assert 1 <= facts["cores"]["usable"] <= facts["cores"]["affinity"]
    assert facts["memory"]["total_bytes"] > 0
    assert facts["versions"]["python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}")


def test_info_imports_no_package():
    done = lineshaft("info", before="import atexit; atexit.register(lambda: print('numpy' in sys.modules))")
    assert done.stdout.endswith("False\n")
    assert done.stderr == ""


# summary


def test_summary_leaves_out_what_is_not_known():
    assert format_summary({"tasks": 1}) == "lineshaft: 1 task"
    assert format_summary({"tasks": 0, "failed": 0, "retried": None, "busy_fraction": 0.0, "groups": []}) == (
        "lineshaft: 0 tasks; cores 0% busy"
    )


def test_summary_in_full():
    groups = [
        {"name": f"package.module.Class.method_{i}" * 2, "tasks": 10**i, "total_s": 10.0**i, "mean_s": 1, "max_s": 0.02}
        for i in range(8)
    ]
    text = format_summary(
        {
            "tasks": 12_345_678,
            "failed": 2,
            "retried": 3,
            "cancelled": 4,
            "busy_fraction": 0.5,
            "peak_memory_bytes": 1 << 30,
            "elapsed_s": 3725.0,
            "worker_deaths": 1,
            "groups": groups,
            "new_in_a_later_version": object(),
        }
    )
    lines = text.splitlines()
    assert lines[0] == (
        "lineshaft: 12,345,678 tasks in 1 h 2 min, 2 failed, 3 retried, 4 cancelled; "
        "1 worker died; cores 50% busy; peak memory 1.0 GiB"
    )
    assert [line.split()[1] for line in lines[2:]] == ["10,000,000", "1,000,000", "100,000", "10,000", "1,000"]
    assert len({len(line) for line in lines[1:]}) == 1


def test_summary_knows_no_time_of_calls_that_did_not_end():
    group = {"name": "f", "tasks": 2, "total_s": 0.0, "mean_s": None, "max_s": None}
    assert format_summary({"tasks": 2, "groups": [group]}).split()[-5:] == ["f", "2", "-", "-", "-"]


STATS = "lineshaft.default_engine_stats = lambda: dict(tasks=3, elapsed_s=1.5)"
USES_POOL = (
    "from concurrent.futures import ThreadPoolExecutor as T\nwith T(1) as ex: print(ex.submit(abs, -1).result())"
)


def test_summary_follows_a_program_that_used_a_pool():
    done = lineshaft("run", "-c", USES_POOL, before=STATS)
    assert (done.returncode, done.stdout) == (0, "1\n")
    assert done.stderr == "lineshaft: 3 tasks in 1.5 s\n"


def test_summary_comes_last_also_after_a_failure():
    code = f"import atexit, sys; atexit.register(lambda: print('bye', file=sys.stderr))\n{USES_POOL}\nraise ValueError"
    done = lineshaft("run", "-c", code, before=STATS)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-3:] == ["ValueError", "bye", "lineshaft: 3 tasks in 1.5 s"]


@pytest.mark.parametrize(
    ("arguments", "code", "stats"),
    [
        (["--no-summary"], USES_POOL, STATS),
        ([], "print(1)", STATS),
        ([], USES_POOL, "lineshaft.default_engine_stats = lambda: None"),
        ([], USES_POOL + "\nimport sys; sys.stderr = None", STATS),
        ([], USES_POOL + "\nimport sys; sys.stderr.close()", STATS),
    ],
)
def test_no_summary(arguments, code, stats):
    done = lineshaft("run", *arguments, "-c", code, before=stats)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


def test_a_forked_child_prints_no_summary():
    code = f"{USES_POOL}\nimport os, sys; sys.stdout.flush(); os.fork() and os.wait()"
    done = lineshaft("run", "-c", code, before=STATS)
    assert done.stderr == "lineshaft: 3 tasks in 1.5 s\n"


# what is served

WHO = (
    "import concurrent.futures, multiprocessing\n"
    "with multiprocessing.Pool(1) as p: print(concurrent.futures.ThreadPoolExecutor.__module__, type(p).__module__)"
)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "lineshaft"),
        (["--no-patch", "concurrent.futures"], "concurrent.futures.thread lineshaft.pool"),
        (["--no-patch", "multiprocessing"], "multiprocessing.pool"),
        (["--no-patch", "multiprocessing", "--no-patch", "concurrent.futures"], "thread multiprocessing.pool"),
    ],
)
def test_no_patch_leaves_a_library_alone(options, expected):
    done = lineshaft("run", "--no-summary", *options, "-c", WHO)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout


def test_limits_reach_the_engine_by_the_environment():
    code = "import os; print(os.environ['LINESHAFT_WORKERS'], os.environ['LINESHAFT_MEMORY'])"
    done = lineshaft("run", "--workers", "3", "--memory", "1MiB", "-c", code)
    assert done.stdout == "3 1048576\n"
