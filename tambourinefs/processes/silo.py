"""`tambourine silo`: serve the store as a file system."""

from __future__ import annotations

import functools
import grp
import logging
import os
import pwd
from pathlib import Path
from typing import Final, Literal

import trio

from tambourinefs import daemon, fuse
from tambourinefs.errors import HostError
from tambourinefs.model.config import Config, SiloConfig
from tambourinefs.model.paths import GROUP, SILO_ID_FILE
from tambourinefs.mount import mounts, serving, units
from tambourinefs.processes.run import raise_open_files, run_until_stopped
from tambourinefs.silo.contents import Silo
from tambourinefs.silo.quota import Quota
from tambourinefs.silo.store import Store, count, open_store

_log = logging.getLogger(__name__)

_MAX_PINS: Final = 8192


def main(config: Config, *, foreground: bool) -> None:
    """Serve until SIGTERM. `foreground`: as a plain program, without asking systemd for the mount.

    Raises HostError: the store or the mountpoint cannot be used, a writer is not a user of this
    host.
    """
    run_until_stopped(functools.partial(serve, config.silo, foreground=foreground))


async def serve(config: SiloConfig, *, foreground: bool) -> None:
    """The whole process as one task; runs until cancelled.

    Raises HostError.
    """
    writers = user_ids(config.writers)
    check_apart(Path(config.store), Path(config.mountpoint))
    store = open_store(Path(config.store), owner=_owner(config.writers, writers))
    try:
        quota = measured(store, config)
        with serving.mount_to_serve("silo", config.mountpoint, foreground=foreground) as served:
            silo = Silo(
                store,
                writers=writers,
                quota=quota,
                max_pins=min(_MAX_PINS, raise_open_files() // 2),
            )
            try:
                await _answer(silo, store, served)
            finally:
                silo.close()
    finally:
        store.close()


async def _answer(silo: Silo, store: Store, served: serving.Served) -> None:
    os.umask(0)  # the kernel has applied the clients' umask already
    async with trio.open_nursery() as nursery:
        server = functools.partial(fuse.serve, silo, served.fd)
        await nursery.start(serving.answer, served, server)
        answer = await serving.wait_readable(served, SILO_ID_FILE)
        if answer.decode("ascii", "replace").strip() != store.uuid:
            raise HostError(f"{served.mountpoint} shows another store than {store.path}")
        mounts.set_readahead(served.mountpoint, units.SILO_READAHEAD_KIB)
        daemon.ready(f"serving {store.path} at {served.mountpoint}")
        _log.info("serving %s (%s) at %s", store.path, store.uuid, served.mountpoint)
        nursery.start_soon(daemon.watchdog, trio.lowlevel.checkpoint)


def user_ids(writers: tuple[str, ...] | Literal["any"]) -> frozenset[int] | None:
    """The uids of the named users or numbers; None: every user.

    Raises HostError for a user that this host does not have.
    """
    if writers == "any":
        return None
    return frozenset(_user(name).pw_uid if not name.isdecimal() else int(name) for name in writers)


def _user(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise HostError(
            f'silo.writers: this host has no user "{name}"',
            hint='Make it: tambourine install. For a plain file system: writers = "any"',
        ) from None


def _owner(
    writers: tuple[str, ...] | Literal["any"], uids: frozenset[int] | None
) -> tuple[int, int] | None:
    """User and group of the silo's root: the first writer, and the group tambourine, which may read
    it.
    """
    if writers == "any" or uids is None:
        return None
    uid = int(writers[0]) if writers[0].isdecimal() else _user(writers[0]).pw_uid
    try:
        return uid, grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return uid, uid


def check_apart(store: Path, mountpoint: Path) -> None:
    """Raises HostError where one contains the other: the server would wait for itself."""
    place = mounts.resolved(mountpoint)
    inside = store.resolve()
    if place.is_relative_to(inside) or inside.is_relative_to(place):
        raise HostError(
            f"the store {store} and the mountpoint {mountpoint} must not contain each other"
        )


def measured(store: Store, config: SiloConfig) -> Quota:
    """The quota with the store's current usage (a limit of 0: none)."""
    quota = Quota(config.quota_bytes or None, config.quota_files or None)
    quota.bytes, quota.files = count(store.tree, _progress)
    return quota


def _progress(files: int) -> None:
    # Each notification extends TimeoutStartSec= by a minute (sd_notify(3)).
    daemon.notify(f"EXTEND_TIMEOUT_USEC=60000000\nSTATUS=counting the store: {files} files so far")
