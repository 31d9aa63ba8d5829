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
# the environment is being changed: what an interrupted installation leaves is made again.
MARK: Final = PREFIX / ".installed"
DEPENDENCIES: Final = "deps"
# What nothing here imports: of the kubernetes client 2,000 files, a third of all that would be written; and others' largest.
NOT_COMPILED: Final = (
    r"/(kubernetes/(aio/|client/(api|models)/[^_])|(pygments|aiohttp|cffi|pycparser|trio/_tests)/)"
)
# What `python3 -m venv` would install pip from: Debian's place, and upstream's.
PIP_WHEELS: Final = (
    "usr/share/python-wheels/pip-*.whl",
    "usr/lib/python3*/ensurepip/_bundled/pip-*.whl",
)
_NOT_THE_PACKAGE: Final = (
    ".git", ".tox", ".venv", ".lab", "*.egg-info", "__pycache__", ".*_cache", "build", "dist", "tests", "docs",
)  # fmt: skip


def source_tree() -> Path | None:
    """The source tree that this module itself lies in, or None where it is installed."""
    tree = Path(__file__).resolve().parents[2]
    return tree if (tree / "setup.cfg").is_file() and (tree / "systemd").is_dir() else None


def ensure(options: Options, changes: Changes) -> str:
    """Make the environment hold what `options` say, and return what was done.

    Raises HostError; then what was begun where nothing was is gone again.
    """
    mark, prefix = options.at(MARK), options.at(PREFIX)
    wanted = _digest(options)
    found = mark.read_text().strip() if mark.is_file() else None
    if wanted is not None and found == wanted:
        changes.ledger.add(PREFIX)
        return ""
    changes.note()
    changes.ledger.add(PREFIX)
    try:
        if found is None:
            # --clear: whatever is there is half of something.
            # pip is used from where it lies: to install it, too, would take a third of the time.
            run(*options.program(PYTHON, "-m", "venv", "--clear", "--without-pip", str(PREFIX)))
        mark.unlink(missing_ok=True)
        _pip_install(options, keep_dependencies=found is not None)
        _compile(options, whole=found is None)
        put(mark, f"{wanted or 'unknown'}\n".encode(), changes)
    except (HostError, OSError):
        if found is None:
            shutil.rmtree(prefix, ignore_errors=True)
        raise
    return f"made {PREFIX}" if found is None else f"brought {PREFIX} up to date"


def _pip_install(options: Options, *, keep_dependencies: bool) -> None:
    pip = options.program(str(PREFIX / "bin/python"), str(_pip(options)))
    install = (
        *pip,
        "install",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
        "--no-compile",
    )
    with _seen_from_inside(options, options.wheelhouse) as wheelhouse:
        if wheelhouse is not None:
            install += ("--no-index", f"--find-links={wheelhouse}")
        with _requirement(options) as requirement:
            if keep_dependencies:
                # The package again, whatever its version; then its missing requirements.
                run(*install, "--force-reinstall", "--no-deps", requirement)
                if succeeds(*pip, "check", "--quiet"):
                    return
            run(*install, requirement)


def _pip(options: Options) -> Path:
    """The host's pip as a program for any of its Pythons: the directory in its wheel."""
    found = [wheel for pattern in PIP_WHEELS for wheel in sorted(options.root.glob(pattern))]
    if not found:
        raise HostError(
            f"there is no pip in {' or '.join(f'/{pattern}' for pattern in PIP_WHEELS)}",
            hint="apt-get install --no-install-recommends python3-venv",
        )
    return Path("/", found[-1].relative_to(options.root), "pip")


def _compile(options: Options, *, whole: bool) -> None:
    """The daemons cannot write here. A file that does not compile is never imported.

    `whole`: nothing is compiled yet. Else only our package is new, and to hand 4,000 files to other processes takes seven
    times what it takes to see that the rest of them stand.
    """
    python = options.program(str(PREFIX / "bin/python"))
    succeeds(
        *python,
        "-m",
        "compileall",
        "-qq",
        "-j0" if whole else "-j1",
        "-x",
        NOT_COMPILED,
        str(PREFIX / "lib"),
        timeout=300,
    )


@contextmanager
def _seen_from_inside(options: Options, directory: Path | None) -> Iterator[Path | None]:
    """The directory as a program of the host sees it: for an image, a copy in its /opt for as long as the block runs."""
    if directory is None or not options.image:
        yield directory
        return
    place = options.at(PREFIX.parent)
    place.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place) as name:
        shutil.copytree(directory, name, dirs_exist_ok=True)
        yield Path("/", Path(name).relative_to(options.root))


@contextmanager
def _requirement(options: Options) -> Iterator[str]:
    """What pip is to install."""
    if options.source is None:
        yield f"tambourinefs[{EXTRAS}]=={__version__}"
    elif options.source.is_file():
        with tempfile.TemporaryDirectory() as directory:
            shutil.copy2(options.source, directory)
            with _seen_from_inside(options, Path(directory)) as seen:
                yield f"{seen}/{options.source.name}[{EXTRAS}]"
    else:
        # A copy: the build writes into its tree, which may be read-only or a checkout.
        with tempfile.TemporaryDirectory() as directory:
            tree = Path(directory, "tree")
            shutil.copytree(options.source, tree, ignore=shutil.ignore_patterns(*_NOT_THE_PACKAGE))
            with _seen_from_inside(options, tree) as seen:
                yield f"{seen}[{EXTRAS}]"


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
    for name in ("tambourinefs", "systemd", "k8s", "kernel"):
        kept += [path for path in (tree / name).rglob("*") if "__pycache__" not in path.parts]
    return sorted(path for path in kept if path.is_file())
