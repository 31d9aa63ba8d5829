"""The doctor's verdicts: from observed to a state, a sentence and a command. No file, no process."""

from __future__ import annotations

import errno
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click import unstyle

from tambourinefs import __version__
from tambourinefs.cli.admin.doctor import page, to_json
from tambourinefs.doctor import (
    bus,
    certificates,
    checks,
    clock,
    cluster,
    disk,
    kernel,
    module,
    mountpoints,
    services,
    socket,
    units,
    versions,
)
from tambourinefs.doctor.check import CheckContext, Finding, worst
from tambourinefs.doctor.commands import CommandResult, FilesystemUsage
from tambourinefs.errors import InvalidConfig, NotFound, RefusedByPolicy, Unreachable
from tambourinefs.model.config import Config
from tambourinefs.model.status import Condition, LastCommand, StatusReport

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CONTEXT = CheckContext(Config(), True, NOW.timestamp())
MEBI = 1 << 20
ROOMY = FilesystemUsage(1000 * MEBI, 900 * MEBI, 1000, 900, False)


def only(findings: Any) -> Finding:
    found: list[Finding] = list(findings)
    assert len(found) == 1, found
    return found[0]


# -- mounts and quota --


def mount(
    said: FilesystemUsage | int | None, *, fstype: str = "fuse.tambourine", ours: bool = True
) -> Any:
    return (mountpoints.MountState("silo", "/silo", "tambourine-silo.service", fstype, ours, said),)


@pytest.mark.parametrize(
    ("said", "text"),
    [(None, "does not answer"), (errno.ENOTCONN, "exited"), (errno.EIO, "Input/output error")],
)
def test_mount_without_answer_is_restarted(said: int | None, text: str) -> None:
    found = only(mountpoints.findings(mount(said), CONTEXT))
    assert (found.state, found.command) == ("error", "systemctl restart tambourine-silo.service")
    assert text in found.message


def test_covering_mount_is_unmounted_first() -> None:
    found = only(mountpoints.findings(mount(ROOMY, fstype="ext4", ours=False), CONTEXT))
    assert found.command.startswith("umount /silo && systemctl restart")


@pytest.mark.parametrize(
    ("space", "state"),
    [
        (ROOMY, "ok"),
        (replace(ROOMY, available=80 * MEBI), "warning"),
        (replace(ROOMY, available=0), "error"),
        (replace(ROOMY, files_available=50), "warning"),
        (replace(ROOMY, files_available=0), "error"),
        (FilesystemUsage(0, 0, 0, 0, False), "error"),
    ],
)
def test_quota(space: FilesystemUsage, state: str) -> None:
    silo, quota = mountpoints.findings(mount(space), CONTEXT)
    assert silo.state == "ok"
    assert quota.state == state
    assert ("quota_bytes = 536870912" in quota.command) == (state != "ok")


# -- disk --


@pytest.mark.parametrize(
    ("said", "journal", "state", "command"),
    [
        (ROOMY, 0, "ok", ""),
        (replace(ROOMY, available=10 * MEBI), 0, "error", "du -xh"),
        (replace(ROOMY, available=10 * MEBI), 999 * MEBI, "error", "journalctl --vacuum-size=64M"),
        (replace(ROOMY, available=40 * MEBI), 0, "warning", "du -xh"),
        (replace(ROOMY, files_available=3), 0, "error", "du -x --inodes"),
        (replace(ROOMY, files_available=0, files=0), 0, "ok", ""),  # btrfs counts none
        (replace(ROOMY, read_only=True), 0, "error", "mount -o remount,rw /var"),
        (errno.EIO, 0, "error", "findmnt --target /var/x"),
        (None, 0, "error", "findmnt --target /var/x"),
    ],
)
def test_disk(said: FilesystemUsage | int | None, journal: int, state: str, command: str) -> None:
    found = only(disk.findings((disk.DiskState("/var/x", "/var", said, journal),)))
    assert found.state == state
    assert found.command.startswith(command)


def test_mount_point_is_read_from_mountinfo() -> None:
    lines = "".join(
        f"{n} 1 8:{n} / {at} rw - ext4 /dev/x rw\n"
        for n, at in enumerate(("/", "/var", "/var/lib", "/variety"))
    )
    for path, above in (("/var/lib/a", "/var/lib"), ("/varx", "/"), ("/var", "/var")):
        assert disk.mount_of(path, lines.encode()) == above


# -- kernel --

