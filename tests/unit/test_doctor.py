"""The doctor's verdicts: from facts to a state, a sentence and a command. No file, no process."""

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
    clock,
    cluster,
    disk,
    examination,
    kernel,
    module,
    mounted,
    services,
    socket,
    units,
    versions,
)
from tambourinefs.doctor.ask import Answer, Space
from tambourinefs.doctor.finding import Finding, worst
from tambourinefs.doctor.patient import Patient
from tambourinefs.errors import InvalidConfig, NotFound, RefusedByPolicy, Unreachable
from tambourinefs.model.config import Config
from tambourinefs.model.status import Condition, LastCommand, StatusReport

NOW = datetime(2026, 6, 1, tzinfo=UTC)
PATIENT = Patient(Config(), True, NOW.timestamp())
MEBI = 1 << 20
ROOMY = Space(1000 * MEBI, 900 * MEBI, 1000, 900, False)


def only(findings: Any) -> Finding:
    found = list(findings)
    assert len(found) == 1, found
    return found[0]


# -- mounts and quota --


def mount(said: Space | int | None, *, fstype: str = "fuse.tambourine", ours: bool = True) -> Any:
    return (mounted.Facts("silo", "/silo", "tambourine-silo.service", fstype, ours, said),)


@pytest.mark.parametrize(
    ("said", "text"),
    [(None, "does not answer"), (errno.ENOTCONN, "died"), (errno.EIO, "Input/output error")],
)
def test_a_mount_that_does_not_serve_is_restarted(said: int | None, text: str) -> None:
    found = only(mounted.verdict(mount(said), PATIENT))
    assert (found.state, found.command) == ("error", "systemctl restart tambourine-silo.service")
    assert text in found.says


def test_what_covers_the_mount_goes_first() -> None:
    found = only(mounted.verdict(mount(ROOMY, fstype="ext4", ours=False), PATIENT))
    assert found.command.startswith("umount /silo && systemctl restart")


@pytest.mark.parametrize(
    ("space", "state"),
    [
        (ROOMY, "ok"),
        (replace(ROOMY, available=80 * MEBI), "warning"),
        (replace(ROOMY, available=0), "error"),
        (replace(ROOMY, files_available=50), "warning"),
        (replace(ROOMY, files_available=0), "error"),
        (Space(0, 0, 0, 0, False), "error"),
    ],
)
def test_the_quota(space: Space, state: str) -> None:
    silo, quota = mounted.verdict(mount(space), PATIENT)
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
def test_the_disk(said: Space | int | None, journal: int, state: str, command: str) -> None:
    found = only(disk.verdict((disk.Facts("/var/x", "/var", said, journal),)))
    assert found.state == state
    assert found.command.startswith(command)


def test_the_mount_above_a_path_is_found_in_mountinfo_alone() -> None:
    lines = "".join(
        f"{n} 1 8:{n} / {at} rw - ext4 /dev/x rw\n"
        for n, at in enumerate(("/", "/var", "/var/lib", "/variety"))
    )
    for path, above in (("/var/lib/a", "/var/lib"), ("/varx", "/"), ("/var", "/var")):
        assert disk.mount_of(path, lines.encode()) == above


# -- kernel --

LIMITS = {kernel.WATCHES: 9000, kernel.INSTANCES: 128}
KERNEL = kernel.Facts(True, True, "cgroup2", LIMITS, {})


def of(check: str, facts: kernel.Facts) -> Finding:
    return next(one for one in kernel.verdict(facts) if one.check == check)


def test_a_kernel_that_has_all() -> None:
    assert worst(kernel.verdict(KERNEL)) == "ok"


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
def test_what_a_kernel_lacks(check: str, change: dict[str, Any], state: str, command: str) -> None:
    found = of(check, replace(KERNEL, **change))
    assert found.state == state
    assert found.command.startswith(command)


# -- /proc/tambourine --

