"""The worker's ``__main__``: a module like the user's, without running the user's script, unless it may be imported."""

from __future__ import annotations

import builtins
import os.path
import sys
from types import FunctionType, ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, TypedDict

    class Description(TypedDict):
        """Arguments of `prepare_main`."""

        argv: list[str]
        path: list[str]
        file: str | None
        package: str | None


__all__ = ["describe_main", "import_main", "prepare_main", "rename_members"]


def describe_main() -> Description:
    """Describe to a worker this process's ``__main__``, as arguments of `prepare_main`.

    ``-c``, the interactive interpreter and notebooks have no file.
    """
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    spec = getattr(main, "__spec__", None)
    package = getattr(main, "__package__", None) or (spec.parent if spec is not None else None)
    # Programs put paths and other objects into these lists; imports ignore what is not a string.
    entries: list[object] = list(sys.path)
    return {
        "argv": [str(argument) for argument in getattr(sys, "argv", ())],
        "path": [entry for entry in entries if isinstance(entry, str)],
        # A worker that imported pathlib would start several milliseconds later.
        "file": os.path.abspath(file) if isinstance(file, str) else None,
        "package": package or None,
    }


def prepare_main(
    argv: Sequence[str],
    path: Sequence[str],
    file: str | None = None,
    package: str | None = None,
) -> ModuleType:
    """Replace this process's ``__main__`` by an empty module that looks like the user's.

    Parameters
    ----------
    argv, path
        Contents of `sys.argv` and `sys.path`; both lists are changed in place.
    file
        The script, if there is one.
    package
        The package for relative imports (``python -m package.module``).
    """
    module = ModuleType("__main__")
    module.__dict__["__builtins__"] = builtins
    if file is not None:
        module.__file__ = file
    module.__package__ = package
    sys.argv[:] = argv
    sys.path[:] = path
    sys.modules["__main__"] = module
    return module


def import_main(path: str) -> None:
    """Run the main module's file in this worker's ``__main__``, as `multiprocessing` does: as ``__mp_main__``.

    Raises
    ------
    ImportError
        If it raises; that is the cause.
    """
    module = sys.modules["__main__"]
    # Some decorators look for the module of what they decorate.
    sys.modules["__mp_main__"] = module
    module.__name__ = "__mp_main__"
    try:
        with open(path, "rb") as file:
            code = compile(file.read(), path, "exec", dont_inherit=True)
        exec(code, module.__dict__)
    except BaseException as error:
        why = f"{type(error).__name__}: {error}"
        raise ImportError(f"the main module cannot be imported in a worker process: {why}", path=path) from error
    finally:
        # The name by which the program knows it, and what it defines.
        module.__name__ = "__main__"
        rename_members()


def rename_members() -> None:
    """Have what this process's ``__main__`` defined as ``__mp_main__`` say that it was in ``__main__``."""
    _rename(sys.modules["__main__"].__dict__)


def _rename(members: Mapping[str, Any]) -> None:
    for member in list(members.values()):
        # Instances read their class's; wrappers and type parameters have their own.
        if not isinstance(member, (type, FunctionType)) and "__module__" not in getattr(member, "__dict__", ()):
            continue
        if member.__module__ == "__mp_main__":
            member.__module__ = "__main__"
            if isinstance(member, type):
                _rename(vars(member))
