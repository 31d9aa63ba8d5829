"""What makes a host with Tambourine a matter of seconds, made once: an /opt/tambourine with all that the package needs,
the same with this tree's own package in it, a directory of wheels, and a disk to copy.

All lie in ~/.cache/tambourine-lab, keyed by what they are made of. The host itself is installed by `tambourine install`
from the wheels, as a person would do it without a network; where its /opt/tambourine holds that wheel already, as after
an installation that was interrupted, that step has nothing left to do.
"""

from __future__ import annotations

import configparser
import ctypes
import fcntl
import hashlib
import os
import pwd
import shutil
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.lab import disk, tree
from tests.lab.state import CHECKOUT
from tests.lab.tools import LabError, run, say

PYTHON: Final = "/usr/bin/python3"
PACKAGED: Final = (
    "setup.cfg",
    "setup.py",
    "pyproject.toml",
    "README.md",
    "tambourinefs",
    "systemd",
    "k8s",
    "kernel",
)
KEPT: Final = 5  # of what was made of former states of the tree, or of this machine
# /opt/tambourine/.installed of an environment that has all but our package (tambourinefs/install/environment.py).
MARK: Final = "deps\n"
CLONE_NEWNS: Final = 0x00020000  # linux/sched.h
# The step of `tambourine install` that takes most of its time.
ENSURE: Final = (
    "from pathlib import Path; from tambourinefs.install import environment, ledger, plan; "
    "changes = plan.Changes(ledger.Ledger(Path('/run/install.json'))); "
    "environment.ensure(plan.Options(wheelhouse=Path({house!r})), changes)"
)


@dataclass(frozen=True)
class Made:
    """What hosts are made of."""

    packages: Path  # goes over /opt/tambourine: all that the package needs
    package: Path  # goes over that: our package
    house: Path  # the wheels of both
    disk: Path  # an image to copy


def cache() -> Path:
    """The cache directory; of root's own home, whatever HOME says (sudo, tox)."""
    return Path(pwd.getpwuid(os.geteuid()).pw_dir, ".cache/tambourine-lab")


def prepared() -> Made:
    """Made where it is missing."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        key = _digest_of_requirements()
        wheels = _once(cache() / f"wheels-{key}", _make_wheels)
        builder = _once(cache() / f"builder-{key}", _make_builder)
        packages = _once(cache() / f"packages-{key}", lambda target: _make_layer(target, wheels))
        state = f"{key}-{_digest_of_tree()}"
        house = _once(
            cache() / f"house-{state}", lambda target: _make_house(target, wheels, builder)
        )
        package = _once(
            cache() / f"package-{state}", lambda target: _make_package(target, packages, house)
        )
        image = _once(cache() / f"disk-{tree.digest_of_machine()}", _make_disk)
        for kept in (house, package, image):
            os.utime(kept)
            _forget_old(f"{kept.name.partition('-')[0]}-*")
        return Made(packages, package / "upper", house, image / "disk.img")


def python() -> Path:
    """An interpreter that has what a host of the lab has, but for this tree's own package."""
    return prepared().packages / "bin/python"


