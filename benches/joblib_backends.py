"""joblib's `Parallel` and scikit-learn through each backend.

What must hold against the best of joblib's own backends is promised against each of them.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from benches import usage
from benches.measure import WORKERS, Measure, Target
from benches.startup import until_first_result
from benches.tasks import fresh, noop, total, wait_briefly

LINESHAFT = "joblib, lineshaft"
LOKY = "joblib, loky"
THREADING = "joblib, threading"
BACKENDS = {LINESHAFT: "lineshaft", LOKY: "loky", THREADING: "threading"}

NOOPS = 10_000
ARRAY_TASKS = 16
ARGUMENT_MB = 200
RESULT_MB = 50
#: Room for noise where a promise is "no slower".
NO_SLOWER = 0.95

START = """
{first}
from joblib import Parallel, delayed
assert Parallel(n_jobs={workers}, backend={backend!r})(delayed(abs)(-1) for _ in range({workers})) == [1] * {workers}
print("done", flush=True)
"""


@contextmanager
def parallel(name: str, **options: Any) -> Iterator[Any]:
    """Open a `Parallel` of this backend and see all its workers started."""
    joblib = importlib.import_module("joblib")
    if name == LINESHAFT:
        importlib.import_module("lineshaft.joblib")
    with joblib.Parallel(n_jobs=WORKERS, backend=BACKENDS[name], **options) as pool:
        pool(joblib.delayed(wait_briefly)() for _ in range(WORKERS))
        yield lambda function, arguments: pool(joblib.delayed(function)(argument) for argument in arguments)


@contextmanager
def configured(name: str) -> Iterator[None]:
    """Make this backend the one that scikit-learn uses, with workers that have imported it."""
    joblib = importlib.import_module("joblib")
    if name == LINESHAFT:
        importlib.import_module("lineshaft.joblib")
    with joblib.parallel_config(BACKENDS[name], n_jobs=WORKERS):
        _search(["best"])
        yield


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _noops(name: str) -> float:
    with parallel(name, batch_size=1) as run:
        run(noop, range(100))
        return NOOPS / _seconds(lambda: run(noop, range(NOOPS)))


def _start(name: str) -> float:
    first = "import lineshaft.joblib" if name == LINESHAFT else ""
    return until_first_result(START.format(first=first, backend=BACKENDS[name], workers=WORKERS))


def _same_array(name: str, meter: Callable[[Callable[[], Any]], float]) -> float:
    import numpy as np

    with parallel(name) as run:
        run(total, [np.ones(8)] * ARRAY_TASKS)
        array = np.random.default_rng(0).random(ARGUMENT_MB * 1_000_000 // 8)
        return meter(lambda: run(total, [array] * ARRAY_TASKS))


def _extra_mb(work: Callable[[], Any]) -> float:
    with usage.watching() as peak:
        work()
    return peak.extra_mb


def _fresh_arrays(name: str) -> float:
    with parallel(name) as run:
        run(partial(fresh, size_mb=1), range(ARRAY_TASKS))
        return _seconds(lambda: run(partial(fresh, size_mb=RESULT_MB), range(ARRAY_TASKS)))


def _search(splitters: list[str]) -> None:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import GridSearchCV
    from sklearn.tree import DecisionTreeClassifier

    grid = {"max_depth": [2, 4, 6, 8, 10, None], "criterion": ["gini", "entropy"], "splitter": splitters}
    GridSearchCV(DecisionTreeClassifier(random_state=0), grid, cv=5).fit(*load_digits(return_X_y=True))


def _grid_search(name: str) -> float:
    with configured(name):
        return _seconds(lambda: _search(["best", "random"]))


def _forest(name: str) -> float:
    from sklearn.datasets import load_digits
    from sklearn.ensemble import RandomForestClassifier

    features, labels = load_digits(return_X_y=True)
    with configured(name):
        return _seconds(lambda: RandomForestClassifier(300, random_state=0).fit(features, labels).predict(features))


def compute(depth: int, width: int, steps: int) -> int:
    """Nest `depth` levels of `width` calls each; the innermost compute for `steps`."""
    if depth == 0:
        return sum(number * number for number in range(steps)) % 2
    joblib = importlib.import_module("joblib")
    calls = (joblib.delayed(compute)(depth - 1, width, steps) for _ in range(width))
    return sum(joblib.Parallel(n_jobs=WORKERS)(calls))


def _nested(name: str, outer: int) -> float:
    with parallel(name) as run:
        run(partial(compute, width=2, steps=10), [1] * WORKERS)
        inner = partial(compute, width=4, steps=200_000)
        return _seconds(lambda: run(inner, [2] * outer))


def _no_slower(*peers: str) -> list[Target]:
    return [Target(ours=LINESHAFT, peer=peer, at_least=NO_SLOWER) for peer in peers]


def _each(sample: Callable[..., float], *args: Any, names: tuple[str, ...] = tuple(BACKENDS)) -> dict[str, Any]:
    return {name: partial(sample, name, *args) for name in names}


MEASURES = [
    Measure(
        name="joblib-unbatched",
        title=f"{NOOPS:,} no-op calls with batch_size=1",
        unit="tasks/s",
        better="higher",
        contestants=_each(_noops),
        targets=[
            Target(ours=LINESHAFT, peer=LOKY, at_least=3),
            Target(ours=LINESHAFT, peer=THREADING, at_least=1),
        ],
    ),
    Measure(
        name="joblib-startup",
        title=f"fresh interpreter, import to the first {WORKERS} results",
        unit="ms",
        contestants=_each(_start),
        targets=[Target(ours=LINESHAFT, peer=LOKY, at_least=2)],
    ),
    Measure(
        name="joblib-same-array",
        title=f"{ARRAY_TASKS} calls that are given the same array of {ARGUMENT_MB} MB and sum it",
        unit="s",
        contestants=_each(_same_array, _seconds),
        targets=[Target(ours=LINESHAFT, peer=LOKY, at_least=1.5)],
    ),
    Measure(
        name="joblib-array-memory",
        title="the same, memory at its peak beyond the caller's array",
        unit="MB",
        contestants=_each(_same_array, _extra_mb, names=(LINESHAFT, LOKY)),
        targets=[Target(ours=LINESHAFT, peer=LOKY, at_most=1)],
        repeat_max=1,
    ),
    Measure(
        name="joblib-fresh-arrays",
        title=f"{ARRAY_TASKS} calls that return a fresh array of {RESULT_MB} MB each",
        unit="s",
        contestants=_each(_fresh_arrays),
        targets=[Target(ours=LINESHAFT, peer=LOKY, at_least=5)],
    ),
    Measure(
        name="joblib-grid-search",
        title="scikit-learn: GridSearchCV of a tree on digits, 24 candidates, 5 folds",
        unit="s",
        contestants=_each(_grid_search),
        targets=_no_slower(LOKY, THREADING),
    ),
    Measure(
        name="joblib-forest",
        title="scikit-learn: RandomForestClassifier of 300 trees on digits",
        unit="s",
        contestants=_each(_forest),
        targets=_no_slower(LOKY, THREADING),
    ),
    Measure(
        name="joblib-nested",
        title="three levels: 4 calls of 4 calls of 4 calls that compute",
        unit="s",
        contestants=_each(_nested, 4),
        targets=_no_slower(LOKY, THREADING),
    ),
    Measure(
        name="joblib-nested-idle",
        title="three levels, of which the outer one has a single call: inner ones can use the idle cores",
        unit="s",
        contestants=_each(_nested, 1),
        targets=[Target(ours=LINESHAFT, peer=LOKY, at_least=1.5), Target(ours=LINESHAFT, peer=THREADING, at_least=1.5)],
    ),
]
