"""Runs the one task of a trio daemon, and raises its errors to the command line."""

from __future__ import annotations

import logging
import os
import resource
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from tambourinefs import daemon
from tambourinefs.errors import Unmounted

_log = logging.getLogger(__name__)

# RestartPreventExitStatus= of the units: Restart=always would restart a server that ended well,
# too.
UNMOUNTED_STATUS: Final = 5


def run_until_stopped(task: Callable[[], Awaitable[None]]) -> None:
    """Run `task` until it returns or SIGTERM or SIGINT comes; then it is cancelled and this returns
    (exit 0).

    Signals are handled before the task starts, so that it can clean up. An error is raised bare,
    not in a group of one: the command line tells errors by type. Unmounted ends the process without
    an error.
    """
    error: BaseException
    try:
        trio.run(_supervise, task)
    except BaseExceptionGroup as group:
        error = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if isinstance(error, Unmounted):
            _log.info("%s: stopping; to mount it again: systemctl start, or mount", error)
            sys.exit(UNMOUNTED_STATUS if "NOTIFY_SOCKET" in os.environ else 0)
        raise error from None


async def _supervise(task: Callable[[], Awaitable[None]]) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_when_stopped, nursery.cancel_scope)
        await trio.lowlevel.checkpoint()  # signals are handled now
        await task()
        nursery.cancel_scope.cancel()


async def _cancel_when_stopped(scope: trio.CancelScope) -> None:
    await daemon.wait_for_stop()
    _log.info("stopping")
    scope.cancel()


def raise_open_files() -> int:
    """Raise the soft limit of descriptors to the hard one where that is allowed; the limit that
    holds (setrlimit(2)).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        _log.debug("open files stay at %d: %s", soft, error)
        return soft
    return hard
