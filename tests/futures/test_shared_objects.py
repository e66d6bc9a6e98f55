"""Objects of `multiprocessing` reach workers as they reach the processes of the standard library's executors."""

import multiprocessing
import socket
from typing import Any

import pytest

import lineshaft as ls

_shared: tuple[Any, ...] = ()


def keep(*shared: Any) -> None:
    global _shared
    _shared = shared


def use(number: int) -> bool:
    lock, queue, value, array, event, proxy = _shared
    with lock:
        value.value += number
    array[number] = number
    queue.put(number)
    proxy[number] = number
    return event.is_set()


def send_by(connection: Any, message: str) -> None:
    connection.send(message)


def send_by_socket(connection: socket.socket, message: bytes) -> None:
    connection.sendall(message)


def make_pipe() -> tuple[Any, Any]:
    return multiprocessing.Pipe()


def set_item(proxy: Any, key: str, value: int) -> None:
    proxy[key] = value


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_arguments_of_an_initializer(method):
    context = multiprocessing.get_context(method)
    with context.Manager() as manager:
        lock, queue, event, proxy = context.Lock(), context.Queue(), context.Event(), manager.dict()
        value, array = context.Value("i", 0), context.Array("i", 5)
        event.set()
        arguments = (lock, queue, value, array, event, proxy)
        with ls.ProcessPoolExecutor(2, context, initializer=keep, initargs=arguments) as executor:
            assert list(executor.map(use, range(5))) == [True] * 5
            assert sorted(queue.get(timeout=30) for _ in range(5)) == list(range(5))
        assert (value.value, list(array), dict(proxy)) == (10, [0, 1, 2, 3, 4], {n: n for n in range(5)})


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_connection_as_an_argument(method):
    with ls.ProcessPoolExecutor(1, multiprocessing.get_context(method)) as executor:
        executor.submit(int).result()
        # Made after the worker, so that it cannot have inherited them.
        ours, theirs = multiprocessing.Pipe()
        future = executor.submit(send_by, theirs, "hello")
        theirs.close()
        future.result(30)
        assert ours.recv() == "hello"
        with pytest.raises(EOFError):
            ours.recv()


def test_a_socket_as_an_argument(processes):
    processes.submit(int).result()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        processes.submit(send_by_socket, theirs, b"hello").result(30)
        assert ours.recv(10) == b"hello"


def test_connections_as_a_result(processes):
    one, other = processes.submit(make_pipe).result(30)
    one.send("hello")
    assert other.recv() == "hello"


def test_a_proxy_as_an_argument():
    with ls.Engine(workers=1) as engine:
        engine.submit(int).result()
        with multiprocessing.Manager() as manager:
            proxy = manager.dict()
            engine.submit(set_item, proxy, "x", 1).result(30)
            assert dict(proxy) == {"x": 1}