LOAD = "modprobe tambourine && systemctl start proc-tambourine.mount"
OURS = module.Facts(True, "fuse.tambourine", ours=True, agents=True, said=ROOMY)
BIND = "systemctl restart proc-tambourine.mount"


@pytest.mark.parametrize(
    ("facts", "state", "says", "command"),
    [
        (OURS, "ok", "shows the statuses", ""),
        (replace(OURS, agents=False), "ok", "shows the statuses", ""),
        (replace(OURS, said=None), "error", "does not answer", "systemctl restart tambourine.service"),
        (replace(OURS, said=None, agents=False), "error", "does not answer", BIND),
        (replace(OURS, said=errno.ENOTCONN, agents=False), "error", "whose server has died", BIND),
        (replace(OURS, said=errno.EIO, agents=False), "error", "Input/output error", BIND),
        (module.Facts(True), "warning", "is there and shows nothing", BIND),
        (module.Facts(True, "tmpfs"), "error", r"another file system \(tmpfs\)", f"umount /proc/tambourine && {BIND}"),
        (module.Facts(False, on_disk=True), "warning", "not loaded", LOAD),
        (module.Facts(False, in_dkms=True), "warning", "not loaded", f"apt-get install .* && dkms autoinstall && {LOAD}"),
        (
            module.Facts(False), "warning", "not loaded",
            f"apt-get install .* && dkms install /opt/tambourine/share/tambourine/kernel && install .* && {LOAD}",
        ),
    ],
)  # fmt: skip
def test_what_is_at_proc_tambourine(
    facts: module.Facts, state: str, says: str, command: str
) -> None:
    found = only(module.verdict(facts))
    assert found.state == state
    assert re.search(says, found.says)
    assert re.fullmatch(command, found.command)


# -- D-Bus, clock --


@pytest.mark.parametrize(
    ("facts", "state", "command"),
    [
        (bus.Facts(Answer(0, "s x"), Answer(0, 's "252"')), "ok", ""),
        (bus.Facts(Answer(1, "", "no such file"), None), "error", "systemctl restart dbus.socket dbus.service"),
        (bus.Facts(Answer(None), None), "error", "systemctl kill --signal=SIGKILL dbus.service"),
        (bus.Facts(Answer(0), Answer(1, "", "not found")), "error", "kill -USR1 1"),
        (bus.Facts(Answer(127, "", "busctl: missing"), None), "error", "systemctl restart dbus"),
    ],
)  # fmt: skip
def test_the_bus(facts: bus.Facts, state: str, command: str) -> None:
    found = only(bus.verdict(facts))
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
def test_the_clock(said: str, container: bool, state: str, command: str) -> None:
    found = only(clock.verdict(clock.Facts(Answer(0, said.replace(" ", "\n")), container)))
    assert found.state == state
    assert found.command.startswith(command)


def test_who_cannot_ask_about_the_clock_does_not_know() -> None:
    assert only(clock.verdict(clock.Facts(Answer(1), container=False))).state == "unknown"


# -- units --


def unit(**changes: str) -> dict[str, str]:
    usual = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "UnitFileState": "enabled"}  # fmt: skip
    return (
        usual | {"FragmentPath": "/usr/local/lib/systemd/system/x", "Result": "success"} | changes
    )


def host(**silo: str) -> units.Facts:
    return units.Facts({name: unit() for name in units.UNITS} | {"tambourine-silo.service": unit(**silo)})  # fmt: skip


def test_units_that_are_well() -> None:
    assert [one.state for one in units.verdict(host(), root=True)] == ["ok", "ok"]


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
def test_a_unit_that_is_not(change: dict[str, str], state: str, command: str) -> None:
    found = [one for one in units.verdict(host(**change), root=True) if one.check == "units"]
    assert [one.state for one in found] == [state]
    assert found[0].command.startswith(command)
    assert "tambourine-silo.service" in found[0].says


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
def test_a_unit_that_is_gone_comes_back_from_what_was_installed(
    name: str, after: str, packaged: bool, where: str
) -> None:
    facts = units.Facts({name: unit(LoadState="not-found")}, packaged=packaged)
    found = next(iter(units.verdict(facts, root=True)))
    assert found.state == "error"
    source, target, *then = found.command.removeprefix("install -D -m 0644 ").split(" ", 2)
    assert source == f"/opt/tambourine/share/tambourine/systemd/{name}"
    assert target == f"{where}/systemd/system/{name}"
    assert then == ["&& systemctl daemon-reload" + (f" && {after}" if after else "")]