def _once(target: Path, make: Callable[[Path], None]) -> Path:
    """Make a directory whole or not at all."""
    if not target.exists():
        new = target.with_name(f".{target.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        make(new)
        new.rename(target)
    return target


def _forget_old(pattern: str) -> None:
    # A host that runs has its own mount of what it uses; an hour is more than a boot takes.
    found = sorted(cache().glob(pattern), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in found[KEPT:]:
        if time.time() - path.stat().st_mtime > 3600:
            shutil.rmtree(path, ignore_errors=True)


def requirements() -> list[str]:
    """What setup.cfg says that a node of a cluster needs."""
    parser = configparser.ConfigParser(inline_comment_prefixes=("#",))
    parser.read(CHECKOUT / "setup.cfg")
    extras = parser["options.extras_require"]
    lines = "\n".join((parser["options"]["install_requires"], extras["node"], extras["cluster"]))
    return [line.strip() for line in lines.splitlines() if line.strip()]


def _build_requirements() -> list[str]:
    return list(
        tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["build-system"]["requires"]
    )


def _digest_of_requirements() -> str:
    python = run(PYTHON, "-VV").stdout
    text = "\n".join([python, os.uname().machine, *requirements(), *_build_requirements()])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _packaged() -> Iterator[Path]:
    for name in PACKAGED:
        path = CHECKOUT / name
        files = [path] if path.is_file() else sorted(path.rglob("*"))
        yield from (file for file in files if file.is_file() and "__pycache__" not in file.parts)


def _digest_of_tree() -> str:
    found = hashlib.sha256()
    for file in _packaged():
        found.update(f"{file.relative_to(CHECKOUT)}\0".encode())
        found.update(hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()[:12]


def _pip(python: Path, *argv: str) -> None:
    run(str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", *argv)


def _make_wheels(target: Path) -> None:
    say("lab: building the Python packages that a host needs (once, some minutes)")
    with tempfile.TemporaryDirectory() as directory:
        run(PYTHON, "-m", "venv", directory)
        python = Path(directory, "bin/python")
        _pip(python, "install", "--quiet", "wheel", "setuptools")
        _pip(python, "wheel", "--quiet", f"--wheel-dir={target}", *requirements())


def _make_builder(target: Path) -> None:
    say("lab: an environment that builds this tree's wheel (once)")
    final = target.with_name(target.name[1:].removesuffix(".new"))
    with _private_mounts():
        final.mkdir()
        run("mount", "--bind", str(target), str(final))
        run(PYTHON, "-m", "venv", str(final))
        _pip(final / "bin/python", "install", "--quiet", *_build_requirements())
    final.rmdir()


def _make_layer(target: Path, wheels: Path) -> None:
    say("lab: an /opt/tambourine with all of it (once)")
    with _at(target, Path(tree.PREFIX)) as prefix:
        run(PYTHON, "-m", "venv", str(prefix))
        python = prefix / "bin/python"
        _pip(python, "install", "--quiet", "--no-index", f"--find-links={wheels}", *requirements())
        # As on a host: setuptools would add a line to what each Python runs at its start.
        _pip(python, "uninstall", "--quiet", "--yes", "setuptools", "pip")
        (prefix / ".installed").write_text(MARK)


@contextmanager
def _at(target: Path, place: Path) -> Iterator[Path]:
    """Work on `target` as if it lay at `place`, for things that remember their path, as a venv does."""
    with _private_mounts():
        # A place that this machine lacks appears on a directory that only we see.
        parent = place.parent
        if not place.exists():
            run("mount", "-t", "tmpfs", "tambourine-lab", str(parent))
            place.mkdir()
        run("mount", "--bind", str(target), str(place))
        yield place


def _make_package(target: Path, packages: Path, house: Path) -> None:
    """What `tambourine install` writes to an /opt/tambourine that has the rest, as an overlay's upper directory."""
    say("lab: this tree's package (once for each state of the tree)")
    for name in ("upper", "work"):
        (target / name).mkdir()
    with _at(packages, Path(tree.PREFIX)) as prefix:
        options = f"lowerdir={packages},upperdir={target}/upper,workdir={target}/work"
        run("mount", "-t", "overlay", "-o", options, "tambourine-lab", str(prefix))
        run("mount", "-t", "tmpfs", "tambourine-lab", "/run")  # it notes there what it has changed
        ensure = ENSURE.format(house=str(house))
        run("env", f"PYTHONPATH={CHECKOUT}", "PYTHONDONTWRITEBYTECODE=1", PYTHON, "-c", ensure)


def _make_disk(target: Path) -> None:
    say("lab: a disk for hosts (once for each state of this machine's /etc and packages)")
    stage = target / "stage"
    tree.stage(stage)
    disk.make(target / "disk.img", stage)
    shutil.rmtree(stage)


def _make_house(target: Path, wheels: Path, builder: Path) -> None:
    for wheel in wheels.iterdir():
        os.link(wheel, target / wheel.name)
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory)
        for file in _packaged():
            to = copy / file.relative_to(CHECKOUT)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, to)
        wheel_options = ("--quiet", "--no-deps", "--no-build-isolation", f"--wheel-dir={target}")
        _pip(builder / "bin/python", "wheel", *wheel_options, directory)
    if not list(target.glob("tambourinefs-*.whl")):
        raise LabError("building this tree made no wheel")


@contextmanager
def _private_mounts() -> Iterator[None]:
    """Inside, mounts are this thread's and its children's alone, and gone afterwards (unshare(2), setns(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    directory = Path.cwd()
    try:
        if libc.unshare(CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        run("mount", "--make-rprivate", "/")
        yield
    finally:
        if libc.setns(before, CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        os.close(before)
        os.chdir(directory)
