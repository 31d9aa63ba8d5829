"""Runs on a host, as root: prints, as JSON, everything that an example could leave there.

Files with owner, mode and digest, units, mounts, network, packet filters, BPF. Not Tambourine's own state, nor what
systemd and containerd keep for themselves, nor counters.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import subprocess

OWN = {"/var/lib/tambourine", "/opt/tambourine", "/var/lib/systemd", "/var/lib/containerd"}
COUNTERS = re.compile(r"\[\d+:\d+\]|\b(packets|bytes) \d+")
UNIT_TYPES = "service,socket,mount,timer,path,target"


def main() -> None:
    found = {}
    for root in ("/etc", "/usr/local", "/opt", "/var/lib"):
        for directory, names, files in os.walk(root):
            names[:] = [name for name in names if os.path.join(directory, name) not in OWN]
            for name in (*names, *files):
                path = os.path.join(directory, name)
                found[path] = _file(path)
    found |= {"/run": _names("/run"), "pins": _names("/sys/fs/bpf")}
    found["unit files"] = _said("systemctl", "list-unit-files", "--no-legend")
    units = _said("systemctl", "list-units", "--all", "--plain", "--no-legend", f"--type={UNIT_TYPES}")  # fmt: skip
    found["units"] = "\n".join(" ".join(line.split()[:4]) for line in units.splitlines())
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


def _file(path: str) -> str:
    status = os.lstat(path)
    found = f"{stat.filemode(status.st_mode)} {status.st_uid}:{status.st_gid}"
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            found += f" {hashlib.sha256(file.read()).hexdigest()}"
    elif stat.S_ISLNK(status.st_mode):
        found += f" -> {os.readlink(path)}"
    return found


def _names(directory: str) -> str:
    return "\n".join(sorted(os.listdir(directory)))


def _said(*argv: str) -> str:
    """Its output without comments, which have the time, and without the values of counters."""
    output = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    kept = [line for line in output.splitlines() if not line.startswith("#")]
    return COUNTERS.sub("", "\n".join(kept))


main()
