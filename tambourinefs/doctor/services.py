"""The manifests: which are refused, which drifted and which are not ready, as the agent reports."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from tambourinefs.doctor.check import AGENT, SILO, Finding, restart
from tambourinefs.doctor.commands import read_file
from tambourinefs.model.names import printable
from tambourinefs.model.status import ACCEPT_SILO, ACCEPTED, APPLIED, READY, StatusReport

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tambourinefs.doctor.check import CheckContext
    from tambourinefs.model.status import Condition

SHOWN: Final = 5  # findings; the rest is counted
_LOCAL: Final = "local"
_LINE: Final = 240  # characters
# Only a UUID is copied into a command for root.
_ACCEPT: Final = re.compile(
    rf"\. [^.]*(?P<command>{ACCEPT_SILO} [0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})\b"
)


def probe(context: CheckContext) -> tuple[StatusReport, ...] | str:
    """The agent's report, or why there is none."""
    result = read_file(f"{context.config.proc.mountpoint}/services.json")
    if not result.succeeded:
        return result.error
    try:
        return msgspec.json.decode(result.stdout, type=tuple[StatusReport, ...])
    except msgspec.MsgspecError as error:
        return f"it cannot be decoded: {error}"


def findings(reports: tuple[StatusReport, ...] | str) -> Iterator[Finding]:
    """A finding for each service with a problem, or one for all."""
    if isinstance(reports, str):
        text = f"the agent's report cannot be read: {reports}"
        yield Finding("manifests", "unknown", text, restart(AGENT))
        return
    unknown = [r for r in reports if _reason(r, APPLIED) == "SiloUnavailable"]
    if unknown:
        message = _message(unknown[0], APPLIED)
        another = _ACCEPT.search(message)  # a restart does not help then
        text = (
            f"the agent cannot use its silo: {message[: another.start()] if another else message}"
        )
        fix = another["command"] if another else restart(SILO, AGENT)
        yield Finding("manifests", "error", text[:_LINE], fix)
    bad = [r for r in reports if r not in unknown and _is_bad(r)]
    yield from (_bad(report) for report in bad[:SHOWN])
    if len(bad) > SHOWN:
        text = f"and {len(bad) - SHOWN} more are not ready"
        yield Finding("manifests", "warning", text, "tambourine get --all-namespaces")
    if not bad and not unknown:
        yield Finding("manifests", "ok", f"{len(reports)}, none refused, failed or drifted")


def _condition(report: StatusReport, kind: str) -> Condition | None:
    return report.condition(kind)


def _reason(report: StatusReport, kind: str) -> str:
    found = _condition(report, kind)
    return found.reason if found is not None and found.status != "True" else ""


def _message(report: StatusReport, kind: str) -> str:
    found = _condition(report, kind)
    return printable(" ".join(found.message.split())) if found is not None else ""


def _is_bad(report: StatusReport) -> bool:
    found: Sequence[Condition | None] = [_condition(report, k) for k in (ACCEPTED, APPLIED, READY)]
    return any(one is not None and one.status == "False" for one in found)


def _bad(report: StatusReport) -> Finding:
    who = f"{report.namespace}/{report.name}"
    if reason := _reason(report, ACCEPTED):
        text = f"{who} is refused: {reason}: {_message(report, ACCEPTED)}"
        return Finding("manifests", "warning", text[:_LINE], _edit(report))
    if _reason(report, READY) == "Drifted":
        text = f"{who} drifted: {_message(report, READY)}"
        return Finding("manifests", "warning", text[:_LINE], _resend(report))
    kind = APPLIED if _reason(report, APPLIED) else READY
    why = printable(report.reason) or _message(report, kind)
    text = f"{who} is not ready: {_reason(report, kind)}: {why}"
    look = f"tambourine status --namespace {report.namespace} {report.name}"
    return Finding("manifests", "warning", text[:_LINE], look)


def _edit(report: StatusReport) -> str:
    if report.namespace != _LOCAL:
        return f"kubectl --namespace {report.namespace} edit tambourine {report.name}"
    file = f"/root/{report.name}.yaml"
    get = f"tambourine get {report.name} -o yaml >{file}"
    return f"{get} && ${{EDITOR:-vi}} {file} && tambourine apply -f {file}"


def _resend(report: StatusReport) -> str:
    """Send the last command again."""
    last = report.last_command.command if report.last_command else ""
    verb = "stop" if last == "stop" else "start"
    if report.namespace != _LOCAL:
        return f"systemctl {verb} {report.unit}"
    return f"tambourine {verb} {report.name}"
