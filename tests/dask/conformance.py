"""A plugin for pytest that runs Dask's own tests with Lineshaft as Dask's schedulers, as `lineshaft run` does it.

``-p tests.dask.conformance`` is read before Dask is imported: its collections note their schedulers when they are
defined. Tests that are skipped, and why, are in ``conformance.txt``: a line for each, with the name of the test or of
its file from the package on, two spaces, ``# `` and the reason.

Run by itself, ``python -m tests.dask.conformance`` runs all the tests of Dask that concern schedulers; `make test`
runs those of `PART`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest

import lineshaft._patch

# Before Dask is imported: its collections note their schedulers when they are defined.
lineshaft._patch.apply(["dask"])

# Most tests of collections ask for the synchronous scheduler, to be quick. They are to test ours.
from dask.base import named_schedulers  # noqa: E402 - after it is served

named_schedulers.update(dict.fromkeys(["sync", "synchronous", "single-threaded"], named_schedulers["threads"]))

SKIPS = Path(__file__).with_suffix(".txt")

#: What `make test` runs, in half a minute: schedulers, callbacks, and the core of delayed, bag and array.
PART = (
    *(
        "dask.tests.test_threaded",
        "dask.tests.test_multiprocessing",
        "dask.tests.test_local",
        "dask.tests.test_callbacks",
    ),
    *("dask.tests.test_cache", "dask.tests.test_traceback", "dask.tests.test_delayed", "dask.diagnostics.tests"),
    *("dask.bag.tests.test_bag", "dask.array.tests.test_array_core"),
)
#: All of Dask's tests but those of dataframes, which are many times as many.
ALL = ("dask.tests", "dask.diagnostics.tests", "dask.bag.tests", "dask.array.tests")


def skips() -> dict[str, str]:
    """The reason for each test that is skipped."""
    lines = [line for line in SKIPS.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("  # ", 1) for line in lines)


def command(modules: tuple[str, ...], folder: Path) -> list[str]:
    """The command that runs Dask's tests in these modules, as if in `folder`."""
    options = ["-q", "-m", "not network", "-p", "tests.dask.conformance", "-p", "no:cacheprovider", "-W", "ignore"]
    options += ["--rootdir", str(folder), "-c", os.devnull, "-o", "timeout=120"]
    return [sys.executable, "-m", "pytest", *options, "--pyargs", *modules]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reasons = skips()
    for item in items:
        module = "dask/" + str(item.path).rpartition("/dask/")[2]
        name = f"{module}::{item.nodeid.partition('::')[2]}"
        reason = reasons.get(name) or reasons.get(name.split("[", 1)[0]) or reasons.get(module)
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


if __name__ == "__main__":
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, sys.path)])
    all_tests = command(ALL, Path(tempfile.gettempdir()))
    os.execv(all_tests[0], all_tests)
