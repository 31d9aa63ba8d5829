"""The named users may write; all others are refused, root included, by the file system itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.functional.silo_host import SiloHost, wait_for

WRITER, OTHER, ROOT = 61123, 61124, 0

# Each way to change something, on a silo that holds f, d, e (a directory) and l, all the writer's own and 0777.
CHANGES = {
    "open for write": "os.open('f', os.O_WRONLY)",
    "open for both": "os.open('f', os.O_RDWR)",
    "open and truncate": "os.open('f', os.O_RDONLY | os.O_TRUNC)",
    "append": "os.open('f', os.O_WRONLY | os.O_APPEND)",
    "create": "os.open('new', os.O_WRONLY | os.O_CREAT)",
    "create for read": "os.open('new', os.O_RDONLY | os.O_CREAT)",
    "truncate": "os.truncate('f', 1)",
    "chmod": "os.chmod('f', 0o700)",
    "chown": "os.chown('f', -1, os.getgid())",
    "utimens": "os.utime('f', ns=(1, 1))",
    "utimens of a link": "os.utime('l', ns=(1, 1), follow_symlinks=False)",
    "mkdir": "os.mkdir('new')",
    "mknod": "os.mknod('new')",
    "link": "os.link('f', 'new')",
    "symlink": "os.symlink('f', 'new')",
    "rename": "os.rename('f', 'new')",
    "rename over": "os.rename('f', 'l')",
    "unlink": "os.unlink('f')",
    "rmdir": "os.rmdir('e')",
    "below a directory": "os.mkdir('d/new')",
}
OTHER_REFUSALS = {
    "setxattr": ("os.setxattr('f', 'user.x', b'1')", "EACCES"),
    "mkfifo": ("os.mkfifo('new')", "EACCES"),
}


def fill(host: SiloHost) -> None:
    done = host.writer(WRITER)(
        "os.umask(0); os.chdir(sys.argv[1])\n"
        "open('f', 'w').write('text'); os.chmod('f', 0o777)\n"
        "os.mkdir('d'); os.mkdir('e'); os.symlink('f', 'l')",
        str(host.mount),
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def held() -> Iterator[SiloHost]:
    """A silo of one writer that no other user can change, so that all the refusals can share it."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="tambourine-silo-", dir="/var/tmp") as name:
        Path(name).chmod(0o755)
        host = SiloHost(Path(name), writers=[str(WRITER)])
        try:
            host.start()
            host.tree.chmod(0o777)  # behind the server's back: mode bits alone must not give access
            fill(host)
            yield host
        finally:
            host.close()


def snapshot(tree: Path) -> str:
    """Everything that a change would show in: names, modes, owners, sizes, times, links, contents."""
    listed = subprocess.run(
        ["find", tree, "-printf", "%P %m %U %G %s %T@ %C@ %n %l\n"],
        capture_output=True,
        text=True,
        check=True,
    )
    return listed.stdout + (tree / "f").read_text()


@pytest.mark.parametrize("user", [ROOT, OTHER], ids=["root", "another-user"])
@pytest.mark.parametrize("what", [*CHANGES, *OTHER_REFUSALS])
def test_others_are_refused_and_nothing_changes(held: SiloHost, user: int, what: str) -> None:
    code = CHANGES.get(what) or OTHER_REFUSALS[what][0]
    before = snapshot(held.tree)
    done = held.writer(user)(f"os.chdir(sys.argv[1]); attempt(lambda: {code})", str(held.mount))
    # chown and chmod of another's file are refused by the kernel before the file system is asked.
    refusals = {"EACCES\n"} | ({"EPERM\n"} if user == OTHER else set())
    assert done.stdout in refusals, done
    assert snapshot(held.tree) == before


@pytest.mark.parametrize("what", CHANGES)
def test_the_writer_may(make_silo: Callable[..., SiloHost], what: str) -> None:
    host = make_silo(writers=[str(WRITER)])
    fill(host)
    done = host.writer(WRITER)(
        f"os.chdir(sys.argv[1]); attempt(lambda: {CHANGES[what]})", str(host.mount)
    )
    assert done.stdout == "done\n", done


def test_others_may_read(held: SiloHost) -> None:
    done = held.writer(ROOT)("print(open(sys.argv[1]).read())", str(held.mount / "f"))
    assert done.stdout == "text\n"
    assert sorted(os.listdir(held.mount)) == ["d", "e", "f", "l"]


def test_several_writers(make_silo: Callable[..., SiloHost]) -> None:
    host = make_silo(writers=[str(WRITER), str(OTHER)])
    host.tree.chmod(0o777)
    for user in (WRITER, OTHER):
        done = host.writer(user)("open(sys.argv[1], 'x')", str(host.mount / str(user)))
        assert done.returncode == 0, done.stderr


def test_root_belongs_to_the_writer_and_the_store_to_root(
    make_silo: Callable[..., SiloHost],
) -> None:
    host = make_silo(writers=[str(WRITER)])
    assert (host.mount.stat().st_uid, host.mount.stat().st_mode & 0o777) == (WRITER, 0o750)
    assert (host.store.stat().st_uid, host.store.stat().st_mode & 0o777) == (0, 0o700)
    done = host.writer(WRITER)("attempt(os.listdir, sys.argv[1])", str(host.store))
    assert done.stdout == "EACCES\n"


def test_a_writer_by_name_and_one_that_the_host_does_not_have(disk_directory: Path) -> None:
    host = SiloHost(disk_directory, writers=["games"])
    try:
        host.start()
        assert host.mount.stat().st_uid == 5
    finally:
        host.close()
    unknown = SiloHost(disk_directory, writers=["nobody-of-that-name"])
    done = subprocess.run(unknown.argv, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert 'silo.writers: this host has no user "nobody-of-that-name"' in done.stderr
    assert "Traceback" not in done.stderr
    wait_for("no mount", lambda: not unknown.mounted)
