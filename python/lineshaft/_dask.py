"""Dask's default schedulers under `lineshaft run`.

Dask looks its schedulers up while it is imported, so nothing here imports Dask: `lineshaft.dask` does, when
a graph is computed for the first time.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any


def get(dsk: Any, keys: Any, *args: Any, **kwargs: Any) -> Any:
    """Run a graph; see `lineshaft.dask.get`."""
    from lineshaft.dask import get

    return get(dsk, keys, *args, **kwargs)


def get_threads(dsk: Any, keys: Any, *args: Any, **kwargs: Any) -> Any:
    """Run a graph on threads; see `lineshaft.dask.get_threads`."""
    from lineshaft.dask import get_threads

    return get_threads(dsk, keys, *args, **kwargs)


def get_processes(dsk: Any, keys: Any, *args: Any, **kwargs: Any) -> Any:
    """Run a graph in worker processes; see `lineshaft.dask.get_processes`."""
    from lineshaft.dask import get_processes

    return get_processes(dsk, keys, *args, **kwargs)


def name_scheduler(base: ModuleType) -> None:
    """Make the name ``"lineshaft"`` known to a Dask that is imported; `base` is `dask.base`."""
    base.named_schedulers.setdefault("lineshaft", get)


class Defaults:
    """The places where an imported Dask has noted its schedulers.

    A Dask that is imported while `dask.threaded.get` and `dask.multiprocessing.get` are served notes ours;
    these change what one has noted that was imported before, and change it back.
    """

    def start(self) -> None:
        """Have an imported Dask use the engine."""
        self._replace({original: ours for ours, original in self._originals().items()})

    def stop(self) -> None:
        """Have it use its own schedulers again."""
        self._replace(self._originals())

    def _originals(self) -> dict[Callable[..., Any], Callable[..., Any]]:
        """Return by our scheduler the one that it replaces, as far as it is imported."""
        pairs = ((get_threads, "dask.threaded"), (get_processes, "dask.multiprocessing"))
        # In the module's own dict, where it is whether the name is served or not.
        return {ours: vars(sys.modules[name])["get"] for ours, name in pairs if name in sys.modules}

    def _replace(self, new: dict[Callable[..., Any], Callable[..., Any]]) -> None:
        base: Any = sys.modules.get("dask.base")
        named = getattr(base, "named_schedulers", {})
        for name, scheduler in list(named.items()):
            named[name] = new.get(scheduler, scheduler)
        for module_name in [name for name in sys.modules if name.startswith("dask.")]:
            for value in list(vars(sys.modules[module_name]).values()):
                scheduler = vars(value).get("__dask_scheduler__") if isinstance(value, type) else None
                if isinstance(scheduler, staticmethod) and scheduler.__func__ in new:
                    value.__dask_scheduler__ = staticmethod(new[scheduler.__func__])
