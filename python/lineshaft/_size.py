"""Sizes of memory as people write and read them."""

from __future__ import annotations

#: Every size of memory is below this.
SIZE_END_BYTES = 1 << 63

UNITS = {
    "": 1, "B": 1,
    "K": 1 << 10, "KIB": 1 << 10, "KB": 10**3,
    "M": 1 << 20, "MIB": 1 << 20, "MB": 10**6,
    "G": 1 << 30, "GIB": 1 << 30, "GB": 10**9,
    "T": 1 << 40, "TIB": 1 << 40, "TB": 10**12,
}  # fmt: skip


def parse_size(text: str) -> int:
    """Return a size in bytes; a single letter is a power of 1024, as in most tools.

    Raises
    ------
    ValueError
        If `text` is no positive size.

    Examples
    --------
    >>> parse_size("8GiB"), parse_size("1.5 MB"), parse_size("2k"), parse_size("4096")
    (8589934592, 1500000, 2048, 4096)
    >>> parse_size("many")
    Traceback (most recent call last):
    ValueError: 'many' is not a size such as 512MiB or 8GiB
    """
    stripped = text.strip()
    number = stripped.rstrip("BbIiKkMmGgTt ")
    unit = stripped[len(number) :].strip().upper()
    try:
        value = float(number) * UNITS[unit]
        size = int(value)
    except (KeyError, ValueError, OverflowError):
        size = 0
    if not 0 < size < SIZE_END_BYTES:
        raise ValueError(f"{text!r} is not a size such as 512MiB or 8GiB")
    return size


def format_size(size_bytes: float) -> str:
    """Return a size with a binary unit and at most three digits before it.

    Examples
    --------
    >>> format_size(512), format_size(1536), format_size(8 << 30), format_size(123 << 20)
    ('512 B', '1.5 KiB', '8.0 GiB', '123 MiB')
    """
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1000 or unit == "TiB":
            break
        size /= 1024
    digits = 0 if unit == "B" or size >= 99.95 else 1
    return f"{size:.{digits}f} {unit}"
