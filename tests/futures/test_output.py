"""What calls print and log in workers is shown where this process shows its own."""

import io
import logging
import multiprocessing
import os
import sys
import threading
import time
import warnings

import pytest
from tests.events import FileEvent, eventually

import lineshaft as ls

log = logging.getLogger(__name__)


def say(text: str) -> None:
    print(text)


def say_error(text: str) -> None:
    print(text, file=sys.stderr)


def say_by_descriptor(text: str) -> None:
    os.write(1, text.encode())


def note(level: int, text: str, *args: object) -> None:
    log.log(level, text, *args)


def note_exception() -> None:
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        log.exception("it failed")


def warn(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=1)


def say_much(lines: int) -> None:
    for number in range(lines):
        print(number)


@pytest.fixture
def one():
    """One worker process."""
    with ls.ProcessPoolExecutor(1) as executor:
        yield executor


@pytest.fixture
def fresh():
    """One worker process that is no fork of this one: its log records and warnings come here."""
    with ls.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        yield executor


def shown(capsys, text: str, stream: str = "out") -> str:
    """Wait until `text` was shown."""
    seen = ""

    def is_there() -> bool:
        nonlocal seen
        seen += getattr(capsys.readouterr(), stream)
        return text in seen

    eventually(is_there, f"{text!r} was not shown")
    return seen


def test_print(one, capsys):
    one.submit(say, "to the output, ünïcode").result()
    shown(capsys, "to the output, ünïcode\n")
    one.submit(say_error, "to the errors").result()
    shown(capsys, "to the errors\n", "err")


def test_descriptors(one, capsys):
    one.submit(say_by_descriptor, "around sys.stdout\n").result()
    shown(capsys, "around sys.stdout\n")


def test_order_and_completeness(one, capsys):
    one.submit(say_much, 5000).result()
    assert shown(capsys, "4999\n") == "".join(f"{number}\n" for number in range(5000))


def test_log_records(fresh, caplog):
    with caplog.at_level(logging.INFO, __name__):
        fresh.submit(note, logging.WARNING, "%s is %d", "x", 3).result()
        eventually(lambda: bool(caplog.records), "no record arrived")
    (record,) = caplog.records
    assert (record.name, record.levelno, record.getMessage()) == (__name__, logging.WARNING, "x is 3")
    assert record.process != os.getpid()
    assert record.funcName == "note"


def test_logged_exceptions(fresh, caplog):
    fresh.submit(note_exception).result()
    eventually(lambda: bool(caplog.records), "no record arrived")
    assert "it failed" in caplog.text
    assert "ZeroDivisionError: division by zero" in caplog.text


class NeedsTwo(Exception):  # noqa: N818
    """Can be pickled, but not loaded."""

    def __init__(self, first: str, second: int) -> None:
        super().__init__(f"{first} and {second}")


def note_with_attributes() -> None:
    def no_repr(_: object) -> str:
        raise ValueError

    unnamed = type("Unnamed", (), {"__repr__": no_repr})
    attributes = {"kept": [1, 2], "lock": threading.Lock(), "lost": NeedsTwo("a", 2), "unnamed": unnamed()}
    logging.getLogger(__name__).warning("with %s", "attributes", extra=attributes)


def test_attributes_of_records_that_cannot_be_sent(fresh, caplog, capfd):
    fresh.submit(note_with_attributes).result()
    eventually(lambda: bool(caplog.records), "no record arrived")
    record = vars(caplog.records[0])
    assert (record["message"], record["kept"]) == ("with attributes", [1, 2])
    assert record["lock"].startswith("<unlocked _thread.lock object")
    assert record["lost"].startswith("<cannot be loaded: TypeError")
    assert record["unnamed"] == "<Unnamed: its repr() raised ValueError>"
    assert "Logging error" not in capfd.readouterr().err


def test_levels_of_this_process_apply(fresh, caplog):
    with caplog.at_level(logging.WARNING, __name__):
        fresh.submit(note, logging.INFO, "unwanted").result()
        fresh.submit(note, logging.ERROR, "wanted").result()
        eventually(lambda: "wanted" in [record.getMessage() for record in caplog.records], "no record arrived")
    assert [record.getMessage() for record in caplog.records] == ["wanted"]


