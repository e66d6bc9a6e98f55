"""What the calls of a batch returned, on its way back from a worker.

Arrays that are mapped files go back by the names of the files, as they came. What cannot be sent is named as
the part of the one result that it is, for the batch is nothing that the user knows of.
"""

from __future__ import annotations

from types import NoneType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["to_be_sent"]

#: Values of these types hold no array, and can be sent.
_PLAIN = frozenset((NoneType, bool, int, float, str, bytes))


def to_be_sent(values: list[Any]) -> list[Any]:
    """Return a list that pickles as described at the top of this module."""
    return values if all(type(value) in _PLAIN for value in values) else _Results(values)


class _Results(list):  # type: ignore[type-arg]
    def __reduce_ex__(self, protocol: object) -> tuple[Callable[..., Any], tuple[bytes, list[Any]]]:
        from lineshaft._serial.parent import load_result
        from lineshaft._serial.worker import dumps_result
        from lineshaft.joblib.mapped import by_name

        buffers: list[Any] = []
        with by_name():
            try:
                data = dumps_result(list(self), buffers.append)
            except Exception:
                for value in self:
                    dumps_result(value)
                raise
        return load_result, (data, buffers)
