"""Runs on a host, as root: prints, as JSON, everything that an example could leave there.

Files with owner, mode and digest, units, mounts, network, packet filters, BPF. Not Tambourine's own state, nor what
systemd, containerd and crun keep for themselves, nor counters. A file that is the same inode with the same ctime as at
the last look, which no program can set, is not read again. In /usr/local and /opt nothing is edited and put back, so
there the ctime tells enough: with a Go in /usr/local, digests would be those of a gigabyte.

A test looks four times, and there are 20,000 files: so find(1) looks at them. `systemctl list-unit-files` would cost as
much as all of that; what it tells of is here as files and links.
"""

from __future__ import annotations

import hashlib
import json
import marshal
import os
import re
import subprocess
import time

LOOKED_AT = (
    "/etc", "/usr/local", "/opt", "/var/lib", "/usr/lib/systemd/system", "/run/systemd/system", "/run/systemd/transient",
    "/run/systemd/generator", "/run/systemd/generator.early", "/run/systemd/generator.late",
)  # fmt: skip
# Type, mode and owner; all that changes when the content does; a link's target; the path. See find(1), -printf.
FOUND = r"%y\0%M %U:%G\0%D %i %C@ %T@ %s\0%C@\0%l\0%p\0"
FIELDS = 6
NOT_READ = ("/usr/local/", "/opt/")
OWN = {
    "/var/lib/tambourine", "/opt/tambourine", "/var/lib/systemd", "/var/lib/containerd", "/opt/containerd",
    "/run/crun",
}  # fmt: skip
COUNTERS = re.compile(r"\[\d+:\d+\]|\b(packets|bytes) \d+")
# systemd's own services, which D-Bus starts on demand and which stop when idle.
FLEETING = {f"systemd-{name}d.service" for name in ("timedate", "hostname", "locale", "machine")}
# A point in the order of the boot (systemd.special(7)): whoever is ordered before it pulls it in, and it stays reached.
REACHED_ONCE = {"network-pre.target"}
UNIT_TYPES = "service,socket,mount,timer,path,target"
# Digests of the last look, by path; in memory, and gone with the boot.
KNOWN = "/tmp/host-probe.marshal"
SETTLED = 1.0  # seconds; a file changed since may change again without another ctime


def main() -> None:
    found = _files()
    found |= {"/run": _names("/run"), "pins": _names("/sys/fs/bpf")}
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


def _files() -> dict[str, str]:
    """What is to be known of each file, by path."""
    known: dict[str, tuple[str, str]] = {}
    if os.path.exists(KNOWN):
        with open(KNOWN, "rb") as file:
            known = marshal.load(file)  # our own of before
    found, seen, now = {}, {}, time.time()
    fields = iter(_find())
    for kind, shown, stamp, changed, target, path in zip(*[fields] * FIELDS, strict=True):
        more = ""
        if kind == "f" and path.startswith(NOT_READ):
            more = f" {stamp}"
        elif kind == "f":
            before, digest = known.get(path, ("", ""))
            if before != stamp:
                with open(path, "rb") as content:
                    digest = hashlib.file_digest(content, "sha256").hexdigest()
            if now - float(changed) > SETTLED:
                seen[path] = (stamp, digest)
            more = f" {digest}"
        elif kind == "l":
            more = f" -> {target}"
        found[path] = shown + more
    with open(KNOWN, "wb") as file:
        marshal.dump(seen, file)
    return found


def _find() -> list[str]:
    """FIELDS for each file, one after the other."""
    places = [path for path in LOOKED_AT if os.path.exists(path)]
    own = [word for path in OWN for word in ("-path", path, "-o")][:-1]
    argv = ["find", *places, "(", *own, ")", "-prune", "-o", "-printf", FOUND]
    done = subprocess.run(argv, check=True, capture_output=True)
    return os.fsdecode(done.stdout).split("\0")[:-1]


def _names(directory: str) -> str:
    names = os.listdir(directory)
    return "\n".join(sorted(name for name in names if f"{directory}/{name}" not in OWN))


def _said(*argv: str) -> str:
    """Its output without comments, which have the time, and without the values of counters."""
    output = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    kept = [line for line in output.splitlines() if not line.startswith("#")]
    return COUNTERS.sub("", "\n".join(kept))


main()