LIMITS = {kernel.WATCHES: 9000, kernel.INSTANCES: 128}
KERNEL = kernel.KernelState(True, True, "cgroup2", LIMITS, {})


def of(check: str, observed: kernel.KernelState) -> Finding:
    return next(one for one in kernel.findings(observed) if one.check == check)


def test_kernel_with_everything_is_ok() -> None:
    assert worst(kernel.findings(KERNEL)) == "ok"


@pytest.mark.parametrize(
    ("check", "change", "state", "command"),
    [
        ("fuse", {"fuse": False}, "error", "modprobe fuse"),
        ("fuse", {"device": False}, "error", "rm -f /dev/fuse && mknod"),
        ("cgroup", {"cgroup": "tmpfs"}, "warning", "sed -i"),
        ("cgroup", {"cgroup": ""}, "warning", "sed -i"),
        ("inotify", {"limits": {kernel.WATCHES: 64}}, "warning", "echo 'fs.inotify.max_user_watches = 524288'"),
        ("inotify", {"used": {kernel.WATCHES: 8999}}, "error", "echo 'fs.inotify.max_user_watches = 524288'"),
        ("inotify", {"used": {kernel.INSTANCES: 128}}, "error", "echo 'fs.inotify.max_user_instances = 1024'"),
        ("inotify", {"limits": {}}, "unknown", ""),
    ],
)  # fmt: skip
def test_missing_kernel_features(
    check: str, change: dict[str, Any], state: str, command: str
) -> None:
    found = of(check, replace(KERNEL, **change))
    assert found.state == state
    assert found.command.startswith(command)


# -- /proc/tambourine --

LOAD = "modprobe tambourine && systemctl start proc-tambourine.mount"
OURS = module.ModuleState(True, "fuse.tambourine", ours=True, agents=True, usage=ROOMY)
BIND = "systemctl restart proc-tambourine.mount"


@pytest.mark.parametrize(
    ("observed", "state", "message", "command"),
    [
        (OURS, "ok", "shows the statuses", ""),
        (replace(OURS, agents=False), "ok", "shows the statuses", ""),
        (replace(OURS, usage=None), "error", "does not answer", "systemctl restart tambourine.service"),
        (replace(OURS, usage=None, agents=False), "error", "does not answer", BIND),
        (replace(OURS, usage=errno.ENOTCONN, agents=False), "error", "whose server has exited", BIND),
        (replace(OURS, usage=errno.EIO, agents=False), "error", "Input/output error", BIND),
        (module.ModuleState(True), "warning", "nothing is mounted at", BIND),
        (module.ModuleState(True, "tmpfs"), "error", r"another file system \(tmpfs\)", f"umount /proc/tambourine && {BIND}"),
        (module.ModuleState(False, on_disk=True), "warning", "not loaded", LOAD),
        (module.ModuleState(False, in_dkms=True), "warning", "not loaded",
         f"apt-get install .* && dkms autoinstall && {LOAD}"),
        (
            module.ModuleState(False), "warning", "not loaded",
            f"apt-get install .* && dkms install /opt/tambourine/share/tambourine/kernel && install .* && {LOAD}",
        ),
    ],
)  # fmt: skip
def test_proc_tambourine(
    observed: module.ModuleState, state: str, message: str, command: str
) -> None:
    found = only(module.findings(observed))
    assert found.state == state
    assert re.search(message, found.message)
    assert re.fullmatch(command, found.command)


# -- D-Bus, clock --


@pytest.mark.parametrize(
    ("observed", "state", "command"),
    [
        (bus.BusState(CommandResult(0, "s x"), CommandResult(0, 's "252"')), "ok", ""),
        (bus.BusState(CommandResult(1, "", "no such file"), None), "error", "systemctl restart dbus.socket dbus.service"),
        (bus.BusState(CommandResult(None), None), "error", "systemctl kill --signal=SIGKILL dbus.service"),
        (bus.BusState(CommandResult(0), CommandResult(1, "", "not found")), "error", "kill -USR1 1"),
        (bus.BusState(CommandResult(127, "", "busctl: missing"), None), "error", "systemctl restart dbus"),
    ],
)  # fmt: skip
def test_bus(observed: bus.BusState, state: str, command: str) -> None:
    found = only(bus.findings(observed))
    assert found.state == state
    assert found.command.startswith(command)


