"""The store: what it may be, that only one serves it, and what happens when the server or the disk fails."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from tambourinefs.mount import mounts
from tambourinefs.silo.nodes import NodeTable
from tests.functional.loop_disk import LoopDisk
from tests.functional.silo_host import NAMES, SiloHost, errno_of, wait_for


@contextlib.contextmanager
def mounted(kind: str, place: Path, *options: str) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    flags = [flag for option in options for flag in ("-o", option)]
    subprocess.run(["mount", "-t", kind, *flags, kind, place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def refused(host: SiloHost) -> str:
    """What the server says when it will not start; it leaves no mount."""
    done = subprocess.run(host.argv, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    assert not host.mounted
    return done.stderr


def test_a_store_on_overlayfs_is_refused(disk_directory: Path) -> None:
    for name in ("lower", "upper", "work"):
        (disk_directory / name).mkdir()
    options = ",".join(f"{n}dir={disk_directory / n}" for n in ("lower", "upper"))
    with mounted(
        "overlay", disk_directory / "over", f"{options},workdir={disk_directory / 'work'}"
    ) as place:
        said = refused(SiloHost(disk_directory, store=place / "store"))
    assert "it is on overlayfs, whose inode numbers change" in said
    assert "hint: Put the store on ext4, XFS or btrfs." in said


def test_a_second_server_on_one_store_is_refused(make_silo: Callable[..., SiloHost]) -> None:
    host = make_silo()
    (host.store.parent / "second").mkdir()
    second = SiloHost(host.store.parent / "second", store=host.store)
    assert "another tambourine silo serves it" in refused(second)
    assert (host.mount / ".tambourine-silo").read_text()


def test_a_second_server_on_one_mountpoint_is_refused(make_silo: Callable[..., SiloHost]) -> None:
    host = make_silo()
    argv = SiloHost(host.store.parent, store=host.store.parent / "other").argv
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "is already mounted by Tambourine" in done.stderr
    (host.mount / "f").write_text("the first goes on")


def test_store_and_mountpoint_must_not_contain_each_other(disk_directory: Path) -> None:
    host = SiloHost(disk_directory)
    host.mount = host.store / "mount"
    assert "must not contain each other" in refused(host)
    host.mount = disk_directory
    assert "must not contain each other" in refused(host)


def test_a_mount_inside_the_store_is_not_crossed(make_silo: Callable[..., SiloHost]) -> None:
    host = make_silo()
    (host.mount / "d").mkdir()
    with mounted("tmpfs", host.tree / "d"):
        (host.tree / "d" / "foreign").touch()
        host.kill()
        host.start()
        assert errno_of(os.stat, host.mount / "d") == "EXDEV"
        assert os.listdir(host.mount) == []


def test_the_uuid_stays(make_silo: Callable[..., SiloHost]) -> None:
    host = make_silo()
    path = host.mount / ".tambourine-silo"
    first = path.read_text()
    host.stop()
    host.start()
    assert path.read_text() == first == (host.store / "uuid").read_text()


def test_sigterm_ends_it_with_0_and_no_mount(make_silo: Callable[..., SiloHost]) -> None:
    host = make_silo()
    with (host.mount / "f").open("w") as held:
        held.write("x")
        held.flush()
        assert host.stop() == 0
        assert not host.mounted
        assert errno_of(os.fstat, held.fileno()) in {"ENOTCONN", "ECONNABORTED"}
        with contextlib.suppress(OSError):
            held.close()
    assert (host.tree / "f").read_text() == "x"


def test_sigterm_in_the_middle_of_writes(make_silo: Callable[..., SiloHost]) -> None:
    host = make_silo()
    stop = threading.Event()
    errors: list[str] = []

    def write() -> None:
        path = host.mount / "f"
        while not stop.is_set():
            if (error := errno_of(path.write_bytes, b"x" * 100_000)) != "done":
                errors.append(error)
                return

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_for("a write", (host.tree / "f").exists)
    assert host.stop() == 0
    assert not host.mounted
    stop.set()
    for thread in threads:
        thread.join()
    # The bare directory is there again, so a write may also simply succeed.
    assert set(errors) <= {"ENOTCONN", "ECONNABORTED", "EIO"}


def test_killed_and_started_again(make_silo: Callable[..., SiloHost]) -> None:
    """The dead mount says ENOTCONN, not an empty directory; the next server takes its place by itself."""
    host = make_silo()
    (host.mount / "f").write_text("before")
    held = os.open(host.mount / "f", os.O_RDONLY)
    try:
        host.kill()
        assert host.mounted
        assert errno_of(os.listdir, host.mount) == "ENOTCONN"
        assert errno_of(os.fstat, held) in {"ENOTCONN", "ECONNABORTED"}
        host.start()
        assert (host.mount / "f").read_text() == "before"
        assert errno_of(os.pread, held, 1, 0) in {"ENOTCONN", "ECONNABORTED"}
        (host.mount / "f").write_text("after")
    finally:
        with contextlib.suppress(OSError):
            os.close(held)
    table = mounts.parse(Path("/proc/self/mountinfo").read_bytes())
    assert [m.mountpoint for m in table].count(os.fsencode(host.mount)) == 1


def test_killed_in_the_middle_of_writes_nothing_answered_is_lost(
    make_silo: Callable[..., SiloHost],
) -> None:
    """A process that ends takes nothing with it (a power cut does: test_silo_durable)."""
    host = make_silo()
    done, failed = -1, ""
    assert host.process is not None
    killer = threading.Timer(0.3, host.process.send_signal, [signal.SIGKILL])
    killer.start()
    try:
        for i in range(1_000_000):
            (host.mount / f"{i}.new").write_text(str(i) * 100)
            (host.mount / f"{i}.new").rename(host.mount / str(i))
            done = i
    except OSError as error:
        failed = NAMES[error.errno or 0]
    killer.join()
    host.kill()
    host.start()
    assert failed in {"ENOTCONN", "ECONNABORTED", "EIO"}
    assert done > 10
    assert all((host.mount / str(i)).read_text() == str(i) * 100 for i in range(done + 1))


def test_unmounting_it_ends_the_server_well(make_silo: Callable[..., SiloHost]) -> None:
    host = make_silo()
    subprocess.run(["umount", host.mount], check=True)
    assert host.process is not None
    assert host.process.wait(20) == 0
    assert f"{host.mount} was unmounted" in host.log.read_text()


def test_unmounting_it_lazily_ends_the_server_too(make_silo: Callable[..., SiloHost]) -> None:
    """Who has files open there gets an error at once, not a silo that no other process sees."""
    host = make_silo()
    (host.mount / "f").write_text("old")
    with (host.mount / "f").open("rb", buffering=0) as file:
        subprocess.run(["umount", "-l", host.mount], check=True)
        assert host.process is not None
        assert host.process.wait(20) == 0
        assert errno_of(os.fsync, file.fileno()) == "ENOTCONN"
    assert "Traceback" not in host.log.read_text()


def test_a_cut_connection_is_a_failure(make_silo: Callable[..., SiloHost]) -> None:
    """fusectl's `abort`: the mount is still there, and dead."""
    host = make_silo()
    there = mounts.find(host.mount)
    assert there is not None
    minor = there.device.split(":")[1]
    with mounted("fusectl", host.mount.parent / "control") as control:
        (control / minor / "abort").write_text("1")
    assert host.process is not None
    assert host.process.wait(20) == 1
    assert "the connection of the mount was cut" in host.log.read_text()


