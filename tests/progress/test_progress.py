"""The progress bar: when it shows, what it shows, and what it costs."""

import io
import os
import pty
import sys
import time
import types

import pytest

from lineshaft._progress import FIRST_DRAW_S, Progress, render


class Clock:
    def __init__(self):
        self.now_s = 100.0
        self.reads = 0

    def __call__(self):
        self.reads += 1
        return self.now_s


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock():
    return Clock()


def test_quick_work_shows_nothing(clock):
    stream = Terminal()
    with Progress(10, "map", stream=stream, clock=clock) as bar:
        for _ in range(10):
            clock.now_s += FIRST_DRAW_S / 20
            bar.update()
    assert stream.getvalue() == ""


def test_long_work_overwrites_one_line(clock):
    stream = Terminal()
    with Progress(4, "map", stream=stream, clock=clock) as bar:
        for _ in range(4):
            clock.now_s += 2
            bar.update()
    lines = stream.getvalue().split("\r")
    assert lines[0] == ""
    assert [line.split(" [")[1].strip() for line in lines[1:]] == [
        "0:02<0:06, 2.0 s each]",
        "0:04<0:04, 2.0 s each]",
        "0:06<0:02, 2.0 s each]",
        "0:08<0:00, 2.0 s each]",
        "0:08, 2.0 s each]",
    ]
    assert lines[-1].endswith("\n")
    assert "100% |" in lines[-1]
    assert "4/4" in lines[-1]


def test_a_shorter_line_erases_a_longer_one(clock):
    stream = Terminal()
    bar = Progress(None, "map", stream=stream, clock=clock)
    clock.now_s += 1000
    bar.update()
    clock.now_s += 1
    bar.update(100_000)
    bar.close()
    widths = [len(line.rstrip("\n")) for line in stream.getvalue().split("\r")[1:]]
    assert widths[1] >= widths[0]


def test_failures_are_counted(clock):
    stream = Terminal()
    with Progress(3, "map", stream=stream, clock=clock) as bar:
        bar.update()
        clock.now_s += 2
        bar.fail(2)
    assert bar.done == 3
    assert bar.failed == 2
    assert "2 failed]" in stream.getvalue()


def test_refresh_draws_while_nothing_finishes(clock):
    stream = Terminal()
    bar = Progress(3, "map", stream=stream, clock=clock)
    clock.now_s += 5
    bar.refresh()
    assert "0/3 [0:05, 0/s]" in stream.getvalue()
    bar.close()
    bar.refresh()
    bar.update()
    bar.close()


@pytest.mark.parametrize("enabled", [None, False])
def test_no_terminal_no_bar(clock, enabled):
    stream = io.StringIO()
    with Progress(3, "map", enabled=enabled, stream=stream, clock=clock) as bar:
        clock.now_s += 60
        bar.update(3)
    assert stream.getvalue() == ""
    assert bar.done == 3


def test_disabled_on_a_terminal(clock):
    stream = Terminal()
    with Progress(3, "map", enabled=False, stream=stream, clock=clock) as bar:
        clock.now_s += 60
        bar.update(3)
    assert stream.getvalue() == ""


def test_forced_without_terminal_writes_lines(clock):
    stream = io.StringIO()
    with Progress(100, "map", enabled=True, stream=stream, clock=clock) as bar:
        for _ in range(100):
            clock.now_s += 0.5
            bar.update()
    lines = stream.getvalue().splitlines()
    assert "\r" not in stream.getvalue()
    assert 4 <= len(lines) <= 7
    assert lines[-1].startswith("map 100% ")


def test_no_stream_at_all(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with Progress(3, "map") as bar:
        bar.update()


def test_a_closed_stream_ends_the_bar_and_not_the_work(clock):
    stream = Terminal()
    bar = Progress(3, "map", stream=stream, clock=clock)
    stream.isatty()
    stream.close()
    clock.now_s += 2
    bar.update()
    bar.update()
    bar.close()
    assert bar.done == 2


def test_in_a_notebook(clock, monkeypatch):
    shown = []

    class Handle:
        def update(self, data, raw):
            assert raw
            shown.append(data["text/plain"])

    def display(data, *, raw, display_id):
        assert raw
        assert display_id
        shown.append(data["text/plain"])
        return Handle()

    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    module = types.ModuleType("IPython.display")
    module.display = display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    stream = io.StringIO()
    with Progress(2, "map", stream=stream, clock=clock) as bar:
        for _ in range(2):
            clock.now_s += 2
            bar.update()
    assert stream.getvalue() == ""
    assert len(shown) == 3
    assert "2/2" in shown[-1]


def test_ipython_in_a_terminal_is_no_notebook(clock, monkeypatch):
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    stream = Terminal()
    with Progress(2, "map", stream=stream, clock=clock) as bar:
        clock.now_s += 2
        bar.update()
    assert "1/2" in stream.getvalue()


def test_on_a_real_terminal(clock):
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream, Progress(2, "map", stream=stream, clock=clock) as bar:
        clock.now_s += 2
        bar.update()
        stream.flush()
        text = os.read(ours, 1000).decode()
        os.set_blocking(ours, False)
    os.close(ours)
    assert text.startswith("\rmap  50% |")


@pytest.mark.parametrize("columns", [10, 20, 40, 80, 200])
@pytest.mark.parametrize("total", [None, 0, 10, 10**9])
def test_a_line_fits(columns, total):
    line = render(done=10, total=total, failed=123, elapsed_s=98765, description="long description", columns=columns)
    assert len(line) <= columns
    assert "\n" not in line


def test_the_clock_is_read_rarely(clock):
    bar = Progress(10**6, "map", stream=Terminal(), clock=clock)
    for _ in range(100_000):
        clock.now_s += 1e-6
        bar.update()
    assert clock.reads < 100_000 / 10


def test_after_a_slow_down_the_bar_is_soon_alive_again(clock):
    stream = Terminal()
    bar = Progress(10**6, "map", stream=stream, clock=clock)
    for _ in range(100_000):
        clock.now_s += 1e-6
        bar.update()
    assert stream.getvalue() == ""
    for _ in range(16):
        clock.now_s += 1
        bar.update()
    assert stream.getvalue() != ""


@pytest.mark.parametrize("enabled", [False, None])
def test_an_update_is_cheap(enabled):
    stream = Terminal() if enabled is None else io.StringIO()
    bar = Progress(None, "map", enabled=enabled, stream=stream)
    best_s = float("inf")
    for _ in range(5):
        update = bar.update
        start = time.thread_time()
        for _ in range(20_000):
            update()
        best_s = min(best_s, (time.thread_time() - start) / 20_000)
    # The promise is 0.3 us; shared machines get some air.
    assert best_s < 1e-6
