"""Which libraries `lineshaft run` serves, and how their public names come to mean Lineshaft's classes.

A served name is replaced where programs look it up, on the module, and nowhere else: the module gets
a class of its own with a property per served name. Attribute access, ``from ... import`` and
``import *`` go through the property; the code inside the module sees its own globals unchanged, so the
original classes go on working for whoever holds them, and undoing is giving the class back.

Nothing is imported before the program asks for it. A module that is not imported yet is waited for
by an import hook, and Lineshaft's side is imported when a served name is read for the first time: a
program that uses no pool pays some microseconds.

Works in worker processes too: the parent sends `applied()`, the worker calls `apply` with it.
"""

from __future__ import annotations

import sys
import types

from lineshaft._modules import imported

# As `typing` has it; importing that would take longer than everything here.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from typing import Any


class Library:
    """One library that can be served.

    Parameters
    ----------
    description
        What is replaced, for ``lineshaft run --help``.
    apply
        Starts serving; called once.
    undo
        Restores the library; called once after `apply`.
    """

    def __init__(self, description: str, apply: Callable[[], None], undo: Callable[[], None]) -> None:
        self.description = description
        self.apply = apply
        self.undo = undo


def apply(names: Iterable[str] | None = None) -> list[str]:
    """Serve the libraries called `names`, by default all; return those served now.

    Those already served stay so.

    Raises
    ------
    ValueError
        If there is no library of that name.

    Examples
    --------
    >>> apply([])
    []
    >>> apply(["numpy"])
    Traceback (most recent call last):
    ValueError: unknown library 'numpy'; known are concurrent.futures, multiprocessing, joblib, dask
    """
    for name in _checked(names):
        if name not in _applied:
            _applied.append(name)
            LIBRARIES[name].apply()
    return applied()


def undo(names: Iterable[str] | None = None) -> list[str]:
    """Stop serving the libraries called `names`, by default all; return those still served."""
    for name in _checked(names):
        if name in _applied:
            _applied.remove(name)
            LIBRARIES[name].undo()
    return applied()


def applied() -> list[str]:
    """Return the names of the libraries served now."""
    return list(_applied)


def _checked(names: Iterable[str] | None) -> list[str]:
    names = list(LIBRARIES) if names is None else list(names)
    for name in names:
        if name not in LIBRARIES:
            raise ValueError(f"unknown library {name!r}; known are {', '.join(LIBRARIES)}")
    return names


_applied: list[str] = []


class _ServedName:
    """A property of a module: reads as Lineshaft's object, imported on first use."""

    def __init__(self, name: str, target: str) -> None:
        self._name = name
        self._target_module, _, self._target_name = target.partition(":")
        self._values: list[Any] = []

    def __get__(self, module: types.ModuleType | None, owner: type | None = None) -> Any:
        if module is None:
            return self
        if self._values:
            return self._values[0]
        __import__(self._target_module)
        target = sys.modules[self._target_module]
        try:
            value = getattr(target, self._target_name)
        except AttributeError:
            # Lineshaft's own class is being defined right now and derives from the original.
            if target.__spec__ is not None and getattr(target.__spec__, "_initializing", False):
                return self._original(module)
            raise
        self._values = [value]
        return value

    def __set__(self, module: types.ModuleType, value: object) -> None:
        # The program replaces the name, for example by a mock. It restores what it found in the
        # module's dict, which is the original: that means serving again.
        self._values = [] if value is vars(module).get(self._name) else [value]

    def __delete__(self, module: types.ModuleType) -> None:
        self._values = []

    def _original(self, module: types.ModuleType) -> Any:
        if self._name in vars(module):
            return vars(module)[self._name]
        return vars(module)["__getattr__"](self._name)


class _Submodule:
    """A submodule, imported when it is read.

    The original imports it together with the name that is served in its place, and programs rely on that.
    """

    def __init__(self, full_name: str) -> None:
        self._full_name = full_name

    # Nothing else: once it is imported, the module's own dict has it, and comes first.
    def __get__(self, module: types.ModuleType | None, owner: type | None = None) -> Any:
        if module is None:
            return self
        __import__(self._full_name)
        return sys.modules[self._full_name]


class _ServedModule(types.ModuleType):
    """Base of the classes of served modules; they are pickled by name, as modules are."""

    def __reduce_ex__(self, protocol: object) -> tuple[Callable[[str], Any], tuple[str]]:
        from importlib import import_module

        return import_module, (self.__name__,)


class _Serving:
    """Serves some names of one module, now or as soon as it is imported."""

    def __init__(self, module_name: str, targets: Mapping[str, str], *, submodules: Sequence[str] = ()) -> None:
        self._module_name = module_name
        self._targets = targets
        self._submodules = submodules
        self._lazy_names: list[str] = []

    def start(self) -> None:
        when_imported(self._module_name, self._start_on)

    def stop(self) -> None:
        forget(self._module_name, self._start_on)
        module = sys.modules.get(self._module_name)
        if not isinstance(module, _ServedModule):
            return
        served: types.ModuleType = module
        served.__class__ = types.ModuleType
        for name in self._lazy_names:
            # The module's own __getattr__ may have remembered ours.
            vars(served).pop(name, None)

    def _start_on(self, module: types.ModuleType) -> None:
        self._lazy_names = [name for name in self._targets if name not in vars(module)]
        members: dict[str, Any] = {name: _Submodule(f"{self._module_name}.{name}") for name in self._submodules}
        members.update({name: _ServedName(name, target) for name, target in self._targets.items()})
        module.__class__ = type("module", (_ServedModule,), members)


# The import hook.


