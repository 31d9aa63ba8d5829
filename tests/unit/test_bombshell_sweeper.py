"""Files of broken uploads are removed, also when the silo was unmounted and came back unchanged."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tambourinefs.bombshell import paths, sweeper, uploads
from tambourinefs.bombshell.sweeper import Sweeper
from tests.announced import Announced

LEFT = paths.TEMPORARY.decode() + "x"


class _Silo:
    """A volume that never notifies; `away`: so many accesses fail first."""

    serving = True

    def __init__(self, path: Path) -> None:
        self.path, self.away = path, 0
        self.looked = threading.Semaphore(0)

    @contextmanager
    def root(self) -> Iterator[int]:
        if self.away:
            self.away -= 1
            raise OSError(errno.ENOTCONN, "the silo is gone")
        fd = os.open(self.path, os.O_PATH | os.O_DIRECTORY)
        try:
            yield fd
        finally:
            os.close(fd)
        self.looked.release()


def test_sweeps_at_start_and_at_each_request(tmp_path: Path) -> None:
    silo = _Silo(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / LEFT).touch()
    made = Sweeper(silo)  # type: ignore[arg-type]
    with made.running():
        assert silo.looked.acquire(timeout=10)
        assert list((tmp_path / "a").iterdir()) == []
        (tmp_path / LEFT).touch()
        made.request()
        assert silo.looked.acquire(timeout=10)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_sweep_is_retried_while_the_silo_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, announce: Announced
) -> None:
    announce("cannot remove files of broken uploads: .* the silo is gone")
    monkeypatch.setattr(sweeper, "AGAIN", (0.001, 0.002))
    silo = _Silo(tmp_path)
    silo.away = 4
    (tmp_path / LEFT).touch()
    with Sweeper(silo).running():  # type: ignore[arg-type]
        assert silo.looked.acquire(timeout=10)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "tells"), [(errno.ENOTCONN, True), (errno.EIO, True), (errno.EDQUOT, False)]
)
def test_possibly_made_temporary_file_requests_a_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, tells: bool
) -> None:
    told: list[bool] = []

    def fails(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    root = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        monkeypatch.setattr(os, "open", fails)
        with (
            pytest.raises(OSError, match=os.strerror(number)),
            uploads._temporary(root, lambda: told.append(True)),
        ):
            pass
    finally:
        monkeypatch.undo()
        os.close(root)
    assert told == [True] * tells


def test_temporary_file_that_cannot_be_removed_requests_a_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []

    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.ENOTCONN, "gone")

    root = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        with uploads._temporary(root, lambda: told.append(True)):
            monkeypatch.setattr(os, "unlink", fails)
        monkeypatch.undo()
        with uploads._temporary(root, lambda: told.append(False)) as (name, _):
            (tmp_path / os.fsdecode(name)).unlink()  # committed
    finally:
        os.close(root)
    assert told == [True]
