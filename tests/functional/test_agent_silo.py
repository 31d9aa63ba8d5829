"""The agent's scan of a real silo: what is read counts only when it is the mount that is there before and after."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tambourinefs.agent.silo.scan import Silo, SiloUnavailable
from tests.fakes.agent import AcceptsAny
from tests.functional.silo_host import SiloHost

Make = Callable[..., SiloHost]


def with_service(host: SiloHost) -> SiloHost:
    directory = host.mount / "local/x"
    directory.mkdir(parents=True)
    (directory / "tambourine.json").write_text("{}")
    return host


def mount_amid_the_scan(patched: pytest.MonkeyPatch, silo: Silo, *how: str | Path) -> None:
    """Mounts something over the silo when the scan has its descriptor and reads the first manifest."""
    read = Silo._read
    swapped: list[object] = []

    def swap(self: Silo, *args: object) -> object:
        if not swapped:
            swapped.append(subprocess.run(["mount", *how, silo.path], check=True))
        return read(self, *args)  # type: ignore[arg-type]

    patched.setattr(Silo, "_read", swap)


@pytest.mark.parametrize("over", ["another mount of the same store", "tmpfs"])
def test_a_silo_that_is_mounted_over_amid_a_scan_was_not_read(
    make_silo: Make, monkeypatch: pytest.MonkeyPatch, over: str
) -> None:
    host = with_service(make_silo())
    silo = Silo(host.mount, AcceptsAny())
    before = silo.scan()
    assert set(before.entries) == {("local", "x")}
    if over == "tmpfs":
        how: tuple[str | Path, ...] = ("-t", "tmpfs", "over")
        says = "is not mounted"
    else:
        how = ("--bind", host.mount)  # the same files and UUID, by another mount
        says = "was mounted again while it was read"
    mount_amid_the_scan(monkeypatch, silo, *how)
    try:
        with pytest.raises(SiloUnavailable, match=says):
            silo.scan()
    finally:
        subprocess.run(["umount", host.mount], check=True)
    after = silo.scan()
    assert (after.entries, after.changed) == (before.entries, frozenset())


def test_a_server_that_is_replaced_amid_a_scan_was_not_read(
    make_silo: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = with_service(make_silo())
    silo = Silo(host.mount, AcceptsAny())
    silo.scan()
    listed = Silo._list

    def replace(self: Silo, root: int) -> object:
        keys = listed(self, root)
        host.kill()
        host.start()
        return keys

    with monkeypatch.context() as patched:
        patched.setattr(Silo, "_list", replace)
        with pytest.raises(SiloUnavailable, match=r"endpoint|aborted|mounted anew"):
            silo.scan()
    assert set(silo.scan().entries) == {("local", "x")}
