"""The status mount under ordinary programs: it behaves as read-only files do."""

from __future__ import annotations

import errno
import grp
import mmap
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tambourinefs.procfs.render.files import FILES
from tests.functional.procfs_mount import Mounted, hello, status_mount

TOP = {"version.txt", "services.txt", "services.json", "metrics.prom", "events.log"}
# What does not change by itself: copies can be compared with it.
STEADY = [
    spec.name
    for spec in FILES
    if spec.name not in {"active", "status", "status.json", "tasks", "memory", "pid"}
]


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    with status_mount(tmp_path_factory.mktemp("files") / "proc") as made:
        made.publish(
            hello(),
            hello(
                "big",
                description="b" * 2000,
                documentation=tuple(f"man:page{n}(1)" for n in range(2000)),
            ),
            hello("gone", namespace="storage", active_state="failed", result="exit-code"),
        )
        yield made


def program(name: str, package: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is missing: apt-get install {package}"
    return found


def run(*argv: object) -> bytes:
    return subprocess.run(
        [str(a) for a in argv], capture_output=True, check=True, timeout=60
    ).stdout


def content(directory: Path) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in STEADY}


def test_files_of_a_service(mount: Mounted) -> None:
    assert {p.name for p in mount.root.iterdir()} == {*TOP, "local", "storage"}
    assert {p.name for p in (mount.root / "local").iterdir()} == {"hello", "big"}
    assert {p.name for p in (mount.root / "local/hello").iterdir()} == {spec.name for spec in FILES}


def test_every_size_is_the_real_one_and_blocks_are_not_zero(mount: Mounted) -> None:
    for path in mount.root.rglob("*"):
        if path.is_file() and path.name != "events.log":
            with path.open("rb") as file:
                at = os.fstat(file.fileno())
                text = file.read()
            assert at.st_size == len(text), path
            assert at.st_blocks * 512 >= len(text), path
            assert at.st_nlink == 1


def test_modes_and_owners(mount: Mounted) -> None:
    groups = {"journal": "systemd-journal", "manifest": "tambourine"}
    for spec in FILES:
        at = (mount.root / "local/hello" / spec.name).stat()
        wanted = groups.get(spec.name)
        assert at.st_mode & 0o777 == (0o440 if wanted else 0o444)
        assert (at.st_uid, at.st_gid) == (0, _gid(wanted))
    for directory in (mount.root, mount.root / "local", mount.root / "local/hello"):
        assert directory.stat().st_mode & 0o7777 == 0o555
    assert mount.root.stat().st_nlink == 4


def _gid(name: str | None) -> int:
    """The group's number; root's where this machine has no such group, as the server falls back to."""
    try:
        return grp.getgrnam(name).gr_gid if name else 0
    except KeyError:
        return 0


def test_other_users_read_all_but_log_lines_and_manifests(mount: Mounted) -> None:
    def read_as_nobody(name: str) -> int:
        # From inside: the way there leads through root's own directories.
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", name]
        return subprocess.run(
            command, cwd=mount.root / "local/hello", capture_output=True
        ).returncode

    assert {spec.name for spec in FILES if read_as_nobody(spec.name)} == {"journal", "manifest"}


def test_nothing_can_be_written(mount: Mounted) -> None:
    there, absent = mount.root / "local/hello/status", mount.root / "local/new"
    attempts: list[Callable[[], object]] = [
        lambda: there.open("w"),
        lambda: there.open("a"),
        lambda: there.open("r+"),
        lambda: os.truncate(there, 0),
        lambda: os.utime(there),
        lambda: there.chmod(0o777),
        lambda: os.chown(there, 1, 1),
        there.unlink,
        lambda: there.rename(absent),
        lambda: absent.symlink_to("x"),
        lambda: absent.hardlink_to(there),
        absent.mkdir,
        lambda: os.mkfifo(absent),
        lambda: absent.open("x"),
        (mount.root / "local").rmdir,
        lambda: os.setxattr(there, "user.x", b"y"),
    ]
    for attempt in attempts:
        with pytest.raises(OSError, match=r".") as caught:
            attempt()
        assert caught.value.errno in {errno.EROFS, errno.EACCES}


def test_the_mount_takes_no_devices_no_programs_and_no_setuid(mount: Mounted) -> None:
    flags = os.statvfs(mount.root).f_flag
    for flag in (os.ST_NODEV, os.ST_NOEXEC, os.ST_NOSUID, os.ST_RDONLY):
        assert flags & flag


def test_cp_a(mount: Mounted, tmp_path: Path) -> None:
    run("cp", "-a", mount.root / "local", tmp_path / "copy")
    for name in ("hello", "big"):
        assert content(tmp_path / "copy" / name) == content(mount.root / "local" / name)
    assert (tmp_path / "copy/hello/status").read_text().startswith("● hello.service - Says hello\n")
    assert (tmp_path / "copy/hello/loaded").stat().st_mtime_ns == (
        mount.root / "local/hello/loaded"
    ).stat().st_mtime_ns


@pytest.mark.parametrize("option", ["-c", "-cS"])
def test_tar(mount: Mounted, tmp_path: Path, option: str) -> None:
    run("tar", option, "-f", tmp_path / "x.tar", "-C", mount.root, "local")
    with tarfile.open(tmp_path / "x.tar") as archive:
        for name in STEADY:
            member = archive.extractfile(f"local/big/{name}")
            assert member
            assert member.read() == (mount.root / "local/big" / name).read_bytes()


