"""Sizes and counts as systemd prints them. Pure.

Source of the rules: format_bytes_full() with FORMAT_BYTES_USE_IEC | BELOW_POINT | TRAILING_B of systemd 252 and 257
(src/basic/format-util.c).
"""

from __future__ import annotations

from typing import Final

_SUFFIXES: Final = "KMGTPE"
_NO_ZERO: Final = 256  # the release since which `3M` is not `3.0M`
INFINITY: Final = (1 << 64) - 1


def size(count: int, release: int) -> str:
    """`17.5M`: powers of 1024, one digit after the point, rounded down; below 1024 `1023B`. `count` is bytes, `release`
    systemd's.
    """
    if count < 1024:
        return f"{count}B"
    power = min((count.bit_length() - 1) // 10, len(_SUFFIXES))
    factor = 1 << (10 * power)
    # systemd drops the bits below the next smaller unit first, so that nothing overflows 64 bits.
    tenth = (count // (factor >> 10)) * 10 // 1024 % 10
    point = "" if tenth == 0 and release >= _NO_ZERO else f".{tenth}"
    return f"{count // factor}{point}{_SUFFIXES[power - 1]}"


def protection(count: int | None, release: int) -> str:
    """The size of MemoryMin= or MemoryLow=, where no limit is `infinity`."""
    return "infinity" if count is None or count >= INFINITY else size(count, release)
