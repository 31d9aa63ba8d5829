"""What the disk image of a whole machine is made of. Pure, but for the files of this directory that it reads."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

RELEASE: Final = "bookworm"  # Debian 12: kernel 6.1
COMPONENTS: Final = "main contrib"  # ZFS is in contrib
KEYS: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
SIZE: Final = "6G"  # of the file system; the file is sparse
FURNISH: Final = Path(__file__).with_name("furnish")

# What a machine has before Tambourine comes, and what the examples ask for.
PACKAGES: Final = (
    # the machine itself
    *("systemd", "systemd-sysv", "dbus", "udev", "kmod", "initramfs-tools", "zstd", "openssh-server"),
    *("linux-image-amd64", "linux-headers-amd64", "dkms", "iproute2", "procps", "less", "ca-certificates"),
    # what our packages depend on: they are installed without a network
    *("python3", "fuse3", "libfuse3-3", "libsystemd0", "openssl", "adduser", "debconf"),
    # what the examples manage
    *("apparmor", "bpftool", "nftables", "iptables"),
    *("zfs-dkms", "zfsutils-linux"),
    *("selinux-basics", "selinux-policy-default", "policycoreutils", "semodule-utils", "checkpolicy"),
)  # fmt: skip


def sources(indexes: str, release: str = RELEASE, components: str = COMPONENTS) -> list[str]:
    """The lines of a sources.list for the image, from where this machine's own packages come.

    `indexes` is what `apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(LABEL)'` prints. Raises ValueError if it
    names no Debian archive.
    """
    found = []
    for line in indexes.splitlines():
        place, suite, label = line.split()[:3]
        if label not in {"Debian", "Debian-Security"} or "backports" in suite:
            continue
        _, dash, kind = suite.partition("-")  # of another release than the image's as well
        found.append(f"deb [signed-by={KEYS}] {place} {release}{dash}{kind} {components}")
    if not found:
        raise ValueError("apt knows no source of Debian on this machine")
    return list(dict.fromkeys(found))


def key(sources_list: list[str]) -> str:
    """Another image for each change of what it is made of; the packages' own versions are not asked for."""
    content = "\n".join([*sources_list, *PACKAGES, SIZE, FURNISH.read_text()])
    return hashlib.sha256(content.encode()).hexdigest()[:12]