def test_a_mount_without_its_unit_s_file_is_named() -> None:
    facts = units.Facts({"proc-tambourine.mount": unit(FragmentPath="", UnitFileState="")})
    found = next(iter(units.verdict(facts, root=True)))
    assert (found.state, found.says) == ("error", "proc-tambourine.mount is not installed")


@pytest.mark.parametrize(
    "change",
    [
        {"ActiveState": "inactive"},
        {"LoadState": "masked"},
        {"FragmentPath": "/run/systemd/generator/proc-tambourine.mount", "UnitFileState": "generated"},
    ],
)  # fmt: skip
def test_a_host_may_do_without_proc_tambourine_or_mount_it_by_fstab(change: dict[str, str]) -> None:
    facts = units.Facts({"proc-tambourine.mount": unit(**change)})
    assert worst(units.verdict(facts, root=True)) == "ok"


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"ActiveState": "inactive", "ConditionResult": "no"}, False),  # has joined no cluster
        ({"ActiveState": "inactive", "UnitFileState": "disabled"}, False),  # the DaemonSet's
        ({"ActiveState": "inactive", "ConditionResult": "yes"}, True),
    ],
)
def test_sync_need_not_run_everywhere(change: dict[str, str], wrong: bool) -> None:
    facts = units.Facts({"tambourine-sync.service": unit(**change)})
    assert (worst(units.verdict(facts, root=True)) == "error") == wrong


def test_a_renewal_that_failed_is_an_error_and_one_that_waits_is_not() -> None:
    for active, state in (("inactive", "ok"), ("failed", "error")):
        facts = units.Facts({"tambourine-pki-renew.service": unit(ActiveState=active, UnitFileState="static")})  # fmt: skip
        assert worst(units.verdict(facts, root=True)) == state


def test_systemd_that_does_not_answer_is_an_error_to_root_alone() -> None:
    facts = units.Facts(silent="timed out")
    assert only(units.verdict(facts, root=True)).state == "error"
    assert only(units.verdict(facts, root=False)).state == "unknown"


def test_a_drop_in_counts_where_it_touches_the_sandbox() -> None:
    text = "[Service]\n# User=x\nReadWritePaths=/srv\nUser = root\nSystemCallFilter=\nEnvironment=A=b\n"
    assert units.settings(text) == ("SystemCallFilter", "User")
    facts = replace(host(), drop_ins={"tambourine-silo.service": (units.DropIn("/etc/a b.conf", ("User",)),)})  # fmt: skip
    found = [one for one in units.verdict(facts, root=True) if one.check == "sandbox"]
    assert found[0].state == "warning"
    assert found[0].command.startswith(
        "mv '/etc/a b.conf' '/etc/a b.conf.off' && systemctl daemon-reload"
    )


def test_each_setting_of_our_sandboxes_is_known() -> None:
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


def pair(name: Any, **changes: Any) -> certificates.Facts:
    facts = certificates.Facts(name, "", NOW - timedelta(days=1), NOW + timedelta(days=1000))
    return replace(facts, **changes)


def three(name: str = "", **changes: Any) -> tuple[certificates.Facts, ...]:
    return tuple(pair(one, **(changes if one == name else {})) for one in ("ca", "server", "client"))  # fmt: skip


LEAF = "rm -f /etc/tambourine/pki/server.crt && tambourine pki init"
ALL = "tambourine pki init --force"


