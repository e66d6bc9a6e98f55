"""Who looks at the stacks of tasks changes nothing about them."""

import ctypes
import errno
import os
import signal

from tests.answers import get
from tests.events import eventually

import lineshaft as ls
from lineshaft import _native


def stacks_of(engine, name):
    """How many stacks of a function have been taken; more are taken because somebody asks."""
    groups = get(engine, "/api/profile")["groups"]
    return sum(group["stacks"] for group in groups if group["name"] == name)


def watch(engine, name, stacks):
    eventually(lambda: stacks_of(engine, name) >= stacks, "it is looked at")


def read_in_c(path):
    """Return how often a system call was interrupted that waits for what is written."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(path, os.O_RDONLY)
    interrupted = 0
    while libc.read(fd, ctypes.create_string_buffer(1), 1) == -1:
        assert ctypes.get_errno() == errno.EINTR
        interrupted += 1
    return interrupted


def forget_handler(path):
    signal.signal(_native.LOOK_SIGNAL, signal.SIG_DFL)
    with open(path, "rb") as file:  # noqa: PTH123 - a name of a pipe
        return file.read(1)


def test_a_call_that_waits_in_c_is_interrupted_once(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with ls.Engine(workers=1) as engine:
        interrupted = engine.submit(read_in_c, path)
        writer = os.open(path, os.O_WRONLY)
        watch(engine, "read_in_c", 12)
        os.write(writer, b"x")
        os.close(writer)
        # The kernel's clock may tick while it writes its stack, which looks as if it had computed.
        assert interrupted.result(30) <= 3


def test_a_task_that_takes_the_handler_away_lives_on(tmp_path):
    paths = [tmp_path / "one", tmp_path / "other"]
    for path in paths:
        os.mkfifo(path)
    with ls.Engine(workers=2) as engine:
        tasks = [engine.submit(forget_handler, paths[0]), engine.submit(read_in_c, paths[1])]
        writers = [os.open(path, os.O_WRONLY) for path in paths]
        watch(engine, "read_in_c", 5)
        for writer in writers:
            os.write(writer, b"x")
            os.close(writer)
        assert tasks[0].result(30) == b"x"
        tasks[1].result(30)
