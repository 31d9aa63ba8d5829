"""The disk image of a whole Debian machine: built once from apt's own sources, kept outside the tree.

It lies in ~/.cache/tambourine-lab/machine-KEY: disk.ext4 (sparse), vmlinuz, initrd.img, and the key that enters it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.lab.layer import cache
from tests.lab.tools import LabError, say, which
from tests.machine import place, recipe

POPULATE: Final = Path(__file__).with_name("populate")
IN_MEMORY: Final = "5g"  # what the packages and the build of ZFS need at most
INDEXES: Final = "$(REPO_URI) $(RELEASE) $(LABEL)"


@dataclass(frozen=True)
class Image:
    """A finished image; it is read-only, machines run on overlays."""

    directory: Path

    @property
    def disk(self) -> Path:
        return self.directory / "disk.ext4"

    @property
    def kernel(self) -> Path:
        return self.directory / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.directory / "initrd.img"

    @property
    def identity(self) -> Path:
        """The private key that root of the machine lets in."""
        return self.directory / "identity"


def image() -> Image:
    """The image; built where it is missing: about ten minutes on two cores, most of it the ZFS module.

    Raises LabError with the end of the log when that fails.
    """
    sources = debian_sources()
    found = Image(cache() / f"machine-{recipe.key(sources)}")
    if found.directory.is_dir():
        return found
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "machine.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.directory.is_dir():
            _build(found, sources)
    return found


def debian_sources(release: str = recipe.RELEASE, components: str = recipe.COMPONENTS) -> list[str]:
    """Where this machine's own packages come from; a machine whose lists were cleared fetches them first."""
    asked = ["apt-get", "indextargets", "--format", INDEXES, "Created-By: Packages"]
    for last in (False, True):
        done = subprocess.run(asked, capture_output=True, text=True, check=True)
        try:
            return recipe.sources(done.stdout, release, components)
        except ValueError as error:
            if last:
                raise LabError(f"the machine's image: {error}") from error
        say("machine: apt has no lists of packages: apt-get update …")
        subprocess.run(["apt-get", "update", "-q"], capture_output=True, stdin=subprocess.DEVNULL)
    raise AssertionError("the loop returns or raises")


def _build(final: Image, sources: list[str]) -> None:
    if os.geteuid() != 0:
        raise LabError("building the machine's image needs root: make test-machine")
    began = time.monotonic()
    say(f"machine: building its disk image in {final.directory.parent} (once, about ten minutes)")
    new = Image(final.directory.with_name(f".{final.directory.name}.new"))
    shutil.rmtree(new.directory, ignore_errors=True)
    new.directory.mkdir(mode=0o700)
    log = new.directory / "log"
    root = new.directory / "root"
    with _step("a key to enter it", log):
        _run(
            log,
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            "machine",
            "-f",
            str(new.identity),
        )
    with _step("Debian's packages, ZFS built for its kernel, SELinux labels, file system", log):
        _populate(log, new, sources)
    shutil.rmtree(root)
    new.directory.rename(final.directory)
    used = final.disk.stat().st_blocks * 512 / 2**30
    say(f"machine: the image is {used:.1f} GiB, made in {time.monotonic() - began:.0f} s")


def _populate(log: Path, new: Image, sources: list[str]) -> None:
    key = new.identity.with_suffix(".pub").read_text().strip()
    root = new.directory / "root"
    _run(
        log,
        *("unshare", "--mount", "--propagation", "private", "--", "/bin/sh", str(POPULATE)),
        *(IN_MEMORY if place.roomy() else "", str(root), str(new.directory), recipe.SIZE),
        *("mmdebstrap", "--mode=root", "--variant=minbase"),
        f"--include={','.join(recipe.PACKAGES)}",
        "--aptopt=APT::Install-Recommends false",
        f"--customize-hook=copy-in {recipe.FURNISH} /",
        f'--customize-hook=chroot "$1" /bin/sh /furnish "{key}"',
        '--customize-hook=rm "$1/furnish"',
        recipe.RELEASE,
        str(root),
        *sources,
    )


def _run(log: Path, *argv: str) -> None:
    program = which(argv[0])
    if program is None:
        raise LabError(f"{argv[0]} is missing: run tests/machine/bootstrap")
    setpriv = which("setpriv") or "setpriv"  # it ends with us
    with log.open("ab") as output:
        done = subprocess.run(
            [setpriv, "--pdeathsig", "KILL", "--", program, *argv[1:]],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
        )
    if done.returncode != 0:
        end = log.read_text(errors="replace")[-3000:]
        raise LabError(f"{argv[0]} exited {done.returncode}; the log, {log}, ends:\n{end}")


@contextmanager
def _step(what: str, log: Path) -> Iterator[None]:
    began = time.monotonic()
    say(f"machine:   {what} …  (tail -f {log})")
    yield
    say(f"machine:   {time.monotonic() - began:.0f} s")
