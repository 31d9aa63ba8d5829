"""Reading mountinfo and directory entries as the kernel writes them."""

from __future__ import annotations

from tambourinefs.mount.mounts import parse
from tambourinefs.silo.syscalls import Handle, parse_directory

MOUNTINFO = rb"""22 27 0:21 / /proc rw,relatime - proc proc rw
42 27 0:39 / /var/lib/a\040b\011c\134d rw,nosuid shared:1 master:2 - fuse.tambourine tambourine-silo rw,user_id=0
43 27 0:40 / /var/lib/other rw - fuse.bindfs bindfs rw
"""


def test_mountinfo_with_escapes_and_optional_fields() -> None:
    proc, silo, other = parse(MOUNTINFO)
    assert silo.mountpoint == b"/var/lib/a b\tc\\d"
    assert (silo.mount_id, silo.device, silo.source) == (42, "0:39", b"tambourine-silo")
    assert [m.is_tambourine for m in (proc, silo, other)] == [False, True, False]


def test_directory_entries() -> None:
    def entry(inode: int, cookie: int, name: bytes) -> bytes:
        length = -(-(19 + len(name) + 1) // 8) * 8
        head = (
            inode.to_bytes(8, "little")
            + cookie.to_bytes(8, "little")
            + length.to_bytes(2, "little")
        )
        return (head + b"\x08" + name).ljust(length, b"\0")

    long = b"\xff" * 255
    raw = entry(12, 2**62, b"a") + entry(2**63 + 5, 7, long)
    assert [tuple(e) for e in parse_directory(raw)] == [(b"a", 12, 2**62), (long, 2**63 + 5, 7)]


def test_generation_differs_when_an_inode_number_is_reused() -> None:
    first, second = (Handle(1, bytes([1, 0, 0, 0, life, 0, 0, 0])) for life in (7, 8))
    assert (first.generation, second.generation) == (7, 8)
    longer = [Handle(0x81, bytes([1, 0, 0, 0, 0, 0, 0, 0, life, 0, 0, 0])) for life in (7, 8)]
    assert longer[0].generation != longer[1].generation
    assert 0 <= longer[0].generation < 2**64
