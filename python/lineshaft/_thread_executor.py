"""`lineshaft.futures.ThreadPoolExecutor`, apart because the module of its base class takes time to import."""

from __future__ import annotations

import concurrent.futures.thread

from lineshaft._threads import Threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    _Original = concurrent.futures.thread.ThreadPoolExecutor
else:
    # Under `lineshaft run` the attribute is the class below.
    _Original = vars(concurrent.futures.thread)["ThreadPoolExecutor"]


class ThreadPoolExecutor(Threads, _Original):  # type: ignore[misc, override]
    """Runs calls on threads; a drop-in for `concurrent.futures.ThreadPoolExecutor`.

    Parameters
    ----------
    max_workers
        Threads at most; by default 4 more than cores are usable, at most 32.
    thread_name_prefix
        Start of the threads' names.
    initializer, initargs
        Called on each thread before its first call. If it raises, the pool is broken.

    Examples
    --------
    >>> with ThreadPoolExecutor(2) as executor:
    ...     list(executor.map(len, ["a", "bb"]))
    [1, 2]
    """

    # `isinstance` is all that the base class is for: `loop.set_default_executor` insists on it.
    __module__ = "lineshaft.futures"
