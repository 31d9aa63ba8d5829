"""Programs that are hard on a file system, on the silo: git, SQLite, rsync, tar, cp, and those who wait for changes."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.functional.silo_host import SiloHost, wait_for
from tests.lab import disk

ROWS = 150
WORKERS = 4


@pytest.fixture(autouse=True)
def _tools() -> None:
    packages = {
        "git": "git",
        "rsync": "rsync",
        "inotifywait": "inotify-tools",
        "tail": "coreutils",
    }
    for tool, package in packages.items():
        assert shutil.which(tool), f"{tool} is missing: apt-get install {package}"


@pytest.fixture
def silo_on_scratch(disk_directory: Path) -> Iterator[SiloHost]:
    """A silo whose store is a disk of its own: so many files are made and gone at once there, whatever else is removed."""
    image, scratch = disk_directory / "disk", disk_directory / "scratch"
    disk.make_scratch(image)
    disk.attach(image, scratch)
    host = SiloHost(disk_directory, store=scratch / "store")
    try:
        yield host.start()
    finally:
        host.close()
        run("umount", scratch)


def run(*argv: object, cwd: Path | None = None) -> str:
    done = subprocess.run([str(a) for a in argv], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done
    return done.stdout


def same(left: Path, right: Path, *flags: str) -> None:
    """rsync finds nothing to do: owners, modes, times, links, and with --checksum contents."""
    argv = ["rsync", "-aHn", "--delete", "--itemize-changes", *flags, f"{left}/", f"{right}/"]
    assert run(*argv) == ""


def make_repository(place: Path) -> Path:
    """A repository with a few hundred commits worth of objects, packed and loose."""
    author = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    run("git", "init", "-q", place)
    for i in range(20):
        for j in range(10):
            (place / f"d{j}").mkdir(exist_ok=True)
            (place / f"d{j}" / f"f{i}").write_text(f"{i} {j}\n" * 200)
        run("git", "add", "-A", cwd=place)
        run("git", *author, "commit", "-q", "-m", f"commit {i}", cwd=place)
        if i == 10:
            run("git", "gc", "-q", cwd=place)
    return place


def test_git_clone_and_work(silo: Path, tmp_path: Path) -> None:
    origin = make_repository(tmp_path / "origin")
    run("git", "clone", "-q", "--no-local", origin, silo / "clone")
    clone = silo / "clone"
    run("git", "fsck", "--full", "--strict", cwd=clone)
    run("git", "checkout", "-q", "HEAD~5", cwd=clone)
    run("git", "gc", "-q", "--aggressive", cwd=clone)
    run("git", "fsck", "--full", "--strict", cwd=clone)
    assert run("git", "status", "--porcelain", cwd=clone) == ""
    run("git", "clone", "-q", clone, silo / "hard-linked")
    assert run("git", "rev-parse", "HEAD", cwd=silo / "hard-linked") == run(
        "git", "rev-parse", "HEAD", cwd=clone
    )


WORKER = """
import sqlite3, sys
path, worker, rows = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
db = sqlite3.connect(path, timeout=60, isolation_level=None)
db.execute("pragma synchronous=normal")
for i in range(rows):
    db.execute("begin immediate")
    db.execute("insert into t values (?, ?, ?)", (worker, i, "x" * 500))
    (total,) = db.execute("select n from c").fetchone()
    db.execute("update c set n = ?", (total + 1,))
    db.execute("commit")
