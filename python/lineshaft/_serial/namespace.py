"""The globals of ``__main__`` that functions need in a worker, and the version each has.

A `Binding` is one version of one global: a name with the identity of its value. Pickling a value
finds two kinds of needs. Hard needs are objects of ``__main__`` that the pickle refers to (a base
class, a default, a decorated function): they are loaded before it. Soft needs are names that its
functions look up when they run: they only have to be there by then, so functions may refer to each
other in circles. Circles of hard needs become one definition that binds several names.

Not thread-safe; `Encoder` holds its lock around every use.
"""

from __future__ import annotations

import builtins
import io
import pickle
from types import CodeType, FunctionType
from typing import NamedTuple

from lineshaft._serial import worker
from lineshaft._serial.definition import ABSENT, Definition, main_namespace, new_id
from lineshaft._serial.pickler import Pickler
from lineshaft._serial.settled import keeps_state, parts_of_settled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from lineshaft._serial.definition import Pairs
    from lineshaft._serial.imported import Imported
    from lineshaft._serial.inherited import Inherited

__all__ = ["Binding", "Closure", "Namespace", "Pickled", "Unsendable"]

CLOSURES_MAX = 256


class Unsendable(Exception):  # noqa: N818 - never leaves this package
    """Something that must be sent cannot be; the message says what and why."""


class _Stale:
    """The value of a binding whose global has another value by now: nothing is identical to it."""

    def __reduce__(self) -> str:
        raise pickle.PicklingError("a global of __main__ changed while it was being pickled")


_STALE = _Stale()


class Pickled(NamedTuple):
    """A pickle with its hard needs and the names its functions look up."""

    data: bytes
    buffers: list[pickle.PickleBuffer]
    refs: tuple[Binding, ...]
    names: tuple[str, ...]


class Binding:
    """One version of one global of ``__main__``.

    Attributes
    ----------
    id
        Stands for this version in pickles; the worker knows the value by it.
    value
        The object, as long as it is the current one.
    body
        Its code, if it is a function: tools that reload code replace it in place.
    pickled
        Made when first needed.
    definition
        What is sent: made from `pickled` once all its needs are known.
    failure
        Why it cannot be sent, if it cannot.
    content
        What the definition was made from.
    inherited
        Whether workers have it by themselves.
    """

    __slots__ = ("body", "content", "definition", "failure", "id", "inherited", "name", "pickled", "value")

    def __init__(self, name: str, value: object, inherited: bool) -> None:
        self.id = new_id()
        self.name = name
        self.value = value
        self.body = _body(value)
        self.pickled: Pickled | None = None
        self.definition: Definition | None = None
        self.content: _Content | None = None
        self.failure: str | None = None
        self.inherited = inherited

    def go_stale(self) -> None:
        """Note that the global has another value by now."""
        self.value = _STALE
        # It holds this binding, and so the definition with the old value until the garbage collector comes.
        self.content = None


def _body(value: object) -> CodeType | None:
    return value.__code__ if isinstance(value, FunctionType) else None


class _Content(NamedTuple):
    """The bindings of one definition, what they were pickled to, and digests of the buffers of that.

    Of bindings whose parts are the same the rest is, too, and need not be pickled to be compared. Those that calls may
    change are never compared: for them it is not noted what they were pickled to.
    """

    bindings: tuple[Binding, ...]
    parts: list[tuple[object, ...] | None]
    data: bytes
    digests: list[bytes]
    keeps_state: bool

    @classmethod
    def of(cls, bindings: tuple[Binding, ...], pickled: Pickled) -> _Content:
        if any(keeps_state(binding.value) for binding in bindings):
            return cls(bindings, _parts_of(bindings), b"", [], True)
        digests = [_digest(buffer) for buffer in pickled.buffers]
        return cls(bindings, _parts_of(bindings), pickled.data, digests, False)

    def has_same_parts(self) -> bool:
        """Whether all is settled, and as it was."""
        for then, now in zip(self.parts, _parts_of(self.bindings), strict=True):
            if then is None or now is None or list(map(id, then)) != list(map(id, now)):
                return False
        return True


