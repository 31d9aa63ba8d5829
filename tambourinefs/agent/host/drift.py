"""Drift: what was changed on the host since the agent wrote it. It is reported, never undone. It
blocks: call it from a thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tambourinefs.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tambourinefs.agent.host.files import HostFiles
    from tambourinefs.agent.state.record import Record, Written
    from tambourinefs.model.names import NamespacedName


def find_drift(
    host: HostFiles, records: Mapping[NamespacedName, Record]
) -> dict[NamespacedName, str]:
    """For each service, the first unit file or drop-in that differs from what was written; "" for
    none.
    """
    return {key: _first(host, record) for key, record in records.items()}


def _first(host: HostFiles, record: Record) -> str:
    if record.intent is not None or record.removing:
        return ""  # it is being written
    return next((drift for w in record.written if (drift := _difference(host, w))), "")


def _difference(host: HostFiles, written: Written) -> str:
    if not written.placed or written.kind == "file":
        return ""
    try:
        found = host.look(written.path)
    except HostError as error:
        return error.message
    if found.kind == "absent":
        return f"{written.path} was removed on the host"
    if found.digest not in written.ours:
        return f"{written.path} was changed on the host"
    return ""
