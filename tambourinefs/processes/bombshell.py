"""The process of tambourine-bombshell.service: the server, systemd's watchdog, an orderly end."""

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
_TICK: Final = 10.0  # seconds between two refreshes of Health and the status line


def main(config: Config, *, plain: bool = False, group: str = paths.GROUP) -> None:
    """Serve until SIGTERM or SIGINT; then end the running calls and return.

    `plain`: serve directories that are not FUSE mounts, too (tests, a single program). `group` gets
    the socket; "": the caller's.

    Raises HostError, AlreadyExists (a second server on one socket), InvalidInput (its path is too
    long).
    """
    # Before any thread is made: signals are then delivered to sigtimedwait alone.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
    server = Bombshell(options(config, plain=plain, group=group))
    with server.serving():
        server.check_answers()
        daemon.ready(server.describe())
        log.info("%s", server.describe())
        _run(server)
        daemon.notify("STOPPING=1")
    _end_without_stuck_threads()


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
            f'this host has no group "{group}"',
            hint="Make it: tambourine install",
        ) from None


def _run(server: Bombshell) -> None:
    """Until a signal: notify the watchdog, systemd's status line and the watchers of Health."""
    interval = daemon.watchdog_interval()
    next_sign = 0.0
    told = ""
    while True:
        if interval is not None and time.monotonic() >= next_sign:
            server.check_answers()
            daemon.notify("WATCHDOG=1")
            next_sign = time.monotonic() + interval
        server.publish_health()
        if server.describe() != told:
            told = server.describe()
            daemon.notify(f"STATUS={told}")
        caught = signal.sigtimedwait(_STOP, min(interval or _TICK, _TICK))
        # Stopped (SIGSTOP) beyond the timeout, CPython 3.11 returns an empty siginfo instead of
        # None (tried).
        if caught is not None and caught.si_signo in _STOP:
            log.info("stopping: %s", signal.Signals(caught.si_signo).name)
            return


def _end_without_stuck_threads() -> None:
    """End without threads that hang in a file system: the interpreter would wait for them for ever,
    daemon or not.

    concurrent.futures joins its threads at exit, so no exception will do. Threads of gRPC's core
    that have called into Python cannot be joined and do not count.
    """
    deadline = time.monotonic() + 2
    for thread in threading.enumerate():
        foreign = isinstance(thread, threading._DummyThread)
        if thread is not threading.current_thread() and not foreign:
            thread.join(max(deadline - time.monotonic(), 0))
            if thread.is_alive():
                log.warning("a call hangs in a file system: ending without it")
                logging.shutdown()
                os._exit(0)