"""


@pytest.mark.parametrize("journal", ["wal", "delete", "truncate", "persist"])
def test_sqlite_under_load_of_several_processes(silo: Path, journal: str) -> None:
    path = silo / "db"
    with sqlite3.connect(path) as db:
        assert db.execute(f"pragma journal_mode={journal}").fetchone() == (journal,)
        db.execute("create table t (worker int, i int, text, primary key (worker, i))")
        db.execute("create table c (n int)")
        db.execute("insert into c values (0)")
    db.close()
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(path), str(i), str(ROWS)])
        for i in range(WORKERS)
    ]
    assert [worker.wait(120) for worker in workers] == [0] * WORKERS
    db = sqlite3.connect(path)
    try:
        assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert db.execute("select n from c").fetchone() == (WORKERS * ROWS,)
        assert db.execute("select count(*) from t").fetchone() == (WORKERS * ROWS,)
    finally:
        db.close()


def test_rsync_of_a_tree(silo_on_scratch: SiloHost) -> None:
    """A tenth of it is symbolic links."""
    silo = silo_on_scratch.mount / "zoneinfo"
    run("rsync", "-aH", "/usr/share/zoneinfo/", f"{silo}/")
    same(Path("/usr/share/zoneinfo"), silo, "--checksum")


def test_rsync_of_all_of_usr_share(silo_on_scratch: SiloHost) -> None:
    """The mount shows the same names, owners, modes and times; the store holds the same contents."""
    silo, store = silo_on_scratch.mount / "share", silo_on_scratch.tree / "share"
    run("rsync", "-aH", "/usr/share/", f"{silo}/")
    same(Path("/usr/share"), silo)
    same(Path("/usr/share"), store, "--checksum")


def test_tar_and_cp_make_the_same_tree(silo_on_scratch: SiloHost) -> None:
    silo, source = silo_on_scratch.mount, Path("/usr/share/perl")
    (silo / "tar").mkdir()
    with subprocess.Popen(
        ["tar", "-C", source, "-cSf", "-", "."], stdout=subprocess.PIPE
    ) as sender:
        subprocess.run(["tar", "-C", silo / "tar", "-xpf", "-"], stdin=sender.stdout, check=True)
    assert sender.returncode == 0
    run("cp", "-a", source, silo / "cp")
    same(source, silo / "tar", "--checksum")
    same(silo / "tar", silo / "cp", "--checksum")
    assert run("grep", "-rl", "package ", silo / "cp") != ""
    assert run("find", silo / "cp", "-name", "*.pl") != ""


def test_inotify_sees_changes_of_others(silo: Path) -> None:
    events = ["create", "modify", "close_write", "moved_to", "delete"]
    argv = ["inotifywait", "-mq", *(f"-e{e}" for e in events), "--format=%e %f", str(silo)]
    with subprocess.Popen(
        [*argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as waiting:
        assert waiting.stdout is not None
        try:
            watching = Path(f"/proc/{waiting.pid}/fdinfo")
            wait_for(
                "the watch", lambda: any("inotify wd" in f.read_text() for f in watching.iterdir())
            )
            code = "echo x > a; mv a b; rm b"
            subprocess.run(["sh", "-c", code], cwd=silo, check=True)
            seen = [waiting.stdout.readline().strip() for _ in range(5)]
        finally:
            waiting.terminate()
    assert seen == ["CREATE a", "MODIFY a", "CLOSE_WRITE,CLOSE a", "MOVED_TO b", "DELETE b"]


def test_tail_follows(silo: Path) -> None:
    (silo / "log").write_text("first\n")
    with subprocess.Popen(
        ["tail", "-n+1", "-f", silo / "log"], stdout=subprocess.PIPE, text=True
    ) as tail:
        assert tail.stdout is not None
        try:
            assert tail.stdout.readline() == "first\n"
            with (silo / "log").open("a") as log:
                log.write("second\n")
            assert tail.stdout.readline() == "second\n"
        finally:
            tail.terminate()


def test_many_writers_at_once(make_silo: Callable[..., SiloHost]) -> None:
    """Several processes, each replacing its own file durably; no reader sees half a file."""
    host = make_silo()
    code = (
        "import os, sys\n"
        "os.chdir(sys.argv[1])\n"
        "for i in range(100):\n"
        "    name = f'{sys.argv[2]}'\n"
        "    with open(name + '.new', 'w') as f:\n"
        "        f.write(str(i) * 2000); f.flush(); os.fsync(f.fileno())\n"
        "    os.rename(name + '.new', name)\n"
        "    text = open(name).read()\n"
        "    assert text == str(i) * 2000, len(text)\n"
    )
    workers = [
        subprocess.Popen([sys.executable, "-c", code, str(host.mount), str(i)]) for i in range(8)
    ]
    assert [worker.wait(120) for worker in workers] == [0] * 8
    assert sorted(os.listdir(host.tree)) == [str(i) for i in range(8)]


SLOW_DISK = """
import os, sys, threading, time
gate, real = sys.argv.pop(1), os.fsync
def slow(fd):
    if threading.current_thread() is not threading.main_thread():  # a client's, not the store's own
        open(gate + '.waiting', 'w').close()
        while not os.path.exists(gate):
            time.sleep(0.01)
    real(fd)
from tambourinefs.cli.main import main
os.fsync = slow
main()
"""


def test_slow_fsync_does_not_block_other_calls(
    make_silo: Callable[..., SiloHost], disk_directory: Path
) -> None:
    """The disk takes for ever to flush one file (a server whose fsync waits at a gate); all others go on."""
    gate = disk_directory / "gate"
    host = make_silo(program=[sys.executable, "-c", SLOW_DISK, str(gate)])
    (host.mount / "small").write_text("x")
    code = (
        "import os, sys; f = open(sys.argv[1], 'w'); f.write('y'); f.flush(); os.fsync(f.fileno())"
    )
    with subprocess.Popen([sys.executable, "-c", code, host.mount / "big"]) as flusher:
        wait_for("the fsync to begin", gate.with_name("gate.waiting").exists)
        for i in range(100):
            (host.mount / f"made-{i}").write_text("x")
            assert (host.mount / "small").read_text() == "x"
        assert len(os.listdir(host.mount)) == 102
        assert flusher.poll() is None, "it still waits"
        gate.touch()
    assert flusher.returncode == 0
