"""Writes of one step: in parallel, independent of each other, all done when the step goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial

import pytest

from tambourinefs.controller.writers import PARALLEL, Write, Writers
from tambourinefs.errors import NotFound, TambourineError, Unreachable
from tests.announced import Announced


@pytest.fixture
def writers() -> Iterator[Writers]:
    made = Writers()
    yield made
    made.close()


def test_all_writes_are_done_on_return(writers: Writers) -> None:
    done: list[int] = []
    assert writers.each(("one", partial(done.append, n)) for n in range(100)) == {}
    assert sorted(done) == list(range(100))


def test_eight_writes_run_in_parallel(writers: Writers) -> None:
    meeting = threading.Barrier(PARALLEL, timeout=20)
    writers.each(("one", meeting.wait) for _ in range(PARALLEL))  # fails unless all wait at once
    assert not meeting.broken


def test_an_error_of_one_write_does_not_stop_the_others(
    writers: Writers, announce: Announced
) -> None:
    announce("no namespace storage")
    done: list[str] = []

    def refuse() -> None:
        raise NotFound("no namespace storage")

    writes: list[Write] = [
        ("a", lambda: done.append("a")),
        ("b", refuse),
        ("c", lambda: done.append("c")),
    ]
    assert writers.each(writes) == {"b": "no namespace storage"}
    assert sorted(done) == ["a", "c"]


def test_an_unreachable_api_server_stops_the_remaining_writes(writers: Writers) -> None:
    begun: list[int] = []

    def write(number: int) -> None:
        begun.append(number)
        raise Unreachable("the API server does not answer")

    with pytest.raises(Unreachable, match="does not answer"):
        writers.each(("one", partial(write, n)) for n in range(1000))
    assert len(begun) <= PARALLEL


def test_an_error_of_the_iterable_is_raised(writers: Writers) -> None:
    def writes() -> Iterator[Write]:
        for _ in range(3):
            yield "one", lambda: None
        raise TambourineError("broken on the way")

    with pytest.raises(TambourineError, match="broken on the way"):
        writers.each(writes())
