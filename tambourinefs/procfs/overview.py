"""The files of the top level, about all services: services.txt, services.json, metrics.prom.

A host may have thousands of services: other requests are answered between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from tambourinefs import __version__
from tambourinefs.procfs.render import metrics, report, tables
from tambourinefs.procfs.render.files import Needs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from tambourinefs.model.view import ServiceView
    from tambourinefs.procfs.host.reader import HostReader

_AT_ONCE: Final = 16  # services, about 2 ms


async def _in_turns(views: Sequence[ServiceView]) -> AsyncIterator[ServiceView]:
    for place, view in enumerate(views):
        if place % _AT_ONCE == _AT_ONCE - 1:
            await trio.lowlevel.checkpoint()
        yield view


async def version_txt(_: Sequence[ServiceView]) -> bytes:
    """The version of Tambourine."""
    return f"{__version__}\n".encode()


async def services_txt(views: Sequence[ServiceView]) -> bytes:
    """One line a service, in columns."""
    rows = [tables.service_row(view) async for view in _in_turns(views)]
    return tables.services_text(rows).encode()


async def services_json(views: Sequence[ServiceView], host: HostReader) -> bytes:
    """An array of StatusReport, one element a line."""
    moment = host.moment()
    lines = [
        report.to_json_line(report.report(view, host.figures(view.unit, Needs.NUMBERS), moment))
        async for view in _in_turns(views)
    ]
    return b"[" + b",\n ".join(lines) + b"]\n"


async def metrics_prom(
    views: Sequence[ServiceView], host: HostReader, expirations: Mapping[str, float], events: int
) -> bytes:
    """Prometheus text of all services."""
    made = metrics.MetricsText(services=len(views), events=events)
    for name, end in expirations.items():
        made.add(metrics.CERTIFICATE, metrics.labels(certificate=name), end)
    async for view in _in_turns(views):
        for sample in metrics.samples(view, host.figures(view.unit, Needs.NUMBERS)):
            made.add(*sample)
    return made.text().encode()
