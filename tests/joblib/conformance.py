"""A plugin for pytest that puts Lineshaft among the backends which joblib's own tests go through.

``-p tests.joblib.conformance`` is read before the tests are: they look at joblib's table of backends
when they are imported. Lineshaft is the default one, too. What is about other backends only is left out,
what cannot hold is in ``skips.toml``, with reasons.

Run by itself, ``python -m tests.joblib.conformance`` runs all of joblib's tests under ``lineshaft run``, where the
names of joblib's own backends mean the engine's.
"""

from __future__ import annotations

import os
import sys
import tempfile
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from joblib.parallel import BACKENDS, ParallelBackendBase

import joblib
import lineshaft.joblib
from lineshaft.joblib.backend import LineshaftBackend

#: Whether this is the run under ``lineshaft run``.
IS_SERVED = BACKENDS["loky"] is LineshaftBackend
joblib.register_parallel_backend(lineshaft.joblib.NAME, LineshaftBackend, make_default=not IS_SERVED)

SKIPS = Path(__file__).with_name("skips.toml")


def read_skips(text: str, *, is_served: bool = False) -> dict[str, str]:
    """Return the reason for each pattern of one of the two runs.

    Raises
    ------
    ValueError
        If one has no reason, or there is something else in the file.
    """
    found: dict[str, str] = {}
    content: dict[str, Any] = tomllib.loads(text)
    for entry in content.pop("skip", []):
        reason = str(entry.get("reason", "")).strip()
        if len(reason.split()) < 4:
            raise ValueError(f"{entry.get('test')!r} is skipped without a reason")
        if is_served in entry.get("is_served", [False]):
            found[entry["test"]] = " ".join(reason.split())
    if content:
        raise ValueError(f"unknown in {SKIPS.name}: {', '.join(content)}")
    return found


def concerns_us(item: pytest.Item) -> bool:
    """Whether a test uses the default backend or names ours; one that names others only does not."""
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    backends = [value for value in values if isinstance(value, ParallelBackendBase) or value in list(BACKENDS)]
    ours = [value for value in backends if isinstance(value, LineshaftBackend) or value == lineshaft.joblib.NAME]
    return bool(ours) or not backends


def command(folder: Path, *, is_served: bool = False) -> list[str]:
    """Return the command that runs joblib's tests, as if in `folder`."""
    tests = Path(joblib.__file__).parent / "test" / "test_parallel.py"
    runner = ["-m", "lineshaft", "run", "--no-summary"] if is_served else []
    options = ["-p", "tests.joblib.conformance", "-p", "no:cacheprovider", "-q", "-rs", "-W", "ignore"]
    options += ["--rootdir", str(folder), "-c", os.devnull, "-o", "timeout=120", "--import-mode=importlib"]
    return [sys.executable, *runner, "-m", "pytest", str(tests), *options]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose, skip what is named, and see to it that every name means something."""
    left_out = [] if IS_SERVED else [item for item in items if not concerns_us(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
    for pattern, reason in read_skips(SKIPS.read_text(), is_served=IS_SERVED).items():
        fitting = [item for item in items if fnmatchcase(item.name, pattern)]
        if not fitting:
            raise pytest.UsageError(f"{SKIPS.name}: no test fits {pattern!r}")
        for item in fitting:
            item.add_marker(pytest.mark.skip(reason=f"{SKIPS.name}: {reason}"))


if __name__ == "__main__":
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, sys.path)])
    with tempfile.TemporaryDirectory() as temporary:
        served = command(Path(temporary), is_served=True)
        sys.exit(os.spawnv(os.P_WAIT, served[0], served))