@pytest.mark.parametrize(
    ("said", "container", "state", "command"),
    [
        ("NTP=no", True, "ok", ""),
        ("NTPSynchronized=yes NTP=yes CanNTP=yes", False, "ok", ""),
        ("NTPSynchronized=no NTP=no CanNTP=yes", False, "warning", "timedatectl set-ntp true"),
        ("NTPSynchronized=no NTP=no CanNTP=no", False, "warning", "apt-get install systemd-timesyncd"),
        ("NTPSynchronized=no NTP=yes CanNTP=yes", False, "warning", "systemctl restart systemd-timesyncd"),
    ],
)  # fmt: skip
def test_clock(said: str, container: bool, state: str, command: str) -> None:
    found = only(
        clock.findings(clock.ClockState(CommandResult(0, said.replace(" ", "\n")), container))
    )
    assert found.state == state
    assert found.command.startswith(command)


def test_clock_is_unknown_without_timedated() -> None:
    assert (
        only(clock.findings(clock.ClockState(CommandResult(1), container=False))).state == "unknown"
    )


# -- units --


def unit(**changes: str) -> dict[str, str]:
    usual = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "UnitFileState": "enabled"}  # fmt: skip
    return (
        usual | {"FragmentPath": "/usr/local/lib/systemd/system/x", "Result": "success"} | changes
    )


def host(**silo: str) -> units.UnitStates:
    return units.UnitStates({name: unit() for name in units.UNITS} | {"tambourine-silo.service": unit(**silo)})  # fmt: skip


def test_active_units_are_ok() -> None:
    assert [one.state for one in units.findings(host(), root=True)] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("change", "state", "command"),
    [
        ({"ActiveState": "failed", "Result": "exit-code"}, "error", "systemctl restart tambourine-silo.service"),
        ({"ActiveState": "activating", "SubState": "auto-restart"}, "error", "systemctl restart"),
        ({"LoadState": "masked"}, "error", "systemctl unmask tambourine-silo.service && systemctl enable"),
        ({"LoadState": "not-found"}, "error", "install -D -m 0644 /opt/tambourine/share"),
        ({"LoadState": "bad-setting"}, "error", "systemd-analyze verify"),
        ({"UnitFileState": "disabled"}, "warning", "systemctl enable"),
        ({"NeedDaemonReload": "yes"}, "warning", "systemctl daemon-reload && systemctl restart"),
    ],
)  # fmt: skip
def test_unit_problems(change: dict[str, str], state: str, command: str) -> None:
    found = [one for one in units.findings(host(**change), root=True) if one.check == "units"]
    assert [one.state for one in found] == [state]
    assert found[0].command.startswith(command)
    assert "tambourine-silo.service" in found[0].message


@pytest.mark.parametrize(
    ("name", "after"),
    [
        ("tambourine-silo.service", "systemctl enable --now tambourine-silo.service"),
        ("proc-tambourine.mount", "systemctl enable --now proc-tambourine.mount"),
        ("tambourine-module.service", "systemctl restart proc-tambourine.mount"),
        ("tambourine-pki-renew.service", ""),
    ],
)
@pytest.mark.parametrize(("packaged", "where"), [(True, "/usr/lib"), (False, "/usr/local/lib")])
def test_missing_unit_is_installed_from_the_share_directory(
    name: str, after: str, packaged: bool, where: str
) -> None:
    observed = units.UnitStates({name: unit(LoadState="not-found")}, packaged=packaged)
    found = next(iter(units.findings(observed, root=True)))
    assert found.state == "error"
    source, target, *then = found.command.removeprefix("install -D -m 0644 ").split(" ", 2)
    assert source == f"/opt/tambourine/share/tambourine/systemd/{name}"
    assert target == f"{where}/systemd/system/{name}"
    assert then == ["&& systemctl daemon-reload" + (f" && {after}" if after else "")]


def test_mount_without_unit_file_is_an_error() -> None:
    observed = units.UnitStates({"proc-tambourine.mount": unit(FragmentPath="", UnitFileState="")})
    found = next(iter(units.findings(observed, root=True)))
    assert (found.state, found.message) == ("error", "proc-tambourine.mount is not installed")


