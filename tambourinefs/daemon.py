"""What every daemon does with systemd and signals: logging, READY, the watchdog, stored
descriptors, stopping.

trio is imported where it is used: Bombshell runs without it.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Final

# sd-daemon(3): a "<N>" prefix on a line of stderr is its syslog priority.
_PRIORITIES: Final = {
    logging.CRITICAL: 2,
    logging.ERROR: 3,
    logging.WARNING: 4,
    logging.INFO: 6,
    logging.DEBUG: 7,
}
_GARBAGE: Final = (700, 10, 10)  # gc.get_threshold() of a new interpreter


class _JournalFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_PRIORITIES.get(record.levelno, 5)}>"
        # On every line: the rest of a traceback would have the default priority.
        return "\n".join(prefix + line for line in super().format(record).splitlines())


def configure_logging(level: str = "info") -> None:
    """Log to stderr: with priorities for the journal where it reads stderr, else with times."""
    handler = logging.StreamHandler(sys.stderr)
    if "JOURNAL_STREAM" in os.environ:
        handler.setFormatter(_JournalFormatter("%(name)s: %(message)s"))
    else:
        handler.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S")
        )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def notify(state: str, fds: list[int] | None = None) -> bool:
    """sd_notify(3): send `state` to systemd, with descriptors for its store. False where
    $NOTIFY_SOCKET is not set.
    """
    if "NOTIFY_SOCKET" not in os.environ:
        return False
    import systemd.daemon as daemon  # type: ignore[import-untyped,unused-ignore]

    return bool(daemon.notify(state, fds=fds) if fds else daemon.notify(state))


def ready(status: str) -> None:
    """Notify systemd that start-up is complete; `systemctl status` shows `status`."""
    # Objects that exist now live as long as the process: exempt them from garbage collection, which
    # runs at CPython's own intervals from now on (the command line has lengthened them).
    gc.freeze()
    gc.set_threshold(*_GARBAGE)
    notify(f"READY=1\nSTATUS={status}")


def listen_fds() -> dict[str, int]:
    """Descriptors from systemd's store, by name (sd_listen_fds_with_names(3)); they become
    close-on-exec.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    count = int(os.environ.get("LISTEN_FDS", "0"))
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    found = {}
    for fd in range(3, 3 + count):
        os.set_inheritable(fd, False)
        found[names[fd - 3] if fd - 3 < len(names) else f"unknown{fd}"] = fd
    return found


def watchdog_interval() -> float | None:
    """Seconds between two notifications (half of WatchdogSec=, as sd_watchdog_enabled(3) advises),
    or None.
    """
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    usec = int(os.environ.get("WATCHDOG_USEC", "0"))
    return usec / 2e6 if usec else None


async def watchdog(alive: Callable[[], Awaitable[object]]) -> None:
    """A task: notify systemd's watchdog for as long as `alive()` returns. An error of `alive` ends
    the process; when it hangs, systemd does.
    """
    import trio

    interval = watchdog_interval()
    if interval is None:
        await trio.sleep_forever()
        raise AssertionError
    while True:
        await alive()
        notify("WATCHDOG=1")
        await trio.sleep(interval)


async def wait_for_stop() -> None:
    """Return on SIGTERM or SIGINT, after notifying systemd (STOPPING=1)."""
    import trio

    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            notify("STOPPING=1")
            return
