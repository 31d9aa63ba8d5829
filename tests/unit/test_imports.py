"""What a process of ours does not load: it would pay for it at each start, and hold it for as long as it runs."""

from __future__ import annotations

import subprocess
import sys

import pytest

# What is used by other processes of ours, and costs this one time and memory for nothing.
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
def test_nothing_foreign_is_loaded(module: str) -> None:
    show = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", show], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(done.stdout.split())
    assert "tambourinefs" in loaded
    assert loaded & FOREIGN[module] == set()
