"""The silo beside the bare store and beside a C FUSE file system (bindfs) on the same disk."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figures import Claim, Row, figure
from tests.bench.rivals import need

REPLACES = 200
ROUNDS = 3
SIZE = 1 << 30
CHUNK = 1 << 20
BESIDE = Path("/var/tmp")  # on a disk, where a tmpfs would make fsync free


def replace(directory: Path, data: bytes) -> float:
    """Seconds of one durable replace: write beside, fsync, rename, fsync the directory."""
    begin = time.perf_counter()
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    fd = os.open("new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644, dir_fd=folder)
    os.write(fd, data)
    os.fsync(fd)
    os.close(fd)
    os.rename("new", "file", src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)
    os.close(folder)
    return time.perf_counter() - begin


def sequential(directory: Path) -> tuple[float, float]:
    """MiB/s of writing 1 GiB (with its fsync) and of reading it back, not from the cache."""
    data = os.urandom(CHUNK)
    path = directory / "big"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    begin = time.perf_counter()
    for _ in range(SIZE // CHUNK):
        os.write(fd, data)
    os.fsync(fd)
    written = time.perf_counter() - begin
    os.close(fd)
    forget_cache()
    fd = os.open(path, os.O_RDONLY)
    begin = time.perf_counter()
    while os.read(fd, CHUNK):
        pass
    read = time.perf_counter() - begin
    os.close(fd)
    path.unlink()
    return SIZE / CHUNK / written, SIZE / CHUNK / read


def forget_cache() -> None:
    """Both the mount's pages and the store's: proc(5), drop_caches."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3\n")


@contextlib.contextmanager
def served(command: list[str], mountpoint: Path) -> Iterator[Path]:
    mountpoint.mkdir()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 20
        while not os.path.ismount(mountpoint):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise SystemExit(f"{' '.join(command)}: {process.communicate()[1]}")
            time.sleep(0.01)
        yield mountpoint
    finally:
        process.terminate()
        process.communicate(timeout=30)
        if os.path.ismount(mountpoint):
            subprocess.run(["umount", "-l", str(mountpoint)], check=False)


def measure() -> Row:
    bindfs = need("bindfs", "bindfs")
    with tempfile.TemporaryDirectory(dir=BESIDE, prefix="tambourine-bench-") as base:
        store, bare, rival = (Path(base, name) for name in ("store", "bare", "rival"))
        for directory in (store, bare, rival):
            directory.mkdir(mode=0o700)
        ours = [sys.executable, "-m", "tambourinefs.cli.main", "silo", "--foreground"]
        ours += ["--store", str(store), "--mountpoint", f"{base}/silo", "--writers", "any"]
        ours += ["--quota-bytes", "none", "--log-level", "warning"]
        theirs = [bindfs, "-f", str(rival), f"{base}/bindfs"]
        with served(ours, Path(base, "silo")) as silo, served(theirs, Path(base, "bindfs")) as c:
            return compare(silo, bare, c)


def compare(silo: Path, bare: Path, c: Path) -> Row:
    places = {"silo": silo, "store": bare, "bindfs": c}
    data = os.urandom(2048)
    replaces: dict[str, list[float]] = {name: [] for name in places}
    for _ in range(REPLACES):  # in turns, so that variations of the disk affect all
        for name, directory in places.items():
            replaces[name].append(replace(directory, data))
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in places}
    for _ in range(ROUNDS):
        for name, directory in places.items():
            rates[name].append(sequential(directory))
    small = {name: figure(f"replace on {name}", taken) for name, taken in replaces.items()}
    write = {n: figure(f"write {n}", [r[0] for r in taken], "MiB/s") for n, taken in rates.items()}
    read = {n: figure(f"read {n}", [r[1] for r in taken], "MiB/s") for n, taken in rates.items()}
    over = (small["silo"].median - small["store"].median) * 1e3
    return Row(
        "silo",
        "silo: durable replace of 2 KiB; 1 GiB sequential",
        (*small.values(), *write.values(), *read.values()),
        (
            Claim("replace: ms over the bare store, p50", over, 1.5, at_least=False),
            Claim(
                "write: times bindfs (C)",
                write["silo"].median / write["bindfs"].median,
                0.9,
                at_least=True,
            ),
            Claim(
                "read: times bindfs (C)",
                read["silo"].median / read["bindfs"].median,
                0.9,
                at_least=True,
            ),
        ),
    )
