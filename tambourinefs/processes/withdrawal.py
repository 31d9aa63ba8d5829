"""`tambourine agent --withdraw-all`: every managed service is taken off this host, and what stood there before put back.

For the removal of Tambourine itself. It works from applied state alone, with the agent's own plan: no silo, no Bombshell, no
cluster is asked, so it also works where these are broken. The agent must not run: applied state has one user at a time.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from tambourinefs.agent.apply.apply import Applier
from tambourinefs.agent.host.files import HostFiles
from tambourinefs.agent.planning.plan import Gone, Job, Recover, World, plan
from tambourinefs.agent.planning.transitions import sending
from tambourinefs.agent.reconcile.jobs import RunningJobs, monotonic_usec
from tambourinefs.agent.state.applied import AppliedState
from tambourinefs.agent.state.record import replace
from tambourinefs.agent.state.store import Store
from tambourinefs.agent.units.systemd import HostSystemd
from tambourinefs.errors import HostError
from tambourinefs.processes.run import run_until_stopped
from tambourinefs.timestamps import now

if TYPE_CHECKING:
    from tambourinefs.agent.planning.plan import Action
    from tambourinefs.model.config import Config
    from tambourinefs.model.names import NamespacedName
    from tambourinefs.model.unit import Unit

_log = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 20.0
ROUNDS_MAX: Final = 64  # every round brings each service closer; a plan has some five steps


def main(config: Config) -> None:
    """Withdraw all and return.

    Raises HostError: an agent runs, applied state is unreadable, systemd does not answer, or services that stay and why.
    """
    run_until_stopped(functools.partial(_withdraw_all, config))


async def _withdraw_all(config: Config) -> None:
    with Store(Path(config.agent.state_directory)) as store:
        host = HostFiles(Path("/"), store)
        try:
            async with trio.open_nursery() as nursery:
                systemd = HostSystemd()
                nursery.start_soon(systemd.run)
                with trio.move_on_after(CONNECT_SECONDS):
                    await systemd.wait_connected()
                if not systemd.connected:
                    raise HostError(
                        "systemd does not answer on the system bus", hint="systemctl status dbus"
                    )
                applier = Applier(
                    systemd, AppliedState(store, store.load()), host, Path(config.silo.mountpoint)
                )
                await Withdrawal(systemd, applier, nursery).run()
                nursery.cancel_scope.cancel()
        finally:
            host.close()


class Withdrawal:
    """Drives the plan of a host on which nothing is wanted."""

    def __init__(self, systemd: HostSystemd, applier: Applier, nursery: trio.Nursery) -> None:
        self._systemd = systemd
        self._applier = applier
        self._applied = applier.applied
        self._nursery = nursery
        self._bell = trio.Event()
        self._jobs = RunningJobs(systemd, self._applied, self._look, lambda _: self._bell.set())
        self._failures: dict[NamespacedName, str] = {}

    async def run(self) -> None:
        """Until nothing is left to withdraw.

        Raises HostError with the services that could not be.
        """
        for record in list(self._applied.records.values()):
            # `deletionPolicy: orphan` says what removing a manifest means. Nobody removes one here; but who wrote it wants
            # the service to outlive us.
            self._applied.set(replace(record, removing=record.removing or not record.orphan))
        for _ in range(ROUNDS_MAX):
            actions = await self._plan()
            if not actions and not self._jobs.keys:
                break
            content = [action for action in actions if not isinstance(action, Job | Recover)]
            if content:
                outcome = await self._applier.apply(content, {})
                self._failures.update(outcome.failures)
                for key in outcome.gone:
                    _log.info("%s/%s withdrawn", *key)
            await self._launch(actions)
            # All of them: a thousand services shall not be a thousand rounds.
            while self._jobs.keys:
                await self._bell.wait()
                self._bell = trio.Event()
        if left := sorted(self._applied.records):
            names = "; ".join(
                f"{ns}/{name}: {self._failures.get((ns, name), 'not done')}" for ns, name in left
            )
            raise HostError(
                f"{len(left)} services could not be withdrawn: {names}",
                hint="Mend that and run it again; or keep them: --keep-services",
            )

    async def _plan(self) -> list[Action]:
        records = self._applied.records
        units = await self._systemd.units(
            sorted({record.unit for record in records.values()}), fresh=True
        )
        gone = {key: Gone(deleted=True) for key in records if key not in self._failures}
        world = World(
            {},
            gone,
            {key: records[key] for key in gone},
            units,
            self._systemd.boot_id,
            self._jobs.keys,
        )
        return plan(world)

    async def _look(self, name: str) -> Unit:
        return await self._systemd.unit(name)

    async def _launch(self, actions: list[Action]) -> None:
        jobs = [action for action in actions if isinstance(action, Job)]
        for job in jobs:
            unit = await self._look(job.unit)
            self._applied.set(
                sending(
                    self._applied.records[job.key],
                    job,
                    unit,
                    self._systemd.boot_id,
                    now(),
                    monotonic_usec(),
                )
            )
        try:
            await self._applied.flush()
        except OSError as error:
            raise HostError(
                f"applied state cannot be written: {error.strerror or error}"
            ) from error
        for job in jobs:
            self._jobs.launch(job, self._nursery)
        for action in actions:
            if isinstance(action, Recover):
                self._jobs.recover(action.key, self._nursery)
