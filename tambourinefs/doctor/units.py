"""Our units: there, active, enabled, up to date, and in the sandbox that we ship."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tambourinefs.doctor.ask import ask
from tambourinefs.doctor.finding import AS_ROOT, Finding
from tambourinefs.doctor.patient import (
    DAEMONS,
    LITERAL,
    MODULE,
    RENEWAL,
    RENEWER,
    SYNC,
    quoted,
    restart,
)
from tambourinefs.model import paths

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tambourinefs.doctor.ask import Answer

UNITS: Final = (*DAEMONS, SYNC, RENEWAL, RENEWER, LITERAL, MODULE)
_OF_MODULE: Final = (
    LITERAL,
    MODULE,
)  # whether they do their work is told by the line of the module
PROPERTIES: Final = (
    "Id", "LoadState", "ActiveState", "SubState", "Result", "UnitFileState", "NeedDaemonReload", "ConditionResult",
    "FragmentPath", "DropInPaths", "NRestarts", "ExecMainStatus", "ExecMainCode", "MainPID",
    "ExecMainStartTimestampMonotonic",
)  # fmt: skip
# What keeps a process in (systemd.exec(5), "Sandboxing" and what stands with it in our units). ReadWritePaths= is not
# among them: a drop-in with it is the documented way to let the agent write elsewhere.
SANDBOX: Final = frozenset({
    "User", "Group", "DynamicUser", "SupplementaryGroups", "CapabilityBoundingSet", "AmbientCapabilities", "NoNewPrivileges",
    "ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateMounts", "PrivateDevices", "DevicePolicy", "DeviceAllow",
    "PrivateNetwork", "PrivateIPC", "PrivateUsers", "IPAddressDeny", "IPAddressAllow", "RestrictAddressFamilies",
    "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality", "MemoryDenyWriteExecute",
    "ProtectClock", "ProtectControlGroups", "ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules",
    "ProtectKernelTunables", "ProtectProc", "ProcSubset", "KeyringMode", "RemoveIPC", "SystemCallArchitectures",
    "SystemCallFilter", "SystemCallErrorNumber", "UMask", "ExecStart", "ExecStartPre",
})  # fmt: skip
_MAX_DROP_IN: Final = 1 << 20
_SHIPPED: Final = paths.PREFIX / "share/tambourine/systemd"
_WHERE: Final = "/usr/local/lib/systemd/system"
_WHERE_PACKAGED: Final = "/usr/lib/systemd/system"  # Debian 12 has /lib there, too
_PACKAGE: Final = "/var/lib/dpkg/info/tambourine.list"


@dataclass(frozen=True, slots=True)
class DropIn:
    """A file that changes a unit of ours, and the settings of the sandbox that it names."""

    path: str
    settings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """`shown` holds each unit's properties; `silent` is why systemd did not answer, "" where it did."""

    shown: dict[str, dict[str, str]] = field(default_factory=dict)
    drop_ins: dict[str, tuple[DropIn, ...]] = field(default_factory=dict)
    silent: str = ""
    packaged: bool = False


def probe() -> Facts:
    """Asks systemd by systemctl, which root's can without D-Bus."""
    properties = f"--property={','.join(PROPERTIES)}"
    answer = ask("systemctl", "show", "--no-pager", properties, "--", *UNITS)
    if not answer.good:
        return Facts(silent=answer.complaint)
    shown = parse(answer)
    return Facts(shown, {name: _drop_ins(one) for name, one in shown.items()}, "", os.path.exists(_PACKAGE))  # fmt: skip


def parse(answer: Answer) -> dict[str, dict[str, str]]:
    """The blocks of `systemctl show`, by the names that were asked for, in their order. Pure."""
    blocks = [block for block in answer.out.split("\n\n") if block.strip()]
    pairs = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in blocks]
    return dict(zip(UNITS, pairs, strict=False))


def _drop_ins(shown: dict[str, str]) -> tuple[DropIn, ...]:
    found = []
    for name in shown.get("DropInPaths", "").split():
        try:
            with Path(name).open("rb") as file:
                text = file.read(_MAX_DROP_IN).decode(errors="replace")
        except OSError:
            continue
        found.append(DropIn(name, settings(text)))
    return tuple(found)


def settings(text: str) -> tuple[str, ...]:
    """The settings of the sandbox that a unit file's text names, sorted. Pure."""
    named = (line.partition("=")[0].strip() for line in text.splitlines() if "=" in line)
    return tuple(sorted({name for name in named if name in SANDBOX}))


