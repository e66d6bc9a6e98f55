"""Runs a program in this interpreter so that it cannot tell the difference from plain `python`.

The program gets a `__main__` module of its own, `sys.argv` and ``sys.path[0]`` as the interpreter sets
them (``Modules/main.c`` of CPython), and the standard library's `runpy` for modules, directories and
zip files, which is what the interpreter itself uses for them.

An exception that leaves the program keeps on rising through our frames, because only the interpreter
itself turns it into the right exit code and, for Ctrl-C, into death by SIGINT. Our frames are cut from
the traceback at the last moment, by an except hook that is installed for that one exception.

What remains visible: `sys._getframe` and `inspect.stack` find frames below the program's first one.
"""

from __future__ import annotations

import builtins
import importlib.machinery
import importlib.util
import io
import os
import sys
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, TracebackType
    from typing import Any

CANNOT_OPEN_EXIT_CODE = 2


class Target:
    """What to run.

    Parameters
    ----------
    kind
        ``script`` (also a directory or zip file), ``-m``, ``-c``, or ``-`` for standard input.
    name
        Path, module, or code.
    arguments
        What follows it on the command line.
    """

    def __init__(self, kind: str, name: str, arguments: list[str]) -> None:
        self.kind = kind
        self.name = name
        self.arguments = arguments

    @classmethod
    def from_arguments(cls, rest: list[str]) -> Target:
        """Return the target that the words after the options name.

        Examples
        --------
        >>> Target.from_arguments(["-m", "json.tool", "--help"]).name
        'json.tool'
        """
        if rest[0] in ("-m", "-c"):
            return cls(rest[0], rest[1], rest[2:])
        return cls("-" if rest[0] == "-" else "script", rest[0], rest[1:])

    def execute(self) -> int:
        """Run it; return an exit code, or let out what the program raises."""
        container = self.kind == "script" and _has_importer(self.name)
        _set_path0(self._path0(container=container), always=container)
        main = _new_main_module()
        sys.argv[:] = [self.name if self.kind in ("script", "-") else self.kind, *self.arguments]
        try:
            if self.kind == "-m":
                _run_as_main(self.name)
            elif container:
                _run_as_main("__main__", alter_argv=False)
            elif self.kind == "-c":
                exec(_compile(self.name, "<string>"), vars(main))
            elif self.kind == "-":
                exec(_compile(sys.stdin.buffer.read(), "<stdin>"), vars(main))
            else:
                return self._execute_script(main)
        except SystemExit:
            raise
        except BaseException:
            _hide_own_frames()
            raise
        return 0

    def _execute_script(self, main: ModuleType) -> int:
        filename = _absolute(self.name)
        try:
            with io.open_code(filename) as file:
                source = file.read()
        except OSError as error:
            reason = f"[Errno {error.errno}] {error.strerror}"
            print(f"{sys.orig_argv[0]}: can't open file {filename!r}: {reason}", file=sys.stderr)
            return CANNOT_OPEN_EXIT_CODE
        code = _code_of(source, filename)
        loader: Any = importlib.machinery.SourceFileLoader
        if filename.endswith(".pyc"):
            loader = importlib.machinery.SourcelessFileLoader
        main.__loader__ = loader("__main__", filename)
        main.__file__ = filename
        vars(main)["__cached__"] = None
        exec(code, vars(main))
        return 0

    def _path0(self, *, container: bool) -> str:
        if self.kind == "-m":
            return os.getcwd()  # noqa: PTH109 - the interpreter's own text
        if container:
            return _absolute(self.name)
        return "" if self.kind in ("-c", "-") else os.path.dirname(os.path.realpath(self.name))  # noqa: PTH120


def _run_as_main(module: str, *, alter_argv: bool = True) -> None:
    # Imported late: a script does not need it.
    import runpy

    # Private, and what ``python -m`` itself calls since 2.6.
    runpy._run_module_as_main(module, alter_argv)  # type: ignore[attr-defined]


# What this interpreter imported for Lineshaft, in the order of import: `sys.modules` keeps it, and
# the first of our modules follows the last of the interpreter's start-up.
_FIRST_OF_OURS = ("runpy", "lineshaft")


