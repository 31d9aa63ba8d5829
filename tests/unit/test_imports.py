"""Packages that a process must not import: they cost time at each start, and memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Packages of the other processes.
FOREIGN = {
    "tambourinefs.mount.units": {"trio", "grpc", "msgspec", "yaml", "cryptography"},
    "tambourinefs.mount.helper": {"trio", "grpc", "msgspec", "yaml", "cryptography"},
    "tambourinefs.processes.silo": {"grpc", "yaml", "cryptography", "kubernetes"},
    "tambourinefs.processes.agent": {"grpc", "yaml", "cryptography", "kubernetes"},
    "tambourinefs.processes.bombshell": {"trio", "yaml", "cryptography", "kubernetes"},
    "tambourinefs.cli.main": {"trio", "grpc", "msgspec", "yaml", "rich", "cryptography", "kubernetes"},
    "tambourinefs.cli.admin.daemons": {"trio", "grpc", "msgspec", "yaml", "rich", "cryptography"},
}  # fmt: skip


@pytest.mark.parametrize("module", FOREIGN)
def test_process_does_not_import_unused_packages(module: str) -> None:
    show = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", show], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(done.stdout.split())
    assert "tambourinefs" in loaded
    assert loaded & FOREIGN[module] == set()
