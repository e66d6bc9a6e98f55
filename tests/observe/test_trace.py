"""The trace of a run: of an engine, and of a program under `lineshaft run`."""

import json
import os
import re
import resource
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

import lineshaft as ls


def nap(seconds):
    time.sleep(seconds)
    return os.getpid()


def fail():
    raise ValueError("as intended")


def slowly(seconds):
    time.sleep(seconds)
    return seconds


class SlowToLoad:
    def __init__(self, seconds):
        self.seconds = seconds

    def __reduce__(self):
        return slowly, (self.seconds,)


class SlowToStore:
    def __init__(self, seconds):
        self.seconds = seconds

    def __reduce__(self):
        return abs, (slowly(self.seconds),)


def load_run_store(load_s, run_s, store_s):
    time.sleep(run_s)
    return SlowToStore(store_s)


class Trace:
    """A trace as a viewer sees it."""

    def __init__(self, path):
        entries = json.loads(Path(path).read_text())["traceEvents"]
        self.tracks = {entry["tid"]: entry["args"]["name"] for entry in entries if entry["name"] == "thread_name"}
        slices = [entry for entry in entries if entry["ph"] == "X"]
        self.slices = [entry for entry in slices if entry["cat"] == "task"]
        self.phases = [entry for entry in slices if entry["cat"] == "phase"]
        self.counters = {entry["name"] for entry in entries if entry["ph"] == "C"}

    def of(self, name):
        return [entry for entry in self.slices if entry["name"].endswith(name)]


def test_each_attempt_is_a_slice_on_the_track_of_its_worker(tmp_path):
    path = tmp_path / "run.json"
    with ls.Engine(workers=2) as engine:
        assert engine.metrics()
        naps = [engine.submit(nap, 0.05) for _ in range(6)]
        pids = {future.result() for future in naps}
        with pytest.raises(ValueError, match="as intended"):
            engine.submit(fail).result()
    traced = engine.trace(path)
    assert (traced.attempts, traced.attempts_missing, traced.events_missed) == (7, 0, 0)
    trace = Trace(path)
    assert {int(trace.tracks[nap["tid"]].split()[-1].rstrip(")")) for nap in trace.of("nap")} == pids
    for entry in trace.of("nap"):
        # What ran is measured by the worker; the sleep is part of it.
        assert 50e3 <= entry["dur"] < 5e6
        assert entry["args"]["outcome"] == "finished"
        assert entry["args"]["queued_ms"] >= 0
    assert [entry["args"]["outcome"] for entry in trace.of("fail")] == ["failed"]
    assert {"tasks", "store (bytes)", "cores busy"} <= trace.counters


def test_slices_of_one_track_do_not_overlap_and_lie_within_the_run(tmp_path):
    with ls.Engine(workers=2) as engine:
        engine.metrics()
        futures = [engine.submit(abs, number) for number in range(2_000)]
        assert sum(future.result() for future in futures) == sum(range(2_000))
    engine.trace(tmp_path / "run.json")
    trace = Trace(tmp_path / "run.json")
    assert len(trace.of("abs")) == 2_000
    assert len({entry["args"]["task"] for entry in trace.slices}) == 2_000
    for track in trace.tracks:
        on_track = sorted((entry["ts"], entry["dur"]) for entry in trace.slices if entry["tid"] == track)
        for (start, duration), (following, _) in pairwise(on_track):
            # To a nanosecond, which is the clock's.
            assert start + duration <= following + 0.002


def test_phases_lie_within_their_attempt(tmp_path):
    lasts_s = {"load": 0.05, "run": 0.1, "store": 0.15}
    load_s, run_s, store_s = lasts_s.values()
    with ls.Engine(workers=1) as engine:
        engine.metrics()
        assert engine.submit(load_run_store, SlowToLoad(load_s), run_s, store_s).result() == store_s
    engine.trace(tmp_path / "run.json")
    trace = Trace(tmp_path / "run.json")
    (attempt,) = trace.slices
    assert [phase["name"] for phase in trace.phases] == list(lasts_s)
    assert all(phase["dur"] >= 1e6 * lasts_s[phase["name"]] for phase in trace.phases)
    # To a microsecond, which is what phases are measured in.
    assert sum(phase["dur"] for phase in trace.phases) == pytest.approx(attempt["dur"], abs=1)
    ends = [attempt["ts"], *(phase["ts"] + phase["dur"] for phase in trace.phases)]
    assert [phase["ts"] for phase in trace.phases] == pytest.approx(ends[:-1], abs=0.01)
    assert ends[-1] == pytest.approx(attempt["ts"] + attempt["dur"], abs=1)


def test_a_slice_says_how_long_its_call_waited_for_others(tmp_path):
    def outer(seconds):
        return ls.submit(slowly, seconds).result()

    with ls.Engine(workers=2) as engine:
        engine.metrics()
        assert engine.submit(outer, 0.2).result() == 0.2
    engine.trace(tmp_path / "run.json")
    (waits,) = (entry for entry in Trace(tmp_path / "run.json").slices if "waited_ms" in entry["args"])
    assert waits["name"].endswith("outer")
    assert 0 < waits["args"]["waited_ms"] <= waits["dur"] / 1e3


def test_a_result_that_its_worker_writes_to_disk_is_spilled(tmp_path):
    with ls.Engine(workers=1, memory=2**20, spill_dir=tmp_path) as engine:
        engine.metrics()
        results = [engine.submit(bytes, size) for size in (2**16, 2**23)]
        assert [len(result.result()) for result in results] == [2**16, 2**23]
    engine.trace(tmp_path / "run.json")
    trace = Trace(tmp_path / "run.json")
    stored = [phase["name"] for phase in trace.phases if phase["name"] in ("store", "spill")]
    assert stored == ["store", "spill"]


