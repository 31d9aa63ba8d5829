"""Tambourine's units: installed, active, enabled, reloaded, and in their shipped sandbox."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tambourinefs.doctor.check import (
    AS_ROOT,
    DAEMONS,
    MODULE,
    PROC_MOUNT,
    RENEWAL,
    RENEWAL_TIMER,
    SYNC,
    Finding,
    restart,
)
from tambourinefs.doctor.commands import run
from tambourinefs.model import paths

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tambourinefs.doctor.commands import CommandResult

UNITS: Final = (*DAEMONS, SYNC, RENEWAL_TIMER, RENEWAL, PROC_MOUNT, MODULE)
_OF_MODULE: Final = (
    PROC_MOUNT,
    MODULE,
)  # whether they do their work is told by the line of the module
PROPERTIES: Final = (
    "Id", "LoadState", "ActiveState", "SubState", "Result", "UnitFileState", "NeedDaemonReload", "ConditionResult",
    "FragmentPath", "DropInPaths", "NRestarts", "ExecMainStatus", "ExecMainCode", "MainPID",
    "ExecMainStartTimestampMonotonic",
)  # fmt: skip
# The sandboxing settings of our units (systemd.exec(5)). ReadWritePaths= is not one of them: a
# drop-in with it is the documented way to let the agent write elsewhere.
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
_WHERE_PACKAGED: Final = "/usr/lib/systemd/system"  # on Debian 12, too: /lib is merged
_PACKAGE: Final = "/var/lib/dpkg/info/tambourine.list"


@dataclass(frozen=True, slots=True)
class SandboxDropIn:
    """A drop-in of one of our units, and the sandboxing settings in it."""

    path: str
    settings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UnitStates:
    """`shown`: the properties by unit; `error`: why systemd did not answer, "" if it did."""

    shown: dict[str, dict[str, str]] = field(default_factory=dict)
    drop_ins: dict[str, tuple[SandboxDropIn, ...]] = field(default_factory=dict)
    error: str = ""
    packaged: bool = False


def probe() -> UnitStates:
    """systemctl, since root's works without D-Bus."""
    properties = f"--property={','.join(PROPERTIES)}"
    result = run("systemctl", "show", "--no-pager", properties, "--", *UNITS)
    if not result.succeeded:
        return UnitStates(error=result.error)
    shown = parse(result)
    drop_ins = {name: _drop_ins(one) for name, one in shown.items()}
    return UnitStates(shown, drop_ins, packaged=os.path.exists(_PACKAGE))


def parse(result: CommandResult) -> dict[str, dict[str, str]]:
    """The output of `systemctl show`, by unit; it keeps the order of its arguments. Pure."""
    blocks = [block for block in result.stdout.split("\n\n") if block.strip()]
    pairs = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in blocks]
    return dict(zip(UNITS, pairs, strict=False))


def _drop_ins(shown: dict[str, str]) -> tuple[SandboxDropIn, ...]:
    found = []
    for name in shown.get("DropInPaths", "").split():
        try:
            with Path(name).open("rb") as file:
                text = file.read(_MAX_DROP_IN).decode(errors="replace")
        except OSError:
            continue
        found.append(SandboxDropIn(name, settings(text)))
    return tuple(found)


def settings(text: str) -> tuple[str, ...]:
    """The sandboxing settings in a unit file, sorted. Pure."""
    named = (line.partition("=")[0].strip() for line in text.splitlines() if "=" in line)
    return tuple(sorted({name for name in named if name in SANDBOX}))


def findings(observed: UnitStates, *, root: bool) -> Iterator[Finding]:
    """Findings for the checks `units` and `sandbox`; one each if there is no problem."""
    if observed.error and not root:
        yield Finding("units", "unknown", f"systemd does not answer ({observed.error})", AS_ROOT)
        return
    if observed.error:
        text = f"systemd does not answer: {observed.error}"
        yield Finding("units", "error", text, "systemctl daemon-reexec")
        return
    wrong = [
        finding for name, one in observed.shown.items() for finding in _unit(name, one, observed)
    ]
    yield from wrong
    if not wrong:
        names = [
            n
            for n, one in observed.shown.items()
            if one.get("ActiveState") == "active" and n not in _OF_MODULE
        ]
        yield Finding("units", "ok", f"{len(names)} active and enabled")
    # The mount has no process, and an administrator may override it in fstab.
    boxed = [name for name in observed.shown if name != PROC_MOUNT]
    odd = [finding for name in boxed for finding in _sandbox(name, observed)]
    yield from odd
    if not odd:
        yield Finding("sandbox", "ok", "every unit has its shipped sandbox")


