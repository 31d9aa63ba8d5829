"""The root that a host boots from: this machine's programs, a configuration and a state of its own."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from pathlib import Path
from typing import Final

from tests.lab import disk
from tests.lab.state import CHECKOUT, HostState
from tests.lab.tools import run

PREFIX: Final = "/opt/tambourine"
WHEELS: Final = "/wheels"  # packages to install from, this tree's own among them
SOURCE: Final = "/src"  # where a host sees the checkout, read-only
# From /var only what programs need to know themselves; the rest of this machine's state is none of the lab's business.
VAR_KEPT: Final = ("lib/dpkg", "lib/pam", "lib/polkit-1", "lib/misc", "lib/ucf")
VAR_MADE: Final = (
    "backups", "cache", "lib/dbus", "lib/private", "lib/systemd", "local", "log/journal", "mail", "opt", "spool",
)  # fmt: skip
# What is enabled or configured on this machine must not start inside.
ETC_DROPPED: Final = (
    "systemd/system", "systemd/user", "tambourine", "rc0.d", "rc1.d", "rc2.d", "rc3.d", "rc4.d", "rc5.d",
    "rc6.d", "rcS.d", "fstab", "machine-id", "crypttab", "cron.d", "cron.daily", "cron.hourly",
)  # fmt: skip

# What a host has no use for costs a part of each boot, and a quarter of each daemon-reload: PID 1 reads every unit that
# another one mentions. It is masked, as are all generators but the one for /etc/fstab.
UNUSED: Final = (
    # of terminals and persons who log in
    "systemd-logind.service", "systemd-user-sessions.service", "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service", "systemd-ask-password-console.path", "systemd-ask-password-console.service",
    "systemd-ask-password-wall.path", "systemd-ask-password-wall.service", "systemd-initctl.socket",
    "systemd-initctl.service", "syslog.socket", "rescue.service", "emergency.service",
    # of disks and kernel
    "dev-hugepages.mount", "dev-mqueue.mount", "modprobe@configfs.service", "modprobe@dm_mod.service",
    "modprobe@drm.service", "modprobe@fuse.service", "modprobe@loop.service", "kmod-static-nodes.service",
    "proc-sys-fs-binfmt_misc.automount", "proc-sys-fs-binfmt_misc.mount", "systemd-binfmt.service",
    "systemd-fsck-root.service", "systemd-fsckd.socket", "systemd-fsckd.service", "systemd-repart.service",
    "systemd-sysext.service", "systemd-random-seed.service", "systemd-journald-audit.socket",
    "cryptsetup.target", "cryptsetup-pre.target", "integritysetup.target", "integritysetup-pre.target",
    "veritysetup.target", "veritysetup-pre.target", "remote-cryptsetup.target", "remote-veritysetup.target",
    # of a boot's first part and a machine's first boot
    "initrd.target", "initrd-cleanup.service", "initrd-fs.target", "initrd-parse-etc.service",
    "initrd-root-device.target", "initrd-root-fs.target", "initrd-switch-root.service", "initrd-switch-root.target",
    "initrd-udevadm-cleanup-db.service", "initrd-usr-fs.target", "systemd-pcrphase-initrd.service",
    "systemd-pcrphase-sysinit.service", "systemd-pcrphase.service", "systemd-firstboot.service",
    "systemd-machine-id-commit.service",
)  # fmt: skip

# PID 1 of a host begins as this. nspawn mounts the controllers of cgroup v1 read-only; systemd decides at its start
# which it may use, and without them there are no Memory and Tasks lines. (cgroup v2 is writable already.)
# The settings of its network, which is its own, are for it to write, as on a machine. There PID 1 mounts the BPF file
# system too; in a container it leaves that to others.
INIT_PATH: Final = "/usr/lib/tambourine-lab-init"
INIT: Final = """\
#!/bin/sh
for controller in /sys/fs/cgroup/*/; do
    if [ -e "$controller/tasks" ]; then mount -o remount,rw,bind "$controller"; fi
done
mount --bind /proc/sys/net /proc/sys/net && mount -o remount,rw,bind /proc/sys/net
if [ -d /sys/fs/bpf ]; then mount -t bpf -o nosuid,nodev,noexec,mode=700 bpf /sys/fs/bpf; fi
exec /lib/systemd/systemd "$@"
"""
VENDOR: Final = "usr/lib/systemd"
LOCAL: Final = "usr/local/lib/systemd"  # systemd.unit(5), systemd.generator(7): before the vendor's
GENERATORS_USED: Final = ("systemd-fstab-generator",)


def digest_of_machine() -> str:
    """Tells one state of what `stage` copies from another."""
    found = hashlib.sha256()
    found.update(repr((disk.SIZE, VAR_KEPT, VAR_MADE, ETC_DROPPED)).encode())
    for top in ("/etc", *(f"/var/{name}" for name in VAR_KEPT)):
        for place, directories, names in os.walk(top):
            directories.sort()
            for name in sorted((*directories, *names)):
                try:
                    there = os.lstat(os.path.join(place, name))
                except FileNotFoundError:  # a package is being installed at this moment
                    continue
                known = (place, name, there.st_mode, there.st_size, there.st_mtime_ns)
                found.update(repr(known).encode())
    return found.hexdigest()[:12]


def stage(directory: Path) -> None:
    """An /etc and a /var for the disks of hosts; what tells one host from another is missing (see `mount`)."""
    _make_etc(directory / "etc")
    _make_var(directory / "var")


def _make_etc(etc: Path) -> None:
    etc.parent.mkdir()
    run("cp", "-a", "--", "/etc", str(etc))
    for name in ETC_DROPPED:
        path = etc / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    (etc / "systemd/system").mkdir(parents=True)


def _name(host: HostState, etc: Path) -> None:
    """Once for each host, and kept from then on, power cuts included."""
    if (etc / "machine-id").exists():
        return
    files = {
        "hostname": host.name + "\n",
        "hosts": f"127.0.0.1 localhost\n127.0.1.1 {host.name}\n::1 localhost\n",
        # With a machine-id systemd does not take this for a first boot, which would enable everything by preset.
        "machine-id": uuid.uuid4().hex + "\n",
    }
    for name, text in files.items():
        (etc / name).unlink(missing_ok=True)  # a link to elsewhere on some machines
        (etc / name).write_text(text)
    run("sync", "--file-system", str(etc))


def _make_var(var: Path) -> None:
    for name in VAR_MADE:
        (var / name).mkdir(parents=True, exist_ok=True)
    (var / "tmp").mkdir(mode=0o1777)
    (var / "tmp").chmod(0o1777)
    for link, target in (("run", "/run"), ("lock", "/run/lock")):
        (var / link).symlink_to(target)
    for name in VAR_KEPT:
        if Path("/var", name).exists():
            run("cp", "-a", "--", f"/var/{name}", str((var / name).parent))


def mount(host: HostState) -> None:
    """Put the root together, in the caller's own mount namespace: an overlay over this machine's
    `/`, on it the disk's /etc and /var.

    What the host writes elsewhere (/usr/local, /opt) is kept as long as the host, power cuts included. It has a file system
    of its own: on one where other hosts' files have just been removed, ext4 looks at each of theirs for each new one.
    """
    disk.attach(host.scratch, host.overlay)
    _overlay(host, "root", lower="/", at=host.root)
    if layers := (host.directory / "layers").read_text():
        # An overlay of its own: one that has `/` below takes no second layer that lies in `/`.
        _overlay(host, "opt", lower=layers, at=host.root / PREFIX.lstrip("/"))
    disk.attach(host.image, host.disk)
    _name(host, host.disk / "etc")
    for name in ("etc", "var"):
        run("mount", "--bind", str(host.disk / name), str(host.root / name))
    init = host.root / INIT_PATH.lstrip("/")
    init.write_text(INIT)
    init.chmod(0o755)
    _mask(host.root)
    for name in (SOURCE, WHEELS):
        (host.root / name.lstrip("/")).mkdir(exist_ok=True)


def _mask(root: Path) -> None:
    generators = [path.name for path in (root / VENDOR / "system-generators").iterdir()]
    for kind, names in (
        ("system", UNUSED),
        ("system-generators", (name for name in generators if name not in GENERATORS_USED)),
    ):
        (root / LOCAL / kind).mkdir(parents=True, exist_ok=True)
        for name in names:
            link = root / LOCAL / kind / name
            if not link.is_symlink():
                link.symlink_to("/dev/null")


def _overlay(host: HostState, name: str, *, lower: str, at: Path) -> None:
    """`lower`: directories, the uppermost first, with `:` between them."""
    upper, work = host.overlay / name / "upper", host.overlay / name / "work"
    for directory in (at, upper, work):
        directory.mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    run("mount", "-t", "overlay", "-o", options, "tambourine-lab", str(at))


def binds(host: HostState) -> list[str]:
    """What nspawn binds from this machine."""
    house = (host.directory / "house").read_text()
    wheels = [f"--bind-ro={house}:{WHEELS}"] if house else []
    return ["--bind=/dev/fuse", f"--bind-ro={CHECKOUT}:{SOURCE}", *wheels]
