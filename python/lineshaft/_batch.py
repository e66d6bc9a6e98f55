"""How a worker runs a batch: one call per item, each with its own outcome."""

from __future__ import annotations

import time

from lineshaft._serial.worker import dumps_exception, dumps_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: Tells the engine which item begins; replaced in worker processes.
mark: Callable[[int], object] = int
#: The program was ended by Ctrl-C, so an item that is interrupted by it is the last one.
is_interrupted = False


def run(
    function: Callable[..., Any], items: list[tuple[Any, ...]]
) -> tuple[list[Any] | bytes, dict[int, bytes], float]:
    """Call `function` with each item.

    Returns
    -------
    tuple
        The results, pickled if there are several, with None where an item failed; the pickled
        exceptions by index; and the seconds it took.
    """
    show = mark
    values: list[Any] = []
    failed: dict[int, bytes] = {}
    began_s = time.perf_counter()
    for index, args in enumerate(items):
        show(index)
        try:
            values.append(function(*args))
        except BaseException as error:
            if is_interrupted and isinstance(error, KeyboardInterrupt):
                raise
            failed[index] = dumps_exception(error)
            values.append(None)
    ran_s = time.perf_counter() - began_s
    if len(items) == 1:
        return values, failed, ran_s
    try:
        return dumps_result(values), failed, ran_s
    except Exception:
        # Only those results that cannot be sent have failed.
        for index, value in enumerate(values):
            try:
                dumps_result(value)
            except Exception as error:
                failed[index] = dumps_exception(error)
                values[index] = None
        return dumps_result(values), failed, ran_s
