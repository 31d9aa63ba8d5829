"""How much is measured. Smaller ones are for work on the bench itself: what they give is no row of the README."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """The whole by default."""

    idle_minutes: float = 10
    nodes: int = 1000  # that kube_fleet plays
