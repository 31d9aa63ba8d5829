"""How much is measured. Smaller sizes are for work on the bench, not for docs/performance.md."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """The whole by default."""

    idle_minutes: float = 10
    nodes: int = 1000  # that kube_fleet simulates
