"""Where the control plane's programs come from: PATH, the cache, or a build that happens once."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from tests.lab import kubebuild
from tests.lab.tools import LabError


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Go, with an empty cache and an own directory first on PATH."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setattr(kubebuild, "GO_PLACES", ())
    monkeypatch.setattr(kubebuild, "cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(kubebuild, "which", lambda name: _executable(tmp_path / "bin" / name))
    monkeypatch.setattr(shutil, "which", lambda name: _executable(tmp_path / "bin" / name))
    return tmp_path


def _executable(path: Path) -> str | None:
    return str(path) if path.exists() else None


def program(path: Path, text: str = "") -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def go(empty: Path, version: str) -> None:
    """One that says its version, and "builds" by writing its -o; each build leaves a line in `built`."""
    program(
        empty / "bin/go",
        f"""[ "$1" = env ] && echo {version} && exit
while [ "$1" != -o ]; do shift; done
echo "$2" >>{empty}/built
sleep 0.05
touch "$2"
""",
    )


def test_without_go_it_says_what_to_run(empty: Path) -> None:
    with pytest.raises(LabError, match=r"Go 1\.21 or later: run tests/bootstrap"):
        kubebuild.programs()


def test_an_old_go_is_named(empty: Path) -> None:
    go(empty, "go1.19.8")
    with pytest.raises(LabError, match=r"bin/go is go1\.19\.8"):
        kubebuild.programs()


def test_all_on_path_are_taken_and_a_part_is_not(empty: Path) -> None:
    for name in kubebuild.PROGRAMS:
        with pytest.raises(LabError):
            kubebuild.programs()
        program(empty / "bin" / name)
    assert kubebuild.programs() == empty / "bin"


def test_two_at_once_build_once_and_what_was_half_made_is_made_again(empty: Path) -> None:
    go(empty, "go1.23.5")
    partial = empty / "cache" / f"kubernetes-{kubebuild._key()}.partial"
    partial.mkdir(parents=True)
    (partial / "left").touch()
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(kubebuild.programs())) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert {path.name for path in found[0].iterdir()} == set(kubebuild.PROGRAMS)
    assert len((empty / "built").read_text().splitlines()) == len(kubebuild.PROGRAMS)


def test_a_build_that_fails_leaves_nothing_that_counts(empty: Path) -> None:
    program(
        empty / "bin/go", '[ "$1" = env ] && echo go1.30.0 && exit; echo no such module >&2; exit 1'
    )
    for _ in range(2):
        with pytest.raises(LabError, match="no such module"):
            kubebuild.programs()
