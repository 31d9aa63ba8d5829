"""What an installation could leave on a host: files, users, groups, units, links that enable them, mounts; and a service
that has taken the place of a file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from tests.lab.hosts import Host

# Where programs that are not ours write as they are used: logs, dpkg's own records, debconf's, systemd's stamps and caches.
_NOT_OURS = (
    "/var/log", "/var/lib/dpkg", "/var/cache", "/var/lib/apt", "/var/backups", "/var/lib/systemd", "/var/tmp", "/root",
    "/var/lib/private", "/var/lib/PackageKit", "/etc/ld.so.cache", "/etc/.pwd.lock", "/etc/passwd-", "/etc/group-",
    "/etc/shadow-", "/etc/gshadow-",
)  # fmt: skip


ORIGINAL = "/etc/tambourine-test-original"


@dataclass(frozen=True)
class Left:
    """All of them, or what is in one and not in another."""

    files: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)  # names in *.wants of /etc/systemd/system
    names: set[str] = field(default_factory=set)  # lines of passwd(5) and group(5)
    units: set[str] = field(default_factory=set)  # loaded and ours
    mounts: set[str] = field(default_factory=set)

    def __sub__(self, other: Left) -> Left:
        return Left(
            self.files - other.files,
            self.links - other.links,
            self.names - other.names,
            self.units - other.units,
            self.mounts - other.mounts,
        )


def everything(host: Host) -> Left:
    """As it is now."""
    prune: list[str] = []
    for path in _NOT_OURS:
        prune += ["-path", path, "-o"]
    found = host.run(
        "find", "/etc", "/var", "/opt", "/usr/local", "/usr/bin", "/usr/sbin", "/usr/lib/systemd",
        "/usr/lib/sysusers.d", "/usr/lib/tmpfiles.d", "/usr/share/doc", "/usr/share/man", "/run/tambourine",
        "/run/tambourine-install-pending",
        "(", *prune[:-1], ")", "-prune", "-o", "-printf", "%y %p\n",
        check=False,
    ).stdout.splitlines()  # fmt: skip
    paths = {line[2:] for line in found}
    wants = {
        p.rpartition("/")[2]
        for p in paths
        if p.startswith("/etc/systemd/system/") and ".wants/" in p
    }
    users = host.run("cat", "/etc/passwd", "/etc/group").stdout.splitlines()
    units = host.run(
        "systemctl", "list-units", "--all", "--plain", "--no-legend", "*tambourine*"
    ).stdout
    mounts = host.run("findmnt", "--noheadings", "--output=TARGET,FSTYPE", "--list").stdout
    return Left(
        files={p for p in paths if ".wants" not in p},
        links=wants,
        names={":".join(line.split(":")[::2]) for line in users},
        units={line.split()[0] for line in units.splitlines()},
        mounts={line for line in mounts.splitlines() if "tambourine" in line},
    )


def make_original(host: Host) -> None:
    """The file that stands where `apply_over_an_original` will put one."""
    host.run("sh", "-c", f"echo original >{ORIGINAL}")


def apply_over_an_original(host: Host) -> None:
    manifest = {
        "apiVersion": "tambourine.dev/v1alpha1",
        "kind": "Tambourine",
        "metadata": {"name": "over"},
        "spec": {
            "name": "over",
            "command": "start",
            "unit": "[Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=multi-user.target\n",
            "files": [{"path": ORIGINAL, "content": "ours\n"}],
        },
    }
    host.run("tambourine", "apply", "-f", "-", input=json.dumps(manifest))
    assert host.run("cat", ORIGINAL).stdout == "ours\n"
