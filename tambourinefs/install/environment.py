"""The private Python environment, /opt/tambourine: a venv of the system's python3 with the package and what it needs."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tambourinefs import __version__
from tambourinefs.errors import HostError
from tambourinefs.install.place import put
from tambourinefs.install.plan import Changes, Options
from tambourinefs.install.programs import run, succeeds
from tambourinefs.model import paths

EXTRAS: Final = "node,cluster"  # of setup.cfg
PYTHON: Final = "/usr/bin/python3"
PREFIX: Final = Path(paths.PREFIX)
# Holds the digest of what is installed, "deps" in an environment that has all but our package, and is missing while
# the environment is being changed: what an interrupted installation leaves is made anew.
MARK: Final = PREFIX / ".installed"
_NOT_THE_PACKAGE: Final = (
    ".git", ".tox", ".venv", ".lab", "*.egg-info", "__pycache__", ".*_cache", "build", "dist", "tests", "docs",
)  # fmt: skip


def source_tree() -> Path | None:
    """The source tree that this module itself lies in, or None where it is installed."""
    tree = Path(__file__).resolve().parents[2]
    return tree if (tree / "setup.cfg").is_file() and (tree / "proto").is_dir() else None


def ensure(options: Options, changes: Changes) -> str:
    """Make the environment hold what `options` say, and return what was done.

    Raises HostError.
    """
    wanted = _digest(options)
    found = MARK.read_text().strip() if MARK.is_file() else None
    if wanted is not None and found == wanted:
        return ""
    changes.note()
    if found is None:
        # --clear: whatever is there is half of something.
        run(PYTHON, "-m", "venv", "--clear", str(PREFIX))
    MARK.unlink(missing_ok=True)
    _pip_install(options, keep_dependencies=found is not None)
    put(MARK, f"{wanted or 'unknown'}\n".encode(), changes)
    return f"made {PREFIX}" if found is None else f"brought {PREFIX} up to date"


def _pip_install(options: Options, *, keep_dependencies: bool) -> None:
    pip = [
        str(PREFIX / "bin/python"),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
    ]
    if options.wheelhouse is not None:
        pip += ["--no-index", f"--find-links={options.wheelhouse}"]
    with _requirement(options) as requirement:
        if keep_dependencies:
            # Our package whole and anew, whatever its version says; then what it needs beyond what is there.
            run(*pip, "--force-reinstall", "--no-deps", requirement)
            if succeeds(str(PREFIX / "bin/python"), "-m", "pip", "check", "--quiet"):
                return
        run(*pip, requirement)


@contextmanager
def _requirement(options: Options) -> Iterator[str]:
    """What pip is to install."""
    if options.source is None:
        yield f"tambourinefs[{EXTRAS}]=={__version__}"
    elif options.source.is_file():
        yield f"{options.source}[{EXTRAS}]"
    else:
        # A copy: the build writes into its tree, which may be read-only or somebody's checkout.
        with tempfile.TemporaryDirectory() as directory:
            copy = Path(directory, "tree")
            shutil.copytree(options.source, copy, ignore=shutil.ignore_patterns(*_NOT_THE_PACKAGE))
            yield f"{copy}[{EXTRAS}]"


def _digest(options: Options) -> str | None:
    """Tells one installation's content from another's; None where that cannot be known before pip has run."""
    source = options.source
    if source is None and options.wheelhouse is not None:
        wheels = sorted(options.wheelhouse.glob("tambourinefs-*.whl"))
        source = wheels[-1] if wheels else None
    if source is None:
        return None
    if not source.exists():
        raise HostError(f"{source} does not exist")
    found = hashlib.sha256()
    for file in [source] if source.is_file() else _files(source):
        found.update(f"{file.relative_to(source)}\0".encode())
        found.update(hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()


def _files(tree: Path) -> list[Path]:
    kept = [tree / name for name in ("setup.cfg", "setup.py", "pyproject.toml", "README.md")]
    for name in ("proto", "tambourinefs", "systemd", "k8s"):
        kept += [path for path in (tree / name).rglob("*") if "__pycache__" not in path.parts]
    return sorted(path for path in kept if path.is_file())
