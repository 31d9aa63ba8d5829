"""What people changed of ours on the host: it is reported, never undone. It blocks: call it from a
thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tambourinefs.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tambourinefs.agent.host.files import HostFiles
    from tambourinefs.agent.state.record import Record, Written
    from tambourinefs.model.names import NamespacedName


def changed_by_hand(
    host: HostFiles, records: Mapping[NamespacedName, Record]
) -> dict[NamespacedName, str]:
    """For each service, the first file of ours that is not as we wrote it, in words; "" when all
    are.
    """
    return {key: _first(host, record) for key, record in records.items()}


def _first(host: HostFiles, record: Record) -> str:
    if record.intent is not None or record.removing:
        return ""  # we are at it
    return next((said for w in record.written if (said := _difference(host, w))), "")


def _difference(host: HostFiles, written: Written) -> str:
    if not written.placed or written.kind == "file":
        return ""
    try:
        found = host.look(written.path)
    except HostError as error:
        return error.message
    if found.kind == "absent":
        return f"{written.path} was removed by somebody"
    if found.digest not in written.ours:
        return f"{written.path} was changed by somebody"
    return ""
