"""`tambourine agent --withdraw-all`: removes every managed service from this host and restores what
was there before.

For the removal of Tambourine itself. It works from applied state alone, with the agent's own plan,
so it also works where silo, Bombshell or cluster are broken. The agent must not run: applied state
has one user at a time.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from tambourinefs.agent.admission.admit import Absent
from tambourinefs.agent.apply.apply import Applier
from tambourinefs.agent.host.files import HostFiles
from tambourinefs.agent.notifications import Notifications
from tambourinefs.agent.planning.actions import Job, PlanInput, Recover
from tambourinefs.agent.planning.plan import plan
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
    from tambourinefs.agent.planning.actions import Action
    from tambourinefs.model.config import Config
    from tambourinefs.model.names import NamespacedName

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
    """Carries out the plan of a host on which no service is wanted."""

    def __init__(self, systemd: HostSystemd, applier: Applier, nursery: trio.Nursery) -> None:
        self._systemd = systemd
        self._applier = applier
        self._applied = applier.applied
        self._nursery = nursery
        self._finished: Notifications[NamespacedName] = Notifications()
        self._jobs = RunningJobs(systemd, self._applied, systemd, self._finished)
        self._failures: dict[NamespacedName, str] = {}

    async def run(self) -> None:
        """Until nothing is left to withdraw.

        Raises HostError with the services that could not be.
        """
        for record in list(self._applied.records.values()):
            # Services with `deletionPolicy: orphan` outlive their manifest, and so Tambourine.
            self._applied.set(replace(record, removing=record.removing or not record.orphan))
        for _ in range(ROUNDS_MAX):
            actions = await self._plan()
            if not actions and not self._jobs.keys:
                break
            content = [action for action in actions if not isinstance(action, Job | Recover)]
            if content:
                result = await self._applier.apply(content, {})
                self._failures.update(result.failures)
                for key in result.gone:
                    _log.info("%s/%s withdrawn", *key)
            await self._launch(actions)
            while self._jobs.keys:  # all of them: a thousand services must not be a thousand rounds
                await self._finished.take()
        if left := sorted(self._applied.records):
            names = "; ".join(
                f"{ns}/{name}: {self._failures.get((ns, name), 'not done')}" for ns, name in left
            )
            raise HostError(
                f"{len(left)} services could not be withdrawn: {names}",
                hint="Fix that and run it again; or keep them: --keep-services",
            )

    async def _plan(self) -> list[Action]:
        records = {
            key: record
            for key, record in self._applied.records.items()
            if key not in self._failures
        }
        names = sorted({record.unit for record in self._applied.records.values()})
        units = await self._systemd.units(names)
        absent = dict.fromkeys(records, Absent(deleted=True))
        boot = self._systemd.boot_id
        return plan(PlanInput({}, absent, records, units, boot, self._jobs.keys))

    async def _launch(self, actions: list[Action]) -> None:
        jobs = [action for action in actions if isinstance(action, Job)]
        for job in jobs:
            record, unit = self._applied.records[job.key], await self._systemd.unit(job.unit)
            boot = self._systemd.boot_id
            self._applied.set(sending(record, job, unit, boot, now(), monotonic_usec()))
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
