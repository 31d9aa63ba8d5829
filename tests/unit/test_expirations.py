"""When certificates expire, as the agent reads it for metrics.prom."""

from __future__ import annotations

from pathlib import Path

import pytest

from tambourinefs.procfs.serving import read_expirations


def test_files_are_merged(tmp_path: Path) -> None:
    (tmp_path / "pki").write_text('{"ca": 2426353351.0, "server": 1890241351}')
    (tmp_path / "identity").write_text('{"node": 1890241352.0}')
    assert read_expirations([tmp_path / "pki", tmp_path / "identity"]) == {
        "ca": 2426353351.0,
        "server": 1890241351.0,
        "node": 1890241352.0,
    }


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[1]", b'{"ca": "x"}', b'{"ca": null}'])
def test_missing_and_malformed_files_are_left_out(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "pki").write_bytes(text)
    assert read_expirations([tmp_path / "pki", tmp_path / "missing"]) == {}
