"""One Rust engine under the parallel Python code you already have.

>>> import lineshaft as ls
>>> future = ls.submit(pow, 2, 10)
>>> future.result()
1024
>>> list(ls.map(abs, range(-3, 1)))
[3, 2, 1, 0]
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lineshaft import errors as errors
    from lineshaft import futures as futures
    from lineshaft import joblib as joblib
    from lineshaft import pool as pool
    from lineshaft._api import default_engine_stats as default_engine_stats
    from lineshaft._api import submit as submit
    from lineshaft._as_completed import as_completed as as_completed
    from lineshaft._bars import progress as progress
    from lineshaft._engine import Engine as Engine
    from lineshaft._map import map as map
    from lineshaft._running import default_engine as default_engine
    from lineshaft._task import task as task
    from lineshaft.futures import Future as Future
    from lineshaft.futures import ProcessPoolExecutor as ProcessPoolExecutor
    from lineshaft.futures import ThreadPoolExecutor as ThreadPoolExecutor
    from lineshaft.pool import Pool as Pool
    from lineshaft.pool import ThreadPool as ThreadPool

#: Where each public name lives. Modules are imported when a name of theirs is first used, so that
#: `import lineshaft` costs next to nothing.
_HOMES = {
    "Engine": "_engine",
    "Future": "futures",
    "Pool": "pool",
    "ProcessPoolExecutor": "futures",
    "ThreadPool": "pool",
    "ThreadPoolExecutor": "futures",
    "as_completed": "_as_completed",
    "default_engine": "_running",
    "default_engine_stats": "_api",
    "map": "_map",
    "progress": "_bars",
    "submit": "_api",
    "task": "_task",
}

#: Public modules, which need no import of their own either.
_MODULES = ("errors", "futures", "joblib", "pool")

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name == "__version__":
        from lineshaft._native import __version__

        return __version__
    home = _HOMES.get(name)
    if home is None and name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    if home is None:
        return importlib.import_module(f"lineshaft.{name}")
    value = getattr(importlib.import_module(f"lineshaft.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_MODULES})
