"""Accepted, Applied and Ready of one service. Pure.

Accepted: the manifest is valid and this host accepts it (admission/admit.py). Applied: the host has
what that generation says. Ready: it is applied, and the unit does what the manifest's command asks.
The reasons are a closed list that the command line and the controller know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tambourinefs.agent.status import reasons
from tambourinefs.model.status import (
    ACCEPTED,
    APPLIED,
    FALSE,
    READY,
    TRUE,
    UNKNOWN,
    Condition,
    ConditionState,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tambourinefs.agent.silo.scan import Entry
    from tambourinefs.agent.state.record import Record
    from tambourinefs.model.manifest import Spec
    from tambourinefs.model.names import NamespacedName
    from tambourinefs.model.unit import Unit


@dataclass(frozen=True, slots=True)
class ServiceState:
    """What the agent knows of one service at one moment."""

    key: NamespacedName
    entry: Entry | None  # None: no manifest, or it cannot be read
    record: Record | None
    unit: Unit | None  # None: not read yet
    accepted: ConditionState
    boot: str
    digest: str = ""  # of the content that the manifest wants
    failure: str = ""  # why applying failed
    drift: str = ""  # what was changed on the host since it was applied
    silo: str = ""  # why the silo is unavailable
    connected: bool = True  # to systemd
    journal: tuple[str, ...] = ()

    @property
    def spec(self) -> Spec | None:
        """What the manifest says; None: it is invalid, or not there."""
        manifest = self.entry.manifest if self.entry is not None else None
        return manifest.spec if manifest is not None else None

    @property
    def generation(self) -> int:
        """The manifest's; without one, what was applied last."""
        if self.entry is not None:
            return self.entry.generation
        return self.record.generation if self.record is not None else 0


def conditions(state: ServiceState, before: Iterable[Condition], now: str) -> tuple[Condition, ...]:
    """All three, in order. A condition whose status did not change keeps its time (Kubernetes API
    conventions).
    """
    applied = _applied(state)
    states = {ACCEPTED: state.accepted, APPLIED: applied, READY: _ready(state, applied)}
    times = {(c.type, c.status): c.last_transition_time for c in before}
    return tuple(
        Condition(
            kind, v.status, v.reason, v.message, state.generation, times.get((kind, v.status), now)
        )
        for kind, v in states.items()
    )


def _applied(state: ServiceState) -> ConditionState:
    record, spec = state.record, state.spec
    if record is not None and record.removing:
        return ConditionState(UNKNOWN, "Removing", "the service is being removed")
    if state.silo:
        return ConditionState(UNKNOWN, "SiloUnavailable", f"what runs is kept; {state.silo}")
    if state.accepted.status != TRUE:
        kept = ""
        if record is not None and record.applied:
            kept = f"; generation {record.generation} stays on the host"
        return ConditionState(state.accepted.status, "NotAccepted", f"nothing was changed{kept}")
    if state.failure:
        return ConditionState(FALSE, "ApplyFailed", state.failure)
    if spec is not None and spec.state == "absent":
        if record is None:
            return ConditionState(TRUE, APPLIED, "the service is not on this host")
        return ConditionState(UNKNOWN, "Removing", "the service is being removed")
    if record is None or not _is_whole(state, record):
        return ConditionState(UNKNOWN, "Applying", "")
    return ConditionState(TRUE, APPLIED, "")


def _is_whole(state: ServiceState, record: Record) -> bool:
    same = record.applied and record.generation == state.generation
    return same and record.intent is None and record.content == state.digest


def _ready(state: ServiceState, applied: ConditionState) -> ConditionState:
    if not state.connected:
        return ConditionState(
            UNKNOWN, "SystemdUnavailable", "systemd does not answer; the unit's values are old"
        )
    if state.spec is not None and applied.reason == "SiloUnavailable":
        return _unit_ready(state, state.spec)
    if applied.status != TRUE or state.spec is None:
        settled = FALSE if applied.status == FALSE else UNKNOWN
        return ConditionState(settled, "NotApplied", applied.message)
    if state.spec.state == "absent":
        return ConditionState(TRUE, READY, applied.message)
    return _unit_ready(state, state.spec)


