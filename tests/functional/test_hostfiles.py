"""What stood where a service's files are is put back as it was, on a real file system."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tambourinefs.agent.host.files import HostFiles
from tambourinefs.agent.state.store import Store
from tambourinefs.errors import HostError

# vfs_ns_cap_data of capability.h: revision 2, effective, cap_net_bind_service.
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")


def test_file_capabilities_are_put_back(tmp_path: Path) -> None:
    """The unit's bounding set has CAP_SETFCAP for this (systemd/tambourine.service)."""
    program = tmp_path / "program"
    program.write_bytes(b"#!/bin/true\n")
    os.setxattr(program, "security.capability", CAPABILITY)
    with Store(tmp_path / "state") as store:
        host = HostFiles(tmp_path, store)
        original = host.capture("/program")
        program.unlink()
        program.write_bytes(b"ours")
        host.restore("/program", original)
        host.close()
    assert program.read_bytes() == b"#!/bin/true\n"
    assert os.getxattr(program, "security.capability") == CAPABILITY


def test_the_agents_sandbox_lets_it_put_them_back() -> None:
    unit = Path(__file__).parents[2] / "systemd/tambourine.service"
    bounding = [s for s in unit.read_text().splitlines() if s.startswith("CapabilityBoundingSet=")]
    assert "CAP_SETFCAP" in bounding[0]


def test_what_cannot_be_put_back_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again every two minutes."""
    target = tmp_path / "x"
    target.write_bytes(b"theirs")
    with Store(tmp_path / "state") as store:
        host = HostFiles(tmp_path, store)
        original = host.capture("/x")

        def full(fd: int, data: bytes) -> None:
            os.write(fd, data[:1])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr("tambourinefs.files.write_all", full)
        with pytest.raises(HostError, match="No space"):
            host.restore("/x", original)
        with pytest.raises(HostError, match="No space"):
            host.capture("/x")
        assert os.listdir(store.directory / "originals") == [original.digest]
        host.close()
    assert sorted(os.listdir(tmp_path)) == ["state", "x"]
