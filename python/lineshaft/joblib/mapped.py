"""Arrays that are mapped files go to workers by the names of the files, wherever they are in a call.

Workers map the same file, and what they write is in it. That is how joblib's users have calls fill an array.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext

from lineshaft._serial.handing_over import reducing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Any

__all__ = ["by_name"]


def by_name() -> AbstractContextManager[None]:
    """Have what this thread pickles for workers name the files of mapped arrays."""
    numpy = sys.modules.get("numpy")
    # Half imported, by another thread, it has no arrays yet.
    if numpy is None or not hasattr(numpy, "memmap"):
        return nullcontext()
    return reducing({numpy.ndarray: _reduce, numpy.memmap: _reduce})


def _reduce(array: Any) -> Any:
    # Most arrays own their memory, and are done with at once.
    if array.base is None or not _is_mapped(array):
        return array.__reduce_ex__(5)
    from joblib import _memmapping_reducer as joblibs

    return joblibs._reduce_memmap_backed(array, joblibs._get_backing_memmap(array))


def _is_mapped(array: Any) -> bool:
    """Whether the array is a file that was mapped to be shared, or a part of one."""
    numpy: Any = sys.modules["numpy"]
    while isinstance(array, numpy.ndarray):
        if isinstance(array, numpy.memmap) and array.filename is not None and array.mode != "c":
            return True
        array = array.base
    return False
