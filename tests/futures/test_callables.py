"""Callables of all kinds, such as have no name or make one up."""

import functools
import threading
import xmlrpc.client

import numpy
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


def told_apart(x, y):
    return x - y


def from_the_other(x, y):
    return x + y


def test_partial_calls_are_told_apart_by_their_functions(executor):
    def names():
        return {group["name"]: group["tasks"] for group in ls.default_engine_stats()["groups"]}

    before = names()
    assert executor.submit(functools.partial(told_apart, 7), 2).result(30) == 5
    assert executor.submit(functools.partial(functools.partial(from_the_other, 7), 2)).result(30) == 9
    # What is written in C may have a name and no qualified one.
    assert executor.submit(numpy.negative, 3).result(30) == -3
    new = {name: tasks - before.get(name, 0) for name, tasks in names().items() if tasks != before.get(name)}
    assert new == {"told_apart": 1, "from_the_other": 1, "negative": 1}


def test_it_is_called_by_its_type_where_it_cannot_be_sent(processes):
    with pytest.raises(ls.errors.SerializationError, match=r"argument '0' of _Method\(\)"):
        processes.submit(METHOD, threading.Lock()).result(30)
