"""Carries out the content part of a plan: files, units and drop-ins, enablement, one daemon-reload
for the batch; and removes it all again.

The order: record what may change, write files before units, enable, reload; jobs come after
(reconcile/jobs.py). A failure is that of one service; the others of the batch go on.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import trio

from tambourinefs.agent.admission.check import open_manifest_directory
from tambourinefs.agent.planning import transitions
from tambourinefs.agent.planning.actions import Enable, Forget, Note, Place, Reload, Withdraw
from tambourinefs.agent.planning.plan import DISABLED, blank
from tambourinefs.agent.ports import SystemdRefused, UnitNotFound
from tambourinefs.agent.state.record import replace
from tambourinefs.errors import HostError, TambourineError
from tambourinefs.timestamps import now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from tambourinefs.agent.admission.admit import HostCheck
    from tambourinefs.agent.host.content import Target
    from tambourinefs.agent.host.files import HostFiles
    from tambourinefs.agent.planning.actions import Action
    from tambourinefs.agent.ports import InstallChanges, Systemd
    from tambourinefs.agent.state.applied import AppliedState
    from tambourinefs.agent.state.record import Record, Written
    from tambourinefs.model.names import NamespacedName

log = logging.getLogger(__name__)


@dataclass(slots=True)
class ApplyResult:
    """The outcome of a batch: messages by service, and the services that are gone from this host."""

    failures: dict[NamespacedName, str] = field(default_factory=dict)
    gone: set[NamespacedName] = field(default_factory=set)
    kept: dict[NamespacedName, list[str]] = field(
        default_factory=dict
    )  # directories that are not empty


@dataclass(frozen=True, slots=True)
class Applier:
    """What a plan's content changes. `silo` is the silo's path, for payload."""

    systemd: Systemd
    applied: AppliedState
    host: HostFiles
    silo: Path

    async def apply(
        self, actions: Sequence[Action], checked: Mapping[NamespacedName, HostCheck]
    ) -> ApplyResult:
        """Carry out all actions of a batch but jobs. `checked`: the host check of each `Place`.

        Raises SystemdUnavailable: then the records say what may have been done, and the plan gives
        the rest again.
        """
        result = ApplyResult()
        places = [a for a in actions if isinstance(a, Place)]
        withdraws = [a for a in actions if isinstance(a, Withdraw)]
        enables = [a for a in actions if isinstance(a, Enable)]
        self._intend(places, enables, checked)
        for note in actions:
            if isinstance(note, Note):
                self.applied.set(_stamped(note.record))
        try:
            await self.applied.flush()
        except OSError as error:
            message = f"applied state cannot be written: {error.strerror or error}"
            result.failures.update(dict.fromkeys({action.key for action in actions}, message))
            return result
        await self._disable_withdrawn(withdraws, result)
        await trio.to_thread.run_sync(self._write_all, places, result)
        await trio.to_thread.run_sync(self._restore_all, withdraws, result)
        await self._enable_all(enables, result)
        await self._reload(actions, result)
        self._settle(places, enables, result)
        await self._forget(withdraws, [a for a in actions if isinstance(a, Forget)], result)
        return result

    def _intend(
        self,
        places: Iterable[Place],
        enables: Iterable[Enable],
        checked: Mapping[NamespacedName, HostCheck],
    ) -> None:
        for place in places:
            seen = checked[place.key]
            record = self.applied.get(place.key) or blank(place.want)
            self.applied.set(
                transitions.intending(
                    record, place.want, place.due, seen.originals, seen.directories
                )
            )
        for enable in enables:
            record_now = self.applied.get(enable.key)
            if record_now is not None and enable.before and not record_now.enabled_before:
                self.applied.set(replace(record_now, enabled_before=enable.before))

    # -- files

    def _write_all(self, places: Sequence[Place], result: ApplyResult) -> None:
        """All at once, for one flush; one by one if that fails, to find the service that fails."""
        try:
            self._write(places)
        except (TambourineError, OSError):
            for place in places:
                try:
                    self._write([place])
                except (TambourineError, OSError) as error:
                    result.failures[place.key] = str(error)
        for place in places:
            if place.key not in result.failures:
                self._restore_unwanted(place, result)

    def _write(self, places: Sequence[Place]) -> None:
        directories: dict[NamespacedName, int] = {}
        wanted: list[tuple[Target, int]] = []
        try:
            for place in places:
                targets = place.want.content.targets
                if any(target.payload for target in targets):
                    directories[place.key] = open_manifest_directory(self.silo, place.key)
                wanted += [(target, directories.get(place.key, -1)) for target in targets]
            self.host.write(wanted)
        finally:
            for fd in directories.values():
                os.close(fd)

    def _restore_unwanted(self, place: Place, result: ApplyResult) -> None:
        record = self.applied.get(place.key)
        assert record is not None
        try:
            for written in transitions.unwanted(record, place.want.content):
                self._restore(written)
        except (HostError, OSError) as error:
            result.failures[place.key] = str(error)

    def _restore_all(self, withdraws: Sequence[Withdraw], result: ApplyResult) -> None:
        for withdraw in withdraws:
            record = self.applied.get(withdraw.key)
            assert record is not None
            try:
                for written in reversed(record.written):
                    self._restore(written)
                result.kept[withdraw.key] = self.host.remove_directories(record.directories)
            except (HostError, OSError) as error:
                result.failures[withdraw.key] = str(error)

    def _restore(self, written: Written) -> None:
        """Restore what was there before; a file with drift is kept. A unit file that is kept belongs to a
        unit that was stopped and disabled before.
        """
        if self._has_drifted(written):
            log.warning("%s was changed on the host: it is kept", written.path)
        else:
            self.host.restore(written.path, written.original)

    def _has_drifted(self, written: Written) -> bool:
        """Whether the path has neither what the agent wrote nor the original."""
        found, original = self.host.look(written.path), written.original
        if found.kind == "symlink" == original.kind:
            return self.host.capture(written.path).target != original.target
        known = (*written.ours, *([original.digest] if original.kind == "file" else []))
        return found.kind != "absent" and found.digest not in known

    def _hand_over(self, key: NamespacedName, kept: Iterable[str]) -> None:
        """A directory that another service uses, too, is removed with the last of them."""
        for path in kept:
            for other in self.applied.records.values():
                inside = any(w.path.startswith(path + "/") for w in other.written)
                if other.key != key and inside:
                    known = (path, *(d for d in other.directories if d != path))
                    self.applied.set(replace(other, directories=known))
                    break

    # -- systemd

    async def _enable_all(self, enables: Iterable[Enable], result: ApplyResult) -> None:
        fine = [e for e in enables if e.needed and e.key not in result.failures]
        on = [e for e in fine if e.enablement.enabled]
        off = [e for e in fine if not e.enablement.enabled]
        # As `systemctl reenable`: what the old [Install] linked is found by the unit's name.
        await _each_or_all(self.systemd.disable, [e for e in on if e.relink], result)
        on = [e for e in on if e.key not in result.failures]
        await _each_or_all(self.systemd.enable, on, result)
        await _each_or_all(self.systemd.disable, off, result)

    async def _disable_withdrawn(self, withdraws: Iterable[Withdraw], result: ApplyResult) -> None:
        """Managed units are disabled while their [Install] can still be read; the others get the
        enablement that they had before.
        """
        on: list[Withdraw] = []
        off: list[Withdraw] = []
        for withdraw in withdraws:
            record = self.applied.get(withdraw.key)
            assert record is not None
            if withdraw.owned:
                off.append(withdraw)
            elif record.enabled_before and record.enablement is not None:
                (off if record.enabled_before in DISABLED else on).append(withdraw)
        await _each_or_all(self.systemd.enable, on, result)
        await _each_or_all(self.systemd.disable, off, result)

    async def _reload(self, actions: Iterable[Action], result: ApplyResult) -> None:
        due = {
            action.key
            for action in actions
            if (isinstance(action, Reload) or (isinstance(action, Withdraw) and action.loaded))
            and action.key not in result.failures
        }
        if due:
            try:
                await self.systemd.reload()
            except SystemdRefused as error:  # no space left in /run, or too many in a short time
                result.failures.update(dict.fromkeys(due, error.message))

    # -- recording

    def _settle(
        self, places: Iterable[Place], enables: Iterable[Enable], result: ApplyResult
    ) -> None:
        for place in places:
            record = self.applied.get(place.key)
            if record is not None and place.key not in result.failures:
                self.applied.set(transitions.placed(record, place.want))
        for enable in enables:
            record = self.applied.get(enable.key)
            if record is not None and enable.key not in result.failures:
                self.applied.set(replace(record, enablement=enable.enablement))

    async def _forget(
        self, withdraws: Iterable[Withdraw], forgets: Iterable[Forget], result: ApplyResult
    ) -> None:
        done = [w for w in withdraws if w.key not in result.failures]
        for withdraw in done:
            self._hand_over(withdraw.key, result.kept.get(withdraw.key, []))
            if withdraw.owned:
                with suppress(SystemdRefused):
                    await self.systemd.reset_failed(withdraw.unit)
        keys = [a.key for a in (*done, *forgets)]
        if not keys:
            return
        try:
            await self.applied.flush()  # directories that were handed over
            await self.applied.forget(keys)
        except OSError as error:
            message = f"applied state cannot be written: {error.strerror or error}"
            result.failures.update(dict.fromkeys(keys, message))
        else:
            result.gone.update(keys)


def _stamped(record: Record) -> Record:
    """With the time of its last command, if it has none yet: a plan has no clock."""
    last = record.last_command
    if last is None or last.time:
        return record
    return replace(record, last_command=msgspec.structs.replace(last, time=now()))


async def _each_or_all(
    call: Callable[[Sequence[str]], Awaitable[InstallChanges]],
    actions: Sequence[Enable | Withdraw],
    result: ApplyResult,
) -> None:
    """One call for all; one by one if systemd refuses it, to find the unit that it refuses."""
    if not actions:
        return
    try:
        await call([action.unit for action in actions])
    except (SystemdRefused, UnitNotFound) as error:
        if len(actions) == 1:
            if not isinstance(actions[0], Withdraw):
                result.failures[actions[0].key] = error.message
            return
        for action in actions:
            await _each_or_all(call, [action], result)
