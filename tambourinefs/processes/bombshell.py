"""The process behind tambourine-bombshell.service: the server, systemd's signs of life, an orderly end."""

from __future__ import annotations

import grp
import logging
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tambourinefs import daemon
from tambourinefs.bombshell.limits import Limits
from tambourinefs.bombshell.listen import Certificates
from tambourinefs.bombshell.server import Bombshell, Options
from tambourinefs.errors import HostError
from tambourinefs.model import paths

if TYPE_CHECKING:
    from tambourinefs.model.config import BombshellConfig, Config

log = logging.getLogger("bombshell")

_STOP: Final = (signal.SIGTERM, signal.SIGINT)
_TICK: Final = 10.0  # seconds between two looks at the volumes, for those who watch Health and for the status line


def main(config: Config, *, plain: bool = False, group: str = paths.GROUP) -> None:
    """Serve until SIGTERM or SIGINT; then end the calls that go on and return.

    `plain`: serve directories that are not FUSE mounts, too (tests, a single program). `group` gets the socket; "": the
    caller's.

    Raises HostError, AlreadyExists (a second server on one socket), InvalidInput (its path is too long).
    """
    # Before any thread is made: signals are then delivered to sigtimedwait alone.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
    server = Bombshell(options(config, plain=plain, group=group))
    with server.serving():
        server.answers()
        daemon.ready(server.describe())
        log.info("%s", server.describe())
        _run(server)
        daemon.notify("STOPPING=1")
    _abandon_stuck_threads()


def options(config: Config, *, plain: bool, group: str) -> Options:
    """What the configuration says of this server."""
    bombshell = config.bombshell
    pki = Path(bombshell.pki)
    return Options(
        socket=Path(bombshell.socket),
        silo=Path(config.silo.mountpoint),
        proc=Path(config.proc.mountpoint),
        certificates=Certificates(
            certificate=pki / "server.crt",
            key=pki / "server.key",
            client_ca=pki / "ca.crt" if bombshell.require_client_certificate else None,
        ),
        gid=_gid(group),
        client_pair=(pki / "client.crt", pki / "client.key"),
        plain=plain,
        limits=_limits(bombshell),
    )


def _limits(bombshell: BombshellConfig) -> Limits:
    return Limits(
        watches=bombshell.max_watches,
        reads=bombshell.max_reads,
        writes=bombshell.max_writes,
        file_bytes=bombshell.max_uncommitted_bytes,
        uncommitted_bytes=bombshell.max_uncommitted_bytes,
        stall=bombshell.stream_timeout,
    )


def _gid(group: str) -> int:
    if not group:
        return -1
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise HostError(
            f'there is no group "{group}" on this host',
            hint="`tambourine install` (systemd-sysusers) makes it",
        ) from None


def _run(server: Bombshell) -> None:
    """Until a signal: tell the watchdog, tell systemd and those who watch Health what the volumes are like."""
    interval = daemon.watchdog_interval()
    next_sign = 0.0
    told = ""
    while True:
        if interval is not None and time.monotonic() >= next_sign:
            server.answers()
            daemon.notify("WATCHDOG=1")
            next_sign = time.monotonic() + interval
        server.publish_health()
        if server.describe() != told:
            told = server.describe()
            daemon.notify(f"STATUS={told}")
        caught = signal.sigtimedwait(_STOP, min(interval or _TICK, _TICK))
        # Stopped (SIGSTOP) beyond the time to wait, CPython 3.11 returns no None, but a siginfo that nobody filled (tried).
        if caught is not None and caught.si_signo in _STOP:
            log.info("stopping: %s", signal.Signals(caught.si_signo).name)
            return


def _abandon_stuck_threads() -> None:
    """The interpreter would wait for ever for calls that hang in a file system: after a moment, end without them.

    All threads count: those of the pool are daemons, as gRPC's thread that starts them is, and are waited for even so.
    But for threads of gRPC's core that called into Python (for a renewed certificate, say): nobody can wait for those.
    """
    deadline = time.monotonic() + 2
    for thread in threading.enumerate():
        foreign = isinstance(thread, threading._DummyThread)
        if thread is not threading.current_thread() and not foreign:
            thread.join(max(deadline - time.monotonic(), 0))
            if thread.is_alive():
                log.warning("ending while a call hangs in a file system")
                logging.shutdown()
                os._exit(0)