def test_a_mount_that_another_covers_is_served_on(make_silo: Callable[..., SiloHost]) -> None:
    host = make_silo()
    (host.mount / "f").write_text("old")
    with (host.mount / "f").open() as file:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", host.mount], check=True)
        try:
            os.fsync(file.fileno())
            assert file.read() == "old"
            assert host.process is not None
            assert host.process.poll() is None
        finally:
            subprocess.run(["umount", host.mount], check=True)
    assert (host.mount / "f").read_text() == "old"


def test_a_read_only_store_shows_and_refuses(
    make_silo: Callable[..., SiloHost], loop_disk: LoopDisk
) -> None:
    host = make_silo(store=loop_disk.mount() / "store")
    (host.mount / "f").write_text("old")
    host.stop()
    loop_disk.remount("ro")
    host.start()
    assert (host.mount / "f").read_text() == "old"
    assert errno_of((host.mount / "f").write_text, "new") == "EROFS"
    assert errno_of((host.mount / "g").touch) == "EROFS"
    assert errno_of((host.mount / "f").unlink) == "EROFS"
    host.stop()


def test_full_disk_is_reported_and_the_old_content_stays(
    make_silo: Callable[..., SiloHost], loop_disk: LoopDisk
) -> None:
    host = make_silo(store=loop_disk.mount() / "store", quota_bytes="1G")
    (host.mount / "f").write_text("old")
    blocks = os.statvfs(host.mount)
    assert blocks.f_bavail * blocks.f_frsize < 64 << 20, (
        "df shows the disk where it has less than the quota"
    )
    assert errno_of((host.mount / "new").write_bytes, b"x" * (100 << 20)) == "ENOSPC"
    assert (host.mount / "f").read_text() == "old"
    (host.mount / "new").unlink()
    wait_for("free space", lambda: os.statvfs(host.mount).f_bavail > 1000)
    (host.mount / "f").write_text("new")
    shown = os.statvfs(host.mount)
    assert (shown.f_blocks - shown.f_bfree) * shown.f_frsize >= 4096
    host.stop()


