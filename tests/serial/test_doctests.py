"""The examples in docstrings."""

import doctest
import importlib
import pkgutil

import pytest

import lineshaft._serial

MODULES = [
    "lineshaft.errors",
    *(f"lineshaft._serial.{m.name}" for m in pkgutil.iter_modules(lineshaft._serial.__path__)),
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
