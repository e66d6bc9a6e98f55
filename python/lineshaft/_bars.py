"""Which calls show a progress bar without being asked one by one."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["is_wanted", "progress"]

#: What `progress` said last; None if nobody said anything.
_wanted: bool | None = None


class progress:  # noqa: N801 - used as a function
    """Show a bar on standard error for every ``joblib.Parallel`` and every `map` that takes more than a second.

    From now on, or for the time of a ``with`` block. Only the outermost of nested calls shows one, and
    calls with ``n_jobs=1`` do, too. Where lines cannot be overwritten, it is a line every ten seconds.

    Parameters
    ----------
    enabled
        False shows none, also where `map` would by itself.

    Examples
    --------
    >>> import lineshaft as ls
    >>> with ls.progress():
    ...     list(ls.map(abs, [-1, -2]))
    [1, 2]
    """

    def __init__(self, enabled: bool = True) -> None:
        global _wanted
        self._before = _wanted
        _wanted = enabled
        if enabled:
            from lineshaft import _patch
            from lineshaft.joblib.bar import install

            _patch.when_imported("joblib.parallel", install)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        global _wanted
        _wanted = self._before


def is_wanted() -> bool | None:
    """Return whether bars are to be shown, or None if that is for each call to say."""
    return _wanted
