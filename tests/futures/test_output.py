"""What calls print and log in workers is shown where this process shows its own."""

import logging
import os
import sys
import warnings

import pytest

import lineshaft as ls

from .events import wait_until

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


def shown(capsys, text: str, stream: str = "out") -> str:
    """Wait until `text` was shown."""
    seen = ""

    def is_there() -> bool:
        nonlocal seen
        seen += getattr(capsys.readouterr(), stream)
        return text in seen

    wait_until(is_there, f"{text!r} was not shown")
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


def test_log_records(one, caplog):
    with caplog.at_level(logging.INFO, __name__):
        one.submit(note, logging.WARNING, "%s is %d", "x", 3).result()
        wait_until(lambda: bool(caplog.records), "no record arrived")
    (record,) = caplog.records
    assert (record.name, record.levelno, record.getMessage()) == (__name__, logging.WARNING, "x is 3")
    assert record.process != os.getpid()
    assert record.funcName == "note"


def test_logged_exceptions(one, caplog):
    one.submit(note_exception).result()
    wait_until(lambda: bool(caplog.records), "no record arrived")
    assert "it failed" in caplog.text
    assert "ZeroDivisionError: division by zero" in caplog.text


def test_levels_of_this_process_apply(one, caplog):
    with caplog.at_level(logging.WARNING, __name__):
        one.submit(note, logging.INFO, "unwanted").result()
        one.submit(note, logging.ERROR, "wanted").result()
        wait_until(lambda: "wanted" in [record.getMessage() for record in caplog.records], "no record arrived")
    assert [record.getMessage() for record in caplog.records] == ["wanted"]


def test_warnings(one, capsys):
    one.submit(warn, "careful").result()
    assert "UserWarning: careful" in shown(capsys, "careful", "err")


def test_nothing_is_lost_at_shutdown(capsys):
    with ls.ProcessPoolExecutor(2) as executor:
        for number in range(20):
            executor.submit(say, f"line {number}")
    seen = shown(capsys, "line ")
    assert sorted(seen.split("\n")) == sorted(["", *(f"line {number}" for number in range(20))])
