"""A disk below the silo that is full or read-only: said up the whole chain to the person, and what was there stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.functional.cli_chain import chain
from tests.functional.loop_disk import LoopDisk
from tests.functional.silo_host import SiloHost
from tests.functional.test_agent_full_disk import full
from tests.functional.test_cli import HELLO

Make = Callable[..., SiloHost]
EDITED = HELLO.replace("infinity", "60")


def test_a_person_is_told_that_the_disk_is_full(
    tmp_path: Path, make_silo: Make, loop_disk: LoopDisk
) -> None:
    silo = make_silo(store=loop_disk.mount() / "store")
    with chain(tmp_path, silo.mount) as host:
        assert host.run("apply", "-f", "-", stdin=HELLO).returncode == 0
        before = (silo.mount / "local/hello/tambourine.json").read_bytes()
        with full(loop_disk) as why:
            done = host.run("apply", "-f", "-", stdin=EDITED)
            assert (done.returncode, done.stdout) == (1, ""), done.stderr
            error, hint = done.stderr.splitlines()
            assert error.startswith("error: ")
            assert error.endswith(f"silo:/local/hello/tambourine.json: {why}")
            assert hint == "hint: To see what is full, on the host: tambourine doctor"
            assert (silo.mount / "local/hello/tambourine.json").read_bytes() == before
        assert host.run("apply", "-f", "-", stdin=EDITED).returncode == 0
    silo.stop()


def test_a_person_is_told_that_the_disk_is_read_only(
    tmp_path: Path, make_silo: Make, loop_disk: LoopDisk
) -> None:
    silo = make_silo(store=loop_disk.mount() / "store")
    with chain(tmp_path, silo.mount) as host:
        assert host.run("apply", "-f", "-", stdin=HELLO).returncode == 0
        loop_disk.remount("ro")
        for command in (("apply", "-f", "-"), ("delete", "hello")):
            done = host.run(*command, stdin=EDITED)
            assert done.returncode == 1, done.stderr  # 3 would be the host's policy
            assert "Read-only file system" in done.stderr
            assert "hint: The disk is mounted read-only" in done.stderr
        assert host.manifest().metadata.generation == 1
        assert host.run("get").stdout.splitlines()[1].startswith("hello ")
        loop_disk.remount("rw")
        assert host.run("apply", "-f", "-", stdin=EDITED).returncode == 0
    silo.stop()
