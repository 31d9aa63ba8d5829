"""`metrics.prom`: Prometheus text, for node_exporter's textfile collector. Pure.

Source: the Prometheus text exposition format, version 0.0.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tambourinefs import __version__
from tambourinefs.model.names import printable
from tambourinefs.procfs.render.values import changed_usec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tambourinefs.model.view import ServiceView
    from tambourinefs.procfs.render.figures import Figures

_STATES: Final = ("active", "reloading", "inactive", "failed", "activating", "deactivating")
_TRUTH: Final = {"True": 1, "False": 0}
CERTIFICATE: Final = "tambourine_certificate_expiration_timestamp_seconds"
# name: (type, help)
FAMILIES: Final = {
    "tambourine_info": ("gauge", "The version of Tambourine on this host."),
    "tambourine_services": ("gauge", "Tambourines on this host."),
    "tambourine_events_total": ("counter", "Changes written to events.log."),
    CERTIFICATE: (
        "gauge",
        "When a certificate of this host expires: ca, server, client, and node, its identity in a cluster.",
    ),
    "tambourine_service_state": ("gauge", "1 for the unit's ActiveState, 0 for the others."),
    "tambourine_service_condition": ("gauge", "1 True, 0 False, -1 Unknown."),
    "tambourine_service_generation": ("gauge", "The manifest's generation."),
    "tambourine_service_observed_generation": (
        "gauge",
        "The generation that the agent has acted on.",
    ),
    "tambourine_service_state_change_timestamp_seconds": (
        "gauge",
        "When ActiveState last changed.",
    ),
    "tambourine_service_restarts_total": ("counter", "Automatic restarts (NRestarts)."),
    "tambourine_service_tasks": ("gauge", "Tasks in the control group."),
    "tambourine_service_memory_bytes": ("gauge", "Memory of the control group."),
    "tambourine_service_cpu_seconds_total": ("counter", "Processor time of the control group."),
}

Sample = tuple[str, str, float]  # family, labels, value


def labels(**pairs: str) -> str:
    """`{name="value",…}` with the format's three escapes."""
    quoted = (f'{key}="{_escaped(value)}"' for key, value in pairs.items())
    return "{" + ",".join(quoted) + "}"


def _escaped(value: str) -> str:
    return printable(value).replace("\\", "\\\\").replace('"', '\\"')


def samples(view: ServiceView, figures: Figures) -> Iterator[Sample]:
    """All samples of one service."""
    service = {"namespace": view.namespace, "name": view.name, "unit": view.unit_name}
    own = labels(**service)
    for condition in view.conditions:
        yield (
            "tambourine_service_condition",
            labels(**service, type=condition.type),
            _TRUTH.get(condition.status, -1),
        )
    yield "tambourine_service_generation", own, view.generation
    yield "tambourine_service_observed_generation", own, view.observed_generation
    unit = view.unit
    if unit is None:
        return
    for name in _STATES:
        yield "tambourine_service_state", labels(**service, state=name), name == unit.active_state
    yield (
        "tambourine_service_state_change_timestamp_seconds",
        own,
        changed_usec(unit) / 1e6,
    )
    yield "tambourine_service_restarts_total", own, unit.n_restarts
    for family, value in (
        ("tambourine_service_tasks", figures.tasks),
        ("tambourine_service_memory_bytes", figures.memory),
        (
            "tambourine_service_cpu_seconds_total",
            None if figures.cpu_nsec is None else figures.cpu_nsec / 1e9,
        ),
    ):
        if value is not None:
            yield family, own, value


class MetricsText:
    """Collects samples; the format wants a family's lines together."""

    def __init__(self, *, services: int, events: int) -> None:
        self._lines: dict[str, list[str]] = {family: [] for family in FAMILIES}
        self.add("tambourine_info", labels(version=__version__), 1)
        self.add("tambourine_services", "", services)
        self.add("tambourine_events_total", "", events)

    def add(self, family: str, label: str, value: float) -> None:
        self._lines[family].append(f"{family}{label} {_number(value)}")

    def text(self) -> str:
        """The whole file."""
        out = []
        for family, (kind, text) in FAMILIES.items():
            if self._lines[family]:
                out += [f"# HELP {family} {text}", f"# TYPE {family} {kind}", *self._lines[family]]
        return "\n".join(out) + "\n"


def _number(value: float) -> str:
    whole = int(value)
    return str(whole) if whole == value else repr(value)
