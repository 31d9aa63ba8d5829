"""Records between their bytes on the disk and this program, with the steps from each older format to the next.

The number stands in each record, so a migration may be cut anywhere: what has the old number is still to be done. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from tambourinefs.agent.state.record import Record
from tambourinefs.model import formats

Raw = dict[str, Any]  # a record as JSON has it

# format -> the step that makes the next one of it. A step adds no number, and never fails on what its format allows.
STEPS: Mapping[int, Callable[[Raw], Raw]] = {}


class _Head(msgspec.Struct):
    version: int = 1  # the first format wrote none


def to_bytes(record: Record) -> bytes:
    """The record as it is kept, with the format's number first."""
    # Spliced: a record has required fields, so it is never the empty object, and has no number of its own.
    return b'{"version":%d,' % formats.APPLIED + msgspec.json.encode(record)[1:]


def from_bytes(data: bytes) -> tuple[Record, bool]:
    """The record in `data`, brought to this program's format; and whether it was of an older one.

    Raises ValueError (msgspec's errors are such) where it cannot be read, or no step leads on from its format.
    """
    found = msgspec.json.decode(data, type=_Head).version
    if found == formats.APPLIED:
        return msgspec.json.decode(data, type=Record), False
    if found > formats.APPLIED:
        raise ValueError(f"it has format {found}, this program knows {formats.APPLIED}")
    raw = msgspec.json.decode(data, type=Raw)
    for version in range(found, formats.APPLIED):
        if version not in STEPS:
            raise ValueError(f"no step leads on from format {version}")
        raw = STEPS[version](raw)
    return msgspec.convert(raw, type=Record), True
