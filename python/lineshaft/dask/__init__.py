"""Dask's schedulers on the engine.

>>> import dask.array as da
>>> import lineshaft.dask
>>> x = da.ones((1000, 1000), chunks=(500, 500))
>>> float((x + x.T).sum().compute(scheduler=lineshaft.dask.get))
2000000.0

To import this module makes the name ``"lineshaft"`` known to Dask, as in
``dask.config.set(scheduler="lineshaft")``. Under ``lineshaft run`` nothing need be written: Dask's own
default schedulers are then these.

A graph is handed to the engine at once. There, each task runs as soon as what it needs is there, in
an order that frees results early, and its result goes when the last task that needs it has run. Arrays,
dataframes and delayed calls run on threads, bags in worker processes, whose intermediate results stay
in shared memory: only what is asked for comes back.
"""

from __future__ import annotations

from lineshaft.dask._get import get, get_processes, get_threads
from lineshaft.dask._persist import futures_of, persist

__all__ = ["futures_of", "get", "get_processes", "get_threads", "persist"]


def _register() -> None:
    from dask.base import named_schedulers

    named_schedulers["lineshaft"] = get


_register()
