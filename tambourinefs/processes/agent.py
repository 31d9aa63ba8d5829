"""`tambourine agent`: applies the silo's manifests on this host and serves the status mount."""

from __future__ import annotations

import functools
import logging
import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from tambourinefs import daemon
from tambourinefs.agent.admission.check import HostChecker
from tambourinefs.agent.admission.policy import Policy, normal_paths
from tambourinefs.agent.admission.verify import AnalyzeVerifier
from tambourinefs.agent.apply.apply import Applier
from tambourinefs.agent.host.files import HostFiles
from tambourinefs.agent.journal.lines import HostJournal
from tambourinefs.agent.journal.listening import listen
from tambourinefs.agent.reconcile.loop import Reconciler
from tambourinefs.agent.silo.scan import Silo
from tambourinefs.agent.state.applied import AppliedState
from tambourinefs.agent.state.store import Store
from tambourinefs.agent.units.systemd import HostSystemd
from tambourinefs.model import paths
from tambourinefs.mount import serving
from tambourinefs.processes.run import run_until_stopped
from tambourinefs.procfs.serving import make_status_store, publish_expirations, serve_status_store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tambourinefs.model.config import Config
    from tambourinefs.procfs.store import StatusStore

_log = logging.getLogger(__name__)

FIRST_PASS_SECONDS = 20.0
_NO_MODULE: Final = (
    "%s does not exist, since its kernel module is not loaded; it is optional, the statuses are at %s."
    " To have it: install tambourine-dkms (or kernel/ of the source, see README.md there), modprobe"
    " tambourine, systemctl start proc-tambourine.mount"
)


def main(config: Config, *, foreground: bool, plain: bool = False) -> None:
    """Serve until SIGTERM. `foreground`: mount without systemd. `plain`: accept a silo that is a plain
    directory, for tests.

    Raises HostError: another agent runs, applied state cannot be read, the mountpoint is unusable.
    """
    run_until_stopped(functools.partial(serve, config, foreground=foreground, plain=plain))


async def serve(config: Config, *, foreground: bool, plain: bool) -> None:
    """The whole process as one task, until it is cancelled."""
    with (
        Store(Path(config.agent.state_directory)) as store,
        serving.mount_to_serve("proc", config.proc.mountpoint, foreground=foreground) as served,
    ):
        host = HostFiles(Path("/"), store)
        try:
            await _work(config, store, host, served, plain=plain)
        finally:
            host.close()


async def _work(
    config: Config, store: Store, host: HostFiles, served: serving.Served, *, plain: bool
) -> None:
    statuses = make_status_store()
    systemd = HostSystemd(boot_id=_boot_id())
    reconciler = _reconciler(config, store, host, statuses, systemd, plain=plain)
    async with trio.open_nursery() as nursery:
        server = functools.partial(serve_status_store, statuses, served.fd)
        await nursery.start(serving.answer, served, server)
        nursery.start_soon(systemd.run)
        with trio.move_on_after(FIRST_PASS_SECONDS):
            await systemd.wait_connected()
        nursery.start_soon(reconciler.run)
        nursery.start_soon(publish_expirations, statuses, _expirations(config))
        if config.agent.journal_lines:
            nursery.start_soon(listen, reconciler.journal_changed)
        with trio.move_on_after(FIRST_PASS_SECONDS):
            await reconciler.started.wait()
        statuses.complete()
        await serving.wait_readable(served, "version.txt")
        daemon.ready(f"statuses at {served.mountpoint}")
        _log.info("statuses at %s", served.mountpoint)
        _log_missing_module(served.mountpoint)
        nursery.start_soon(daemon.watchdog, trio.lowlevel.checkpoint)


def _reconciler(
    config: Config,
    store: Store,
    host: HostFiles,
    statuses: StatusStore,
    systemd: HostSystemd,
    *,
    plain: bool,
) -> Reconciler:
    mountpoint = Path(config.silo.mountpoint)
    records = store.load()
    store.sweep(records.values())
    host.clear_temporaries(
        w.path for r in records.values() if r.intent or r.removing for w in r.written
    )
    applier = Applier(systemd, AppliedState(store, records), host, mountpoint)
    journal = HostJournal(boot_id=_boot_id())
    return Reconciler(
        systemd,
        HostChecker(systemd, AnalyzeVerifier(), host, mountpoint),
        applier,
        Silo(mountpoint, store, any_directory=plain),
        statuses,
        journal if config.agent.journal_lines else None,
        policy_of(config),
        evidence=journal,
    )


def _log_missing_module(place: Path) -> None:
    if not Path(paths.PROC_LITERAL).is_dir():
        _log.info(_NO_MODULE, paths.PROC_LITERAL, place)


def _expirations(config: Config) -> tuple[Path, Path]:
    """Where `pki` and sync write when their certificates expire."""
    identity = Path(paths.IDENTITY)
    return Path(config.bombshell.pki) / paths.EXPIRATIONS, identity.with_name(paths.EXPIRATIONS)


def _boot_id() -> str:
    """The boot id of PID 1 and the journal, from the unit (%b), or "". In a container, the sandbox's new
    /proc has another one.
    """
    return os.environ.get("TAMBOURINE_BOOT_ID", "")


def policy_of(config: Config) -> Policy:
    """The policy of the configuration, with this host's paths and users."""
    own = (
        config.silo.store,
        config.silo.mountpoint,
        config.proc.mountpoint,
        config.agent.state_directory,
        config.bombshell.pki,
        str(Path(config.bombshell.socket).parent),
    )
    mounts = {config.silo.mountpoint, config.proc.mountpoint, *map(str, _MOUNTS)}
    writers = () if config.silo.writers == "any" else config.silo.writers
    return Policy(
        namespaces=config.agent.namespaces,
        denied_units=config.agent.denied_units,
        allowed_units=config.agent.allowed_units,
        file_prefixes=normal_paths(config.agent.file_prefixes),
        forbidden=normal_paths(own),
        mounts=normal_paths(sorted(mounts)),
        writers=tuple(_with_numbers(writers)),
    )


_MOUNTS = (paths.SILO, paths.PROC, paths.PROC_LITERAL)


def _with_numbers(users: Iterable[str]) -> Iterable[str]:
    """Each user by name and by number: User= takes both."""
    for user in users:
        yield user
        try:
            found = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
        except KeyError:
            continue
        yield found.pw_name
        yield str(found.pw_uid)
