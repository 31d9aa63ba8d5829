"""What to do on this host, as a function of what is wanted, what is remembered and what systemd
says. Pure.

`plan` gives the next actions. It is asked again after each was done; when everything is as wanted
it gives none. The content of a service comes first, its command after: `Place`, `Enable`, `Reload`,
then one `Job` at a time. Removing is `Note` (durable: it began), `Job` stop, `Withdraw`.

What systemd said of a unit may be a moment old. So a stop is sent to what seems inactive and a start to what seems active,
where it does nothing; nothing is concluded from it but what is worth one more job.

A person's systemctl is never worked against: `start` and `stop` are satisfied by one completed job
for each generation and boot, enablement by one change for each generation. What a person changes
after that is only reported.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tambourinefs.agent.state.record import Done, Enablement, Record, Token, replace
from tambourinefs.model.names import NamespacedName
from tambourinefs.model.status import LastCommand

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from tambourinefs.agent.admission.admit import Absent, Want
    from tambourinefs.model.unit import Unit

# ActiveState of a unit that has, or will have, processes (org.freedesktop.systemd1(5)).
RUNNING: Final = frozenset({"active", "reloading", "activating", "deactivating", "refreshing", "maintenance"})  # fmt: skip
# UnitFileState that needs no enabling, no disabling (systemctl(1), is-enabled).
ENABLED: Final = frozenset({"enabled", "static", "alias"})
DISABLED: Final = frozenset(
    {"", "disabled", "static", "indirect", "generated", "transient", "masked"}
)


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do for one service."""

    key: NamespacedName


@dataclass(frozen=True, slots=True)
class Place(Action):
    """Make the files those of the manifest. `due` is what a running unit needs after it: restart,
    reload or nothing.
    """

    want: Want
    due: str


@dataclass(frozen=True, slots=True)
class Enable(Action):
    """Enable or disable the unit; not `needed`: it is so. `before` is its UnitFileState where it is
    not ours, else "". `anew`: it is enabled by an [Install] that was edited, and enabling alone would leave the old links.
    """

    unit: str
    enablement: Enablement
    before: str
    needed: bool
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Reload(Action):
    """systemd must read its unit files again; one is done for a batch."""


@dataclass(frozen=True, slots=True)
class Note(Action):
    """Nothing but the record changes."""

    record: Record


@dataclass(frozen=True, slots=True)
class Job(Action):
    """Have systemd do `verb`. With `token` this carries out a one-shot command."""

    unit: str
    verb: str  # start | stop | restart | reload
    uid: str = ""
    generation: int = 0
    token: Token | None = None
    command: str = ""  # the manifest's word for it, "" when only changed content asks
    command_id: str = ""
    afresh: bool = False  # it failed before: forget that, and systemd's start limit, first


@dataclass(frozen=True, slots=True)
class Recover(Action):
    """A job was recorded and nobody waits for it: the agent died, or the bus went. See what became
    of it.
    """


@dataclass(frozen=True, slots=True)
class Withdraw(Action):
    """Disable, remove the files, restore what stood there, reload, forget failures, forget the
    record.
    """

    unit: str
    owned: bool
    loaded: bool


@dataclass(frozen=True, slots=True)
class Forget(Action):
    """Leave everything as it is and forget the record (deletionPolicy orphan)."""


@dataclass(frozen=True, slots=True)
class PlanInput:
    """What a plan is made from. A key in neither `wants` nor `absent` is left alone: refused, or not
    known.
    """

    wants: Mapping[NamespacedName, Want]
    absent: Mapping[NamespacedName, Absent]
    applied: Mapping[NamespacedName, Record]
    units: Mapping[str, Unit]
    boot: str
    in_flight: Collection[NamespacedName] = field(
        default_factory=frozenset
    )  # keys whose recorded job is waited for
    loaded: Collection[str] = field(
        default_factory=frozenset
    )  # units in systemd's memory, beside those in `units`


def plan(world: PlanInput) -> list[Action]:
    """The next actions for every service, in order of key."""
    keys = sorted({*world.wants, *world.absent, *world.applied})
    return [action for key in keys for action in plan_service(key, world)]


def plan_service(key: NamespacedName, world: PlanInput) -> list[Action]:
    """The next actions for one service."""
    record, want = world.applied.get(key), world.wants.get(key)
    if record and record.removing:
        return list(_removal(record, world))
    if record and record.running is not None and key not in world.in_flight:
        return [Recover(key)] if record.unit in world.units else []
    if want:
        if record and _is_of_another_unit(record, want):
            return list(_removal(record, world))
        return list(_content(want, record, world) or _command(want, record, world))
    absent = world.absent.get(key)
    if absent and record:
        if absent.deleted and record.orphan:
            return [Forget(key)]
        return list(_removal(record, world))
    return []


def _is_of_another_unit(record: Record, want: Want) -> bool:
    """Made anew under the same name for another unit, or for one that it no longer brings: the old
    one goes first.
    """
    return record.unit != want.unit or (record.owns_unit and want.content.unit is None)