class Closure:
    """All that a pickled value needs in a worker, for the globals as they are now. Immutable.

    Attributes
    ----------
    definitions
        What to load before it, in order.
    pairs
        The versions of globals that its functions look up.
    unsent
        Why the globals that could not be sent could not be.
    watch
        The globals it depends on.
    """

    __slots__ = ("definitions", "pairs", "unsent", "watch")

    def __init__(
        self,
        definitions: tuple[Definition, ...],
        pairs: Pairs,
        unsent: dict[str, str],
        watch: tuple[tuple[str, Binding], ...],
    ) -> None:
        self.definitions = definitions
        self.pairs = pairs
        self.unsent = unsent
        self.watch = watch

    def is_current(self) -> bool:
        """Whether every global looked up still is the same object."""
        namespace = main_namespace()
        for name, binding in self.watch:  # noqa: SIM110 - twice as fast as all()
            if namespace.get(name, ABSENT) is not binding.value:
                return False
        return True


class Namespace:
    """The bindings of this process's ``__main__`` that were needed so far."""

    def __init__(self, inherited: Inherited | Imported | None = None, first: tuple[Definition, ...] = ()) -> None:
        self._inherited = inherited
        #: What workers load before anything else.
        self.first = first
        self._bindings: dict[str, Binding] = {}
        #: Names that had a value once. A built-in that never had one needs no version.
        self._shadowed: set[str] = set()
        #: Globals that functions assign.
        self._assigned: set[str] = set()
        self._closures: dict[tuple[tuple[Binding, ...], tuple[str, ...]], Closure] = {}

    def pickle(self, obj: object, group: frozenset[str] = frozenset(), *, out_of_band: bool = True) -> Pickled:
        """Pickle by value; objects of the globals in `group` too, all others by reference."""
        refs: dict[Binding, None] = {}
        imported: dict[str, None] = {}
        buffers: list[pickle.PickleBuffer] = []

        def refer(root: str, path: str) -> object:
            if root in group:
                return None
            binding = self._current(root)
            if binding.inherited:
                if self.first:
                    imported[root] = None
                return NotImplemented  # as pickle does it
            refs[binding] = None
            return worker.defined, ((binding.id, path) if path else (binding.id,))

        with io.BytesIO() as file:
            pickler = Pickler(file, refer, buffers.append if out_of_band else None)
            pickler.dump(obj)
            self._assigned |= pickler.assigned
            return Pickled(file.getvalue(), buffers, tuple(refs), tuple(pickler.names | imported))

    def close(self, pickled: Pickled) -> Closure:
        """Find all that `pickled` needs; raise `Unsendable` if a hard need cannot be sent."""
        key = pickled.refs, pickled.names
        closure = self._closures.get(key)
        if closure is not None and closure.is_current():
            return closure
        reached, names = self._reach(pickled)
        self._define([binding for binding in reached if binding.definition is None])
        for binding in pickled.refs:
            if binding.failure is not None:
                raise Unsendable(f"it needs {binding.name!r} of __main__, but {binding.failure}")
        closure = Closure(
            self._load_order(pickled),
            tuple(
                (name, 0 if binding.definition is None else binding.id)
                for name, binding in names.items()
                if binding.value is not ABSENT or name in self._shadowed or not hasattr(builtins, name)
            ),
            {name: why for name, binding in names.items() if (why := binding.failure) is not None},
            tuple(names.items()),
        )
        if len(self._closures) >= CLOSURES_MAX:
            self._closures.clear()
        self._closures[key] = closure
        return closure

    def look_again(self) -> bool:
        """Note which globals were changed in place since they were pickled, or by calls; whether any may have been."""
        contents = {id(content): content for content in self._unsettled()}
        changed = {
            binding for it in contents.values() if it.keeps_state or self._has_changed(it) for binding in it.bindings
        }
        changed |= {binding for name, binding in self._bindings.items() if name in self._assigned}
        if not changed:
            return False
        # What refers to them, as a class does to its base, was pickled with their old versions.
        bindings = self._bindings.values()
        while more := {it for it in bindings if it.pickled and changed.intersection(it.pickled.refs)} - changed:
            changed |= more
        for binding in changed:
            binding.go_stale()
        self._bindings = {name: it for name, it in self._bindings.items() if it not in changed}
        self._closures.clear()
        return True

    def is_settled(self) -> bool:
        """Whether nothing can have been changed; quick, and needs no lock."""
        return not self._unsettled() and self._assigned.isdisjoint(self._bindings)

    def _unsettled(self) -> list[_Content]:
        contents = [binding.content for binding in list(self._bindings.values())]
        return [content for content in contents if content is not None and not content.has_same_parts()]

    def _has_changed(self, content: _Content) -> bool:
        try:
            now = _Content.of(content.bindings, self._pickle_values(content.bindings))
            return (now.data, now.digests) != (content.data, content.digests)
        except (OSError, MemoryError):
            raise
        except Exception:
            return True  # whoever needs it is told why

    def _current(self, name: str) -> Binding:
        value = main_namespace().get(name, ABSENT)
        binding = self._bindings.get(name)
        if binding is not None:
            if binding.value is value and binding.body is _body(value):
                return binding
            binding.go_stale()
            self._closures.clear()
        inherited = self._inherited is not None and self._inherited.has(name)
        binding = self._bindings[name] = Binding(name, value, inherited)
        if value is not ABSENT:
            self._shadowed.add(name)
        return binding

    def _reach(self, pickled: Pickled) -> tuple[list[Binding], dict[str, Binding]]:
        """Bindings reached by needs of both kinds, pickled if possible, and their names."""
        reached: dict[Binding, None] = {}
        names: dict[str, Binding] = {}
        todo = [pickled]
        while todo:
            pickled = todo.pop()
            found = list(pickled.refs)
            for name in pickled.names:
                if name not in names:
                    names[name] = self._current(name)
                    found.append(names[name])
            for binding in found:
                if binding in reached:
                    continue
                reached[binding] = None
                self._pickle_binding(binding)
                if binding.pickled is not None:
                    todo.append(binding.pickled)
        return list(reached), names

    def _pickle_binding(self, binding: Binding) -> None:
        if binding.pickled is not None or binding.failure is not None:
            return
        if binding.value is ABSENT:
            return
        if binding.inherited:
            if self.first:
                from lineshaft._serial.imported import names_used

                # The import gives it, but maybe not all that it looks up: some is bound under the guard.
                binding.pickled = Pickled(b"", [], (), tuple(names_used(binding.value)))
            return
        try:
            binding.pickled = self._pickle_values((binding,))
        except (OSError, MemoryError):
            raise
        except Exception as error:
            from lineshaft._serial.explain import explain

            binding.failure = explain(binding.value, f"{binding.name!r}", error=error)

    def _pickle_values(self, bindings: Iterable[Binding]) -> Pickled:
        names = tuple((binding.id, binding.name) for binding in bindings)
        values = tuple(binding.value for binding in bindings)
        pickled = self.pickle(values, frozenset(name for _, name in names))
        data = pickle.dumps((worker.BINDINGS, names, {}, pickled.data), 5)
        return pickled._replace(data=data)

    def _define(self, fresh: list[Binding]) -> None:
        """Make definitions, those without needs first; circles of needs become one definition."""
        candidates = [binding for binding in fresh if binding.pickled is not None and not binding.inherited]
        for circle in _components(candidates):
            pickled = circle[0].pickled
            assert pickled is not None, "only pickled bindings are candidates"
            failure = next((ref.failure for ref in pickled.refs if ref.failure is not None), None)
            if len(circle) > 1 and failure is None:
                try:
                    pickled = self._pickle_values(circle)
                except Exception as error:
                    failure = str(error)
                else:
                    failure = next((ref.failure for ref in pickled.refs if ref.failure), None)
            if failure is not None:
                for binding in circle:
                    binding.failure = failure
                continue
            needs = dict.fromkeys(self.first)
            for ref in pickled.refs:
                if ref.definition is not None:
                    needs.update(dict.fromkeys((*ref.definition.needs, ref.definition)))
            first = circle[0]
            definition = Definition(first.id, pickled.data, pickled.buffers, first.name, tuple(needs))
            content = _Content.of(tuple(circle), pickled)
            for binding in circle:
                binding.content = content
                binding.pickled = pickled._replace(data=b"", buffers=[])
                binding.definition = definition

    def _load_order(self, pickled: Pickled) -> tuple[Definition, ...]:
        """Everything to load: each after its hard needs and, if possible, what those look up.

        The latter is for code that runs during loading: metaclasses, ``__init_subclass__``.
        """
        order: dict[Definition, None] = dict.fromkeys(self.first)
        seen: set[Binding] = set()

        def soft(names: Iterable[str]) -> list[tuple[bool, Binding]]:
            return [(False, self._current(name)) for name in reversed(tuple(names))]

        def hard(refs: Iterable[Binding]) -> list[tuple[bool, Binding]]:
            return [(False, ref) for ref in reversed(tuple(refs))]

        todo = soft(pickled.names) + hard(pickled.refs)
        while todo:
            needs_are_done, binding = todo.pop()
            if binding.pickled is None or not (binding.definition is not None or binding.inherited):
                continue
            if needs_are_done:
                if binding.definition is not None:
                    order.update(dict.fromkeys(binding.definition.needs))
                    order[binding.definition] = None
                todo.extend(soft(binding.pickled.names))
            elif binding not in seen:
                seen.add(binding)
                todo.append((True, binding))
                todo.extend(hard(binding.pickled.refs))
        return tuple(order)


