"""Samples and their figures: median, 10th and 90th percentile. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

# (from how much of the unit on, factor, unit), for times in seconds
_TIMES = ((1.0, 1, "s"), (1e-3, 1e3, "ms"), (0.0, 1e6, "us"))


@dataclass(frozen=True)
class Figure:
    """One measured thing. `unit` is "s", "MiB/s", "MiB" or "1/s"; `low` and `high` are the 10th and 90th percentile."""

    name: str
    median: float
    low: float
    high: float
    count: int
    unit: str = "s"
    p99: float | None = None

    def __str__(self) -> str:
        if self.unit != "s":
            spread = f" ({self.low:.3g}-{self.high:.3g})" if self.count > 1 else ""
            return f"{self.name} {self.median:.3g} {self.unit}{spread}"
        factor, unit = next((f, u) for least, f, u in _TIMES if self.median >= least)
        spread = f" ({self.low * factor:.3g}-{self.high * factor:.3g})" if self.count > 1 else ""
        return f"{self.name} {self.median * factor:.3g} {unit}{spread}"


def figure(name: str, samples: Sequence[float], unit: str = "s") -> Figure:
    """The figure of some samples, at least one."""
    return Figure(
        name,
        statistics.median(samples),
        percentile(samples, 10),
        percentile(samples, 90),
        len(samples),
        unit,
        percentile(samples, 99) if len(samples) >= 20 else None,
    )


def percentile(samples: Sequence[float], percent: float) -> float:
    """The smallest sample that at least `percent` % of all do not exceed (nearest rank)."""
    ranked = sorted(samples)
    return ranked[max(0, math.ceil(percent / 100 * len(ranked)) - 1)]


@dataclass(frozen=True)
class Claim:
    """One number that a row promises, such as "x faster than lxcfs", and whether it is kept."""

    text: str
    value: float
    bound: float
    at_least: bool

    @property
    def kept(self) -> bool:
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        return (
            f"{self.text} {self.value:.3g} ({sign} {self.bound:g}{'' if self.kept else ', MISSED'})"
        )


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    name: str
    what: str
    figures: tuple[Figure, ...]
    claims: tuple[Claim, ...] = ()
    note: str = ""

    def to_markdown(self) -> str:
        cells = (
            self.what,
            "; ".join(map(str, self.figures)),
            "; ".join(map(str, self.claims)),
            self.note,
        )
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    def to_plain(self) -> dict[str, Any]:
        plain = asdict(self)
        for claim, known in zip(plain["claims"], self.claims, strict=True):
            claim["kept"] = known.kept
        return plain


HEADER = "| what | measured: median (p10-p90) | promise | note |\n|---|---|---|---|"


def times_faster(text: str, ours: Figure, theirs: Figure, bound: float) -> Claim:
    """The ratio of Tambourine's median to the rival's."""
    return Claim(text, theirs.median / ours.median, bound, at_least=True)


def times_as_long(text: str, ours: Figure, theirs: Figure, bound: float) -> Claim:
    return Claim(text, ours.median / theirs.median, bound, at_least=False)
