"""What a worker has to know before it can run a task: the vocabulary shared by both sides."""

from __future__ import annotations

import itertools
import os
import sys
from collections import namedtuple
from functools import partial
from types import BuiltinFunctionType, FunctionType, ModuleType
from weakref import ref

from lineshaft._native import DefinitionBase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pickle import PickleBuffer
    from types import CellType
    from typing import Any, NamedTuple, NoReturn, TypeAlias

    #: Names of globals of ``__main__`` with the id of the version each should have. Id 0 is the
    #: worker's own value, or none: the submitting process has no such global or cannot send it.
    Pairs: TypeAlias = tuple[tuple[str, int], ...]

    class Encoded(NamedTuple):
        """A pickled value, what must be loaded before it, and the futures found inside."""

        data: bytes
        definitions: tuple[Definition, ...]
        futures: tuple[object, ...]
else:
    Encoded = namedtuple("Encoded", "data definitions futures")

__all__ = [
    "ABSENT",
    "Code",
    "Definition",
    "Encoded",
    "contents",
    "group_of",
    "holder",
    "is_found_by_name",
    "is_function",
    "main_namespace",
    "name_of",
    "new_id",
    "show_as",
]


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


#: The value of a global that does not exist, or of a closure's variable that has none yet.
ABSENT = _Absent()


class Definition(DefinitionBase):
    """Something that each worker loads once, before the first task that needs it. Immutable.

    What the engine and its workers have of it goes with this object.

    Attributes
    ----------
    id
        Unique in this process, and in practice among all processes; never reused, never 0.
    data
        The pickle to hand to `worker.load_definition`.
    buffers
        Its out-of-band buffers (pickle protocol 5).
    name
        The global of ``__main__`` it binds, or for `Code` the name of the function, for messages.
    module
        For `Code` the module of the function, empty if it has none; else None.
    needs
        What must have been loaded before this can be loaded, transitively and in a valid order.
        For a `Code` also all that it reads when it runs: after ``needs`` it is ready to be called.
    """

    __slots__ = ("__weakref__", "buffers", "data", "id", "module", "name", "needs")

    id: int
    data: bytes
    buffers: Sequence[PickleBuffer]
    name: str | None
    module: str | None
    needs: tuple[Definition, ...]

    def __init__(
        self,
        id: int,  # noqa: A002 - the attribute it becomes
        data: bytes,
        buffers: Sequence[PickleBuffer],
        name: str | None,
        needs: tuple[Definition, ...],
        *,
        module: str | None = None,
        has_function: bool = True,  # kept by the base class
    ) -> None:
        fill = object.__setattr__
        fill(self, "id", id)
        fill(self, "data", data)
        fill(self, "buffers", buffers)
        fill(self, "name", name)
        fill(self, "module", module)
        fill(self, "needs", needs)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is immutable")

    __delattr__ = __setattr__  # type: ignore[assignment]

    def __reduce__(self) -> NoReturn:
        raise TypeError("a definition is sent by the engine, not pickled")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.name}, {len(self.data)} bytes>"


class Code(Definition):
    """A definition whose loading yields a callable; `worker.code` gives it back by its id.

    One without a function yields None: what is called is then the first argument of each call.
    """

    __slots__ = ()


def is_found_by_name(value: object, module: str, qualname: str) -> bool:
    """Whether `value` is what a module, other than the main one, has under a name."""
    found: object = sys.modules.get(module) if module not in ("__main__", "__mp_main__") else None
    for name in qualname.split("."):
        found = getattr(found, name, None)
    return found is value


def is_function(value: object) -> bool:
    """Whether this is a callable without a state, but for what belongs to a module or a closure."""
    return isinstance(value, (FunctionType, type)) or (
        isinstance(value, BuiltinFunctionType) and isinstance(value.__self__, (ModuleType, type(None)))
    )


def holder(value: object) -> Callable[[], object]:
    """Return something that gives back `value` but keeps it alive only if it has to."""
    try:
        return ref(value)
    except TypeError:
        return lambda: value


def contents(cell: CellType) -> object:
    """Return the value of a closure's variable; `ABSENT` if it has none yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return ABSENT


def name_of(function: object) -> str:
    """Return what to call a callable: a partial call as its function, what has no name of its own as its type."""
    while isinstance(function, partial):
        function = function.func
    for attribute in ("__qualname__", "__name__"):
        name = getattr(function, attribute, None)
        if isinstance(name, str):  # some make up their attributes
            return name
    return type(function).__qualname__


def group_of(function: object) -> tuple[str, str]:
    """Return what calls of a callable are counted under: its module, or nothing if it has none, and its name."""
    name = name_of(function)
    while isinstance(function, partial):
        function = function.func
    for attribute in ("shown_module", "__module__"):
        module = getattr(function, attribute, None)
        if isinstance(module, str):
            # By the second name `multiprocessing` imports the main module.
            return "__main__" if module == "__mp_main__" else module, name
    return "", name


def show_as(runner: Any, group: tuple[str, str]) -> None:
    """Have calls of a function of this package, which makes calls of another one, be counted under that one's group."""
    runner.shown_module, runner.__qualname__ = group


def shown_as(runner: Any, name: str, group: tuple[str, str]) -> FunctionType:
    """Make a function of this name that does what one of this package does, and is counted under `group`."""
    made = FunctionType(runner.__code__, runner.__globals__, name)
    show_as(made, group)
    return made


def main_namespace() -> dict[str, Any]:
    """Return the dict of this process's ``__main__``, looked up each time because it can be replaced."""
    return sys.modules["__main__"].__dict__


def _reseed() -> None:
    # 31 random bits above a counter: definitions of a worker that submits on its own must not be
    # mistaken for those of its parent or of a sibling forked from the same process.
    global _ids
    _ids = itertools.count(((int.from_bytes(os.urandom(4), "little") >> 1 | 1) << 32) + 1)


def new_id() -> int:
    """Return a number for a definition that no other definition has."""
    return next(_ids)


_ids: itertools.count[int]
_reseed()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reseed)
