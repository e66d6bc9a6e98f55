"""Whatever a task prints arrives where this process prints, complete and in order."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.faults.tasks import Mailbox

import lineshaft as ls

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.conftest import Program

LINES = 16384
#: Lines of 64 bytes: a megabyte.
MEGABYTE = "".join(f"{n:063d}\n" for n in range(LINES))


def print_lines(first: int, last: int) -> str:
    for n in range(first, last):
        print(f"{n:063d}")
    return "done"


def write_bytes(fd: int) -> str:
    data = MEGABYTE.encode()
    while data:
        data = data[os.write(fd, data) :]
    return "done"


def test_megabyte_by_print(engine: ls.Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert engine.submit(print_lines, 0, LINES).result() == "done"
    engine.shutdown()
    assert capsys.readouterr().out == MEGABYTE


def test_megabyte_by_print_as_bytes(engine: ls.Engine, capfd: pytest.CaptureFixture[str]) -> None:
    assert engine.submit(print_lines, 0, LINES).result() == "done"
    engine.shutdown()
    assert capfd.readouterr().out == MEGABYTE


@pytest.mark.parametrize("fd", [1, 2])
def test_megabyte_by_descriptor(engine: ls.Engine, capfd: pytest.CaptureFixture[str], fd: int) -> None:
    assert engine.submit(write_bytes, fd).result() == "done"
    engine.shutdown()
    captured = capfd.readouterr()
    assert (captured.out, captured.err)[fd - 1] == MEGABYTE
    assert (captured.out, captured.err)[2 - fd] == ""


def test_megabyte_without_a_line_end(engine: ls.Engine, capfd: pytest.CaptureFixture[str]) -> None:
    def write() -> None:
        sys.stdout.write("x" * (1 << 20))

    engine.submit(write).result()
    engine.shutdown()
    assert capfd.readouterr().out == "x" * (1 << 20)


def test_output_of_many_tasks(engine: ls.Engine, capfd: pytest.CaptureFixture[str]) -> None:
    futures = [engine.submit(print_lines, n, n + 64) for n in range(0, LINES, 64)]
    assert {future.result() for future in futures} == {"done"}
    engine.shutdown()
    lines = capfd.readouterr().out.splitlines()
    assert sorted(lines) == MEGABYTE.splitlines()


def test_characters_are_not_torn(engine: ls.Engine, capfd: pytest.CaptureFixture[str]) -> None:
    def write() -> None:
        print("a" + "\u20ac" * 100_000)

    engine.submit(write).result()
    engine.shutdown()
    assert capfd.readouterr().out == "a" + "\u20ac" * 100_000 + "\n"


def test_output_of_a_subprocess_of_a_task(engine: ls.Engine, capfd: pytest.CaptureFixture[str]) -> None:
    def run() -> int:
        return subprocess.run(["seq", "100000"], check=True).returncode

    assert engine.submit(run).result() == 0
    engine.shutdown()
    assert capfd.readouterr().out == "".join(f"{n}\n" for n in range(1, 100_001))


def test_last_words_of_a_dying_worker(engine: ls.Engine, capfd: pytest.CaptureFixture[str]) -> None:
    def die() -> None:
        os.write(1, b"o" * 60_000)
        os.write(2, b"e" * 60_000)
        os._exit(1)

    assert engine.submit(die).exception() is not None
    engine.shutdown()
    captured = capfd.readouterr()
    assert captured.out == "o" * 60_000
    assert captured.err == "e" * 60_000


def test_printed_before_the_result_is_taken(
    engine: ls.Engine, capfd: pytest.CaptureFixture[str], mailbox: Callable[[], Mailbox]
) -> None:
    printed, leave = mailbox(), mailbox()

    def write(printed: Mailbox, leave: Mailbox) -> None:
        print("while it runs", flush=True)
        printed.send()
        leave.receive()

    future = engine.submit(write, printed, leave)
    printed.receive()
    # Nobody waits for a result: the engine's own thread brings it.
    seen = ""
    while "while it runs" not in seen:
        seen += capfd.readouterr().out
    leave.send()
    future.result()


def test_records_are_logged_here(engine: ls.Engine, caplog: pytest.LogCaptureFixture) -> None:
    def log() -> None:
        for n in range(1000):
            logging.getLogger("task").warning("record %d", n)

    engine.submit(log).result()
    engine.shutdown()
    assert [record.getMessage() for record in caplog.records if record.name == "task"] == [
        f"record {n}" for n in range(1000)
    ]


def test_megabyte_of_a_program(program: Callable[..., Program]) -> None:
    started = program(
        """
        import lineshaft as ls

        def work():
            for n in range(16384):
                print(f"{n:063d}")

        ls.submit(work).result()
        """
    )
    out, err = started.end()
    assert (started.process.returncode, err) == (0, "")
    assert out == MEGABYTE


def test_closed_output_ends_nothing(program: Callable[..., Program]) -> None:
    started = program(
        """
        import os, sys
        import lineshaft as ls

        def work(n):
            print("x" * 100_000)
            return n

        os.close(1)
        print(list(ls.map(work, range(10), progress=False)), file=sys.stderr)
        os.open(os.devnull, os.O_WRONLY)  # for the interpreter's own last flush
        """
    )
    _, err = started.end()
    assert started.process.returncode == 0, err
    assert err.splitlines()[-1] == str(list(range(10)))


def test_records_that_nobody_handles_have_an_end(program: Callable[..., Program]) -> None:
    """While the program's handler waits, records queue up: up to some memory, and then they are counted."""
    started = program(
        """
        import logging, threading, time
        import lineshaft as ls

        handling, go_on = threading.Event(), threading.Event()
        handled = []

        class Slow(logging.Handler):
            def emit(self, record):
                handling.set()
                go_on.wait()
                handled.append(record)

        logging.getLogger().addHandler(Slow())

        def work(count):
            log, text = logging.getLogger("task"), "x" * 1_000_000
            for _ in range(count):
                log.warning(text)

        with ls.Engine(workers=1) as engine:
            future = engine.submit(work, 100)
            handling.wait()
            while not future.done():
                time.sleep(0.01)
            go_on.set()
        print(len(handled))
        """
    )
    out, err = started.end()
    handled = int(out)
    assert 60 <= handled < 80
    assert err == f"lineshaft: {100 - handled} log records of workers were dropped\n"