@pytest.mark.parametrize(
    ("facts", "state", "command"),
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
def test_certificates(facts: Any, state: str, command: str) -> None:
    found = only(certificates.verdict(facts, PATIENT))
    assert found.state == state
    assert found.command.startswith(command)
    assert (found.command == command) or facts[1].key_open


def test_without_its_authority_a_leaf_is_not_made_anew_alone() -> None:
    facts = (pair("ca", key="missing"), pair("server", not_after=NOW), pair("client"))
    assert [one.command for one in certificates.verdict(facts, PATIENT)] == [ALL, ALL]


def test_another_directory_is_named_in_the_command() -> None:
    config = Config()._replace(bombshell=Config().bombshell._replace(pki="/a b"))
    found = only(certificates.verdict(three("ca", problem="x"), replace(PATIENT, config=config)))
    assert found.command == "tambourine pki init --force --dir '/a b'"


# -- socket --


@pytest.mark.parametrize(
    ("facts", "root", "state"),
    [
        (socket.Facts("/s", "serves"), True, "ok"),
        (socket.Facts("/s", "serves", same=False), True, "error"),
        (socket.Facts("/s", "connect", "x", errno.ENOENT), True, "error"),
        (socket.Facts("/s", "connect", "x", errno.EACCES), False, "unknown"),
        (socket.Facts("/s", "credentials", "x", errno.EACCES), False, "unknown"),
        (socket.Facts("/s", "credentials", "x", errno.EACCES), True, "error"),
        (socket.Facts("/s", "handshake", "timed out"), False, "error"),
    ],
)
def test_the_socket(facts: socket.Facts, root: bool, state: str) -> None:
    found = only(socket.verdict(facts, root=root))
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
    found = only(versions.verdict(versions.Facts(running, old)))
    assert (found.state, found.command) == (state, command)


# -- manifests --


def report(name: str = "hello", **conditions: tuple[str, str]) -> StatusReport:
    made = tuple(
        Condition(kind, status, reason, "why", 1, "")
        for kind, (status, reason) in conditions.items()
    )
    return StatusReport("local", name, f"{name}.service", conditions=made)


def test_services_that_are_as_asked() -> None:
    well = report(Accepted=("True", "A"), Applied=("True", "A"), Ready=("True", "R"))
    assert only(services.verdict((well,))).state == "ok"
    assert only(services.verdict(())).state == "ok"
    on_its_way = report(Accepted=("True", "A"), Applied=("Unknown", "Waiting"), Ready=("Unknown", "X"))  # fmt: skip
    assert only(services.verdict((on_its_way,))).state == "ok"


def test_one_that_is_refused_is_edited() -> None:
    found = only(services.verdict((report(Accepted=("False", "VerifyFailed")),)))
    assert found.says == "local/hello is refused: VerifyFailed: why"
    assert found.command.startswith(
        "tambourine get hello -o yaml >/root/hello.yaml && ${EDITOR:-vi}"
    )


def test_one_that_drifted_is_asked_for_again() -> None:
    drifted = report(Accepted=("True", "A"), Ready=("False", "Drifted"))
    assert only(services.verdict((drifted,))).command == "tambourine start hello"
    stopped = StatusReport("local", "hello", conditions=drifted.conditions, last_command=LastCommand("stop"))  # fmt: skip
    assert only(services.verdict((stopped,))).command == "tambourine stop hello"


def test_a_silo_that_is_not_seen_is_said_once() -> None:
    lost = [report(f"s{n}", Applied=("Unknown", "SiloUnavailable")) for n in range(9)]
    found = only(services.verdict(tuple(lost)))
    both = "systemctl restart tambourine-silo.service tambourine.service"
    assert (found.state, found.command) == ("error", both)


def test_another_silo_is_accepted_by_the_command_that_the_agent_names() -> None:
    accept, uuid = "tambourine agent --accept-silo", "4a3cf51d-7d5c-4a0c-8c27-5e0cb3b3a3a5"
    for said, command in (
        (uuid, f"{accept} {uuid}"),
        ("'x; rm -r /'", "systemctl restart tambourine-silo.service tambourine.service"),
    ):
        why = f"silo /s is another one (this host obeys a). If it was on purpose: {accept} {said}"
        another = Condition("Applied", "Unknown", "SiloUnavailable", why, 1, "")
        found = only(services.verdict((StatusReport("local", "x", conditions=(another,)),)))
        assert found.command == command


def test_many_are_counted() -> None:
    many = tuple(report(f"s{n}", Ready=("False", "Failed")) for n in range(1000))
    found = list(services.verdict(many))
    assert len(found) == services.SHOWN + 1
    assert "995 more" in found[-1].says


def test_an_agent_that_does_not_tell_is_unknown_here_and_an_error_above() -> None:
    assert only(services.verdict("no answer in time")).state == "unknown"


def test_what_a_manifest_says_does_not_reach_the_terminal_raw() -> None:
    bad = Condition("Accepted", "False", "VerifyFailed", "\x1b[2J\nboo " * 100, 1, "")
    found = only(services.verdict((StatusReport("local", "x", conditions=(bad,)),)))
    assert "\x1b" not in found.says
    assert len(found.says) <= 240


# -- cluster --

JOINED = cluster.Facts(
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
        ({"trouble": Unreachable("x")}, "cluster", "error", "curl --silent --show-error --insecure https://api:6443/readyz"),
        ({"trouble": NotFound("x")}, "cluster", "error", "systemctl restart tambourine-sync.service"),
        ({"trouble": RefusedByPolicy("x")}, "cluster", "error", "kubectl tambourine join n1"),
        ({"trouble": InvalidConfig("x")}, "cluster", "error", "kubectl tambourine join n1"),
        ({"unlisted": ("a/b",)}, "cluster", "warning", "kubectl get tambourinenode n1"),
    ],
)  # fmt: skip
def test_the_cluster(change: dict[str, Any], check: str, state: str, command: str) -> None:
    found = only(cluster.verdict(replace(JOINED, **change), PATIENT))
    assert (found.check, found.state) == (check, state)
    assert found.command.startswith(command)
    assert bool(found.command) == (state != "ok")


