"""What to do on this host, as a function of accepted manifests, applied state and units. Pure.

`plan` gives the next actions. It is asked again after they were done; when the host is as wanted it
gives none. The content of a service comes first, then its command: `Place`, `Enable`, `Reload`, then
one `Job` at a time. A removal is `Note` (durable: it began), `Job` stop, `Withdraw`.

The state of a unit may be a moment old. So a stop is sent to a unit that seems inactive, and a start
to one that seems active, where they are no-ops.

The plan never works against systemctl: `start` and `stop` are satisfied by one completed job for
each generation and boot, enablement by one change for each generation. What changes on the host
after that is reported only.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from tambourinefs.agent.planning.actions import (
    Action,
    Enable,
    Forget,
    Job,
    Note,
    Place,
    PlanInput,
    Recover,
    Reload,
    Withdraw,
)
from tambourinefs.agent.state.record import Done, Enablement, Record, Token, replace
from tambourinefs.model.names import NamespacedName
from tambourinefs.model.status import LastCommand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tambourinefs.agent.admission.admit import Want
    from tambourinefs.model.unit import Unit

# ActiveState of a unit that has, or will have, processes (org.freedesktop.systemd1(5)).
RUNNING: Final = frozenset({"active", "reloading", "activating", "deactivating", "refreshing", "maintenance"})  # fmt: skip
# UnitFileState that needs no enabling, no disabling (systemctl(1), is-enabled).
ENABLED: Final = frozenset({"enabled", "static", "alias"})
DISABLED: Final = frozenset({"", "disabled", "static", "indirect", "generated", "transient", "masked"})  # fmt: skip


def plan(given: PlanInput) -> list[Action]:
    """The next actions for every service, in order of key."""
    keys = sorted({*given.wants, *given.absent, *given.applied})
    return [action for key in keys for action in plan_service(key, given)]


def plan_service(key: NamespacedName, given: PlanInput) -> list[Action]:
    """The next actions for one service."""
    record, want = given.applied.get(key), given.wants.get(key)
    if record and record.removing:
        return list(_removal(record, given))
    if record and record.running is not None and key not in given.running:
        return [Recover(key)] if record.unit in given.units else []
    if want:
        if record and _is_of_another_unit(record, want):
            return list(_removal(record, given))
        return list(_content(want, record, given) or _command(want, record, given))
    absent = given.absent.get(key)
    if absent and record:
        if absent.deleted and record.orphan:
            return [Forget(key)]
        return list(_removal(record, given))
    return []


def _is_of_another_unit(record: Record, want: Want) -> bool:
    """Created again under the same name for another unit, or without its unit file: the old one goes
    first.
    """
    return record.unit != want.unit or (record.owns_unit and want.content.unit is None)


def waits(key: NamespacedName, given: PlanInput, action: Job) -> bool:
    """Whether a new job must wait for the one that runs: always, unless it stops the unit or brings
    new content.
    """
    running = given.applied[key].running
    if running is None or key not in given.running:
        return False
    return (
        action.verb not in {"stop", "restart"} or action.token is not None or running.verb == "stop"
    )


# -- content


def _content(want: Want, record: Record | None, given: PlanInput) -> list[Action]:
    key = (want.manifest.metadata.namespace, want.manifest.metadata.name)
    unit = given.units.get(want.unit)
    actions: list[Action] = []
    changes = record is None or record.intent is not None or record.content != want.content.digest
    if changes and (want.content.digest or record is not None):
        actions.append(Place(key, want, _due(want, record, unit)))
    elif record is None or noted(record, want) != record:
        actions.append(Note(key, noted(record or blank(want), want)))
    enable = _enablement(key, want, record, unit)
    if enable is not None:
        actions.append(enable)
    touches = any(isinstance(a, Place) or (isinstance(a, Enable) and a.needed) for a in actions)
    if touches and _is_loaded(unit):
        actions.append(Reload(key))
    return actions


def blank(want: Want) -> Record:
    """The first record of a service."""
    meta = want.manifest.metadata
    return Record(meta.namespace, meta.name, want.unit)


def noted(record: Record, want: Want) -> Record:
    """The record with what the manifest says beside its content."""
    meta = want.manifest.metadata
    return replace(
        record,
        silo=want.silo,
        uid=meta.uid,
        generation=meta.generation,
        applied=True,
        claims=want.claims,
        orphan=want.manifest.spec.deletion_policy == "orphan",
        # Not that of another object with this name: a client that waits for this one must not read "done".
        last_command=record.last_command if record.uid == meta.uid else None,
    )


def _is_loaded(unit: Unit | None) -> bool:
    # A unit whose file was removed while it runs is "not-found", and a job would not read it again.
    return unit is not None and (unit.load_state != "not-found" or unit.active_state != "inactive")


def _due(want: Want, record: Record | None, unit: Unit | None) -> str:
    """The job that changed content asks of a running unit, or that an earlier change still asks."""
    owed = record.due if record else ""
    spec = want.manifest.spec
    policy = spec.on_change or ("restart" if spec.unit is not None else "none")
    changed = want.content.digest != (record.content if record else "")
    if policy == "none" or not changed or unit is None or not _has_processes(unit, record):
        return owed
    return "restart" if "restart" in {owed, policy} else policy


def _has_processes(unit: Unit, record: Record | None) -> bool:
    """Whether the unit runs or may soon: during a restart it is inactive, and may start with its old
    text.
    """
    has_job = record is not None and record.running is not None
    return unit.active_state in RUNNING or bool(unit.job[0]) or has_job


def _wants_enabled(want: Want) -> bool | None:
    spec = want.manifest.spec
    if spec.enabled is not None or spec.unit is None:
        return spec.enabled
    return {"start": True, "restart": True, "stop": False}.get(spec.command or "")


def _enablement(
    key: NamespacedName, want: Want, record: Record | None, unit: Unit | None
) -> Enable | None:
    done = record.enablement if record is not None else None
    state, install = unit.unit_file_state if unit else "", want.content.install
    ours = record is not None and record.owns_unit
    relink = ours and state in ENABLED and (done.install if done else "") != install
    enabled = _wants_enabled(want)
    if enabled is None:
        if done is None or not (done.enabled and relink):
            return None
        enabled = True  # as it was, by what [Install] says now
    meta = want.manifest.metadata
    wanted = Enablement(enabled, meta.uid, meta.generation, install)
    if done is not None and replace(done, install=install) == wanted:
        return None
    relink = relink and enabled
    before = "" if want.content.unit else state
    needed = relink or state not in (ENABLED if enabled else DISABLED)
    return Enable(key, want.unit, wanted, before, needed, relink)


# -- command


def _command(want: Want, record: Record | None, given: PlanInput) -> Iterator[Action]:
    assert record is not None  # noted by _content
    key, unit = record.key, given.units.get(want.unit)
    if unit is None or (unit.load_state == "not-found" and want.content.unit is None):
        return  # the unit was not read yet, or is not on the host
    action = _next_job(want, record, unit, given.boot)
    # The end of a running job says what it satisfied.
    held = waits(key, given, action) if isinstance(action, Job) else key in given.running
    if action is not None and not held:
        yield action


def _next_job(want: Want, record: Record, unit: Unit, boot: str) -> Job | Note | None:
    spec, meta = want.manifest.spec, want.manifest.metadata
    running = unit.active_state in RUNNING
    command = spec.command or ""
    if command == "stop":
        return _stop(want, record, boot)
    token = None
    if command in {"restart", "reload"}:
        token = Token(meta.uid, command, spec.command_id)
        if record.handled(token):
            token = None
    starts = command in {"start", "restart"}
    satisfied = not starts or _is_satisfied(record, "start", want, boot)
    job = Job(
        record.key, want.unit, "", meta.uid, meta.generation, token,
        command=command if token or (starts and not satisfied) else "", command_id=spec.command_id,
        reset_failed=not satisfied and unit.active_state == "failed",
    )  # fmt: skip
    if (token and command == "restart") or (record.due == "restart" and running):
        return _with(job, verb="restart")
    if (token or record.due == "reload") and running:
        return _with(job, verb="reload")
    if token:  # a reload of what does not run: there is nothing to reload
        return Note(record.key, _skipped(record, token))
    if not satisfied:
        if _started_at_boot(record, unit, want, boot):
            return Note(record.key, _satisfied(record, "start", want, boot))
        return _with(job, verb="start")
    if record.due and not _has_processes(unit, record):
        return Note(record.key, replace(record, due=""))
    return None


def _with(job: Job, *, verb: str) -> Job:
    return dataclasses.replace(job, verb=verb)


def _stop(want: Want, record: Record, boot: str) -> Job | Note | None:
    if _is_satisfied(record, "stop", want, boot):
        return Note(record.key, replace(record, due="")) if record.due else None
    meta, spec = want.manifest.metadata, want.manifest.spec
    return Job(
        record.key, want.unit, "stop", meta.uid, meta.generation,
        command="stop", command_id=spec.command_id,
    )  # fmt: skip


def _is_satisfied(record: Record, command: str, want: Want, boot: str) -> bool:
    done, meta = record.done, want.manifest.metadata
    return done is not None and (done.command, done.uid, done.generation, done.boot) == (
        command, meta.uid, meta.generation, boot,
    )  # fmt: skip


def _satisfied(record: Record, command: str, want: Want, boot: str) -> Record:
    meta, spec = want.manifest.metadata, want.manifest.spec
    done = Done(command, meta.uid, meta.generation, boot, "done")
    if spec.command != command:  # a restart whose token was taken before, at another boot
        return replace(record, due="", done=done)
    return replace(
        record, due="", done=done, last_command=LastCommand(command, spec.command_id, "done")
    )


def _started_at_boot(record: Record, unit: Unit, want: Want, boot: str) -> bool:
    """Whether systemd started the enabled unit at boot: then this boot's start is completed, whatever
    came after.
    """
    done, meta = record.done, want.manifest.metadata
    same = done is not None and (done.command, done.uid, done.generation) == (
        "start", meta.uid, meta.generation,
    )  # fmt: skip
    if not same or done is None or done.boot == boot:
        return False
    return unit.inactive_exit_usec > 0 and unit.active_state in {"active", "inactive", "failed"}


def _skipped(record: Record, token: Token) -> Record:
    last = LastCommand(token.command, token.command_id, "skipped", "the unit is not running")
    return replace(record.taking(token), last_command=last, due="")


# -- removal


def _removal(record: Record, given: PlanInput) -> Iterator[Action]:
    unit = given.units.get(record.unit)
    if not record.removing:
        yield Note(record.key, replace(record, removing=True, stopped=False))
        return
    if unit is None:
        return  # not read yet
    if record.key in given.running and record.running and record.running.verb == "stop":
        return
    if record.owns_unit and not record.stopped:
        yield Job(record.key, record.unit, "stop", record.uid, record.generation)
        return
    yield Withdraw(record.key, record.unit, record.owns_unit, _is_loaded(unit))
