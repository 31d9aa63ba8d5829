"""Runs on a host, as root: prints, as JSON, everything that an example could leave there.

Files with owner, mode and digest, units, mounts, network, packet filters, BPF. Not Tambourine's own state, nor what
systemd, containerd and crun keep for themselves, nor counters. A file that is the same inode with the same ctime as at
the last look, which no program can set, is not read again: with a Go in /usr/local that is a gigabyte each time.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import subprocess
import time

OWN = {
    "/var/lib/tambourine", "/opt/tambourine", "/var/lib/systemd", "/var/lib/containerd", "/opt/containerd",
    "/run/crun",
}  # fmt: skip
COUNTERS = re.compile(r"\[\d+:\d+\]|\b(packets|bytes) \d+")
# systemd's own, which D-Bus starts when somebody asks and which end by themselves when nobody does.
FLEETING = {f"systemd-{name}d.service" for name in ("timedate", "hostname", "locale", "machine")}
# A point in the order of the boot (systemd.special(7)): whoever is ordered before it pulls it in, and it stays reached.
REACHED_ONCE = {"network-pre.target"}
UNIT_TYPES = "service,socket,mount,timer,path,target"
KNOWN = (
    "/tmp/host-probe.json"  # digests of the last look, by path; in memory, and gone with the boot
)
SETTLED_NS = 1_000_000_000  # a file changed since may change again without another ctime


def main() -> None:
    digests = Digests()
    found = {}
    for root in ("/etc", "/usr/local", "/opt", "/var/lib"):
        for directory, names, files in os.walk(root):
            names[:] = [name for name in names if os.path.join(directory, name) not in OWN]
            for name in (*names, *files):
                path = os.path.join(directory, name)
                found[path] = _file(path, digests)
    digests.keep()
    found |= {"/run": _names("/run"), "pins": _names("/sys/fs/bpf")}
    found["unit files"] = _said("systemctl", "list-unit-files", "--no-legend")
    units = _said("systemctl", "list-units", "--all", "--plain", "--no-legend", f"--type={UNIT_TYPES}")  # fmt: skip
    found["units"] = "\n".join(
        " ".join(line.split()[:4])
        for line in units.splitlines()
        if line.split()[0] not in FLEETING | REACHED_ONCE
    )
    mounts = _said("findmnt", "--raw", "--noheadings", "--output=TARGET,FSTYPE")
    found["mounts"] = "\n".join(sorted(mounts.splitlines()))
    found["addresses"] = _said("ip", "-brief", "address")
    found["network namespaces"] = _said("ip", "netns")
    found["forwarding"] = _said("sysctl", "net.ipv4.ip_forward")
    found["nft"] = _said("nft", "--stateless", "list", "ruleset")
    found["iptables"] = _said("iptables-save")
    group = _said("findmnt", "-nf", "-t", "cgroup2", "-o", "TARGET")
    found["programs"] = _said("bpftool", "cgroup", "show", group)
    print(json.dumps(found))


class Digests:
    """Of files' contents, each read once."""

    def __init__(self) -> None:
        self._known: dict[str, list[object]] = {}
        self._seen: dict[str, list[object]] = {}
        if os.path.exists(KNOWN):
            with open(KNOWN) as file:
                self._known = json.load(file)

    def of(self, path: str, status: os.stat_result) -> str:
        stamp = [status.st_dev, status.st_ino, status.st_ctime_ns, status.st_mtime_ns, status.st_size]  # fmt: skip
        known = self._known.get(path, [])
        if known[:-1] == stamp:
            digest = str(known[-1])
        else:
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        if time.time_ns() - status.st_ctime_ns > SETTLED_NS:
            self._seen[path] = [*stamp, digest]
        return digest

    def keep(self) -> None:
        with open(KNOWN, "w") as file:
            json.dump(self._seen, file)


def _file(path: str, digests: Digests) -> str:
    status = os.lstat(path)
    found = f"{stat.filemode(status.st_mode)} {status.st_uid}:{status.st_gid}"
    if stat.S_ISREG(status.st_mode):
        found += f" {digests.of(path, status)}"
    elif stat.S_ISLNK(status.st_mode):
        found += f" -> {os.readlink(path)}"
    return found


def _names(directory: str) -> str:
    names = os.listdir(directory)
    return "\n".join(sorted(name for name in names if f"{directory}/{name}" not in OWN))


def _said(*argv: str) -> str:
    """Its output without comments, which have the time, and without the values of counters."""
    output = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    kept = [line for line in output.splitlines() if not line.startswith("#")]
    return COUNTERS.sub("", "\n".join(kept))


main()
