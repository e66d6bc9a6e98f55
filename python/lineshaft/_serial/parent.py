"""The submitting side: what to send for a function or a value, and what comes back.

Any process can submit, a worker too. An `Encoder` may be used by many threads: what is known about
a function is read without a lock, everything else happens under one. To pickle means to run code of the program, which
may wait for a thread that wants that lock: who waits for it for long goes on without, and knows nothing.
"""

from __future__ import annotations

import _pickle as pickle  # what `pickle` exports, without the ten modules that it imports
import os.path
import sys
import threading
from contextlib import contextmanager

from lineshaft._serial import worker
from lineshaft._serial.definition import (
    Code,
    Definition,
    Encoded,
    group_of,
    is_function,
    main_namespace,
    name_of,
    new_id,
)
from lineshaft._serial.entry import Entry
from lineshaft._serial.handing_over import dumps_by_reference, names_shared_objects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any
    from weakref import ref

    from lineshaft._serial.imported import Imported
    from lineshaft._serial.inherited import Inherited
    from lineshaft._serial.namespace import Closure, Namespace, Pickled

__all__ = [
    "Code",
    "Definition",
    "Encoded",
    "Encoder",
    "all_or_nothing",
    "load_exception",
    "load_result",
    "reference",
]

#: Groups of callables with a state that are kept.
NAMES_MAX = 256

#: How long who wants to pickle waits for others that do.
LOCK_PATIENCE_S = 1.0


# What a named tuple's own constructor does, at half its cost.
_new_tuple = tuple.__new__


class _Local(threading.local):
    references: list[object] | None = None
    is_strict = False


_local = _Local()


def takes_references() -> bool:
    """Whether a future that is pickled now, by this thread, is an argument of a task."""
    return _local.references is not None


def reference(future: object) -> tuple[Callable[[int], object], tuple[int]]:
    """Reduce a future, from its ``__reduce__``, to the place that its result takes in the worker.

    Raises
    ------
    TypeError
        Outside of `Encoder.dumps`: a future is only understood as an argument of a task.
    """
    references = _local.references
    if references is None:
        raise TypeError("cannot pickle a future except as an argument of a task")
    references.append(future)
    return worker.input_value, (len(references) - 1,)


@contextmanager
def collecting_references(collect: bool = True) -> Iterator[list[object]]:
    """Let futures be pickled, or (`collect` false) forbid it, for the time of a ``with`` block."""
    before = _local.references
    found: list[object] = []
    _local.references = found if collect else None
    try:
        yield found
    finally:
        _local.references = before


@contextmanager
def all_or_nothing() -> Iterator[None]:
    """Within this, a call is sent with all globals that it may look up, or not at all, as cloudpickle has it.

    Otherwise those that cannot be sent are missing there, or the worker imports the main module to have them.
    """
    before = _local.is_strict
    _local.is_strict = True
    try:
        yield
    finally:
        _local.is_strict = before


def load_result(data: bytes, buffers: Sequence[Any] = ()) -> Any:
    """Load what `worker.dumps_result` made."""
    try:
        return pickle.loads(data, buffers=buffers)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        from lineshaft.errors import SerializationError

        message = f"the task finished, but its result cannot be loaded here: {error}"
        raise SerializationError(message) from error


def load_exception(data: bytes) -> BaseException:
    """Load what `worker.dumps_exception` made; its ``__cause__`` shows the remote traceback."""
    from lineshaft._serial.exceptions import decode

    return decode(data)