def when_imported(module_name: str, action: Callable[[types.ModuleType], object]) -> None:
    """Call `action` with the module: now if it is imported, else right after its import."""
    module = imported(module_name)
    if module is not None:
        action(module)
        return
    _FINDER.actions.setdefault(module_name, []).append(action)
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


def forget(module_name: str, action: Callable[[types.ModuleType], object]) -> None:
    """Drop an action that waits for a module, if it still does."""
    actions = _FINDER.actions.get(module_name, [])
    if action in actions:
        actions.remove(action)
    if not actions:
        _FINDER.actions.pop(module_name, None)
    if not _FINDER.actions and _FINDER in sys.meta_path:
        sys.meta_path.remove(_FINDER)


class _Finder:
    """Finds what the other finders find, for the modules that are waited for."""

    def __init__(self) -> None:
        self.actions: dict[str, list[Callable[[types.ModuleType], object]]] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self.actions:
            return None
        for finder in sys.meta_path:
            find_spec = None if finder is self else getattr(finder, "find_spec", None)
            spec = None if find_spec is None else find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader)
                found: ModuleSpec = spec
                return found
        return None


class _Loader:
    """Loads as the real loader does, then runs the action; leaves no trace on the module."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: types.ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        for action in list(_FINDER.actions.get(module.__name__, ())):
            forget(module.__name__, action)
            action(module)


_FINDER: Any = _Finder()


# The libraries.


class _ManagersPool:
    """Keeps `SyncManager.Pool`: a manager is a server process with a pool of its own."""

    def start(self) -> None:
        when_imported("multiprocessing.managers", self._register)

    def stop(self) -> None:
        forget("multiprocessing.managers", self._register)
        managers = sys.modules.get("multiprocessing.managers")
        if managers is not None:
            self._register(managers, _original_pool_class())

    def _register(self, managers: Any, make_pool: Callable[..., Any] | None = None) -> None:
        managers.SyncManager.register("Pool", make_pool or original_pool, managers.PoolProxy)


def original_pool(*args: Any, **kwargs: Any) -> Any:
    """Make a pool of the standard library's class.

    A manager that does not start by `fork` is sent its registry, and names in it are looked up: the name
    of the class itself leads to Lineshaft's.
    """
    return _original_pool_class()(*args, **kwargs)


def _original_pool_class() -> Any:
    import multiprocessing.pool

    return vars(multiprocessing.pool)["Pool"]


class _JoblibBackends:
    """Has joblib find the engine under the names of its own backends."""

    def start(self) -> None:
        when_imported("joblib.parallel", self._serve)

    def stop(self) -> None:
        forget("joblib.parallel", self._serve)
        parallel = sys.modules.get("joblib.parallel")
        if parallel is not None:
            from lineshaft.joblib.backend import unserve

            unserve(parallel)

    def _serve(self, parallel: types.ModuleType) -> None:
        import lineshaft.joblib  # noqa: F401 - registers the backend under its own name
        from lineshaft.joblib.backend import serve

        serve(parallel)


class _DaskDefaults:
    """Changes what a Dask has noted that was imported before it is served, and back."""

    def start(self) -> None:
        if "dask" in sys.modules:
            self._defaults().start()

    def stop(self) -> None:
        if "dask" in sys.modules:
            self._defaults().stop()

    def _defaults(self) -> Any:
        from lineshaft._dask import Defaults

        return Defaults()


def _library(description: str, *parts: _Serving | _ManagersPool | _JoblibBackends | _DaskDefaults) -> Library:
    def start_all() -> None:
        for part in parts:
            part.start()

    def stop_all() -> None:
        for part in parts:
            part.stop()

    return Library(description, start_all, stop_all)


_PROCESS_EXECUTOR = {"ProcessPoolExecutor": "lineshaft.futures:ProcessPoolExecutor"}
_THREAD_EXECUTOR = {"ThreadPoolExecutor": "lineshaft.futures:ThreadPoolExecutor"}

LIBRARIES: dict[str, Library] = {
    # asyncio looks ThreadPoolExecutor up here whenever it needs it, for its default executor and
    # for the check in `set_default_executor`: it is served without being mentioned.
    "concurrent.futures": _library(
        "ProcessPoolExecutor and ThreadPoolExecutor, asyncio's default executor included",
        _Serving("concurrent.futures", {**_PROCESS_EXECUTOR, **_THREAD_EXECUTOR}, submodules=("process", "thread")),
        _Serving("concurrent.futures.process", _PROCESS_EXECUTOR),
        _Serving("concurrent.futures.thread", _THREAD_EXECUTOR),
    ),
    # `multiprocessing.Pool`, the Pool of every context and `multiprocessing.dummy.Pool` import the
    # class from `multiprocessing.pool` when they are called.
    "multiprocessing": _library(
        "Pool and ThreadPool; Process, Queue, Manager and the rest stay as they are",
        _Serving("multiprocessing.pool", {"Pool": "lineshaft.pool:Pool", "ThreadPool": "lineshaft.pool:ThreadPool"}),
        _ManagersPool(),
    ),
    # joblib looks a backend up by its name for every call.
    "joblib": _library("the backends loky, multiprocessing and threading", _JoblibBackends()),
    # Whatever collection is computed, Dask's scheduler is one of these two, unless the program chose
    # another one or has a distributed client.
    "dask": _library(
        "the schedulers for threads and processes; a distributed client stays what it is",
        _Serving("dask.threaded", {"get": "lineshaft._dask:get_threads"}),
        _Serving("dask.multiprocessing", {"get": "lineshaft._dask:get_processes"}),
        _DaskDefaults(),
    ),
}
