"""What a worker has of ``__main__`` if it imports the main module, as processes that are spawned do.

`multiprocessing` imports the main module, under the name ``__mp_main__``, in each process that it starts afresh. Only
a script whose main part stands under ``if __name__ == "__main__":`` bears that. Workers of pools under `spawn` and
`forkserver` import such a module before anything else; all others do once a function needs what cannot be sent: a
lock, say, or a class that holds one. From then on what the import gives them goes by reference.
"""

from __future__ import annotations

import ast
import os.path
import pickle
import sys
from functools import cache
from types import FunctionType, ModuleType

from lineshaft._serial import worker
from lineshaft._serial.definition import ABSENT, Definition, main_namespace, new_id
from lineshaft._serial.globals_of import global_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Imported", "beginning", "imported_main", "names_used"]


class Imported:
    """The globals of ``__main__`` that an import of it gives.

    Attributes
    ----------
    path
        The file.
    """

    def __init__(self, path: str, names: frozenset[str], *, with_values: bool) -> None:
        self.path = path
        self._names = names
        self._with_values = with_values

    def gives(self, name: str) -> bool:
        """Whether the import binds this name."""
        return name in self._names

    def has(self, name: str) -> bool:
        """Whether workers are to use what the import gave them under this name.

        Without values these are functions, classes and modules only, and what stands for nothing but itself: the
        program's lists, numbers and other data are sent as they are now.
        """
        if name not in self._names:
            return False
        value = main_namespace().get(name, ABSENT)
        if value is ABSENT or self._with_values:
            return value is not ABSENT
        return callable(value) or isinstance(value, ModuleType) or type(value) is object

    def has_all_of(self, obj: object) -> bool:
        """Whether a value can go without more: never, for the import may still have to be asked for."""
        return False


def imported_main(*, with_values: bool) -> Imported | None:
    """Return what an import of this process's ``__main__`` gives; None if it must not be imported."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    file = getattr(main, "__file__", None)
    # Packages and folders run all of their `__main__.py`; `multiprocessing` does not import it either.
    if not isinstance(file, str) or (spec is not None and spec.name.rpartition(".")[2] == "__main__"):
        return None
    path = os.path.abspath(file)
    names = _names_given(path)
    return None if names is None else Imported(path, names, with_values=with_values)


def beginning(path: str | None, process: tuple[str, bool, str] | None = None) -> Definition:
    """Return what has a worker import the main module, and be a process of `multiprocessing`.

    Parameters
    ----------
    path
        The main module's file, if it is to be imported.
    process
        What the process is called, without its number; whether it is a daemon; how it was started.
    """
    return Definition(new_id(), pickle.dumps((worker.BEGINNING, path, process), 5), (), None, ())


def names_used(value: object) -> Iterable[str]:
    """List the globals that a function, or the methods of a class, look up."""
    if isinstance(value, FunctionType):
        return global_names(value.__code__)
    if isinstance(value, type):
        functions = (getattr(member, "__func__", member) for member in vars(value).values())
        return [name for function in functions if isinstance(function, FunctionType) for name in names_used(function)]
    return ()


@cache
def _names_given(path: str) -> frozenset[str] | None:
    """List what a file binds outside of its guard and not again under it; None if it has no guard."""
    try:
        with open(path, "rb") as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError):
        return None
    outside: list[ast.AST] = []
    guarded: list[ast.AST] = []
    for statement in tree.body:
        if isinstance(statement, ast.If) and _is_guard(statement.test):
            guarded += statement.body
            outside += statement.orelse
        else:
            outside.append(statement)
    return _names_bound(outside) - _names_bound(guarded) if guarded else None


def _is_guard(test: ast.expr) -> bool:
    """Whether it says ``__name__ == "__main__"``, in either order, and maybe more than that."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return any(map(_is_guard, test.values))
    if not (isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq)):
        return False
    sides = (test.left, test.comparators[0])
    return any(isinstance(side, ast.Name) and side.id == "__name__" for side in sides) and any(
        isinstance(side, ast.Constant) and side.value == "__main__" for side in sides
    )


_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_EXPRESSION_SCOPES = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def _names_bound(nodes: list[ast.AST]) -> frozenset[str]:
    """List the names that statements bind in their own scope."""
    names: set[str | None] = set()
    todo = list(nodes)
    while todo:
        node = todo.pop()
        if isinstance(node, _SCOPES):
            names.add(node.name)
        elif isinstance(node, _EXPRESSION_SCOPES):
            pass
        elif isinstance(node, ast.Name):
            if not isinstance(node.ctx, ast.Load):
                names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name.partition(".")[0])
        else:
            if isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)):
                names.add(node.name)
            elif isinstance(node, ast.MatchMapping):
                names.add(node.rest)
            todo.extend(ast.iter_child_nodes(node))
    return frozenset(name for name in names if name is not None)