def test_a_fork_has_the_handlers_of_this_process(tmp_path):
    handler = logging.FileHandler(tmp_path / "log")
    logger = logging.getLogger(__name__)
    logger.addHandler(handler)
    try:
        with ls.ProcessPoolExecutor(1) as executor:
            executor.submit(note, logging.ERROR, "once").result()
    finally:
        logger.removeHandler(handler)
        handler.close()
    assert (tmp_path / "log").read_text() == "once\n"


def test_warnings(fresh, capsys):
    fresh.submit(warn, "careful").result()
    assert "UserWarning: careful" in shown(capsys, "careful", "err")


def test_nothing_is_lost_at_shutdown(capsys):
    with ls.ProcessPoolExecutor(2) as executor:
        for number in range(20):
            executor.submit(say, f"line {number}")
    seen = shown(capsys, "line ")
    assert sorted(seen.split("\n")) == sorted(["", *(f"line {number}" for number in range(20))])


def say_and_log(number: int) -> int:
    print(number)
    print("part", end=";")
    os.write(1, b"raw\n")
    log.warning("logged %d", number)
    return number


@pytest.mark.parametrize("ask", [lambda future: future.result(), lambda future: future.exception()])
def test_before_the_result(fresh, capsys, caplog, ask):
    """What a call printed and logged is there when its result is."""
    for number in range(200):
        with caplog.at_level(logging.WARNING, __name__):
            ask(fresh.submit(say_and_log, number))
        assert capsys.readouterr().out.replace("part;", "") == f"{number}\nraw\n"
        assert [record.getMessage() for record in caplog.records] == [f"logged {number}"]
        caplog.clear()


def test_before_the_result_while_a_callback_runs(one, capsys):
    begun, leave = threading.Event(), threading.Event()
    # It holds the thread that deals with callbacks.
    waiting = one.submit(time.sleep, 0.2)
    waiting.add_done_callback(lambda _: (begun.set(), leave.wait(60)))
    try:
        assert begun.wait(60)
        one.submit(say, "shown").result()
        assert capsys.readouterr().out == "shown\n"
    finally:
        leave.set()


def test_levels_that_were_set_before(capsys, caplog):
    chatty = logging.getLogger("lineshaft-test-chatty")
    spawn = multiprocessing.get_context("spawn")
    with caplog.at_level(logging.DEBUG, chatty.name), ls.ProcessPoolExecutor(1, spawn) as executor:
        executor.submit(chatty.debug, "in detail").result()
        assert [record.getMessage() for record in caplog.records] == ["in detail"]


def write_bytes() -> None:
    sys.stdout.write("text ")
    sys.stdout.buffer.write(b"\xff\xfe\n")


def test_bytes_pass_unchanged(one, capfdbinary):
    one.submit(write_bytes).result()
    assert sorted(capfdbinary.readouterr().out) == sorted(b"text \xff\xfe\n")


class Listener(io.TextIOWrapper):
    """A stream of the program that does something with what is written."""

    def write(self, text: str) -> int:
        heard.append(text)
        return len(text)


heard: list[str] = []


def test_streams_of_the_program_hear_text(one, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Listener(io.BytesIO()))
    one.submit(say, "words").result()
    assert "".join(heard) == "words\n"


def write_in_halves(character: str, go_on: FileEvent) -> None:
    data = character.encode()
    os.write(1, b"[" + data[:1])
    go_on.wait()
    os.write(1, data[1:] + b"]")


def test_characters_of_several_workers_at_a_time(processes, monkeypatch, event):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    futures = [processes.submit(write_in_halves, character, event("go on")) for character in "éü"]
    eventually(lambda: sys.stdout.getvalue().count("[") == 2, "both have begun a character")
    event("go on").set()
    for future in futures:
        future.result()
    assert sorted(sys.stdout.getvalue()) == sorted("[é][ü]")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def are_terminals() -> tuple[bool, bool]:
    return sys.stdout.isatty(), sys.stderr.isatty()


def test_terminals(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with ls.ProcessPoolExecutor(1) as executor:
        assert executor.submit(are_terminals).result() == (True, False)
