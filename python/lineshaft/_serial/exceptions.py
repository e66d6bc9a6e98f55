"""Exceptions across processes: class, arguments, attributes, notes, chain and remote traceback.

Each exception of a chain is pickled by itself, because pickle drops ``__cause__`` and
``__context__`` and because one that cannot be rebuilt must not take the others with it. What is sent
for it is tried out here first: many classes whose ``__init__`` has its own signature pickle well and
fail on load.
"""

from __future__ import annotations

import linecache
import os.path
import pickle
import re
from typing import NamedTuple

from lineshaft.errors import RemoteError, RemoteTraceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

__all__ = ["chain_of", "decode", "encode", "rebuild", "traceback_of"]

#: Links of a chain of causes and contexts that are followed; more are cut off.
CHAIN_MAX = 32

_FRAME = re.compile(r'  File "(?P<file>.*)", line (?P<line>[0-9]+), in ')

_PACKAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")

#: Whose frames may come before the first one of the program: ours, and those of the loop that runs coroutines.
_BEFORE = (_PACKAGE, os.path.join(os.path.dirname(os.path.abspath(os.__file__)), "asyncio", ""))


#: File, function, line and module of a frame of a traceback.
Frame = tuple[str, str, int, str]


class _Part(NamedTuple):
    """One exception of a chain. `cause` and `context` are positions in the chain, `frames` its traceback."""

    data: bytes | None
    type_name: str
    message: str
    representation: str
    reason: str
    cause: int | None
    context: int | None
    suppress_context: bool
    frames: list[Frame]


def chain_of(exc: BaseException) -> list[BaseException]:
    """`exc` and its causes and contexts, each once, `exc` first."""
    chain = [exc]
    for part in chain:
        for linked in (_own_cause(part), part.__context__):
            if linked is None or isinstance(linked, RemoteTraceback):
                continue
            if len(chain) < CHAIN_MAX and not any(linked is other for other in chain):
                chain.append(linked)
    return chain


def encode(exc: BaseException, dumps: Callable[[object], bytes]) -> tuple[bytes, str]:
    """Pickle an exception that a task raised; return that and its traceback. `dumps` pickles one value."""
    text = traceback_of(exc)
    return pickle.dumps((text, _encode_chain(exc, dumps)), 5), text


def decode(data: bytes) -> BaseException:
    """Rebuild what `encode` made, with a `RemoteTraceback` as the cause."""
    text, fields = pickle.loads(data)
    text = _with_sources(text)
    exc = _decode_chain(fields, text)
    remote = RemoteTraceback(text)
    remote.cause = exc.__cause__
    remote.suppress_context = exc.__suppress_context__
    remote.frames = [_Part(*values).frames for values in fields]
    exc.__cause__ = remote
    return exc


def _own_cause(exc: BaseException) -> BaseException | None:
    cause = exc.__cause__
    return cause.cause if isinstance(cause, RemoteTraceback) else cause


def _with_sources(text: str) -> str:
    """Add the lines that only this process knows: of notebook cells and other code without a file."""
    lines = text.split("\n")
    shown: list[str] = []
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        shown.append(line)
        frame = _FRAME.match(line)
        if frame and not following.startswith("    "):
            source = linecache.getline(frame["file"], int(frame["line"])).strip()
            if source:
                shown.append(f"    {source}")
    return "\n".join(shown)


def _encode_chain(exc: BaseException, dumps: Callable[[object], bytes]) -> list[tuple[object, ...]]:
    chain = chain_of(exc)
    positions = {id(part): position for position, part in enumerate(chain)}
    parts: list[tuple[object, ...]] = []
    for part in chain:
        data, reason = _encode_one(part, dumps)
        parts.append(
            tuple(
                _Part(
                    data,
                    f"{type(part).__module__}.{type(part).__qualname__}".removeprefix("builtins."),
                    _text(str, part),
                    _text(repr, part),
                    reason,
                    positions.get(id(_own_cause(part))),
                    positions.get(id(part.__context__)),
                    part.__suppress_context__,
                    _frames(part.__traceback__),
                )
            )
        )
    return parts


def _decode_chain(fields: list[tuple[Any, ...]], text: str) -> BaseException:
    parts = [_Part(*values) for values in fields]
    chain = [_decode_one(part, "" if i else text) for i, part in enumerate(parts)]
    for exc, part in zip(chain, parts, strict=True):
        if part.cause is not None:
            exc.__cause__ = chain[part.cause]
        if part.context is not None:
            exc.__context__ = chain[part.context]
        exc.__suppress_context__ = part.suppress_context
    return chain[0]


