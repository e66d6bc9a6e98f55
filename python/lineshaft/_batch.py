"""How a worker runs a batch: one call per item, each with its own outcome."""

from __future__ import annotations

import time

from lineshaft._arguments import show as show_arguments
from lineshaft._serial.worker import dumps_raised, dumps_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: Tells the engine which item begins; replaced in worker processes.
mark: Callable[[int], object] = int
#: The program was ended by Ctrl-C, so an item that is interrupted by it is the last one.
is_interrupted = False


def note_raised(traceback: str, run_again: bool, arguments: str) -> None:
    """Tell the engine of the first item that raised, and whether such items are run again; replaced as well."""


def run(
    function: Callable[..., Any], items: list[tuple[Any, ...]], run_again: bool = False
) -> tuple[list[Any] | bytes, dict[int, bytes], float]:
    """Call `function` with each item.

    Parameters
    ----------
    function
        What is called.
    items
        The arguments of each call.
    run_again
        Whether items that raise are run again, each by itself.

    Returns
    -------
    tuple
        The results, pickled if there are several, with None where an item failed; the pickled
        exceptions by index; and the seconds it took.
    """
    show = mark
    values: list[Any] = []
    failed: dict[int, bytes] = {}
    first: tuple[int, str, str] | None = None

    def fail(index: int, error: BaseException) -> None:
        nonlocal first
        failed[index], traceback = dumps_raised(error)
        first = first or (index, traceback, show_arguments(items[index], traceback=error.__traceback__))

    began_s = time.perf_counter()
    for index, args in enumerate(items):
        show(index)
        try:
            values.append(function(*args))
        except BaseException as error:
            if is_interrupted and isinstance(error, KeyboardInterrupt):
                raise
            fail(index, error)
            values.append(None)
    ran_s = time.perf_counter() - began_s
    sent: list[Any] | bytes = values
    try:
        if len(items) > 1:
            sent = dumps_result(values)
    except Exception:
        # Only those results that cannot be sent have failed.
        for index, value in enumerate(values):
            try:
                dumps_result(value)
            except Exception as error:
                fail(index, error)
                values[index] = None
        sent = dumps_result(values)
    if first is not None:
        index, traceback, arguments = first
        several = f"{len(failed)} items raised, the first of them " if len(failed) > 1 else ""
        which = f"{several}item {index} of {len(items)}:\n" if len(items) > 1 else ""
        note_raised(f"{which}{traceback}", run_again, arguments)
    return sent, failed, ran_s
