"""Arrays that are mapped files go to workers by the names of the files, wherever they are in a call.

Workers map the same file, and what they write is in it. That is how joblib's users have calls fill an array.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from importlib import import_module

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

    mapped = joblibs._get_backing_memmap(array)
    if _is_piece(array, mapped):
        return joblibs._reduce_memmap_backed(array, mapped)
    start, end = _bounds(array)
    offset = mapped.offset + start - _bounds(mapped)[0]
    begin = array.__array_interface__["data"][0] - start
    file = mapped.filename, mapped.mode, offset, end - start
    return _view, (file, array.dtype, array.shape, array.strides, begin)


def _is_piece(array: Any, mapped: Any) -> bool:
    """Whether the array is a piece of the file in the order of the file.

    For others joblib gives workers what lies elsewhere, or before the file's beginning.
    """
    if mapped.ndim > 1 and mapped.flags.f_contiguous:
        return bool(array.flags.f_contiguous)
    return bool(array.flags.c_contiguous)


def _bounds(array: Any) -> tuple[int, int]:
    """Return the addresses of its first byte and of what comes after its last."""
    try:
        module: Any = import_module("numpy.lib.array_utils")
    except ImportError:
        module = sys.modules["numpy"]  # before NumPy 2
    start, end = module.byte_bounds(array)
    return int(start), int(end)


def _view(
    file: tuple[str, str, int, int], dtype: Any, shape: tuple[int, ...], strides: tuple[int, ...], begin: int
) -> Any:
    """Map what a view is of, from its first byte to its last; `begin` is where its first item lies there."""
    import numpy

    filename, mode, offset, size = file
    mode = "r+" if mode == "w+" else mode  # its contents are what is asked for
    mapped = numpy.memmap(filename, numpy.uint8, mode, offset, (size,))  # type: ignore[call-overload]
    return numpy.ndarray(shape, dtype, mapped, begin, strides)


def _is_mapped(array: Any) -> bool:
    """Whether the array is a file that was mapped to be shared, or a part of one."""
    numpy: Any = sys.modules["numpy"]
    while isinstance(array, numpy.ndarray):
        if isinstance(array, numpy.memmap) and array.filename is not None and array.mode != "c":
            return True
        array = array.base
    return False
