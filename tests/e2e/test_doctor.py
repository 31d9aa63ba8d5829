"""`tambourine doctor` under faults: each is reported, and the reported command fixes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.chain import apply, wait_answering, wait_until
from tests.e2e.doctor import Fault, Line, break_and_fix, examine, find, shell
from tests.lab.hosts import Host

PKI = "/etc/tambourine/pki"
SILO = "/var/lib/tambourine/silo"
STORE = "/var/lib/tambourine/store"
STATE = "/var/lib/tambourine/agent"
PROC = "/run/tambourine/proc"
CONFIG = "/etc/tambourine/config.d"
UNITS = "/usr/local/lib/systemd/system"
PYTHON = "/opt/tambourine/bin/python"
INOTIFY = "/proc/sys/fs/inotify/max_user_watches"
DROP_IN = "/etc/systemd/system/tambourine-silo.service.d"
# The certificates of an authority of two days from now: this host's clock is behind.
FUTURE = (
    "import datetime, pathlib; from tambourinefs.rpc import pki; from tambourinefs.cli.admin.pki import _owners\n"
    "now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=2)\n"
    f"pki.init(pathlib.Path('{PKI}'), owners=_owners('bombshell', 'tambourine'), force=True, now=now)"
)

KERNEL = (
    Fault(
        "no /dev/fuse", "umount --lazy /dev/fuse; rm -f /dev/fuse", "! test -c /dev/fuse",
        "fuse", "/dev/fuse is missing",
    ),
    Fault(
        "few inotify watches", f"echo 4096 >/run/few && mount --bind /run/few {INOTIFY}", f"grep -qx 4096 {INOTIFY}",
        "inotify", "max_user_watches is 4096", "warning",
        after=f"umount {INOTIFY}; rm -f /etc/sysctl.d/60-tambourine-inotify.conf",
    ),
    Fault(
        "no inotify watches left", f"echo 16 >/run/few && mount --bind /run/few {INOTIFY}", f"grep -qx 16 {INOTIFY}",
        "inotify", r"root uses [0-9]+ of 16 ",
        after=f"umount {INOTIFY}; rm -f /etc/sysctl.d/60-tambourine-inotify.conf",
    ),
    Fault(
        "D-Bus stopped", "systemctl stop dbus.socket dbus.service", "! busctl --system status >/dev/null 2>&1",
        "dbus", "cannot be reached",
    ),
    Fault(
        "D-Bus hung", "systemctl kill --signal=SIGSTOP dbus.service",
        "! timeout 3 busctl --system --timeout=1 call org.freedesktop.DBus / org.freedesktop.DBus GetId",
        "dbus", "does not answer",
    ),
)  # fmt: skip
MOUNTS = (
    Fault("silo stopped", "systemctl stop tambourine-silo", f"! mountpoint -q {SILO}", "silo", "nothing is mounted"),
    Fault(
        "silo hung", "systemctl kill --signal=SIGSTOP tambourine-silo", f"! timeout 2 stat --file-system {SILO}",
        "silo", "does not answer",
    ),
    Fault(
        "agent hung", "systemctl kill --signal=SIGSTOP tambourine", f"! timeout 2 cat {PROC}/metrics.prom",
        "statuses", "does not answer",
    ),
    Fault(
        "dead mount",
        f"systemctl stop tambourine-silo; {PYTHON} -c \"import tambourinefs.mount.mounts as m; m.mount_fd('x', '{SILO}')\"",
        f"stat --file-system {SILO} 2>&1 | grep 'not connected'",
        "silo", "its server has exited",
    ),
    Fault(
        "covered", f"mount -t tmpfs over {SILO}", f"findmnt -t tmpfs {SILO}", "silo", r"covered by another .*tmpfs",
    ),
    Fault(
        "a silo that the agent does not see", "systemctl stop tambourine-silo",
        f"timeout 10 sh -c 'until grep -q SiloUnavailable {PROC}/local/steady/conditions; do sleep 0.1; done'",
        "manifests", "cannot use its silo",
    ),
)  # fmt: skip
ANOTHER = Fault(
    # A new store from a copy of its files, the UUID apart: what a restored backup is.
    "another store", f"systemctl stop tambourine-silo; mv {STORE}/uuid /run/uuid; systemctl start tambourine-silo;"
    f"timeout 10 sh -c 'until grep -q accept-silo {PROC}/local/steady/conditions; do sleep 0.1; done'",
    f"! cmp {SILO}/.tambourine-silo {STATE}/silo", "manifests", "is another one",
)  # fmt: skip
BOMBSHELL = (
    Fault(
        "stopped", "systemctl stop tambourine-bombshell", "! test -e /run/tambourine/bombshell/bombshell.sock",
        "socket", "the socket does not exist",
    ),
    Fault(
        "socket removed", "rm /run/tambourine/bombshell/bombshell.sock",
        "! test -e /run/tambourine/bombshell/bombshell.sock", "socket", "the socket does not exist",
    ),
    Fault(
        "hung", "systemctl kill --signal=SIGSTOP tambourine-bombshell", "! timeout 3 tambourine get",
        "socket", "fails the TLS handshake",
    ),
)  # fmt: skip
SYSTEMD = (
    Fault(
        "stopped", "systemctl stop tambourine.service", "! systemctl is-active --quiet tambourine",
        "units", "tambourine.service is inactive",
    ),
    Fault(
        "masked", "systemctl mask --now tambourine-bombshell.service",
        "test $(systemctl is-enabled tambourine-bombshell.service) = masked", "units", "bombshell.service is masked",
    ),
    Fault(
        "disabled", "systemctl disable tambourine-silo.service", "! systemctl is-enabled --quiet tambourine-silo.service",
        "units", "does not start at boot", "warning",
    ),
    Fault(
        "timer stopped", "systemctl stop tambourine-pki-renew.timer",
        "! systemctl is-active --quiet tambourine-pki-renew.timer", "units", "pki-renew.timer is inactive",
    ),
    Fault(
        "unit file gone", f"systemctl stop tambourine-silo; rm {UNITS}/tambourine-silo.service; systemctl daemon-reload",
        f"! test -e {UNITS}/tambourine-silo.service", "units", "tambourine-silo.service is not installed",
    ),
    Fault(
        "not reloaded", f"touch -d '+1 second' {UNITS}/tambourine-silo.service",
        "systemctl show --property=NeedDaemonReload tambourine-silo.service | grep yes",
        "units", "systemd has not reloaded it", "warning",
    ),
    Fault(
        "sandbox opened",
        f"mkdir -p {DROP_IN}; printf '[Service]\\nNoNewPrivileges=no\\nReadWritePaths=/srv\\n' >{DROP_IN}/50-mine.conf;"
        "mkdir -p /srv; systemctl daemon-reload; systemctl restart tambourine-silo",
        "grep -q 'NoNewPrivs:.*0' /proc/$(systemctl show --property=MainPID --value tambourine-silo)/status || "
        "systemctl show --property=NoNewPrivileges tambourine-silo | grep -q no",
        "sandbox", "50-mine.conf changes NoNewPrivileges of tambourine-silo.service", "warning",
        after=f"rm -rf {DROP_IN}; systemctl daemon-reload",
    ),
    Fault(
        "unit replaced",
        f"sed /SystemCallFilter/d {UNITS}/tambourine-silo.service >/etc/systemd/system/tambourine-silo.service;"
        "systemctl daemon-reload; systemctl restart tambourine-silo",
        "systemctl show --property=FragmentPath tambourine-silo | grep -q /etc/systemd",
        "sandbox", "overrides the shipped tambourine-silo.service", "warning",
        after="rm -f /etc/systemd/system/tambourine-silo.service.off",
    ),
    Fault(
        "configuration", f"printf '[silo]\\nquota_bites = 1\\n' >{CONFIG}/90-mine.toml", "! tambourine config",
        "configuration", "90-mine.toml: silo.quota_bites: unknown key", after=f"rm -f {CONFIG}/90-mine.toml.wrong",
    ),
    Fault(
        "another version installed",
        f"cd $({PYTHON} -c 'import tambourinefs; print(tambourinefs.__path__[0])'); cp __init__.py /run/init.py;"
        "sed -i 's/^__version__.*/__version__ = \"9.9.9\"/' __init__.py",
        f"! tambourine --version | grep -q \"version $(cat {PROC}/version.txt)\"",
        "version", r"the running agent is [0-9.]+, installed is 9\.9\.9", "warning",
        after=f"cp /run/init.py $({PYTHON} -c 'import tambourinefs; print(tambourinefs.__path__[0])')/__init__.py;"
        "systemctl restart tambourine-silo tambourine-bombshell tambourine",
    ),
    Fault(
        "installed and not restarted", "sleep 3; touch /opt/tambourine/.installed",
        "test $(stat -c %Y /opt/tambourine/.installed) -gt "
        "$(date -d \"$(systemctl show --property=ExecMainStartTimestamp --value tambourine-silo)\" +%s)",
        "version", "started before", "warning",
    ),
)  # fmt: skip
CERTIFICATES = (
    Fault("server.crt gone", f"rm {PKI}/server.crt", f"! test -e {PKI}/server.crt", "certificates", "server.crt is missing"),
    Fault("client.key gone", f"rm {PKI}/client.key", f"! test -e {PKI}/client.key", "certificates", "client.key is missing"),
    Fault("all gone", f"rm -r {PKI}", f"! test -e {PKI}", "certificates", "ca.crt is missing"),
    Fault(
        "half a certificate", f"truncate -s 100 {PKI}/client.crt", f"! openssl x509 -noout -in {PKI}/client.crt",
        "certificates", "client.crt is not a certificate",
    ),
    Fault(
        "another's key", f"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 >{PKI}/server.key",
        f"! diff <(openssl pkey -pubout -in {PKI}/server.key) <(openssl x509 -noout -pubkey -in {PKI}/server.crt)",
        "certificates", "server.key does not belong to server.crt",
    ),
    Fault(
        "another authority",
        f"tambourine pki init --dir /run/other && cp /run/other/client.* {PKI} && rm -r /run/other",
        f"! openssl verify -CAfile {PKI}/ca.crt {PKI}/client.crt", "certificates", "client.crt is not signed by",
    ),
    Fault(
        "the authority's key lost", f"rm {PKI}/ca.key", f"! test -e {PKI}/ca.key",
        "certificates", "ca.key is missing: no certificate can be renewed", "warning",
    ),
    Fault(
        "ended", "tambourine pki renew --force --lifetime 1s; sleep 2",
        f"! openssl x509 -checkend 0 -noout -in {PKI}/server.crt", "certificates", "server.crt expired",
    ),
    Fault(
        "ends soon", "tambourine pki renew --force --lifetime 1h",
        f"! openssl x509 -checkend 3601 -noout -in {PKI}/server.crt", "certificates",
        "server.crt expires .* due for renewal", "warning",
    ),
    Fault(
        "the clock is behind", f'{PYTHON} -c "{FUTURE}"',
        f"openssl verify -CAfile {PKI}/ca.crt {PKI}/client.crt 2>&1 | grep 'not yet valid'",
        "certificates", "client.crt is not valid before",
    ),
    Fault(
        "a key that all may read", f"chmod 0644 {PKI}/client.key", f"test $(stat -c %a {PKI}/client.key) = 644",
        "certificates", "client.key does not have owner",
    ),
    Fault(
        "a key that Bombshell may not read", f"chown root {PKI}/server.key", f"test $(stat -c %U {PKI}/server.key) = root",
        "certificates", "server.key does not have owner",
    ),
)  # fmt: skip
SPACE = (
    Fault(
        "quota",
        f"printf '[silo]\\nquota_bytes = \"4M\"\\n' >{CONFIG}/55-small.toml; systemctl restart tambourine-silo;"
        f"setpriv --reuid=bombshell --regid=tambourine --clear-groups dd if=/dev/zero of={SILO}/big bs=4k; true",
        f"! setpriv --reuid=bombshell --regid=tambourine --clear-groups dd if=/dev/zero of={SILO}/more bs=64k count=1",
        "quota", "the silo is full",
        after=f"rm -f {CONFIG}/55-small.toml {CONFIG}/60-quota.toml; systemctl restart tambourine-silo;"
        f"setpriv --reuid=bombshell --regid=tambourine --clear-groups rm -f {SILO}/big {SILO}/more",
    ),
    Fault(
        "/etc read-only", "mount -o remount,bind,ro /etc", "! touch /etc/x", "disk", "is read-only", after="rm -f /etc/x",
    ),
    Fault(
        "logs fill the disk",
        # Archived journals by name; journalctl goes by that and by their size.
        "journalctl --rotate; cd /var/log/journal/*/; half=$((($(stat -f -c '%a * %S' /var)) / 2 - 1000000));"
        " for n in 1 2; do fallocate -l $half"
        " system@0000000000000000000000000000000$n-000000000000000$n-000000000000000$n.journal; done;"
        " dd if=/dev/zero of=/var/fill bs=64k; true",
        "! dd if=/dev/zero of=/var/more bs=1M count=64", "disk", "is full",
        after="rm -f /var/fill /var/more /var/log/journal/*/system@000*",
    ),
)  # fmt: skip
MANIFESTS = (
    Fault(
        "refused", "sed s/ExecStart=sleep/ExecStart=slep/ /src/k8s/examples/hello.yaml | tambourine apply -f -; true",
        f"grep -q VerifyFailed {PROC}/local/hello/conditions", "manifests", "local/hello is refused: VerifyFailed: .*slep",
        "warning", environment="export EDITOR='sed -i s/slep/sleep/'",
        after="tambourine delete hello; rm -f /root/hello.yaml",
    ),
    Fault(
        "drifted",
        "systemctl stop steady;"
        f"timeout 10 sh -c 'until grep -q Drifted {PROC}/local/steady/conditions; do sleep 0.1; done'",
        "! systemctl is-active --quiet steady", "manifests", "local/steady drifted", "warning",
    ),
)  # fmt: skip


ALL = (*KERNEL, *MOUNTS, ANOTHER, *BOMBSHELL, *SYSTEMD, *CERTIFICATES, *SPACE, *MANIFESTS)
# A certificate and something that has nothing to do with certificates: one examination names both.
AT_ONCE = {
    "server.crt gone": "disabled",
    "client.key gone": "timer stopped",
    "all gone": "few inotify watches",
    "half a certificate": "not reloaded",
    "another's key": "no /dev/fuse",
    "another authority": "no inotify watches left",
    "the authority's key lost": "covered",
    "ended": "sandbox opened",
    "ends soon": "unit replaced",
    "the clock is behind": "installed and not restarted",
    "a key that all may read": "another version installed",
    "a key that Bombshell may not read": "silo stopped",
}


def together() -> list[tuple[Fault, ...]]:
    """Every fault once: by itself, or with the one beside it."""
    by_name = {fault.name: fault for fault in ALL if fault.name in AT_ONCE.values()}
    assert len(by_name) == len(AT_ONCE)
    assert AT_ONCE.keys() <= {fault.name for fault in CERTIFICATES}
    return [
        (fault, by_name[AT_ONCE[fault.name]]) if fault.name in AT_ONCE else (fault,)
        for fault in ALL
        if fault.name not in by_name
    ]


@pytest.fixture
def patient(own_host: Host) -> Host:
    """A healthy host with one service."""
    wait_answering(own_host)
    if not (own_host.root / PROC.lstrip("/") / "local/steady").is_dir():
        apply(own_host, "steady")
    return own_host


@pytest.fixture(scope="module")
def examined() -> dict[Path, list[Line]]:
    """What was found of a host, by its directory."""
    return {}


@pytest.fixture
def healthy(patient: Host, examined: dict[Path, list[Line]]) -> list[Line]:
    """The findings before any fault; every fix has to lead back to them."""
    host = patient.state.directory
    if host not in examined:
        examined[host] = examine(patient)
    return examined[host]


@pytest.mark.parametrize(
    "faults", together(), ids=lambda faults: ", ".join(fault.name for fault in faults)
)
def test_fault_is_reported_and_fixed_by_its_command(
    healthy: list[Line], patient: Host, faults: tuple[Fault, ...]
) -> None:
    break_and_fix(patient, *faults, healthy=healthy)


def test_healthy_host_fits_one_page(patient: Host) -> None:
    done = patient.run("tambourine", "doctor")
    lines = done.stdout.splitlines()
    assert len(lines) <= 24
    assert all(len(line) <= 120 for line in lines if not line.lstrip().startswith("$"))
    assert not [line for line in lines if line.startswith(("error", "unknown"))], done.stdout
    assert "error" not in lines[-1]
    assert not done.stderr


def test_checks_that_need_root_are_unknown_to_others(patient: Host) -> None:
    done = patient.run(
        "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "tambourine", "doctor", "--json", check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout)["findings"]
    unknown = {one["check"] for one in found if one["state"] == "unknown"}
    assert {"certificates", "socket", "cluster"} <= unknown
    assert all(one["command"] for one in found if one["state"] == "unknown")


def test_cgroup_check_agrees_with_the_kernel(patient: Host) -> None:
    kind = patient.run("stat", "--file-system", "--format=%T", "/sys/fs/cgroup").stdout.strip()
    line = find(examine(patient), "cgroup", "version")
    assert line is not None
    assert (line.state == "ok") == (kind == "cgroup2fs")


def test_module_check_agrees_with_proc(patient: Host) -> None:
    there = "tambourine" in patient.run("ls", "/proc").stdout.split()
    line = find(examine(patient), "module", "")
    assert line is not None
    assert (line.state == "ok") == there
    assert there or "tambourine" in line.command


def test_no_process_is_left_of_a_hung_mount(patient: Host) -> None:
    """A child that asks a hung mount is killed, or ends when the mount answers again."""
    shell(patient, "systemctl kill --signal=SIGSTOP tambourine-silo")
    found = examine(patient, code=1)
    line = find(found, "silo", "does not answer")
    assert line is not None
    shell(patient, line.command)
    asking = ("pgrep", "--full", "os[.]statvfs|head --byte[s]")  # brackets: not this command itself
    wait_until(lambda: patient.run(*asking, check=False).returncode == 1, "all gone")


def test_works_with_everything_broken(patient: Host) -> None:
    """The last test: the host is not fixed after it."""
    shell(
        patient,
        "systemctl kill --signal=SIGSTOP tambourine tambourine-silo tambourine-bombshell dbus.service\n"
        f"rm -r {PKI} {UNITS}/tambourine*\n"
        f"echo nonsense >{CONFIG}/x.toml; echo '[' >/etc/tambourine/config.toml\n"
        "ln -sf /nowhere /etc/tambourine/kubernetes/kubeconfig\n"
        "fallocate -l $(($(stat -f -c '%a * %S' /var) - 1000000)) /var/fill; dd if=/dev/zero of=/var/fill2 bs=64k; true",
        timeout=120,
    )
    try:
        found = examine(patient, code=1)
        wrong = {one.check for one in found if one.state == "error"}
        assert {
            "configuration",
            "dbus",
            "silo",
            "statuses",
            "certificates",
            "socket",
            "disk",
        } <= wrong
        assert all(one.message for one in found)
        page = patient.run("tambourine", "doctor", check=False, timeout=60)
        assert page.returncode == 1
        assert "Traceback" not in page.stdout + page.stderr
    finally:
        shell(
            patient,
            "systemctl kill --signal=SIGCONT tambourine tambourine-silo tambourine-bombshell\n"
            "systemctl kill --signal=SIGKILL dbus.service",
        )