def test_more_files_than_descriptors(disk_directory: Path) -> None:
    """Pins are bounded: what was released is reopened by its handle, and what was unlinked is never released."""
    tree = disk_directory / "tree"
    tree.mkdir()
    for i in range(200):
        (tree / str(i)).write_text(str(i))
    root = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    table = NodeTable(root, max_pins=8)
    before = len(os.listdir("/proc/self/fd"))
    try:
        nodes = [table.find(table.root, b"%d" % i)[0] for i in range(200)]
        for node in nodes:
            node.lookups = 1
        assert len(os.listdir("/proc/self/fd")) - before == 8
        gone = nodes[5]
        table.keep(gone)
        os.unlink(tree / "5")
        for i, node in enumerate(nodes):
            assert os.stat(table.pin(node)).st_ino == node.number
            with open(table.path(node)) as f:
                assert f.read() == str(i)
        assert gone.fd >= 0
        for node in nodes:
            table.forget(node.number, 1)
        assert len(table) == 1
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        table.close()
        os.close(root)


def test_recently_used_pin_is_not_the_next_to_be_closed(disk_directory: Path) -> None:
    """rename(2) finds what it will replace, then pins a directory: the first must be held when its name has gone."""
    tree = disk_directory / "tree"
    tree.mkdir()
    for name in ("victim", "other", "directory"):
        (tree / name).touch()
    root = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    table = NodeTable(root, max_pins=2)
    try:
        for found in (b"victim", b"other"):
            table.find(table.root, found)
        victim, _ = table.find(table.root, b"victim")
        table.find(table.root, b"directory")
        os.unlink(tree / "victim")
        table.keep(victim)
        assert os.fstat(victim.fd).st_nlink == 0
    finally:
        table.close()
        os.close(root)


def test_a_reused_number_is_another_node(disk_directory: Path) -> None:
    """Released, removed, and its number given to a new file: the generation tells the kernel that it is not the same."""
    tree = disk_directory / "tree"
    tree.mkdir()
    root = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    table = NodeTable(root, max_pins=1)
    try:
        (tree / "a").touch()
        (tree / "other").touch()
        node, _ = table.find(table.root, b"a")
        node.lookups, generation, number = 1, node.generation, node.number
        table.find(table.root, b"other")  # takes the only pin
        assert node.fd == -1
        (tree / "a").unlink()
        (tree / "a").touch()
        assert (tree / "a").stat().st_ino == number, "ext4 gives the number out again"
        again, _ = table.find(table.root, b"a")
        assert again.number == number
        assert again.generation != generation
        assert again.lookups == 1
    finally:
        table.close()
        os.close(root)