def _unit_ready(state: ServiceState, spec: Spec) -> ConditionState:
    unit, record = state.unit, state.record
    if unit is None or record is None:
        return ConditionState(UNKNOWN, "Starting", "the unit was not read yet")
    if unit.load_state == "not-found" and not record.owns_unit:
        return ConditionState(FALSE, "UnitNotFound", f"{unit.name} is not on this host")
    if record.running is not None:
        return _while_running(record.running.verb, unit)
    if spec.command in {"start", "restart"}:
        found = _started(state, unit, record)
    elif spec.command == "stop":
        found = _stopped(state, unit, record)
    else:
        found = _without_command(unit, record)
    if found.status == TRUE and state.drift:
        return ConditionState(FALSE, "Drifted", state.drift)
    return found


def _while_running(verb: str, unit: Unit) -> ConditionState:
    if verb == "stop":
        return ConditionState(UNKNOWN, "Stopping", "")
    said = reasons.failure(unit)
    return ConditionState(UNKNOWN, "Starting", f"the last attempt failed: {said}" if said else "")


def _started(state: ServiceState, unit: Unit, record: Record) -> ConditionState:
    if not _was_done(state, record, "start"):
        return ConditionState(UNKNOWN, "Starting", "")
    result = record.done.result if record.done else ""
    if result == "refused":
        return ConditionState(FALSE, "JobFailed", _job_failed(record, result))
    if unit.active_state in {"active", "reloading", "refreshing"}:
        return _with_last_command(unit, record)
    failed = reasons.failure(unit)
    if unit.active_state in {"activating", "deactivating"}:
        if failed:
            return ConditionState(FALSE, "Failed", f"{failed}; systemd restarts it")
        return ConditionState(
            UNKNOWN, "Starting" if unit.active_state == "activating" else "Stopping", ""
        )
    if unmet := reasons.unmet(unit):
        return ConditionState(FALSE, "ConditionNotMet", unmet)
    if failed:
        return ConditionState(FALSE, "Failed", failed)
    if result not in {"done", "unknown"}:
        return ConditionState(FALSE, "JobFailed", _job_failed(record, result))
    # Without an InvocationID systemd has unloaded the unit, which it does after success only.
    if unit.service_type == "oneshot" and (unit.exec_main_exit_usec or not unit.invocation_id):
        return _with_last_command(unit, record)
    return _ended(unit)


def _ended(unit: Unit) -> ConditionState:
    """A unit that was started and is inactive: its process exited, or it was stopped on the host."""
    # If the main process exited first, systemd stamps its end before the unit leaves "active".
    exited = unit.exec_main_exit_usec
    if exited and unit.exec_main_code == reasons.CLD_EXITED and exited <= unit.active_exit_usec:
        return ConditionState(FALSE, "Inactive", "the service exited with success")
    return ConditionState(
        FALSE, "Drifted", "the unit was stopped on the host after the agent started it"
    )


def _stopped(state: ServiceState, unit: Unit, record: Record) -> ConditionState:
    if not _was_done(state, record, "stop"):
        return ConditionState(UNKNOWN, "Stopping", "")
    if unit.active_state == "inactive":
        return ConditionState(TRUE, READY, "")
    if unit.active_state == "failed":
        return ConditionState(TRUE, READY, f"not running; {reasons.failure(unit)}")
    if unit.active_state == "deactivating":
        return ConditionState(UNKNOWN, "Stopping", "")
    result = record.done.result if record.done else ""
    if result not in {"done", "unknown"}:
        return ConditionState(FALSE, "JobFailed", _job_failed(record, result))
    return ConditionState(
        FALSE, "Drifted", "the unit was started on the host after the agent stopped it"
    )


def _without_command(unit: Unit, record: Record) -> ConditionState:
    failed = reasons.failure(unit)
    if unit.active_state == "failed" or unit.load_state in {"bad-setting", "error"}:
        return ConditionState(FALSE, "Failed", failed)
    return _with_last_command(unit, record)


def _with_last_command(unit: Unit, record: Record) -> ConditionState:
    last = record.last_command
    if last is not None and last.command == "reload" and last.result == "failed":
        return ConditionState(FALSE, "JobFailed", last.message or "the reload failed")
    return ConditionState(TRUE, READY, f"{unit.active_state} ({unit.sub_state})")


def _was_done(state: ServiceState, record: Record, command: str) -> bool:
    done = record.done
    return done is not None and (done.command, done.generation, done.boot) == (
        command, state.generation, state.boot,
    )  # fmt: skip


def _job_failed(record: Record, result: str) -> str:
    last = record.last_command
    return last.message if last is not None and last.message else f"the job ended: {result}"
