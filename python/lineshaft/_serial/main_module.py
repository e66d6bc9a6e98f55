"""The worker's ``__main__``: a module like the user's, without running the user's script."""

from __future__ import annotations

import builtins
import os.path
import sys
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypedDict

    class Description(TypedDict):
        """Arguments of `prepare_main`."""

        argv: list[str]
        path: list[str]
        file: str | None
        package: str | None


__all__ = ["describe_main", "prepare_main"]


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