@pytest.mark.parametrize(
    "change",
    [
        {"ActiveState": "inactive"},
        {"LoadState": "masked"},
        {"FragmentPath": "/run/systemd/generator/proc-tambourine.mount", "UnitFileState": "generated"},
    ],
)  # fmt: skip
def test_proc_mount_may_be_masked_or_in_fstab(change: dict[str, str]) -> None:
    observed = units.UnitStates({"proc-tambourine.mount": unit(**change)})
    assert worst(units.findings(observed, root=True)) == "ok"


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"ActiveState": "inactive", "ConditionResult": "no"}, False),  # has joined no cluster
        ({"ActiveState": "inactive", "UnitFileState": "disabled"}, False),  # the DaemonSet's
        ({"ActiveState": "inactive", "ConditionResult": "yes"}, True),
    ],
)
def test_sync_may_be_inactive_outside_a_cluster(change: dict[str, str], wrong: bool) -> None:
    observed = units.UnitStates({"tambourine-sync.service": unit(**change)})
    assert (worst(units.findings(observed, root=True)) == "error") == wrong


def test_failed_renewal_is_an_error() -> None:
    for active, state in (("inactive", "ok"), ("failed", "error")):
        renewal = unit(ActiveState=active, UnitFileState="static")
        observed = units.UnitStates({"tambourine-pki-renew.service": renewal})
        assert worst(units.findings(observed, root=True)) == state


def test_silent_systemd_is_an_error_for_root_only() -> None:
    observed = units.UnitStates(error="timed out")
    assert only(units.findings(observed, root=True)).state == "error"
    assert only(units.findings(observed, root=False)).state == "unknown"


def test_drop_in_with_sandboxing_settings_is_a_warning() -> None:
    text = "[Service]\n# User=x\nReadWritePaths=/srv\nUser = root\nSystemCallFilter=\nEnvironment=A=b\n"
    assert units.settings(text) == ("SystemCallFilter", "User")
    drop_in = units.SandboxDropIn("/etc/a b.conf", ("User",))
    observed = replace(host(), drop_ins={"tambourine-silo.service": (drop_in,)})
    found = [one for one in units.findings(observed, root=True) if one.check == "sandbox"]
    assert found[0].state == "warning"
    assert found[0].command.startswith(
        "mv '/etc/a b.conf' '/etc/a b.conf.off' && systemctl daemon-reload"
    )


def test_sandboxing_settings_of_shipped_units_are_known() -> None:
    """A drop-in with one that is not would go unseen."""
    from pathlib import Path

    shipped = Path(__file__).parents[2] / "systemd"
    named = set()
    for unit_name in units.UNITS:
        if unit_name.endswith(".timer"):
            continue
        _, _, sandbox = (shipped / unit_name).read_text().partition("# -- sandbox")
        lines = [line for line in sandbox.splitlines() if "=" in line and line[0] not in "#["]
        named |= {line.partition("=")[0] for line in lines}
    assert len(named) > 25
    assert named - units.SANDBOX == {"ReadWritePaths", "Environment", "WantedBy"}


# -- certificates --


def pair(name: Any, **changes: Any) -> certificates.CertificateState:
    observed = certificates.CertificateState(
        name, "", NOW - timedelta(days=1), NOW + timedelta(days=1000)
    )
    return replace(observed, **changes)


def three(name: str = "", **changes: Any) -> tuple[certificates.CertificateState, ...]:
    return tuple(pair(one, **(changes if one == name else {})) for one in ("ca", "server", "client"))  # fmt: skip


LEAF = "rm -f /etc/tambourine/pki/server.crt && tambourine pki init"
ALL = "tambourine pki init --force"


@pytest.mark.parametrize(
    ("observed", "state", "command"),
    [
        (three(), "ok", ""),
        (three("server", problem="is missing"), "error", LEAF),
        (three("server", key="differs"), "error", LEAF),
        (three("server", signed=False), "error", LEAF),
        (three("ca", problem="is missing"), "error", ALL),
        (three("ca", key="differs"), "error", ALL),
        (three("ca", key="missing"), "warning", ALL),
        (three("server", not_after=NOW), "error", "tambourine pki renew"),
        (three("server", not_after=NOW + timedelta(hours=1)), "warning", "tambourine pki renew"),
        (three("server", not_before=NOW + timedelta(hours=1)), "error", "tambourine pki renew --force"),
        (three("server", key_open=True), "error", "chown bombshell:root /etc/tambourine/pki/server.key && chmod 0400"),
    ],
)  # fmt: skip
def test_certificates(observed: Any, state: str, command: str) -> None:
    found = only(certificates.findings(observed, CONTEXT))
    assert found.state == state
    assert found.command.startswith(command)
    assert (found.command == command) or observed[1].key_open


def test_leaf_is_not_reissued_without_the_ca_key() -> None:
    observed = (pair("ca", key="missing"), pair("server", not_after=NOW), pair("client"))
    assert [one.command for one in certificates.findings(observed, CONTEXT)] == [ALL, ALL]


