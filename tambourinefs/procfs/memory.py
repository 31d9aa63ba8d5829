"""The value `memory` and the line `Mem peak:`, as `systemctl status` words them. Pure.

Source: print_status_info() of systemd 252 and 257 (src/systemctl/systemctl-show.c). What has no value has no word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tambourinefs.procfs.sizes import protection, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tambourinefs.model.unit import Unit
    from tambourinefs.procfs.figures import Figures

_PEAKS: Final = 255  # the release since which peaks are told
_COMMAS: Final = 256


def memory(unit: Unit, figures: Figures) -> str:
    """`17.5M (high: 1.0G max: 2.0G available: 1006.4M)`, and of later releases `17.5M (max: 2G, peak: 18.1M)`."""
    if figures.memory is None:
        return ""
    words = list(_words(unit, figures) if unit.release >= _PEAKS else _first_words(unit, figures))
    between = ", " if unit.release >= _COMMAS else " "
    return size(figures.memory, unit.release) + (f" ({between.join(words)})" if words else "")


def peak(unit: Unit, figures: Figures) -> str:
    """`18.1M (swap: 1M)` of a unit whose memory is not counted any more."""
    if figures.memory is not None or figures.memory_peak is None or unit.release < _PEAKS:
        return ""
    swap = figures.memory_swap_peak
    return size(figures.memory_peak, unit.release) + (
        f" (swap: {size(swap, unit.release)})" if swap else ""
    )


def _first_words(unit: Unit, figures: Figures) -> Iterator[str]:
    for word, count in (("min", unit.memory_min), ("low", unit.memory_low)):
        if count != 0:
            yield f"{word}: {protection(count, unit.release)}"
    for word, count in (
        ("high", unit.memory_high),
        ("max", unit.memory_max),
        ("swap max", unit.memory_swap_max),
        ("limit", unit.memory_limit),
        ("available", figures.memory_available),
    ):
        if count is not None:
            yield f"{word}: {size(count, unit.release)}"


def _words(unit: Unit, figures: Figures) -> Iterator[str]:
    release = unit.release
    for word, count in (
        ("min", unit.memory_min),
        ("low", unit.memory_low),
        ("low (startup)", unit.startup_memory_low),
    ):
        if count != 0:
            yield f"{word}: {protection(count, release)}"
    limited = unit.memory_high is not None or unit.memory_max is not None
    for word, count in (
        ("high", unit.memory_high),
        ("high (startup)", unit.startup_memory_high),
        ("max", unit.memory_max),
        ("max (startup)", unit.startup_memory_max),
        ("swap max", unit.memory_swap_max),
        ("swap max (startup)", unit.startup_memory_swap_max),
        ("zswap max", unit.memory_zswap_max),
        ("zswap max (startup)", unit.startup_memory_zswap_max),
        ("limit", unit.memory_limit),
        ("available", figures.memory_available if limited else None),
        ("peak", figures.memory_peak),
        ("swap", figures.memory_swap if figures.memory_swap_peak else None),
        ("swap peak", figures.memory_swap_peak or None),
        ("zswap", figures.memory_zswap or None),
    ):
        if count is not None:
            yield f"{word}: {size(count, release)}"