def test_threads_have_a_track_each_and_what_runs_is_there_too(tmp_path):
    with ls.Engine(workers=2) as engine:
        engine.metrics()
        entered, leave = threading.Barrier(3), threading.Event()

        @ls.task(threads=True)
        def held():
            entered.wait(60)
            return leave.wait(60)

        futures = [engine.submit(held) for _ in range(2)]
        entered.wait(60)
        engine.trace(tmp_path / "during.json")
        leave.set()
        assert [future.result() for future in futures] == [True, True]
    during = Trace(tmp_path / "during.json")
    assert len({entry["tid"] for entry in during.of("held")}) == 2
    assert all(entry["args"]["outcome"] == "running" for entry in during.of("held"))
    assert all(during.tracks[entry["tid"]].startswith("threads") for entry in during.of("held"))


def test_workers_that_lived_for_a_moment_have_their_process(tmp_path):
    with ls.Engine(workers=1, max_tasks_per_worker=1) as engine:
        engine.metrics()
        pids = [engine.submit(os.getpid).result() for _ in range(5)]
    engine.trace(tmp_path / "run.json")
    trace = Trace(tmp_path / "run.json")
    ran = [trace.tracks[entry["tid"]] for entry in trace.of("getpid")]
    assert sorted(label.partition(" (")[2] for label in ran) == sorted(f"process {pid})" for pid in pids)


def test_a_trace_that_is_asked_for_late_goes_back_as_far_as_the_log(tmp_path):
    with ls.Engine(workers=2) as engine:
        assert engine.submit(abs, -1).result() == 1
        traced = engine.trace(tmp_path / "run.json")
    assert (traced.attempts, traced.events_missed) == (1, 0)


def test_a_file_that_cannot_be_written_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "no such folder" / "run.json"
    with ls.Engine(workers=1) as engine, pytest.raises(FileNotFoundError, match=re.escape(str(path))):
        engine.trace(path)


@pytest.mark.parametrize("kind", ["trace", "report"])
@pytest.mark.parametrize("is_link", [False, True])
def test_what_is_not_written_to_its_end_replaces_nothing(tmp_path, kind, is_link):
    path, file = tmp_path / "last", tmp_path / ("good" if is_link else "last")
    if is_link:
        path.symlink_to(file.name)
    with ls.Engine(workers=1) as engine:
        assert [future.result() for future in [engine.submit(abs, number) for number in range(200)]] == list(range(200))
        write = getattr(engine, kind)
        file.write_text("from before")
        file.chmod(0o640)
        files = sorted(tmp_path.iterdir())
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        try:
            with pytest.raises(OSError, match=re.escape(str(path))):
                write(path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert file.read_text() == "from before"
        assert sorted(tmp_path.iterdir()) == files
        write(path)
    assert file.stat().st_size > 4096
    assert file.stat().st_mode & 0o777 == 0o640
    assert path.is_symlink() == is_link
    assert sorted(tmp_path.iterdir()) == files


def test_what_cannot_be_replaced_is_written_to(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with ls.Engine(workers=1) as engine:
        engine.trace(pipe)
    assert os.read(reader, 1) == b"{"
    os.close(reader)


def run(*arguments, cwd):
    command = [sys.executable, "-m", "lineshaft", "run", "--no-dashboard", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


PROGRAM = """
import os, sys
from concurrent.futures import ProcessPoolExecutor
def square(x):
    return x * x
if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        print(sum(pool.map(square, range(100))))
    if "fork" in sys.argv and os.fork() == 0:
        sys.exit(0)
"""


@pytest.mark.parametrize("argument", ["plain", "fork"])
def test_lineshaft_run_writes_the_trace_of_an_unmodified_program(tmp_path, argument):
    (tmp_path / "program.py").write_text(PROGRAM)
    ended = run("--trace", "run.json", "--no-summary", "program.py", argument, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "328350\n"
    path = tmp_path / "run.json"
    assert ended.stderr == f"lineshaft: trace in {path}: 100 attempts\n"
    assert len(Trace(path).of("square")) == 100
    assert sorted(file.name for file in tmp_path.iterdir()) == ["program.py", "run.json"]


def test_a_trace_that_cannot_be_written_does_not_change_how_the_program_ends(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    folder = tmp_path / "folder"
    folder.mkdir()
    program = PROGRAM + '    os.rmdir("folder")\n'
    (tmp_path / "program.py").write_text(program)
    ended = run("--trace", "folder/run.json", "--no-summary", "program.py", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (0, "328350\n")
    assert ended.stderr.startswith(f"lineshaft: no trace in {folder / 'run.json'}: No such file")


@pytest.mark.parametrize("option", ["--trace", "--report"])
def test_a_file_that_cannot_be_written_is_known_before_the_program_runs(tmp_path, option):
    (tmp_path / "program.py").write_text(PROGRAM)
    for path, named in (("missing/run", "missing"), (".", "")):
        ended = run(option, path, "program.py", cwd=tmp_path)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.startswith(f"lineshaft run: cannot write to {tmp_path / named}: ")


def test_without_an_engine_there_is_no_trace(tmp_path):
    (tmp_path / "program.py").write_text("print('hello')")
    ended = run("--trace", "run.json", "program.py", cwd=tmp_path)
    path = tmp_path / "run.json"
    assert ended.stdout == "hello\n"
    assert ended.stderr == f"lineshaft: no trace in {path}: the program made no use of Lineshaft's engine\n"
    assert not (tmp_path / "run.json").exists()
