"""What waits for what: the same path, and a whole tree with everything below it."""

from __future__ import annotations

import threading

import pytest

from tambourinefs.bombshell.paths import PathLocks

A, AB, ABC, AX, B = (b"a",), (b"a", b"b"), (b"a", b"b", b"c"), (b"ax",), (b"b",)
PATH, TREE = False, True


@pytest.mark.parametrize(
    ("held", "wanted", "waits"),
    [
        ((AB, PATH), (AB, PATH), True),
        ((AB, PATH), (A, PATH), False),
        ((AB, PATH), (A, TREE), True),
        ((ABC, PATH), (A, TREE), True),
        ((A, TREE), (ABC, PATH), True),
        ((A, TREE), (AB, TREE), True),
        ((A, TREE), (A, PATH), True),
        ((AB, TREE), (A, PATH), False),
        ((A, TREE), (AX, PATH), False),
        ((A, TREE), (B, TREE), False),
    ],
)
def test_paths_that_exclude_each_other(
    held: tuple[tuple[bytes, ...], bool], wanted: tuple[tuple[bytes, ...], bool], waits: bool
) -> None:
    locks = PathLocks()
    inside = threading.Event()

    def enter() -> None:
        with locks.holding(wanted[0], whole=wanted[1]):
            inside.set()

    other = threading.Thread(target=enter)
    with locks.holding(held[0], whole=held[1]):
        other.start()
        assert inside.wait(0.1 if waits else 10) is not waits
    other.join(10)
    assert inside.is_set()
    assert not locks._held