def test_rsync(mount: Mounted, tmp_path: Path) -> None:
    program("rsync", "rsync")
    run("rsync", "-a", "--exclude=events.log", f"{mount.root}/local/", tmp_path / "copy")
    for name in ("hello", "big"):
        assert content(tmp_path / "copy" / name) == content(mount.root / "local" / name)
    # What did not change is not sent again.
    again = run("rsync", "-ai", f"{mount.root}/local/big/", tmp_path / "copy/big").decode()
    assert not {line.split()[1] for line in again.splitlines()} & ({*STEADY} - {"journal"})


def test_mmap_pread_sendfile(mount: Mounted, tmp_path: Path) -> None:
    path = mount.root / "local/big/docs"
    whole = path.read_bytes()
    assert len(whole) > 20_000
    with path.open("rb") as file, (tmp_path / "out").open("wb") as out:
        for flags in (mmap.MAP_SHARED, mmap.MAP_PRIVATE):
            with mmap.mmap(file.fileno(), 0, flags=flags, prot=mmap.PROT_READ) as mapped:
                assert mapped[:] == whole
        for offset in (
            0,
            1,
            4095,
            4096,
            4097,
            12_345,
            len(whole) - 1,
            len(whole),
            len(whole) + 9999,
        ):
            for length in (1, 4096, 10_000, 1 << 20):
                assert os.pread(file.fileno(), length, offset) == whole[offset : offset + length]
        sent = 0
        while sent < len(whole):
            sent += os.sendfile(out.fileno(), file.fileno(), sent, 1 << 20)
    assert (tmp_path / "out").read_bytes() == whole


def test_a_mapping_keeps_its_content_when_the_value_changes(tmp_path: Path) -> None:
    with status_mount(tmp_path / "proc") as mount:
        mount.publish(hello())
        with (
            (mount.root / "local/hello/systemdName").open("rb") as file,
            mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped,
        ):
            mount.publish(hello(description="something else"))
            forget = 'echo 2 >/proc/sys/vm/drop_caches; grep -q something "$0"'
            run("sh", "-c", forget, file.name)
            assert mapped[:] == b"hello.service - Says hello\n"


def test_find_grep_less_wc(mount: Mounted) -> None:
    found = run("find", mount.root, "-type", "f").decode().splitlines()
    assert len(found) == len(TOP) + 3 * len(FILES)
    matched = run("grep", "-rl", "Says hello", mount.root / "local").decode().splitlines()
    assert {Path(m).name for m in matched} == {"status", "status.json", "systemdName"}
    program("less", "less")
    path = mount.root / "local/big/docs"
    assert run("less", "-F", path) == path.read_bytes()
    assert run("wc", "-c", path).split()[0].decode() == str(path.stat().st_size)
    assert run("tail", "-n1", path) == b"man:page1999(1)\n"
    assert run("head", "-c5", path) == b"man:p"
    assert run("stat", "-f", "-c", "%l", mount.root) == b"255\n"
    assert b"local/hello" in run("cat", mount.root / "events.log")


def test_two_thousand_services_are_listed_once_each_while_they_come_and_go(tmp_path: Path) -> None:
    with status_mount(tmp_path / "proc") as mount:
        views = [hello(f"s{n:04}") for n in range(2000)]
        mount.publish(*views)
        with os.scandir(mount.root / "local") as entries:
            seen = [next(entries).name for _ in range(100)]
            mount.withdraw(views[0])
            mount.withdraw(views[1999])
            mount.publish(hello("t"))
            seen += [entry.name for entry in entries]
        assert len(seen) == len(set(seen))
        assert {v.name for v in views[1:1999]} <= set(seen)
        assert len((mount.root / "services.txt").read_text().splitlines()) == 2000


def test_memory_is_given_back(tmp_path: Path) -> None:
    """What the kernel has forgotten the server forgets too."""
    with status_mount(tmp_path / "proc") as mount:
        views = [hello(f"s{n}") for n in range(20)]
        mount.publish(*views)
        run("sh", "-c", 'cat "$0"/*/*/* >/dev/null', mount.root)
        assert mount.order(count=None)["inodes"] > 20 * len(FILES)
        for number in range(20):
            mount.publish(*(hello(v.name, load_state=f"{number}") for v in views))
            run("sh", "-c", 'cat "$0"/*/*/* >/dev/null', mount.root)
        assert mount.order(count=None)["inodes"] < 25 * len(FILES)  # not twenty times as many
        for view in views:
            mount.withdraw(view)
        _drop_caches_until(mount, 10)


def _drop_caches_until(mount: Mounted, inodes: int) -> None:
    for _ in range(50):
        Path("/proc/sys/vm/drop_caches").write_text("2\n")
        if mount.order(count=None)["inodes"] <= inodes:
            return
    raise AssertionError(mount.order(count=None))


def test_text_from_outside_is_escaped(tmp_path: Path) -> None:
    evil = "x\n     Active: active (fake)\x1b[2J\u202e"
    with status_mount(tmp_path / "proc") as mount:
        view = hello(description=evil, status_text=evil)
        mount.publish(replace(view, reason=evil, journal=(evil,)))
        for name in ("status", "systemdName", "journal", "status.json"):
            text = (mount.root / "local/hello" / name).read_text()
            assert not set(text) & {"\x1b", "\u202e"}
            assert text.count("\n     Active:") == (name == "status")


def test_names_that_are_no_names_are_not_shown(tmp_path: Path) -> None:
    with status_mount(tmp_path / "proc") as mount:
        for namespace, name in (
            ("a.b", "x"),
            ("", "x"),
            ("a", ""),
            ("a", ".."),
            ("a/b", "x"),
            ("a", "x" * 256),
        ):
            mount.publish(hello(name, namespace=namespace))
        mount.publish(hello("odd\nname", namespace="a"), hello("x" * 255, namespace="a"))
        assert sorted(os.listdir(mount.root / "a")) == ["odd\nname", "x" * 255]
        assert "odd\nname" not in (mount.root / "services.txt").read_text()
