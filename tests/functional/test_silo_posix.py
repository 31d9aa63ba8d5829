"""The silo is a file system as programs expect one: each behaviour on a real mount, with the real command behind it."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import socket
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from tambourinefs import files
from tambourinefs.silo import syscalls
from tests.functional.silo_host import SiloHost, errno_of, wait_for

LIBC = ctypes.CDLL(None, use_errno=True)
GIB = 1 << 30


def in_store(host: SiloHost, path: Path) -> Path:
    """Where the store keeps what the mount shows at `path`."""
    return host.tree / path.relative_to(host.mount)


def renameat2(old: Path, new: Path, flags: int) -> None:
    files.rename(-100, os.fsencode(old), -100, os.fsencode(new), flags)


def test_a_written_file_reads_back_here_and_in_the_store(silo: Path, shared_silo: SiloHost) -> None:
    (silo / "f").write_bytes(b"text")
    assert (silo / "f").read_bytes() == b"text"
    assert in_store(shared_silo, silo / "f").read_bytes() == b"text"


def test_kernel_caches_a_missing_name(silo: Path, shared_silo: SiloHost) -> None:
    """The server is not asked again for it …"""
    assert not (silo / "missing").exists()
    asked: list[bool] = []
    asking = threading.Thread(target=lambda: asked.append((silo / "missing").exists()))
    with shared_silo.frozen():
        asking.start()
        asking.join(10)
        answered = list(asked)
    asking.join()
    assert answered == [False]


def test_missing_name_exists_once_it_is_made(silo: Path) -> None:
    """… until it is made, in whatever way, by whomever."""
    ways = (["touch"], ["mkdir"], ["ln", "-s", "x"], ["ln", "0"], ["cp", "0"], ["mv", "0"])
    for name, way in enumerate(ways):
        made = silo / str(name)
        assert not os.path.lexists(made)
        subprocess.run([*way, made.name], cwd=silo, check=True)
        assert os.path.lexists(made)
    assert not (silo / "0").exists()
    made.rename(silo / "0")
    assert not made.exists()
    renameat2(silo / "0", made, files.RENAME_NOREPLACE)
    assert made.exists()
    made.unlink()
    assert not made.exists()


def test_rename_replaces_at_once(silo: Path) -> None:
    (silo / "new").write_text("new")
    (silo / "f").write_text("old")
    with (silo / "f").open() as held:
        (silo / "new").rename(silo / "f")
        assert held.read() == "old"
    assert (silo / "f").read_text() == "new"
    assert os.listdir(silo) == ["f"]


def test_rename_noreplace(silo: Path) -> None:
    (silo / "a").write_text("a")
    (silo / "b").write_text("b")
    assert errno_of(renameat2, silo / "a", silo / "b", files.RENAME_NOREPLACE) == "EEXIST"
    renameat2(silo / "a", silo / "c", files.RENAME_NOREPLACE)
    assert ((silo / "b").read_text(), (silo / "c").read_text()) == ("b", "a")


def test_rename_exchange(silo: Path) -> None:
    (silo / "a").write_text("a")
    (silo / "d").mkdir()
    (silo / "d" / "inside").touch()
    renameat2(silo / "a", silo / "d", files.RENAME_EXCHANGE)
    assert (silo / "d").read_text() == "a"
    assert os.listdir(silo / "a") == ["inside"]


def test_rename_whiteout_is_invalid(silo: Path) -> None:
    (silo / "a").touch()
    assert errno_of(renameat2, silo / "a", silo / "b", 4) == "EINVAL"


def test_rename_of_directories(silo: Path) -> None:
    for name in ("full", "empty", "moved"):
        (silo / name).mkdir()
    (silo / "full" / "f").touch()
    assert errno_of(os.rename, silo / "moved", silo / "full") == "ENOTEMPTY"
    (silo / "moved").rename(silo / "empty")
    assert errno_of(os.rename, silo / "empty", silo / "empty" / "below") == "EINVAL"
    assert sorted(os.listdir(silo)) == ["empty", "full"]


def test_rename_between_two_names_of_one_file_does_nothing(silo: Path) -> None:
    (silo / "a").write_text("x")
    (silo / "b").hardlink_to(silo / "a")
    (silo / "a").rename(silo / "b")
    assert sorted(os.listdir(silo)) == ["a", "b"]
    assert (silo / "a").stat().st_nlink == 2


def test_hard_links_are_one_file(silo: Path) -> None:
    (silo / "a").write_text("x")
    (silo / "b").hardlink_to(silo / "a")
    assert (silo / "a").stat().st_ino == (silo / "b").stat().st_ino
    assert (silo / "a").stat().st_nlink == 2
    with (silo / "b").open("a") as b:
        b.write("y")
    (silo / "b").unlink()
    assert (silo / "a").read_text() == "xy"
    assert (silo / "a").stat().st_nlink == 1


def test_symbolic_links(silo: Path) -> None:
    target = "x" * 3000
    (silo / "long").symlink_to(target)
    (silo / "f").write_text("x")
    (silo / "l").symlink_to("f")
    os.lchown(silo / "l", 3, 4)
    os.utime(silo / "l", ns=(1, 2), follow_symlinks=False)
    assert os.readlink(silo / "long") == target
    assert (silo / "l").read_text() == "x"
    link = (silo / "l").lstat()
    assert (link.st_uid, link.st_gid, link.st_mtime_ns) == (3, 4, 2)
    assert (silo / "f").stat().st_uid == 0


def test_unlinked_while_open(silo: Path) -> None:
    fd = os.open(silo / "f", os.O_RDWR | os.O_CREAT)
    try:
        os.unlink(silo / "f")
        os.pwrite(fd, b"still here", 0)
        assert os.pread(fd, 100, 0) == b"still here"
        assert os.fstat(fd).st_nlink == 0
        os.fchmod(fd, 0o600)
        os.ftruncate(fd, 5)
        os.fsync(fd)
        assert os.fstat(fd).st_size == 5
    finally:
        os.close(fd)
    assert os.listdir(silo) == []


def test_a_held_descriptor_never_reads_the_file_that_got_its_inode_number(silo: Path) -> None:
    """ext4 gives a freed number out again at once: without a pin the held descriptor reads the new file."""
    (silo / "a").write_text("old")
    number = (silo / "a").stat().st_ino
    held = os.open(silo / "a", os.O_RDWR)
    path_only = os.open(silo / "a", os.O_PATH)
    try:
        os.unlink(silo / "a")
        for i in range(50):
            (silo / f"b{i}").write_text("new")
            assert (silo / f"b{i}").stat().st_ino != number
        assert os.pread(held, 10, 0) == b"old"
        os.pwrite(held, b"OLD", 0)
        with open(f"/proc/self/fd/{path_only}") as again:
            assert again.read() == "OLD"
        assert all((silo / f"b{i}").read_text() == "new" for i in range(50))
    finally:
        os.close(held)
        os.close(path_only)


def test_an_inode_number_that_is_free_is_used_again(silo: Path) -> None:
    """What the test above guards against does happen here."""
    (silo / "a").write_text("old")
    number = (silo / "a").stat().st_ino
    (silo / "a").unlink()
    tries = iter(range(10_000))

    def reused() -> bool:
        path = silo / f"b{next(tries)}"
        path.write_text("new")
        return path.stat().st_ino == number

    wait_for("the number to come back", reused)


def test_append_from_two_descriptors(silo: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    first, second = os.open(silo / "f", flags), os.open(silo / "f", flags)
    try:
        for i in range(100):
            os.write(first, b"a%02d" % i)
            os.write(second, b"b%02d" % i)
    finally:
        os.close(first)
        os.close(second)
    assert (silo / "f").read_bytes() == b"".join(b"a%02db%02d" % (i, i) for i in range(100))


def test_open_with_truncate(silo: Path) -> None:
    (silo / "f").write_text("long text")
    os.close(os.open(silo / "f", os.O_WRONLY | os.O_TRUNC))
    assert (silo / "f").stat().st_size == 0
    (silo / "f").write_text("short")
    assert (silo / "f").read_text() == "short"


def test_truncate_shorter_and_longer(silo: Path) -> None:
    (silo / "f").write_bytes(b"x" * 10_000)
    os.truncate(silo / "f", 5000)
    os.truncate(silo / "f", 20_000)
    assert (silo / "f").read_bytes() == b"x" * 5000 + b"\0" * 15_000


def test_exclusive_create(silo: Path) -> None:
    (silo / "f").touch()
    assert errno_of(os.open, silo / "f", os.O_CREAT | os.O_EXCL | os.O_WRONLY) == "EEXIST"


def test_times_to_the_nanosecond_and_left_alone(silo: Path) -> None:
    (silo / "f").touch()
    os.utime(silo / "f", ns=(1_000_000_001, 2_000_000_002))
    with (silo / "f").open() as file:
        syscalls.set_times(file.fileno(), None, 3_000_000_003)
    st = (silo / "f").stat()
    assert (st.st_atime_ns, st.st_mtime_ns) == (1_000_000_001, 3_000_000_003)


def test_mode_of_an_open_file_changes(silo: Path) -> None:
    """By path, with two descriptors, with the older of them, with none, and by a descriptor whose name is gone."""
    path = silo / "f"
    path.touch()
    older, newer = os.open(path, os.O_RDONLY), os.open(path, os.O_WRONLY)
    try:
        for mode, ended in ((0o600, newer), (0o640, -1), (0o2755, -1)):
            path.chmod(mode)
            assert (
                stat.S_IMODE(os.fstat(older).st_mode) == stat.S_IMODE(path.stat().st_mode) == mode
            )
            if ended >= 0:
                os.close(ended)
        path.unlink()
        path.touch(0o644)
        os.fchmod(older, 0o400)
        assert stat.S_IMODE(os.fstat(older).st_mode) == 0o400
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
    finally:
        os.close(older)
    path.chmod(0o711)
    assert stat.S_IMODE(path.stat().st_mode) == 0o711


def test_modes_with_setuid_setgid_and_sticky(silo: Path) -> None:
    (silo / "f").touch()
    (silo / "d").mkdir()
    for mode in (0o6755, 0o2640, 0o000, 0o644):
        (silo / "f").chmod(mode)
        assert stat.S_IMODE((silo / "f").stat().st_mode) == mode
    (silo / "d").chmod(0o1777)
    assert stat.S_IMODE((silo / "d").stat().st_mode) == 0o1777


def test_chown_clears_setuid(silo: Path) -> None:
    (silo / "f").touch()
    (silo / "f").chmod(0o4755)
    os.chown(silo / "f", 5, 6)
    st = (silo / "f").stat()
    assert (st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)) == (5, 6, 0o755)


def test_umask_and_owner_of_new_files(silo: Path, shared_silo: SiloHost) -> None:
    silo.chmod(0o777)
    done = shared_silo.writer(5)(
        "os.chdir(sys.argv[1]); open('f', 'x'); os.mkdir('d'); os.symlink('f', 'l');"
        "os.close(os.open('s', os.O_CREAT | os.O_WRONLY, 0o4777))",
        str(silo),
    )
    assert done.returncode == 0, done.stderr
    owned = {name: (silo / name).lstat() for name in ("f", "d", "l", "s")}
    assert {(st.st_uid, st.st_gid) for st in owned.values()} == {(5, 5)}
    modes = {name: stat.S_IMODE(st.st_mode) for name, st in owned.items()}
    assert modes == {"f": 0o644, "d": 0o755, "l": 0o777, "s": 0o4755}


def test_a_setgid_directory_gives_its_group(silo: Path) -> None:
    os.chown(silo, 0, 6)
    silo.chmod(0o2775)
    (silo / "f").touch()
    (silo / "d").mkdir()
    assert (silo / "f").stat().st_gid == 6
    assert (silo / "d").stat().st_gid == 6
    assert (silo / "d").stat().st_mode & stat.S_ISGID


def test_fsync_of_files_and_directories(silo: Path) -> None:
    with (silo / "f").open("wb") as f:
        f.write(b"x")
        f.flush()
        os.fsync(f.fileno())
        os.fdatasync(f.fileno())
    directory = os.open(silo, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def test_synchronous_writes(silo: Path) -> None:
    fd = os.open(silo / "f", os.O_WRONLY | os.O_CREAT | os.O_SYNC)
    try:
        assert os.write(fd, b"x" * 5000) == 5000
    finally:
        os.close(fd)
    assert (silo / "f").stat().st_size == 5000


def test_a_listing_is_whole_while_entries_come_and_go(silo: Path) -> None:
    """What stays is listed exactly once, whatever else is made and removed meanwhile."""
    stays = {f"stays-{i}" for i in range(3000)}
    for name in stays:
        (silo / name).touch()
    stop = threading.Event()

    def churn() -> None:
        i = 0
        while not stop.is_set():
            (silo / f"goes-{i}").touch()
            if i >= 50:
                (silo / f"goes-{i - 50}").unlink()
            i += 1

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(5):
            listed = [name for name in os.listdir(silo) if name.startswith("stays")]
            assert len(listed) == len(stays)
            assert set(listed) == stays
    finally:
        stop.set()
        thread.join()


def test_removing_while_listing_removes_all(silo: Path) -> None:
    for i in range(3000):
        (silo / str(i)).touch()
    with os.scandir(silo) as entries:
        for entry in entries:
            os.unlink(entry)
    assert os.listdir(silo) == []


def test_a_listing_has_dots_and_types(silo: Path) -> None:
    (silo / "d").mkdir()
    (silo / "l").symlink_to("d")
    listed = subprocess.run(["ls", "-aF", silo], capture_output=True, text=True, check=True)
    assert listed.stdout.split() == ["./", "../", "d/", "l@"]
    with os.scandir(silo) as entries:
        assert {e.name: e.inode() for e in entries} == {
            name: (silo / name).lstat().st_ino for name in ("d", "l")
        }


def test_files_over_4_gib(silo: Path) -> None:
    fd = os.open(silo / "f", os.O_RDWR | os.O_CREAT)
    try:
        os.pwrite(fd, b"end", 5 * GIB)
        assert os.fstat(fd).st_size == 5 * GIB + 3
        assert os.pread(fd, 10, 5 * GIB - 2) == b"\0\0end"
        assert os.fstat(fd).st_blocks < 1000
        os.ftruncate(fd, 4 * GIB + 1)
        assert os.fstat(fd).st_size == 4 * GIB + 1
    finally:
        os.close(fd)


def test_shared_mapping_reads_and_writes(silo: Path, shared_silo: SiloHost) -> None:
    (silo / "f").write_bytes(b"\0" * 100_000)
    with (silo / "f").open("r+b") as f, mmap.mmap(f.fileno(), 0) as mapped:
        mapped[50_000:50_003] = b"abc"
        mapped.flush()
        assert os.pread(f.fileno(), 3, 50_000) == b"abc"
    assert in_store(shared_silo, silo / "f").read_bytes()[50_000:50_003] == b"abc"


def test_pread_at_any_offset(silo: Path) -> None:
    data = os.urandom(300_001)
    (silo / "f").write_bytes(data)
    fd = os.open(silo / "f", os.O_RDONLY)
    try:
        for offset in (0, 1, 4095, 4096, 131_071, 300_000, 300_001, 400_000):
            assert os.pread(fd, 5000, offset) == data[offset : offset + 5000]
    finally:
        os.close(fd)


@pytest.mark.parametrize("how", ["flock", "fcntl"])
def test_locks_exclude_other_processes(silo: Path, how: str) -> None:
    call = {"flock": fcntl.flock, "fcntl": fcntl.lockf}[how]
    with (silo / "f").open("w") as f:
        call(f, fcntl.LOCK_EX)
        code = (
            f"import fcntl, sys; f = open(sys.argv[1], 'w')\n"
            f"try: fcntl.{call.__name__}(f, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
            f"except BlockingIOError: print('held')\nelse: print('free')"
        )
        argv = ["/usr/bin/python3", "-c", code, str(silo / "f")]
        assert subprocess.run(argv, capture_output=True, text=True).stdout == "held\n"
        call(f, fcntl.LOCK_UN)
        assert subprocess.run(argv, capture_output=True, text=True).stdout == "free\n"


def test_long_and_odd_names(silo: Path) -> None:
    names = [b"x" * 255, b"new\nline", b"\xff\xfe", b" ", b"-rf", b"\xc3\xa4", b"..."]
    raw = os.fsencode(silo)
    for name in names:
        with open(raw + b"/" + name, "wb") as f:
            f.write(name)
    assert sorted(os.listdir(raw)) == sorted(names)
    assert all(Path(os.fsdecode(raw + b"/" + name)).read_bytes() == name for name in names)
    assert errno_of(os.mkdir, raw + b"/" + b"x" * 256) == "ENAMETOOLONG"


def test_deep_directories(silo: Path) -> None:
    here = os.open(silo, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    subprocess.run(["rm", "-r", silo / "d"], check=True)


def test_removed_directory_that_is_in_use(silo: Path) -> None:
    (silo / "d").mkdir()
    fd = os.open(silo / "d", os.O_RDONLY)
    try:
        (silo / "d").rmdir()
        assert os.listdir(fd) == []
        assert errno_of(os.open, "f", os.O_CREAT | os.O_WRONLY, dir_fd=fd) == "ENOENT"
    finally:
        os.close(fd)


def test_rmdir_and_unlink_of_the_wrong_kind(silo: Path) -> None:
    (silo / "d").mkdir()
    (silo / "d" / "f").touch()
    assert errno_of(os.rmdir, silo / "d") == "ENOTEMPTY"
    assert errno_of(os.unlink, silo / "d") == "EISDIR"
    assert errno_of(os.rmdir, silo / "d" / "f") == "ENOTDIR"


def test_copy_file_range_falls_back(silo: Path) -> None:
    data = os.urandom(100_000)
    (silo / "a").write_bytes(data)
    with (silo / "a").open("rb") as a, (silo / "b").open("wb") as b:
        assert os.copy_file_range(a.fileno(), b.fileno(), len(data)) == len(data)
    assert (silo / "b").read_bytes() == data


def test_sendfile(silo: Path) -> None:
    data = os.urandom(200_000)
    (silo / "a").write_bytes(data)
    left, right = socket.socketpair()
    with left, right, (silo / "a").open("rb") as a:
        received = bytearray()
        reader = threading.Thread(
            target=lambda: received.extend(b"".join(iter(lambda: right.recv(65536), b"")))
        )
        reader.start()
        left.sendfile(a)
        left.close()
        reader.join()
    assert bytes(received) == data


def test_seek_hole_says_no_holes(silo: Path) -> None:
    (silo / "f").write_bytes(b"x" * 100)
    fd = os.open(silo / "f", os.O_RDONLY)
    try:
        assert os.lseek(fd, 0, os.SEEK_DATA) == 0
        assert os.lseek(fd, 0, os.SEEK_HOLE) == 100
    finally:
        os.close(fd)


def test_fallocate_is_refused_and_posix_fallocate_falls_back(silo: Path) -> None:
    fd = os.open(silo / "f", os.O_RDWR | os.O_CREAT)
    try:
        result = LIBC.fallocate(fd, 0, ctypes.c_long(0), ctypes.c_long(8192))
        assert (result, ctypes.get_errno()) == (-1, errno.EOPNOTSUPP)
        os.posix_fallocate(fd, 0, 8192)
        assert os.fstat(fd).st_size == 8192
    finally:
        os.close(fd)


def test_tmpfile_is_refused_cleanly(silo: Path) -> None:
    assert errno_of(os.open, silo, os.O_TMPFILE | os.O_RDWR) == "EOPNOTSUPP"


def test_direct_io(silo: Path) -> None:
    page = mmap.mmap(-1, 8192)
    page.write(b"d" * 8192)
    fd = os.open(silo / "f", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    try:
        assert os.write(fd, page) == 8192
        assert os.preadv(fd, [page], 4096) == 4096
    finally:
        os.close(fd)
    assert (silo / "f").read_bytes() == b"d" * 8192


def test_no_fifo_socket_or_device(silo: Path) -> None:
    assert errno_of(os.mkfifo, silo / "fifo") == "EPERM"
    assert errno_of(os.mknod, silo / "dev", stat.S_IFCHR | 0o666, os.makedev(1, 3)) == "EPERM"
    with socket.socket(socket.AF_UNIX) as sock:
        assert errno_of(sock.bind, os.path.relpath(silo / "s")) == "EPERM"
    os.mknod(silo / "regular", stat.S_IFREG | 0o644)
    assert os.listdir(silo) == ["regular"]


def test_extended_attributes_are_not_supported(silo: Path) -> None:
    (silo / "f").touch()
    assert errno_of(os.setxattr, silo / "f", "user.x", b"1") == "EOPNOTSUPP"
    assert errno_of(os.getxattr, silo / "f", "user.x") == "EOPNOTSUPP"
    assert errno_of(os.removexattr, silo / "f", "user.x") == "EOPNOTSUPP"


def test_the_mount_runs_nothing(silo: Path) -> None:
    (silo / "f").write_text("#!/bin/sh\n")
    (silo / "f").chmod(0o755)
    assert errno_of(subprocess.run, [silo / "f"]) == "EACCES"


def test_the_id_file_cannot_be_changed(shared_silo: SiloHost) -> None:
    path = shared_silo.mount / ".tambourine-silo"
    before = path.read_text()
    assert len(before.strip()) == 36
    other = shared_silo.mount / "other"
    other.touch()
    assert errno_of(path.write_text, "x") == "EACCES"
    assert errno_of(path.unlink) == "EACCES"
    assert errno_of(os.rename, path, other) == "EACCES"
    assert errno_of(os.rename, other, path) == "EACCES"
    assert errno_of(os.chmod, path, 0o777) == "EACCES"
    assert errno_of(os.link, path, shared_silo.mount / "link") == "EACCES"
    assert errno_of(os.truncate, path, 0) == "EACCES"
    other.unlink()
    assert path.read_text() == before
    assert path.stat().st_mode & 0o777 == 0o444


def test_df_shows_the_disk_where_there_is_no_quota(silo: Path, shared_silo: SiloHost) -> None:
    mount, disk = os.statvfs(silo), os.statvfs(shared_silo.store)
    assert mount.f_blocks * mount.f_frsize == disk.f_blocks * disk.f_frsize
    assert mount.f_namemax == 255


def test_read_of_an_unreadable_file_by_others_is_refused(silo: Path, shared_silo: SiloHost) -> None:
    silo.chmod(0o755)
    (silo / "f").write_text("secret")
    (silo / "f").chmod(0o600)
    done = shared_silo.writer(5)("attempt(open, sys.argv[1])", str(silo / "f"))
    assert done.stdout == "EACCES\n", done.stderr


def test_the_mount_takes_no_devices_no_programs_and_no_setuid(
    silo: Path, shared_silo: SiloHost
) -> None:
    """nodev, noexec, nosuid: of the mount, whatever lies in the store."""
    flags = os.statvfs(silo).f_flag
    assert flags & os.ST_NODEV
    assert flags & os.ST_NOEXEC
    assert flags & os.ST_NOSUID
    store = in_store(shared_silo, silo)
    os.mknod(store / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    assert errno_of(os.open, silo / "null", os.O_RDONLY) == "EACCES"
    (silo / "program").write_text("#!/bin/sh\n")
    (silo / "program").chmod(0o4755)
    assert errno_of(subprocess.run, [silo / "program"]) == "EACCES"