def waits(key: NamespacedName, world: PlanInput, action: Job) -> bool:
    """Whether a new job must wait for the one that runs: always, unless it stops the unit or brings
    new content.
    """
    running = world.applied[key].running
    if running is None or key not in world.in_flight:
        return False
    return (
        action.verb not in {"stop", "restart"} or action.token is not None or running.verb == "stop"
    )


# --- content -----------------------------------------------------------------------------------------


def _content(want: Want, record: Record | None, world: PlanInput) -> list[Action]:
    key = (want.manifest.metadata.namespace, want.manifest.metadata.name)
    unit = world.units.get(want.unit)
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
    if touches and _is_loaded(want.unit, unit, world):
        actions.append(Reload(key))
    return actions


def blank(want: Want) -> Record:
    """The record of a service at its first sight."""
    meta = want.manifest.metadata
    return Record(meta.namespace, meta.name, want.unit)


def noted(record: Record, want: Want) -> Record:
    """With what the manifest says beside its content."""
    meta = want.manifest.metadata
    return replace(
        record,
        silo=want.silo,
        uid=meta.uid,
        generation=meta.generation,
        applied=True,
        claims=want.claims,
        orphan=want.manifest.spec.deletion_policy == "orphan",
        # Of another object that had this name: whoever waits for the same command of this one must not read "done".
        last_command=record.last_command if record.uid == meta.uid else None,
    )


def _is_loaded(name: str, unit: Unit | None, world: PlanInput) -> bool:
    # One whose file was removed while it runs is "not-found", and would not be read again by a job.
    if unit is not None and (unit.load_state != "not-found" or unit.active_state != "inactive"):
        return True
    return name in world.loaded


def _due(want: Want, record: Record | None, unit: Unit | None) -> str:
    """What changed content asks of a running unit; what an earlier change still asks is not
    forgotten.
    """
    owed = record.due if record else ""
    spec = want.manifest.spec
    ours = spec.unit is not None
    policy = spec.on_change or ("restart" if ours else "none")
    changed = want.content.digest != (record.content if record else "")
    if policy == "none" or not changed or unit is None or not _has_processes(unit, record):
        return owed
    return "restart" if "restart" in {owed, policy} else policy


def _has_processes(unit: Unit, record: Record | None) -> bool:
    """Whether the unit runs, or may at any moment: amid a restart it is inactive, and may be started with its old text."""
    in_flight = record is not None and record.running is not None
    return unit.active_state in RUNNING or bool(unit.job[0]) or in_flight


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
    anew = ours and state in ENABLED and (done.install if done else "") != install
    enabled = _wants_enabled(want)
    if enabled is None:
        if done is None or not (done.enabled and anew):
            return None
        enabled = True  # as it was, by what [Install] says now
    meta = want.manifest.metadata
    wanted = Enablement(enabled, meta.uid, meta.generation, install)
    if done is not None and replace(done, install=install) == wanted:
        return None
    anew = anew and enabled
    before = "" if want.content.unit else state
    needed = anew or state not in (ENABLED if enabled else DISABLED)
    return Enable(key, want.unit, wanted, before, needed, anew)


# --- command -----------------------------------------------------------------------------------------


def _command(want: Want, record: Record | None, world: PlanInput) -> Iterator[Action]:
    assert record is not None  # noted by _content
    key, unit = record.key, world.units.get(want.unit)
    if unit is None or (unit.load_state == "not-found" and want.content.unit is None):
        return  # nobody to command: not known yet, or not on the host
    action = _next_job(want, record, unit, world.boot)
    # What is under way says itself what it satisfied.
    held = waits(key, world, action) if isinstance(action, Job) else key in world.in_flight
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
        afresh=not satisfied and unit.active_state == "failed",
    )  # fmt: skip
    if (token and command == "restart") or (record.due == "restart" and running):
        return _with(job, verb="restart")
    if (token or record.due == "reload") and running:
        return _with(job, verb="reload")
    if token:  # a reload of what does not run: there is nothing to reload
        return Note(record.key, _skipped(record, token))
    if not satisfied:
        if _came_up_by_itself(record, unit, want, boot):
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


def _came_up_by_itself(record: Record, unit: Unit, want: Want, boot: str) -> bool:
    """Whether systemd started what it found enabled at boot: then this boot's start is completed,
    whatever came after.
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


# --- removal -----------------------------------------------------------------------------------------


def _removal(record: Record, world: PlanInput) -> Iterator[Action]:
    unit = world.units.get(record.unit)
    if not record.removing:
        yield Note(record.key, replace(record, removing=True, stopped=False))
        return
    if unit is None:
        return  # not known yet what systemd says of it
    in_flight = record.key in world.in_flight
    if in_flight and record.running is not None and record.running.verb == "stop":
        return
    if record.owns_unit and not record.stopped:
        yield Job(record.key, record.unit, "stop", record.uid, record.generation)
        return
    loaded = _is_loaded(record.unit, unit, world)
    yield Withdraw(record.key, record.unit, record.owns_unit, loaded)