def _set_path0(path0: str, *, always: bool) -> None:
    """Have the program's modules imported from its folder; `lineshaft.__main__` removed its own."""
    if always or not sys.flags.safe_path:
        sys.path.insert(0, path0)
        _unshadow(path0 or os.getcwd())  # noqa: PTH109


def _unshadow(folder: str) -> None:
    """Forget modules that only we imported and that the program has its own version of.

    A program with a `types.py` beside it means that one. Ours stays bound where it was imported.
    """
    names = [name for name in sys.modules if "." not in name]
    start = min(names.index(name) for name in _FIRST_OF_OURS if name in sys.modules)
    for name in names[start:]:
        if name in ("lineshaft", "__main__") or _found_before_path(name):
            continue
        spec = importlib.machinery.PathFinder.find_spec(name, [folder])
        if spec is not None and spec.loader is not None:
            del sys.modules[name]


def _found_before_path(name: str) -> bool:
    frozen = importlib.machinery.FrozenImporter.find_spec(name)
    return frozen is not None or name in sys.builtin_module_names


def _new_main_module() -> ModuleType:
    main = ModuleType("__main__")
    main.__loader__ = importlib.machinery.BuiltinImporter
    main.__annotations__ = {}
    vars(main)["__builtins__"] = builtins
    # Our own `__main__` is still running; its module must outlive its frames.
    _replaced_main.append(sys.modules["__main__"])
    sys.modules["__main__"] = main
    return main


_replaced_main: list[ModuleType] = []


def _has_importer(path: str) -> bool:
    """Return whether `path` is something to import from: a directory or a zip file."""
    for hook in sys.path_hooks:
        try:
            hook(path)
        except ImportError:
            continue
        return True
    return False


def _absolute(path: str) -> str:
    # As the interpreter does it: joined, not normalized.
    return path if path.startswith("/") else f"{os.getcwd()}/{path}"  # noqa: PTH109


def _code_of(source: bytes, filename: str) -> CodeType:
    if filename.endswith(".pyc") or source[:4] == importlib.util.MAGIC_NUMBER:
        import marshal

        if source[:4] != importlib.util.MAGIC_NUMBER:
            raise RuntimeError("Bad magic number in .pyc file")
        code: CodeType = marshal.loads(source[16:])
        return code
    try:
        return _compile(source, filename)
    except SyntaxError as error:
        raise _as_from_a_file(error, source, filename) from None


def _compile(source: str | bytes, filename: str) -> CodeType:
    code: CodeType = compile(source, filename, "exec", dont_inherit=True)
    return code


def _as_from_a_file(error: SyntaxError, source: bytes, filename: str) -> SyntaxError:
    """Return the error that the interpreter reports for a file; it differs for bytes that are no UTF-8."""
    if not error.msg.startswith("(unicode error) 'utf-8' codec"):
        return error
    for number, line in enumerate(source.splitlines(), 1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as found:
            return SyntaxError(
                f"Non-UTF-8 code starting with '\\x{line[found.start]:02x}' in file {filename} on line {number}, "
                "but no encoding declared; see https://peps.python.org/pep-0263/ for details"
            )
    return error


def _hide_own_frames() -> None:
    """Have the exception that is rising printed without the frames of this package."""
    hook = sys.excepthook
    own_frame = sys._getframe(1)

    def print_program_frames(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sys.excepthook = hook
        while trace is not None and trace.tb_frame is not own_frame:
            trace = trace.tb_next
        # Below `execute` come the program's frames, or first those of `_execute_script` and so on.
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        error.__traceback__ = sys.last_traceback = trace
        try:
            hook(kind, error, trace)
        except SystemExit:
            raise
        except BaseException as failure:
            _print_failed_hook(failure, error)

    sys.excepthook = print_program_frames


def _print_failed_hook(failure: BaseException, error: BaseException) -> None:
    """Print what the interpreter prints when an except hook raises."""
    trace = failure.__traceback__
    failure.__traceback__ = None if trace is None else trace.tb_next
    print("Error in sys.excepthook:", file=sys.stderr)
    sys.__excepthook__(type(failure), failure, failure.__traceback__)
    print("\nOriginal exception was:", file=sys.stderr)
    sys.__excepthook__(type(error), error, error.__traceback__)