# -- the whole --


def test_a_check_that_fails_or_hangs_hides_no_other() -> None:
    import threading

    release = threading.Event()

    def hangs(_: Patient) -> list[Finding]:
        release.wait()
        return []

    def fails(_: Patient) -> list[Finding]:
        raise OSError("broken")

    def well(_: Patient) -> list[Finding]:
        return [Finding("w", "ok", "well")]

    checks: dict[str, examination.Check] = {"h": hangs, "f": fails, "w": well}
    try:
        found = examination.side_by_side(checks, PATIENT, 0.2)
    finally:
        release.set()
    assert [(one.check, one.state) for one in found] == [("h", "unknown"), ("f", "unknown"), ("w", "ok")]  # fmt: skip
    assert "no answer within" in found[0].says
    assert "OSError: broken" in found[1].says


FOUND = (
    Finding("fuse", "ok", "there"),
    Finding("silo", "error", "x " * 100, "systemctl restart a-command-that-is-longer " * 5),
    Finding("clock", "unknown", "?"),
)


def test_the_page_is_aligned_and_narrow_and_no_command_is_cut() -> None:
    lines = [unstyle(line) for line in page(FOUND)]
    assert lines[0].split() == ["ok", "fuse", "there"]
    assert all(len(line) <= 110 for line in lines if "$ " not in line)
    assert any(line.strip() == f"$ {FOUND[1].command}".strip() for line in lines)
    assert lines[-1].endswith("1 error, 1 unknown")
    assert page(FOUND[:1])[-1] == "all is well"


def test_the_json_has_the_documented_shape() -> None:
    whole = json.loads(to_json(FOUND, worst(FOUND)))
    assert list(whole) == ["format", "version", "state", "findings"]
    assert (whole["format"], whole["version"], whole["state"]) == (1, __version__, "error")
    assert {tuple(one) for one in whole["findings"]} == {("check", "state", "says", "command")}