def verdict(facts: Facts, *, root: bool) -> Iterator[Finding]:
    """What is wrong with units and sandbox, or one line for each that all is well."""
    if facts.silent and not root:
        yield Finding("units", "unknown", f"systemd does not answer ({facts.silent})", AS_ROOT)
        return
    if facts.silent:
        text = f"systemd does not answer: {facts.silent}"
        yield Finding("units", "error", text, "systemctl daemon-reexec")
        return
    wrong = [finding for name, one in facts.shown.items() for finding in _unit(name, one, facts)]
    yield from wrong
    if not wrong:
        names = [
            n
            for n, one in facts.shown.items()
            if one.get("ActiveState") == "active" and n not in _OF_MODULE
        ]
        yield Finding("units", "ok", f"{len(names)} active and enabled")
    # The mount is no process; a line of fstab stands over it, where a person wants one.
    boxed = [name for name in facts.shown if name != LITERAL]
    odd = [finding for name in boxed for finding in _sandbox(name, facts)]
    yield from odd
    if not odd:
        yield Finding("sandbox", "ok", "every unit runs in the sandbox that it was shipped with")


def _unit(name: str, one: dict[str, str], facts: Facts) -> Iterator[Finding]:
    load, active = one.get("LoadState", ""), one.get("ActiveState", "")
    if name == SYNC and one.get("UnitFileState") == "disabled" and active == "inactive":
        return  # the DaemonSet does it
    if load == "masked" and name in _OF_MODULE:
        return  # somebody does not want it
    if load == "masked":
        mend = f"systemctl unmask {name} && systemctl enable {name} && {restart(name)}"
        yield Finding("units", "error", f"{name} is masked", mend)
        return
    # A mount that is there has a unit without a file (systemd.mount(5)).
    if load == "not-found" or (load == "loaded" and not one.get("FragmentPath")):
        yield Finding("units", "error", f"{name} is not installed", _reinstall(name, facts))
        return
    if load != "loaded":
        text = f"{name} cannot be loaded: {load}"
        yield Finding("units", "error", text, f"systemd-analyze verify {name}")
        return
    if one.get("NeedDaemonReload") == "yes":
        text = f"{name} was changed and systemd has not read it"
        yield Finding("units", "warning", text, f"systemctl daemon-reload && {restart(name)}")
    if name in _OF_MODULE:
        return
    if name == RENEWER:  # runs now and then, and nobody enables it
        if active == "failed":
            yield Finding("units", "error", f"{name} {_how(one)}", restart(name))
        return
    if one.get("UnitFileState") not in {"enabled", "enabled-runtime"}:
        text = f"{name} is {one.get('UnitFileState') or 'not enabled'}: not there after a boot"
        yield Finding("units", "warning", text, f"systemctl enable {name}")
    not_joined = name == SYNC and one.get("ConditionResult") == "no"
    if active != "active" and not not_joined:
        yield Finding("units", "error", f"{name} {_how(one)}", restart(name))


def _how(one: dict[str, str]) -> str:
    active, sub = one.get("ActiveState", ""), one.get("SubState", "")
    said = f"is {active} ({sub})" if sub not in {"", active, "dead"} else f"is {active}"
    if one.get("Result") not in {"", "success", None}:
        said += f", result {one['Result']}, exit status {one.get('ExecMainStatus', '?')}"
    return said


def _reinstall(name: str, facts: Facts) -> str:
    """From our own share: the package came from a file, and no archive has it."""
    where = _WHERE_PACKAGED if facts.packaged else _WHERE
    lay = f"install -D -m 0644 {_SHIPPED}/{name} {where}/{name} && systemctl daemon-reload"
    if name == MODULE:
        return f"{lay} && {restart(LITERAL)}"
    return lay if name == RENEWER else f"{lay} && systemctl enable --now {name}"


def _sandbox(name: str, facts: Facts) -> Iterator[Finding]:
    one = facts.shown[name]
    path = one.get("FragmentPath", "")
    again = f"systemctl daemon-reload && {restart(name)}"
    if path.startswith(("/etc/", "/run/")) and one.get("LoadState") == "loaded":
        text = f"{path} stands over the {name} that is shipped"
        yield Finding("sandbox", "warning", text, f"mv {quoted(path)} {quoted(path + '.off')} && {again}")  # fmt: skip
    for drop_in in facts.drop_ins.get(name, ()):
        if drop_in.settings:
            text = f"{drop_in.path} changes {', '.join(drop_in.settings)} of {name}"
            mend = f"mv {quoted(drop_in.path)} {quoted(drop_in.path + '.off')} && {again}"
            yield Finding("sandbox", "warning", text, mend)
