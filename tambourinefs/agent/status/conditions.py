"""Accepted, Applied and Ready of one service: what people and programs wait for. Pure.

Accepted: the manifest is valid and this host does it. Applied: what is on the host is what that
generation says. Ready: it is applied, and the unit is as asked. Reasons are a closed list that the
command line and the controller know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tambourinefs.agent.status import reasons
from tambourinefs.model.status import ACCEPTED, APPLIED, READY, Condition

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tambourinefs.agent.state.record import Record
    from tambourinefs.model.manifest import Spec
    from tambourinefs.model.unit import Unit

TRUE: Final = "True"
FALSE: Final = "False"
UNKNOWN: Final = "Unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One condition before it has a time."""

    status: str
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the conditions of one service are made from."""

    accepted: Verdict
    spec: Spec | None  # None: the manifest cannot be read, or is gone
    generation: int
    record: Record | None
    unit: Unit | None  # None: not known
    boot: str
    connected: bool = True  # to systemd
    silo: str = ""  # why the silo is unavailable, or ""
    failure: str = ""  # why applying failed, or ""
    changed_by_hand: str = ""  # what of ours on the host was changed or masked by somebody
    digest: str = ""  # of the content that the manifest wants


def conditions(facts: Facts, before: Iterable[Condition], now: str) -> tuple[Condition, ...]:
    """The three, in order. The time of a condition whose status did not change is kept (Kubernetes
    API conventions).
    """
    applied = _applied(facts)
    verdicts = {ACCEPTED: facts.accepted, APPLIED: applied, READY: _ready(facts, applied)}
    times = {(c.type, c.status): c.last_transition_time for c in before}
    return tuple(
        Condition(
            kind, v.status, v.reason, v.message, facts.generation, times.get((kind, v.status), now)
        )
        for kind, v in verdicts.items()
    )


def _applied(facts: Facts) -> Verdict:
    record, spec = facts.record, facts.spec
    if record is not None and record.removing:
        return Verdict(UNKNOWN, "Removing", "what was installed is being removed")
    if facts.silo:
        return Verdict(UNKNOWN, "SiloUnavailable", f"what runs is kept; {facts.silo}")
    if facts.accepted.status != TRUE:
        kept = ""
        if record is not None and record.applied:
            kept = f"; generation {record.generation} stays on the host"
        return Verdict(facts.accepted.status, "NotAccepted", f"nothing was changed{kept}")
    if facts.failure:
        return Verdict(FALSE, "ApplyFailed", facts.failure)
    if spec is not None and spec.state == "absent":
        if record is None:
            return Verdict(TRUE, APPLIED, "nothing of it is on this host")
        return Verdict(UNKNOWN, "Removing", "what was installed is being removed")
    if record is None or not _is_whole(facts, record):
        return Verdict(UNKNOWN, "Applying", "")
    return Verdict(TRUE, APPLIED, "")


def _is_whole(facts: Facts, record: Record) -> bool:
    same = record.applied and record.generation == facts.generation
    return same and record.intent is None and record.content == facts.digest


def _ready(facts: Facts, applied: Verdict) -> Verdict:
    if not facts.connected:
        return Verdict(
            UNKNOWN, "SystemdUnavailable", "systemd cannot be asked; this is from before"
        )
    if facts.spec is not None and applied.reason == "SiloUnavailable":
        return _asked(facts, facts.spec)
    if applied.status != TRUE or facts.spec is None:
        settled = FALSE if applied.status == FALSE else UNKNOWN
        return Verdict(settled, "NotApplied", applied.message)
    if facts.spec.state == "absent":
        return Verdict(TRUE, READY, applied.message)
    return _asked(facts, facts.spec)


def _asked(facts: Facts, spec: Spec) -> Verdict:
    unit, record = facts.unit, facts.record
    if unit is None or record is None:
        return Verdict(UNKNOWN, "Starting", "not known yet")
    if unit.load_state == "not-found" and not record.owns_unit:
        return Verdict(FALSE, "UnitNotFound", f"{unit.name} is not on this host")
    if record.running is not None:
        return _while_running(record.running.verb, unit)
    if spec.command in {"start", "restart"}:
        verdict = _started(facts, unit, record)
    elif spec.command == "stop":
        verdict = _stopped(facts, unit, record)
    else:
        verdict = _left_alone(unit, record)
    if verdict.status == TRUE and facts.changed_by_hand:
        return Verdict(FALSE, "Drifted", facts.changed_by_hand)
    return verdict


def _while_running(verb: str, unit: Unit) -> Verdict:
    if verb == "stop":
        return Verdict(UNKNOWN, "Stopping", "")
    said = reasons.failure(unit)
    return Verdict(UNKNOWN, "Starting", f"the last attempt failed: {said}" if said else "")


def _started(facts: Facts, unit: Unit, record: Record) -> Verdict:
    if not _was_done(facts, record, "start"):
        return Verdict(UNKNOWN, "Starting", "")
    result = record.done.result if record.done else ""
    if result == "refused":
        return Verdict(FALSE, "JobFailed", _job_failed(record, result))
    if unit.active_state in {"active", "reloading", "refreshing"}:
        return _with_last_command(unit, record)
    failed = reasons.failure(unit)
    if unit.active_state in {"activating", "deactivating"}:
        if failed:
            return Verdict(FALSE, "Failed", f"{failed}; systemd tries again")
        return Verdict(UNKNOWN, "Starting" if unit.active_state == "activating" else "Stopping", "")
    if unmet := reasons.unmet(unit):
        return Verdict(FALSE, "ConditionNotMet", unmet)
    if failed:
        return Verdict(FALSE, "Failed", failed)
    if result not in {"done", "unknown"}:
        return Verdict(FALSE, "JobFailed", _job_failed(record, result))
    # Without an InvocationID systemd let go of what it knew of the run, as it does after success only.
    if unit.service_type == "oneshot" and (unit.exec_main_exit_usec or not unit.invocation_id):
        return _with_last_command(unit, record)
    return _ended(unit)


def _ended(unit: Unit) -> Verdict:
    """A unit that was started and is inactive: it ended by itself, or somebody stopped it."""
    # systemd stamps the main process's end before it leaves "active" when the process went first, after it otherwise.
    exited = unit.exec_main_exit_usec
    if exited and unit.exec_main_code == reasons.CLD_EXITED and exited <= unit.active_exit_usec:
        return Verdict(FALSE, "Inactive", "the service ended by itself with success")
    return Verdict(FALSE, "Drifted", "it was started, and somebody stopped it since")


def _stopped(facts: Facts, unit: Unit, record: Record) -> Verdict:
    if not _was_done(facts, record, "stop"):
        return Verdict(UNKNOWN, "Stopping", "")
    if unit.active_state == "inactive":
        return Verdict(TRUE, READY, "")
    if unit.active_state == "failed":
        return Verdict(TRUE, READY, f"not running; {reasons.failure(unit)}")
    if unit.active_state == "deactivating":
        return Verdict(UNKNOWN, "Stopping", "")
    result = record.done.result if record.done else ""
    if result not in {"done", "unknown"}:
        return Verdict(FALSE, "JobFailed", _job_failed(record, result))
    return Verdict(FALSE, "Drifted", "it was stopped, and somebody started it since")


def _left_alone(unit: Unit, record: Record) -> Verdict:
    failed = reasons.failure(unit)
    if unit.active_state == "failed" or unit.load_state in {"bad-setting", "error"}:
        return Verdict(FALSE, "Failed", failed)
    return _with_last_command(unit, record)


def _with_last_command(unit: Unit, record: Record) -> Verdict:
    last = record.last_command
    if last is not None and last.command == "reload" and last.result == "failed":
        return Verdict(FALSE, "JobFailed", last.message or "the reload failed")
    return Verdict(TRUE, READY, f"{unit.active_state} ({unit.sub_state})")


def _was_done(facts: Facts, record: Record, command: str) -> bool:
    done = record.done
    return done is not None and (done.command, done.generation, done.boot) == (
        command, facts.generation, facts.boot,
    )  # fmt: skip


def _job_failed(record: Record, result: str) -> str:
    last = record.last_command
    return last.message if last is not None and last.message else f"the job ended: {result}"