def _unit(name: str, one: dict[str, str], observed: UnitStates) -> Iterator[Finding]:
    load, active = one.get("LoadState", ""), one.get("ActiveState", "")
    if name == SYNC and one.get("UnitFileState") == "disabled" and active == "inactive":
        return  # the DaemonSet runs sync instead
    if load == "masked" and name in _OF_MODULE:
        return  # the administrator does not want it
    if load == "masked":
        fix = f"systemctl unmask {name} && systemctl enable {name} && {restart(name)}"
        yield Finding("units", "error", f"{name} is masked", fix)
        return
    # An active mount has a unit even without a unit file (systemd.mount(5)).
    if load == "not-found" or (load == "loaded" and not one.get("FragmentPath")):
        yield Finding("units", "error", f"{name} is not installed", _reinstall(name, observed))
        return
    if load != "loaded":
        text = f"{name} cannot be loaded: {load}"
        yield Finding("units", "error", text, f"systemd-analyze verify {name}")
        return
    if one.get("NeedDaemonReload") == "yes":
        text = f"{name} changed on disk and systemd has not reloaded it"
        yield Finding("units", "warning", text, f"systemctl daemon-reload && {restart(name)}")
    if name in _OF_MODULE:
        return
    if name == RENEWAL:  # started by its timer, never enabled
        if active == "failed":
            yield Finding("units", "error", f"{name} {_how(one)}", restart(name))
        return
    if one.get("UnitFileState") not in {"enabled", "enabled-runtime"}:
        text = f"{name} is {one.get('UnitFileState') or 'not enabled'}: it does not start at boot"
        yield Finding("units", "warning", text, f"systemctl enable {name}")
    not_joined = name == SYNC and one.get("ConditionResult") == "no"
    if active != "active" and not not_joined:
        yield Finding("units", "error", f"{name} {_how(one)}", restart(name))


def _how(one: dict[str, str]) -> str:
    active, sub = one.get("ActiveState", ""), one.get("SubState", "")
    answer = f"is {active} ({sub})" if sub not in {"", active, "dead"} else f"is {active}"
    if one.get("Result") not in {"", "success", None}:
        answer += f", result {one['Result']}, exit status {one.get('ExecMainStatus', '?')}"
    return answer


def _reinstall(name: str, observed: UnitStates) -> str:
    """From the installed share directory: Tambourine's packages are in no archive."""
    where = _WHERE_PACKAGED if observed.packaged else _WHERE
    lay = f"install -D -m 0644 {_SHIPPED}/{name} {where}/{name} && systemctl daemon-reload"
    if name == MODULE:
        return f"{lay} && {restart(PROC_MOUNT)}"
    return lay if name == RENEWAL else f"{lay} && systemctl enable --now {name}"


def _sandbox(name: str, observed: UnitStates) -> Iterator[Finding]:
    one = observed.shown[name]
    path = one.get("FragmentPath", "")
    again = f"systemctl daemon-reload && {restart(name)}"
    if path.startswith(("/etc/", "/run/")) and one.get("LoadState") == "loaded":
        text = f"{path} overrides the shipped {name}"
        yield Finding("sandbox", "warning", text, f"{_disable(path)} && {again}")
    for drop_in in observed.drop_ins.get(name, ()):
        if drop_in.settings:
            text = f"{drop_in.path} changes {', '.join(drop_in.settings)} of {name}"
            yield Finding("sandbox", "warning", text, f"{_disable(drop_in.path)} && {again}")


def _disable(path: str) -> str:
    return f"mv {shlex.quote(path)} {shlex.quote(path + '.off')}"
