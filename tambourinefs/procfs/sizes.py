"""Sizes and counts as systemd prints them. Pure.

Source of the rules: format_bytes_full() with FORMAT_BYTES_USE_IEC | BELOW_POINT | TRAILING_B of systemd 252
(src/basic/format-util.c).
"""

from __future__ import annotations

from typing import Final

_SUFFIXES: Final = "KMGTPE"
INFINITY: Final = (1 << 64) - 1


def size(count: int) -> str:
    """`17.5M`: powers of 1024, one digit after the point, rounded down; below 1024 `1023B`. `count` is bytes."""
    if count < 1024:
        return f"{count}B"
    power = min((count.bit_length() - 1) // 10, len(_SUFFIXES))
    factor = 1 << (10 * power)
    # systemd drops the bits below the next smaller unit first, so that nothing overflows 64 bits.
    tenth = (count // (factor >> 10)) * 10 // 1024 % 10
    return f"{count // factor}.{tenth}{_SUFFIXES[power - 1]}"


def protection(count: int | None) -> str:
    """The size of MemoryMin= or MemoryLow=, where no limit is `infinity`."""
    return "infinity" if count is None or count >= INFINITY else size(count)
