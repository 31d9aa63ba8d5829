"""How a record changes before and after each step. Pure; the result is durable before the next step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tambourinefs.agent.admission.admit import Want
from tambourinefs.agent.host.content import Content
from tambourinefs.agent.planning.actions import Job
from tambourinefs.agent.planning.plan import noted
from tambourinefs.agent.state.record import Done, Original, Record, Running, Token, Written, replace
from tambourinefs.model.status import LastCommand

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tambourinefs.model.unit import Unit

FAILED_STATES = frozenset({"failed"})
OURS_MAX: Final = 16  # digests kept of one path while any of them may be there


def intending(
    record: Record,
    want: Want,
    due: str,
    originals: Mapping[str, Original],
    directories: tuple[str, ...],
) -> Record:
    """Before anything is written: every path that may change, with what is there. Known paths keep
    their original.
    """
    content = want.content
    known = {written.path: written for written in record.written}
    for target in content.targets:
        before = known.get(target.path)
        if before is None or not before.placed:
            original = originals.get(target.path, before.original if before else Original())
            ours = before.ours if before else ()
            known[target.path] = Written(
                target.path, target.kind, _adding(ours, target.digest), original
            )
        elif target.digest not in before.ours[-1:]:
            known[target.path] = replace(before, ours=_adding(before.ours, target.digest))
    made = (*record.directories, *(d for d in directories if d not in record.directories))
    return replace(
        record,
        uid=want.manifest.metadata.uid,
        claims=want.claims,
        silo=want.silo,
        intent=content.digest,
        due=due,
        written=tuple(known.values()),
        directories=made,
    )


def _adding(ours: tuple[str, ...], digest: str) -> tuple[str, ...]:
    """The newest last. Each may be what is at the path: the last complete content, or what an agent
    wrote before it was killed. A digest that is dropped here would count as drift, so the bound is
    large and the first one stays.
    """
    kept = tuple(d for d in ours if d != digest)
    return (*kept[:1], *kept[1:][2 - OURS_MAX :], digest)


def placed(record: Record, want: Want) -> Record:
    """After all files are written, and those that the manifest no longer has are restored."""
    wanted = {target.path: target.digest for target in want.content.targets}
    written = tuple(
        replace(w, placed=True, ours=(wanted[w.path],)) for w in record.written if w.path in wanted
    )
    return noted(replace(record, intent=None, content=want.content.digest, written=written), want)


def unwanted(record: Record, content: Content) -> tuple[Written, ...]:
    """What the agent wrote and the manifest no longer has."""
    wanted = {target.path for target in content.targets}
    return tuple(w for w in record.written if w.path not in wanted)


def sending(record: Record, job: Job, unit: Unit, boot: str, now: str, since_usec: int) -> Record:
    """Before the job is sent: its token is taken, the job that changed content asks for counts as done,
    the invocation and the time (CLOCK_MONOTONIC) are kept.
    """
    token = job.token
    running = Running(
        job.verb,
        job.uid,
        job.generation,
        boot,
        unit.invocation_id,
        job.command,
        job.command_id,
        now,
        since_usec,
    )
    after = record if token is None else record.taking(token)
    last = record.last_command
    if job.command:
        last = LastCommand(job.command, job.command_id, "running", "", now, unit.invocation_id)
    due = "" if job.verb in {"restart", "stop", "start"} or record.due == job.verb else record.due
    return replace(after, running=running, last_command=last, due=due)


def finished(record: Record, result: str, message: str, invocation_id: str, now: str) -> Record:
    """After the job finished. `result` is systemd's, or "refused", "unknown"."""
    running = record.running
    assert running is not None
    last = record.last_command
    if running.command and last is not None and running.uid == record.uid:
        word = result if result in {"done", "unknown", "skipped"} else "failed"
        last = LastCommand(running.command, running.command_id, word, message, now, invocation_id)
    after = replace(record, running=None, last_command=last)
    if running.verb != "reload":
        command = "stop" if running.verb == "stop" else "start"
        satisfied = Done(command, running.uid, running.generation, running.boot, result)
        after = replace(after, done=satisfied)
    if record.removing and running.verb == "stop":
        after = replace(after, stopped=True)
    return after


def unsent(record: Record) -> Record:
    """The reverse of `sending`: the recorded job never began, so what asked for it still does."""
    running = record.running
    assert running is not None
    taken = Token(running.uid, running.command, running.command_id)
    # A restart that no token asked for was for changed content, also where it carried out a `start`.
    due = "restart" if running.verb == "restart" and running.command != "restart" else record.due
    # A start that carries out a `restart` took no token: that was done for an earlier generation.
    took = running.verb == running.command
    tokens = tuple(token for token in record.tokens if not (took and token == taken))
    return replace(record, running=None, due=due, tokens=tokens)


def outcome(running: Running, unit: Unit, boot: str, logged: str | None = "") -> str | None:
    """The result of a job that the agent did not wait for; None: it never began (see `unsent`).

    A new InvocationID means that the unit was started after the job was recorded. systemd forgets it
    when a unit without a reference ends with success, and the agent's references end with it: then
    `logged` is the InvocationID of the last start since, "" if there was none, None if that cannot
    be known. A stop may always be sent again. Whether a reload happened cannot be known, nor what
    happened before a reboot: those are not repeated.
    """
    if running.verb == "reload":
        return "unknown"
    if running.boot != boot:
        if running.verb == "restart":
            return "unknown"
        # An enabled unit was started by this boot; its state before does not matter.
        return "done" if running.verb == "start" and unit.invocation_id else None
    if running.verb == "stop":
        return None
    if not unit.invocation_id and logged is None and running.verb == "restart":
        return "unknown"  # a token at most once
    invocation = unit.invocation_id or logged
    if invocation and invocation != running.invocation_id:
        return "failed" if unit.active_state in FAILED_STATES else "done"
    return None
