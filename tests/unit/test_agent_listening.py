"""The journal's watch: a failure is logged, the watch is opened again, and nothing else ends."""

from __future__ import annotations

import errno
import os
from contextlib import closing

import pytest
import trio

from tambourinefs.agent.journal import listening
from tests.announced import Announced

pytestmark = pytest.mark.trio


class _Reader:
    """Always readable."""

    def __init__(self) -> None:
        self._fd, other = os.pipe()
        os.close(other)

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        os.close(self._fd)


async def test_a_damaged_journal_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, announce: Announced
) -> None:
    announce("the journal cannot be followed: Bad message")
    looks: list[listening.Units | OSError] = [
        frozenset({"a.service"}),
        OSError(errno.EBADMSG, os.strerror(errno.EBADMSG)),
        frozenset({"b.service"}),
    ]

    def look(_reader: object) -> listening.Units:
        found = looks.pop(0)
        if isinstance(found, OSError):
            raise found
        return found

    heard: list[listening.Units | None] = []
    monkeypatch.setattr(listening, "PAUSE", 0)
    monkeypatch.setattr(listening, "AGAIN", 0)
    with trio.fail_after(20), closing(_Reader()) as reader:
        monkeypatch.setattr(listening, "_at_the_end", lambda: reader)
        monkeypatch.setattr(listening, "_new", look)
        async with trio.open_nursery() as nursery:

            def hear(units: listening.Units | None) -> None:
                heard.append(units)
                if not looks:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(listening.listen, hear)
    assert heard == [{"a.service"}, None, {"b.service"}]