class Encoder:
    """Turns callables and values into what workers load; thread-safe.

    One per engine, and one for each pool whose workers are forked from this process, or started as if spawned: these
    know what is `inherited`, or imported, and what comes `first`, before any call.
    """

    def __init__(self, inherited: Inherited | Imported | None = None, first: tuple[Definition, ...] = ()) -> None:
        self._inherited = inherited
        self._first = first
        self._lock = threading.RLock()
        self._entries: dict[int, Entry] = {}
        #: Whether there is one that keeps state.
        self._has_state = False
        #: By the groups of callables that go along with the arguments.
        self._without_function: dict[tuple[str, str], Code] = {}
        self._namespace: Namespace | None = None
        #: `sys.path` as workers have it from the start, and as functions were last encoded with.
        self._path_at_start = list(sys.path)
        self._path = self._path_at_start

    def code(self, fn: Callable[..., Any]) -> Code:
        """Return what a worker needs to know to call `fn`; the same object while nothing changed.

        Functions and classes are recognised by identity, together with the identity of every global
        of ``__main__`` they reach. Other callables (bound methods, partials, instances) have a state, which each
        call is to find as it is here: they go along with the arguments, and the code has no function.

        Raises
        ------
        SerializationError
            If `fn`, or something it cannot do without, cannot be sent.
        """
        if sys.path != self._path:
            self._path_has_changed()
        known = self._known(fn)
        if known is not None:
            return known
        with self._alone() as encoder, collecting_references(False):
            known = encoder._known(fn)
            if known is not None:
                return known  # another thread was quicker
            return encoder._encode_function(fn) if is_function(fn) else encoder._code_without_function(group_of(fn))

    def _known(self, fn: Callable[..., Any]) -> Code | None:
        """Return the code of a function that was encoded before, if nothing changed since."""
        entry = self._entries.get(id(fn))
        if entry is None or entry.ref() is not fn or not entry.is_current(fn):
            return None
        if _local.is_strict and entry.closure is not None and entry.closure.unsent:
            from lineshaft._serial.unsendable import missing_global, unsendable_function

            raise unsendable_function(fn, name_of(fn), missing_global(entry.closure))
        return entry.code

    def look_again(self) -> bool:
        """Have what was changed in place, here or by calls, be as it is here for the calls that come.

        These are globals of ``__main__``, as the items of a dict, and what functions captured. False if there is
        nothing of which calls could see what others did.
        """
        if not self._has_state and (self._namespace is None or self._namespace.is_settled()):
            return False
        with self._alone() as encoder, collecting_references(False):
            found = encoder._has_state
            if encoder._namespace is not None and encoder._namespace.look_again():
                found = True
            if found:
                encoder._entries.clear()
                encoder._has_state = False
        return found

    def dumps(
        self,
        obj: object,
        buffer_callback: Callable[[pickle.PickleBuffer], object] | None = None,
        *,
        call: Callable[..., Any] | None = None,
        inputs_before: int = 0,
    ) -> Encoded:
        """Pickle a value for a worker.

        Parameters
        ----------
        obj
            The value, by default any; with `call`, a pair ``(args, kwargs)``.
        buffer_callback
            Receives the out-of-band buffers, once pickling succeeded. What it returns is ignored.
        call
            The function the arguments are for: errors then name the argument.
        inputs_before
            How many inputs the task has besides the futures found in the value: these come behind them.

        Raises
        ------
        SerializationError
            If the value cannot be sent; the message names the part that cannot.
        """
        buffers: list[pickle.PickleBuffer] = []
        collect = None if buffer_callback is None else buffers.append
        before = _local.references
        before_them = [None] * inputs_before
        futures: list[object] = [*before_them]
        _local.references = futures
        try:
            data = dumps_by_reference(obj, collect)
            by_value = self._must_go_by_value(obj, data)
        except (OSError, MemoryError):
            raise
        except Exception as error:
            _raise_if_by_handler(error)
            by_value = True
        finally:
            _local.references = before
        definitions: tuple[Definition, ...] = ()
        if by_value:
            _local.references = futures = [*before_them]
            try:
                data, buffers, definitions = self._dumps_by_value(obj, call, collect is not None)
            finally:
                _local.references = before
        if buffer_callback is not None:
            for buffer in buffers:
                buffer_callback(buffer)
        return _new_tuple(Encoded, (data, definitions, tuple(futures[inputs_before:])))

    @contextmanager
    def _alone(self) -> Iterator[Encoder]:
        """Hold the lock; or, if whoever holds it may wait for this thread, give an encoder for this one occasion."""
        if self._lock.acquire(timeout=LOCK_PATIENCE_S):
            try:
                yield self
            finally:
                self._lock.release()
        else:
            encoder = Encoder(self._inherited, self._first)
            encoder._path_at_start = self._path_at_start
            encoder._path = list(sys.path)
            yield encoder

    def _must_go_by_value(self, obj: object, data: bytes) -> bool:
        """Whether `data`, an ordinary pickle of `obj`, refers to what workers do not have."""
        if b"__mp_main__" in data:
            return True
        if b"__main__" in data and (self._inherited is None or not self._inherited.has_all_of(obj)):
            return True
        return _names_registered_module(data) or names_shared_objects(data)

    def _dumps_by_value(
        self, obj: object, call: Callable[..., Any] | None, out_of_band: bool
    ) -> tuple[bytes, list[pickle.PickleBuffer], tuple[Definition, ...]]:
        try:
            with self._alone() as encoder:
                pickled, closure = encoder._closed(obj, out_of_band=out_of_band)
        except (OSError, MemoryError):
            raise
        except Exception as error:
            _raise_if_by_handler(error)
            from lineshaft._serial.unsendable import unsendable

            raise unsendable(obj, call, error) from error
        data = pickled.data
        if closure.pairs:
            data = pickle.dumps(_Activated(closure, data), 5)
        return data, pickled.buffers, closure.definitions

    def _closed(self, obj: object, *, out_of_band: bool = True) -> tuple[Pickled, Closure]:
        """Pickle by value, with all that is needed; by what workers have to import, if it cannot be sent otherwise."""
        from lineshaft._serial.namespace import Unsendable

        if main_namespace().get("__name__") == "__mp_main__":
            # By this name `multiprocessing` imports it; workers know it by its own.
            from lineshaft._serial.main_module import rename_members

            rename_members()
        references = _local.references
        count = len(references or ())
        namespace = self._get_namespace()
        is_strict = _local.is_strict
        pickled = namespace.pickle(obj, out_of_band=out_of_band)
        # From here on globals are pickled: a future among them is nobody's argument.
        _local.references = None
        try:
            closure = namespace.close(pickled)
            if is_strict and closure.unsent:
                from lineshaft._serial.unsendable import missing_global

                raise missing_global(closure)
            if not closure.unsent or not self._imports_main(closure.unsent):
                return pickled, closure
        except Unsendable:
            if is_strict or not self._imports_main():
                raise
        _local.references = references
        if references is not None:
            del references[count:]
        return self._closed(obj, out_of_band=out_of_band)

    def _imports_main(self, unsent: Iterable[str] | None = None) -> bool:
        """Have workers import the main module from now on, if that was not tried, and gives one of these."""
        if self._inherited is not None or self._first:
            return False
        from lineshaft._serial.imported import beginning, imported_main
        from lineshaft._serial.namespace import Namespace

        imported = imported_main(with_values=False)
        if imported is None or (unsent is not None and not any(map(imported.gives, unsent))):
            return False
        self._inherited = imported
        self._namespace = Namespace(imported, (beginning(imported.path),))
        self._entries.clear()
        self._without_function.clear()
        return True

    def _encode_function(self, fn: Callable[..., Any]) -> Code:
        group = group_of(fn)
        buffers: list[pickle.PickleBuffer] = []
        closure: Closure | None = None
        try:
            data = dumps_by_reference(fn, buffers.append)
            by_value = self._must_go_by_value(fn, data)
        except Exception as error:
            _raise_if_by_handler(error)
            by_value = True
        if by_value:
            try:
                pickled, closure = self._closed(fn)
            except (OSError, MemoryError):
                raise
            except Exception as error:
                _raise_if_by_handler(error)
                from lineshaft._serial.unsendable import unsendable_function

                raise unsendable_function(fn, group[1], error) from error
            data, buffers = pickled.data, pickled.buffers
        imports_main = closure is not None and bool(self._get_namespace().first)
        code = self._make_code(group, data, buffers, closure, imports_main=imports_main)
        self._remember(fn, code, closure)
        return code

    def _code_without_function(self, group: tuple[str, str]) -> Code:
        """Return what stands for all callables of this group that come with the arguments."""
        code = self._without_function.get(group)
        if code is None:
            if len(self._without_function) >= NAMES_MAX:
                self._without_function.clear()
            imports_main = self._namespace is not None and bool(self._namespace.first)
            code = self._make_code(group, pickle.dumps(None, 5), imports_main=imports_main, has_function=False)
            self._without_function[group] = code
        return code

    def _make_code(
        self,
        group: tuple[str, str],
        data: bytes,
        buffers: Sequence[pickle.PickleBuffer] = (),
        closure: Closure | None = None,
        *,
        imports_main: bool,
        has_function: bool = True,
    ) -> Code:
        pairs, unsent = (closure.pairs, closure.unsent) if closure else ((), {})
        imports_main = imports_main or bool(self._first)
        module, name = group
        return Code(
            new_id(),
            pickle.dumps((worker.CODE, pairs, unsent, data, imports_main, *self._added_path()), 5),
            buffers,
            name,
            closure.definitions if closure else self._first,
            module=module,
            has_function=has_function,
        )

    def _path_has_changed(self) -> None:
        """Encode functions anew: their modules may lie where workers do not look yet."""
        with self._alone() as encoder:
            encoder._path = list(sys.path)
            encoder._entries.clear()
            encoder._without_function.clear()

    def _added_path(self) -> list[list[tuple[int, str]]]:
        if self._path is self._path_at_start:
            return []
        added = [
            (index, os.path.abspath(entry))
            for index, entry in enumerate(self._path)
            if isinstance(entry, str) and entry not in self._path_at_start
        ]
        return [added] if added else []

    def _remember(self, fn: Any, code: Code, closure: Closure | None) -> None:
        key = id(fn)
        entries = self._entries

        def forget(dead: ref[Any]) -> None:
            entry = entries.get(key)
            if entry is not None and entry.ref is dead:
                del entries[key]

        entry = entries[key] = Entry(fn, forget, code, closure)
        self._has_state |= entry.keeps_state

    def _get_namespace(self) -> Namespace:
        if self._namespace is None:
            from lineshaft._serial.namespace import Namespace

            self._namespace = Namespace(self._inherited, self._first)
        return self._namespace


def _raise_if_by_handler(error: BaseException) -> None:
    from lineshaft._signals import is_raised_by_handler

    if is_raised_by_handler(error):
        raise error


class _Activated:
    """Pickles as a call that puts globals in place before it loads the value."""

    def __init__(self, closure: Closure, data: bytes) -> None:
        self._arguments = (closure.pairs, closure.unsent, data)

    def __reduce__(self) -> tuple[object, ...]:
        return worker.activated, self._arguments


def _names_registered_module(data: bytes) -> bool:
    """Whether a pickle refers to a module that the user registered with cloudpickle by value."""
    cloudpickle: Any = sys.modules.get("cloudpickle.cloudpickle")
    # Another thread may still be importing it: then there is none yet.
    registered = getattr(cloudpickle, "_PICKLE_BY_VALUE_MODULES", ())
    return any(name.encode() in data for name in registered)