def _parts_of(bindings: tuple[Binding, ...]) -> list[tuple[object, ...] | None]:
    return [parts_of_settled(binding.value) for binding in bindings]


def _digest(buffer: pickle.PickleBuffer) -> bytes:
    import hashlib

    return hashlib.sha1(buffer.raw(), usedforsecurity=False).digest()


def _components(bindings: list[Binding]) -> list[list[Binding]]:
    """Strongly connected components over hard needs, each after those it needs (Tarjan)."""
    search = _Search(bindings)
    for binding in bindings:
        if binding not in search.index:
            search.visit(binding)
    return search.components


class _Search:
    """A search in depth. No closure, because one that calls itself is left to the garbage collector."""

    def __init__(self, members: Iterable[Binding]) -> None:
        self._members = set(members)
        self.index: dict[Binding, int] = {}
        self._low: dict[Binding, int] = {}
        self._path: list[Binding] = []
        self._on_path: set[Binding] = set()
        self.components: list[list[Binding]] = []

    def visit(self, binding: Binding) -> None:
        low = self._low
        self.index[binding] = low[binding] = len(self.index)
        self._path.append(binding)
        self._on_path.add(binding)
        assert binding.pickled is not None, "only pickled bindings are given"
        for ref in binding.pickled.refs:
            if ref not in self._members:
                continue
            if ref not in self.index:
                self.visit(ref)
                low[binding] = min(low[binding], low[ref])
            elif ref in self._on_path:
                low[binding] = min(low[binding], self.index[ref])
        if low[binding] == self.index[binding]:
            position = self._path.index(binding)
            component = self._path[position:]
            del self._path[position:]
            self._on_path.difference_update(component)
            self.components.append(component)