def test_command_has_a_non_default_directory() -> None:
    config = Config()._replace(bombshell=Config().bombshell._replace(pki="/a b"))
    found = only(certificates.findings(three("ca", problem="x"), replace(CONTEXT, config=config)))
    assert found.command == "tambourine pki init --force --dir '/a b'"


# -- socket --


@pytest.mark.parametrize(
    ("observed", "root", "state"),
    [
        (socket.SocketState("/s", "serves"), True, "ok"),
        (socket.SocketState("/s", "serves", current=False), True, "error"),
        (socket.SocketState("/s", "connect", "x", errno.ENOENT), True, "error"),
        (socket.SocketState("/s", "connect", "x", errno.EACCES), False, "unknown"),
        (socket.SocketState("/s", "credentials", "x", errno.EACCES), False, "unknown"),
        (socket.SocketState("/s", "credentials", "x", errno.EACCES), True, "error"),
        (socket.SocketState("/s", "handshake", "timed out"), False, "error"),
    ],
)
def test_socket(observed: socket.SocketState, root: bool, state: str) -> None:
    found = only(socket.findings(observed, root=root))
    assert found.state == state
    assert bool(found.command) == (state != "ok")


# -- versions --


@pytest.mark.parametrize(
    ("running", "old", "state", "command"),
    [
        (__version__, (), "ok", ""),
        ("0.0.1", (), "warning", "systemctl restart tambourine.service"),
        (__version__, ("a.service",), "warning", "systemctl restart a.service"),
        ("", (), "unknown", ""),
    ],
)
def test_versions(running: str, old: tuple[str, ...], state: str, command: str) -> None:
    found = only(versions.findings(versions.VersionState(running, old)))
    assert (found.state, found.command) == (state, command)


# -- manifests --


def report(name: str = "hello", **conditions: tuple[str, str]) -> StatusReport:
    made = tuple(
        Condition(kind, status, reason, "why", 1, "")
        for kind, (status, reason) in conditions.items()
    )
    return StatusReport("local", name, f"{name}.service", conditions=made)


def test_ready_services_are_ok() -> None:
    well = report(Accepted=("True", "A"), Applied=("True", "A"), Ready=("True", "R"))
    assert only(services.findings((well,))).state == "ok"
    assert only(services.findings(())).state == "ok"
    on_its_way = report(Accepted=("True", "A"), Applied=("Unknown", "Waiting"), Ready=("Unknown", "X"))  # fmt: skip
    assert only(services.findings((on_its_way,))).state == "ok"


def test_refused_service_is_edited() -> None:
    found = only(services.findings((report(Accepted=("False", "VerifyFailed")),)))
    assert found.message == "local/hello is refused: VerifyFailed: why"
    assert found.command.startswith(
        "tambourine get hello -o yaml >/root/hello.yaml && ${EDITOR:-vi}"
    )


def test_drifted_service_gets_its_last_command_again() -> None:
    drifted = report(Accepted=("True", "A"), Ready=("False", "Drifted"))
    assert only(services.findings((drifted,))).command == "tambourine start hello"
    stopped = StatusReport("local", "hello", conditions=drifted.conditions, last_command=LastCommand("stop"))  # fmt: skip
    assert only(services.findings((stopped,))).command == "tambourine stop hello"


def test_unavailable_silo_is_one_finding() -> None:
    lost = [report(f"s{n}", Applied=("Unknown", "SiloUnavailable")) for n in range(9)]
    found = only(services.findings(tuple(lost)))
    both = "systemctl restart tambourine-silo.service tambourine.service"
    assert (found.state, found.command) == ("error", both)


def test_replaced_silo_is_accepted_by_the_command_in_the_condition() -> None:
    accept, uuid = "tambourine agent --accept-silo", "4a3cf51d-7d5c-4a0c-8c27-5e0cb3b3a3a5"
    for said, command in (
        (uuid, f"{accept} {uuid}"),
        ("'x; rm -r /'", "systemctl restart tambourine-silo.service tambourine.service"),
    ):
        why = f"silo /s is another one (this host uses a). If it was on purpose: {accept} {said}"
        another = Condition("Applied", "Unknown", "SiloUnavailable", why, 1, "")
        found = only(services.findings((StatusReport("local", "x", conditions=(another,)),)))
        assert found.command == command


