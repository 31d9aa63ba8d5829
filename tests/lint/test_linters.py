"""Linters are tests: one a tool, each failing with the command that installs the tool where it is missing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PYTHON = ("tambourinefs", "tests", "docs", "proto", "setup.py")


def run(*argv: str | Path) -> None:
    done = subprocess.run(
        [str(a) for a in argv],
        cwd=TREE,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode != 0:
        pytest.fail(f"{argv[0]} exited {done.returncode}\n{done.stdout}", pytrace=False)


def tool(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is missing: apt-get install {package}", pytrace=False)
    return found


def tracked(*patterns: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", *patterns], cwd=TREE, text=True, capture_output=True, check=True
    )
    return [name for name in listed.stdout.split("\0") if name]


def test_ruff_finds_nothing() -> None:
    run(BIN / "ruff", "check", *PYTHON)


def test_code_is_formatted() -> None:
    run(BIN / "ruff", "format", "--check", *PYTHON)


def test_types_are_strict() -> None:
    run(BIN / "mypy")


def test_no_code_is_dead() -> None:
    run(BIN / "vulture")


def test_nothing_imports_against_the_direction() -> None:
    run(BIN / "lint-imports", "--config", "setup.cfg")


def test_generated_code_is_current(tmp_path: Path) -> None:
    run(sys.executable, TREE / "proto/generate.py", tmp_path)
    generated = {path.relative_to(tmp_path) for path in tmp_path.rglob("*_pb2*")}
    committed = {Path(name) for name in tracked("tambourinefs/**/*_pb2*")}
    assert generated == committed
    stale = [
        str(name)
        for name in sorted(generated)
        if (TREE / name).read_bytes() != (tmp_path / name).read_bytes()
    ]
    assert stale == [], "not what proto/ generates; run `make proto`"


def is_shell(path: Path) -> bool:
    if not path.is_file() or path.suffix in {".py", ".md"}:
        return False
    return path.read_bytes().startswith((b"#!/bin/sh", b"#!/bin/bash"))


def test_shell_scripts_are_clean() -> None:
    scripts = [name for name in tracked() if is_shell(TREE / name)]
    assert "tests/bootstrap" in scripts
    run(tool("shellcheck", "shellcheck"), *scripts)


def test_systemd_accepts_our_units(tmp_path: Path) -> None:
    units = [
        TREE / name for name in tracked("systemd/*.service", "systemd/*.timer", "systemd/*.mount")
    ]
    assert len(units) >= 7
    copies = []
    for unit in units:
        copy = tmp_path / unit.name
        # What they run is not on this machine; whether it exists is the installation's business.
        copy.write_text(unit.read_text().replace("/opt/tambourine/bin/tambourine", "/bin/true"))
        copies.append(copy)
    analyze = tool("systemd-analyze", "systemd")
    run(analyze, "verify", "--man=no", "--recursive-errors=no", *copies)


def test_systemd_accepts_our_users_and_directories(tmp_path: Path) -> None:
    # Both leave out their exit status for some mistakes, but never their words.
    for program, name in (("systemd-sysusers", "sysusers"), ("systemd-tmpfiles", "tmpfiles")):
        file = TREE / f"systemd/tambourine.{name}"
        root = tmp_path / name
        (root / "etc").mkdir(parents=True)
        if name == "tmpfiles":
            accounts = ("root:x:0:0", "bombshell:x:61000:61000", "tambourine-sync:x:61001:61000")
            (root / "etc/passwd").write_text("".join(f"{one}::/:\n" for one in accounts))
            (root / "etc/group").write_text("root:x:0:\ntambourine:x:61000:\n")
        options = ["--create"] if name == "tmpfiles" else []
        done = subprocess.run(
            [tool(program, "systemd"), f"--root={root}", *options, str(file)],
            text=True,
            capture_output=True,
        )
        said = [line for line in done.stderr.splitlines() if "Creating" not in line]
        assert (done.returncode, said) == (0, []), done.stderr
