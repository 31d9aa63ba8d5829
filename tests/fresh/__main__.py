"""`python3 -m tests.fresh [RELEASE]`: bootstrap, lint, unit, functional and demo-node on a bare Debian."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.fresh import settings
from tests.lab.layer import cache
from tests.lab.state import CHECKOUT
from tests.lab.tools import LabError, run, say
from tests.machine import image, place, recipe

# What is there before the README's first command: a clone needs git, `make` needs make.
PACKAGES: Final = ("ca-certificates", "git", "make")
STEPS: Final = ("bootstrap", "lint", "unit", "functional", "demo-node")
SOURCE: Final = "/root/tambourine"


def main(release: str) -> int:
    """The exit status: 0 when every step succeeds."""
    began = time.monotonic()
    if os.geteuid() != 0:
        raise LabError("a container needs root: make test-fresh")
    base = _base(release)
    above = place.MEMORY if place.roomy() else place.DISK
    failed = ""
    with tempfile.TemporaryDirectory(prefix="tambourine-fresh-", dir=above) as directory:
        root = Path(directory, "root")
        say(f"fresh: a copy of {base.name}, and a clone of HEAD in it")
        run("cp", "--archive", "--reflink=auto", str(base), str(root))
        _clone(root)
        _give_network(root)
        for step in STEPS:
            failed = failed or ("" if _succeeds(step, root) else step)
            if failed:
                break
    say(f"fresh: {release}: {_seconds(began)} in all")
    if failed:
        say(f"fresh: make {failed} failed on a Debian {release} that has nothing yet")
    return 1 if failed else 0


def _succeeds(step: str, root: Path) -> bool:
    began = time.monotonic()
    say(f"fresh: make {step} …")
    with _running(root, ["make", "--directory", SOURCE, step]) as process:
        status = process.wait()
    say(f"fresh: make {step}: {_seconds(began)}" + (f", status {status}" if status else ""))
    return status == 0


def _base(release: str) -> Path:
    """The root of a bare Debian; made once for each change of what it is made of."""
    sources = image.debian_sources(release, "main")
    content = "\n".join([release, *sources, *PACKAGES])
    key = hashlib.sha256(content.encode()).hexdigest()[:12]
    final = cache() / f"fresh-{release}-{key}"
    if final.is_dir():
        return final
    began = time.monotonic()
    say(f"fresh: making a bare Debian {release} in {cache()} (once)")
    new = final.with_name(f".{final.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    cache().mkdir(parents=True, exist_ok=True)
    run(
        *("unshare", "--mount", "--propagation", "private", "--", "mmdebstrap"),
        "--mode=root",
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        "--aptopt=APT::Install-Recommends false",
        release,
        str(new),
        *sources,
    )
    new.rename(final)
    say(f"fresh: made in {_seconds(began)}")
    return final


def _clone(root: Path) -> None:
    """What is committed, as somebody else gets it."""
    target = f"{root}{SOURCE}"
    run("git", "clone", "--quiet", "--no-hardlinks", "--single-branch", str(CHECKOUT), target)


def _give_network(root: Path) -> None:
    """apt's and pip's settings, and the authorities that this machine trusts beside Debian's."""
    apt = settings.apt(run("apt-config", "dump").stdout)
    (root / "etc/apt/apt.conf.d/90network").write_text(apt)
    for path in map(Path, settings.FILES):
        if path.exists():
            run("cp", "--archive", "--no-target-directory", str(path), f"{root}{path}")
    run("chroot", str(root), "update-ca-certificates")


@contextmanager
def _running(root: Path, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """The command in a container, with this machine's network, kernel interfaces and devices."""
    found = [path for path in settings.wheel_directories(os.environ) if Path(path).exists()]
    given = settings.environment(os.environ)
    process = subprocess.Popen(
        [
            *("setpriv", "--pdeathsig", "TERM", "--"),
            *("systemd-nspawn", "--quiet", "--directory", str(root), "--as-pid2"),
            *("--register=no", "--keep-unit", "--capability=all", "--resolv-conf=replace-host"),
            *("--system-call-filter=bpf", "--machine=tambourine-fresh", "--console=pipe"),
            "--bind=/dev/fuse",
            *(f"--bind={device}" for device in sorted(Path("/dev").glob("loop*"))),
            *(f"--bind-ro={path}" for path in found),
            *(f"--setenv={name}={value}" for name, value in given.items()),
            *("--setenv=LC_ALL=C.UTF-8", "--setenv=HOME=/root"),
            *command,
        ],
        stdin=subprocess.DEVNULL,
        env={**os.environ, "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "1"},
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _seconds(began: float) -> str:
    return f"{time.monotonic() - began:.0f} s"


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else recipe.RELEASE))
    except LabError as error:
        sys.exit(f"error: {error}")