def test_findings_beyond_the_limit_are_counted() -> None:
    many = tuple(report(f"s{n}", Ready=("False", "Failed")) for n in range(1000))
    found = list(services.findings(many))
    assert len(found) == services.SHOWN + 1
    assert "995 more" in found[-1].message


def test_missing_report_is_unknown() -> None:
    assert only(services.findings("no answer in time")).state == "unknown"


def test_condition_messages_are_escaped_and_cut() -> None:
    bad = Condition("Accepted", "False", "VerifyFailed", "\x1b[2J\nboo " * 100, 1, "")
    found = only(services.findings((StatusReport("local", "x", conditions=(bad,)),)))
    assert "\x1b" not in found.message
    assert len(found.message) <= 240


# -- cluster --

JOINED = cluster.ClusterState(
    True, "n1", "/k", "https://api:6443", None, NOW - timedelta(days=1), NOW + timedelta(days=89), "",
    NOW - timedelta(seconds=5),
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "check", "state", "command"),
    [
        ({}, "cluster", "ok", ""),
        ({"configured": False}, "cluster", "ok", ""),
        ({"configured": None}, "cluster", "unknown", "sudo tambourine doctor"),
        ({"renewed": NOW - timedelta(seconds=41)}, "cluster", "error", "systemctl restart tambourine-sync.service"),
        ({"renewed": None}, "cluster", "error", "systemctl restart tambourine-sync.service"),
        ({"ends": NOW}, "identity", "error", "kubectl tambourine join n1"),
        ({"ends": NOW + timedelta(hours=1)}, "identity", "warning", "systemctl restart tambourine-sync.service"),
        ({"begins": NOW + timedelta(hours=1)}, "identity", "error", "timedatectl set-ntp true"),
        ({"identity_problem": "no certificate"}, "identity", "error", "kubectl tambourine join n1"),
        ({"error": Unreachable("x")}, "cluster", "error", "curl --silent --show-error --insecure https://api:6443/readyz"),
        ({"error": NotFound("x")}, "cluster", "error", "systemctl restart tambourine-sync.service"),
        ({"error": RefusedByPolicy("x")}, "cluster", "error", "kubectl tambourine join n1"),
        ({"error": InvalidConfig("x")}, "cluster", "error", "kubectl tambourine join n1"),
        ({"unlisted": ("a/b",)}, "cluster", "warning", "kubectl get tambourinenode n1"),
    ],
)  # fmt: skip
def test_cluster(change: dict[str, Any], check: str, state: str, command: str) -> None:
    found = only(cluster.findings(replace(JOINED, **change), CONTEXT))
    assert (found.check, found.state) == (check, state)
    assert found.command.startswith(command)
    assert bool(found.command) == (state != "ok")


# -- the whole --


def test_failing_or_hanging_check_does_not_hide_another() -> None:
    import threading

    release = threading.Event()

    def hangs(_: CheckContext) -> list[Finding]:
        release.wait()
        return []

    def fails(_: CheckContext) -> list[Finding]:
        raise OSError("broken")

    def well(_: CheckContext) -> list[Finding]:
        return [Finding("w", "ok", "well")]

    three: dict[str, checks.Check] = {"h": hangs, "f": fails, "w": well}
    try:
        found = checks.run_in_parallel(three, CONTEXT, 0.2)
    finally:
        release.set()
    assert [(one.check, one.state) for one in found] == [("h", "unknown"), ("f", "unknown"), ("w", "ok")]  # fmt: skip
    assert "no answer within" in found[0].message
    assert "OSError: broken" in found[1].message


FOUND = (
    Finding("fuse", "ok", "there"),
    Finding("silo", "error", "x " * 100, "systemctl restart a-command-that-is-longer " * 5),
    Finding("clock", "unknown", "?"),
)


def test_page_wraps_messages_and_never_commands() -> None:
    lines = [unstyle(line) for line in page(FOUND)]
    assert lines[0].split() == ["ok", "fuse", "there"]
    assert all(len(line) <= 110 for line in lines if "$ " not in line)
    assert any(line.strip() == f"$ {FOUND[1].command}".strip() for line in lines)
    assert lines[-1].endswith("1 error, 1 unknown")
    assert page(FOUND[:1])[-1] == "no problems found"


def test_json_format() -> None:
    whole = json.loads(to_json(FOUND, worst(FOUND)))
    assert list(whole) == ["format", "version", "state", "findings"]
    assert (whole["format"], whole["version"], whole["state"]) == (1, __version__, "error")
    assert {tuple(one) for one in whole["findings"]} == {("check", "state", "message", "command")}
