"""Out of a handler comes FUSEError alone, and never ENOSYS by accident."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, cast

import pytest
import trio

from tambourinefs.fuse import FUSEError, Operations


class Broken(Operations):
    """Each handler raises what its inode number stands for."""

    raises: BaseException

    async def getattr(self, *_: object) -> Any:
        raise self.raises

    async def forget(self, *_: object) -> None:
        raise self.raises


def answer(error: BaseException) -> int:
    operations = Broken()
    operations.raises = error
    with pytest.raises(FUSEError) as caught:
        trio.run(operations.getattr)
    return int(caught.value.errno)


def test_an_oserror_is_its_errno() -> None:
    assert answer(OSError(errno.ENOSPC, "")) == errno.ENOSPC
    assert answer(FileNotFoundError(errno.ENOENT, "")) == errno.ENOENT
    assert answer(FUSEError(errno.EXDEV)) == errno.EXDEV
    assert answer(OSError("without a number")) == errno.EIO


def test_enosys_is_not_said_by_accident() -> None:
    """The kernel would remember it for the life of the mount."""
    assert answer(OSError(errno.ENOSYS, "")) == errno.EOPNOTSUPP


def test_anything_else_is_eio_with_a_traceback_in_the_log(
    announce: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    announce("getattr failed")
    assert answer(ValueError("boom")) == errno.EIO
    assert "ValueError: boom" in caplog.text


def test_forget_raises_nothing(announce: Callable[[str], None]) -> None:
    announce("forget failed")
    operations = Broken()
    operations.raises = FUSEError(errno.EIO)
    trio.run(operations.forget)


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        ("mkdir", errno.EROFS),
        ("setxattr", errno.EROFS),
        ("write", errno.EROFS),
        ("getxattr", errno.ENODATA),
    ],
)
def test_undefined_handlers_refuse(handler: str, expected: int) -> None:
    with pytest.raises(FUSEError) as caught:
        trio.run(getattr(cast(Any, Operations()), handler))
    assert caught.value.errno == expected


def test_cancelling_passes_through() -> None:
    async def main() -> bool:
        operations = Broken()
        with trio.move_on_after(0) as scope:
            await Waiting().lookup()
        assert operations is not None
        return scope.cancelled_caught

    assert trio.run(main)


class Waiting(Operations):
    async def lookup(self, *_: object) -> Any:
        await trio.sleep_forever()
