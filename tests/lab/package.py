"""The Debian packages of this tree, built once for each state of it by what `make deb` runs."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.lab import layer
from tests.lab.state import CHECKOUT
from tests.lab.tools import run, say

KEPT: Final = 3


def packages() -> Path:
    """A directory with tambourine_*.deb and tambourine-dkms_*.deb of this tree."""
    house = layer.prepared().house
    with (layer.cache() / "lock-deb").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        target = layer.cache() / f"deb-{_digest(house)}"
        if not target.exists():
            say("lab: building the Debian packages (once for each state of the tree)")
            new = target.with_name(f".{target.name}.new")
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir()
            environment = [f"OUT={new}", f"TAMBOURINE_WHEELHOUSE={house}", "QUICK=1"]
            run("env", *environment, str(CHECKOUT / "debian/build"))
            new.rename(target)
        os.utime(target)
        _forget_old()
        return target


def _digest(house: Path) -> str:
    found = hashlib.sha256(house.name.encode())
    for name in ("debian", "kernel"):
        for file in sorted((CHECKOUT / name).rglob("*")) or [CHECKOUT / name]:
            if file.is_file():
                found.update(f"{file.relative_to(CHECKOUT)}\0".encode())
                found.update(file.read_bytes())
    return found.hexdigest()[:12]


def _forget_old() -> None:
    found = sorted(layer.cache().glob("deb-*"), key=lambda p: p.stat().st_mtime, reverse=True)
    for path in found[KEPT:]:
        shutil.rmtree(path, ignore_errors=True)


def without_others(deb: Path, to: Path) -> Path:
    """The same package without what other people wrote (9 of 10 files), for lintian, which would look at it for a minute."""
    with _opened(deb) as tree:
        (packages,) = tree.glob("opt/tambourine/lib/python3.*/site-packages")
        for path in packages.iterdir():
            if not path.name.startswith("tambourinefs"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        sums = tree / "DEBIAN/md5sums"
        kept = [line for line in sums.read_text().splitlines() if (tree / line[34:]).exists()]
        sums.write_text("".join(f"{line}\n" for line in kept))
        return _closed(tree, to / deb.name)


def as_version(deb: Path, version: str, to: Path) -> Path:
    """The same package as another version: its number is changed where the program and dpkg read it."""
    with _opened(deb) as tree:
        control = tree / "DEBIAN/control"
        text = control.read_text()
        old = next(
            line.partition(": ")[2] for line in text.splitlines() if line.startswith("Version:")
        )
        control.write_text(text.replace(f"Version: {old}", f"Version: {version}", 1))
        (tree / "DEBIAN/md5sums").unlink(missing_ok=True)
        (package,) = tree.glob("opt/tambourine/lib/python3.*/site-packages/tambourinefs")
        source = package / "__init__.py"
        source.write_text(source.read_text().replace(f'"{old}"', f'"{version}"'))
        for compiled in package.glob("__pycache__/__init__.*"):
            compiled.unlink()
        (tree / "opt/tambourine/share/tambourine/packaged").write_text(f"{version}\n")
        # To compress and unpack it would take seconds each, and it is used here only.
        return _closed(tree, to / f"tambourine_{version}.deb", "-Znone")


@contextmanager
def _opened(deb: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory, "tree")
        run("dpkg-deb", "--raw-extract", str(deb), str(tree))
        yield tree


def _closed(tree: Path, deb: Path, *compression: str) -> Path:
    run(
        "dpkg-deb",
        *(compression or ("-Zgzip", "-z1")),
        "--root-owner-group",
        "--build",
        str(tree),
        str(deb),
    )
    return deb