def rebuild(cls: type[BaseException], args: tuple[object, ...], state: dict[str, Any] | None) -> BaseException:
    """Make an exception without its ``__init__``, which wants other arguments than it keeps."""
    exc = cls.__new__(cls, *args)
    exc.args = args
    if state:
        exc.__setstate__(state)
    return exc


def rebuild_group(
    cls: type[BaseExceptionGroup[Any]], message: str, members: list[list[tuple[Any, ...]]], state: dict[str, Any] | None
) -> BaseException:
    """Make a group of exceptions that were encoded one by one."""
    group = cls(message, [_decode_chain(member, "") for member in members])
    if state:
        group.__setstate__(state)
    return group


class _RebuiltGroup:
    """Pickles as a call of `rebuild_group`."""

    def __init__(self, group: BaseExceptionGroup[Any], dumps: Callable[[object], bytes]) -> None:
        self._group = group
        self._members = [_encode_chain(member, dumps) for member in group.exceptions]

    def __reduce__(self) -> tuple[object, ...]:
        group = self._group
        return rebuild_group, (type(group), group.message, self._members, group.__dict__ or None)


class _Rebuilt:
    """Pickles as a call of `rebuild`."""

    def __init__(self, exc: BaseException) -> None:
        self._exc = exc

    def __reduce__(self) -> tuple[object, ...]:
        exc = self._exc
        return rebuild, (type(exc), exc.args, exc.__dict__ or None)


def _encode_one(exc: BaseException, dumps: Callable[[object], bytes]) -> tuple[bytes | None, str]:
    """Return data that loads as an exception of this class, if possible as an equal one; or None and the reason."""
    reason = ""
    other: bytes | None = None
    candidates: list[object] = [exc]
    kind = type(exc)
    if kind.__reduce__ is BaseException.__reduce__ and kind.__reduce_ex__ is object.__reduce_ex__:
        if isinstance(exc, BaseExceptionGroup):
            candidates.insert(0, _RebuiltGroup(exc, dumps))
        else:
            candidates.append(_Rebuilt(exc))
    for candidate in candidates:
        try:
            data = dumps(candidate)
            if kind.__module__ == "builtins" and not isinstance(exc, BaseExceptionGroup):
                return data, ""
            copy = pickle.loads(data)
        except Exception as error:
            reason = reason or f"{type(error).__name__}: {error}"
            continue
        if type(copy) is not kind:
            reason = reason or f"it loads as {type(copy).__qualname__}"
        elif _text(str, copy) == _text(str, exc) and len(copy.args) == len(exc.args):
            return data, ""
        else:
            # Whoever catches the class gets what pickle makes of it.
            other = other or data
    return other, "" if other else reason


def _decode_one(part: _Part, text: str) -> BaseException:
    reason = part.reason
    if part.data is not None:
        try:
            exc = pickle.loads(part.data)
            if isinstance(exc, BaseException):
                return exc
            reason = f"it loads as {type(exc).__qualname__}"
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
    stand_in = RemoteError(part.type_name, part.message, part.representation, text, reason)
    stand_in.add_note(f"the original exception could not be rebuilt in this process: {reason}")
    return stand_in


def traceback_of(exc: BaseException) -> str:
    """Format the traceback of an exception and of its chain, from the program's first frame on."""
    from traceback import TracebackException

    try:
        report = TracebackException(type(exc), exc, _user_part(exc.__traceback__))
        return "".join(report.format())
    except Exception as error:  # classes whose str() fails, broken source files
        return f"{type(exc).__qualname__} (its traceback cannot be shown: {error!r})\n"


def _user_part(traceback: TracebackType | None) -> TracebackType | None:
    first = traceback
    while first is not None and first.tb_frame.f_code.co_filename.startswith(_BEFORE):
        first = first.tb_next
    return traceback if first is None else first


def _frames(traceback: TracebackType | None) -> list[Frame]:
    part, frames = _user_part(traceback), []
    while part is not None:
        frame = part.tb_frame
        module = frame.f_globals.get("__name__")
        frames.append((frame.f_code.co_filename, frame.f_code.co_name, part.tb_lineno, str(module)))
        part = part.tb_next
    return frames


def _text(form: Callable[[object], str], exc: BaseException) -> str:
    try:
        return form(exc)
    except Exception as error:
        return f"<{form.__name__}() failed: {type(error).__name__}>"
