"""Callables of all kinds, such as have no name or make one up."""

import threading
import xmlrpc.client

import pytest

import lineshaft as ls

#: Whatever it is asked for is a method of the server's, `__qualname__` too.
METHOD = xmlrpc.client.ServerProxy("http://127.0.0.1:9").add


class Namesake:
    """Is called what it likes."""

    def __init__(self, name):
        self.__qualname__ = name

    def __call__(self, x):
        return -x


def test_a_method_of_a_server(threads):
    with pytest.raises(ConnectionRefusedError):
        threads.submit(METHOD, 1, 2).result(30)


@pytest.mark.parametrize("name", [None, 3, "", "\ud800"], ids=repr)
def test_a_name_that_is_none(executor, name):
    assert executor.submit(Namesake(name), 1).result(30) == -1


def test_it_is_called_by_its_type_where_it_cannot_be_sent(processes):
    with pytest.raises(ls.errors.SerializationError, match=r"argument '0' of _Method\(\)"):
        processes.submit(METHOD, threading.Lock()).result(30)
