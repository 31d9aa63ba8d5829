"""What fsync answered survives a power cut: files by fsync, names by fsync of their directory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tambourinefs import files
from tests.functional.loop_disk import LoopDisk
from tests.functional.silo_host import SiloHost

OLD, NEW = b"old" * 700, b"new" * 700


def after_power_cut(host: SiloHost, disk: LoopDisk) -> Path:
    """Cut the power, end the server, boot again; where the store's tree is then."""
    disk.cut_power()
    host.kill()
    host.close()
    disk.unmount()
    disk.mount()
    return host.tree


def synced(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def start(make_silo: Callable[..., SiloHost], disk: LoopDisk) -> SiloHost:
    host = make_silo(store=disk.mount() / "store")
    disk.flush()  # the empty store is not what these tests are about
    return host


def test_unflushed_data_is_lost(make_silo: Callable[..., SiloHost], loop_disk: LoopDisk) -> None:
    """The fault that the others stand happens here. (Another process's sync(2) may save the file: then again.)"""
    host = start(make_silo, loop_disk)
    for i in range(10):
        (host.mount / f"f{i}").write_bytes(NEW)
        if not (after_power_cut(host, loop_disk) / f"f{i}").exists():
            return
        host.start()
    raise AssertionError("ten power cuts lost nothing")


def test_fsync_of_a_file_keeps_its_content(
    make_silo: Callable[..., SiloHost], loop_disk: LoopDisk
) -> None:
    """Fails without the fsync handler's fsync."""
    host = start(make_silo, loop_disk)
    (host.mount / "f").write_bytes(OLD)
    loop_disk.flush()
    with (host.mount / "f").open("r+b") as f:
        f.write(NEW)
        f.flush()
        os.fsync(f.fileno())
    assert (after_power_cut(host, loop_disk) / "f").read_bytes() == NEW


def test_fdatasync_of_a_file_keeps_its_content_and_size(
    make_silo: Callable[..., SiloHost], loop_disk: LoopDisk
) -> None:
    """Fails without the fsync handler's fdatasync."""
    host = start(make_silo, loop_disk)
    (host.mount / "f").write_bytes(b"")
    loop_disk.flush()
    with (host.mount / "f").open("r+b") as f:
        f.write(NEW)
        f.flush()
        os.fdatasync(f.fileno())
    assert (after_power_cut(host, loop_disk) / "f").read_bytes() == NEW


def test_fsync_of_a_directory_keeps_its_names(
    make_silo: Callable[..., SiloHost], loop_disk: LoopDisk
) -> None:
    """Fails without the fsyncdir handler's fsync."""
    host = start(make_silo, loop_disk)
    (host.mount / "old").write_bytes(OLD)
    (host.mount / "gone").write_bytes(OLD)
    loop_disk.flush()
    (host.mount / "old").rename(host.mount / "renamed")
    (host.mount / "gone").unlink()
    (host.mount / "made").mkdir()
    synced(host.mount)
    assert sorted(os.listdir(after_power_cut(host, loop_disk))) == ["made", "renamed"]


def test_a_durable_replace_is_the_new_file_and_nothing_else(
    make_silo: Callable[..., SiloHost], loop_disk: LoopDisk
) -> None:
    """The way Bombshell writes: temporary file, fsync, rename, fsync of the directory."""
    host = start(make_silo, loop_disk)
    directory = os.open(host.mount, os.O_RDONLY)
    try:
        files.replace_durably(directory, "f", OLD, mode=0o644)
        files.replace_durably(directory, "f", NEW, mode=0o640)
    finally:
        os.close(directory)
    tree = after_power_cut(host, loop_disk)
    assert os.listdir(tree) == ["f"]
    assert (tree / "f").read_bytes() == NEW
    assert (tree / "f").stat().st_mode & 0o777 == 0o640


def test_a_synchronous_write_needs_no_fsync(
    make_silo: Callable[..., SiloHost], loop_disk: LoopDisk
) -> None:
    """Twice so: the flag goes to the store, and this kernel asks for an fsync as well. Fails without both."""
    host = start(make_silo, loop_disk)
    (host.mount / "f").write_bytes(OLD)
    loop_disk.flush()
    fd = os.open(host.mount / "f", os.O_WRONLY | os.O_SYNC)
    try:
        os.write(fd, NEW)
    finally:
        os.close(fd)
    assert (after_power_cut(host, loop_disk) / "f").read_bytes() == NEW


def test_a_mapping_flushed_by_msync_is_kept(
    make_silo: Callable[..., SiloHost], loop_disk: LoopDisk
) -> None:
    import mmap

    host = start(make_silo, loop_disk)
    (host.mount / "f").write_bytes(OLD)
    loop_disk.flush()
    with (host.mount / "f").open("r+b") as f, mmap.mmap(f.fileno(), 0) as mapped:
        mapped[:] = NEW
        mapped.flush()
    assert (after_power_cut(host, loop_disk) / "f").read_bytes() == NEW


def test_a_new_store_keeps_its_uuid(
    make_silo: Callable[..., SiloHost], loop_disk: LoopDisk
) -> None:
    """It lost power right after it first served: the UUID that others saw is the store's."""
    store = loop_disk.mount() / "store"
    store.mkdir(mode=0o700)
    loop_disk.flush()
    host = make_silo(store=store)
    shown = (host.mount / ".tambourine-silo").read_text()
    after_power_cut(host, loop_disk)
    assert (store / "uuid").read_text() == shown
    assert (store / "tree").is_dir()
