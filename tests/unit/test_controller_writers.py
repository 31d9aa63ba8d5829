"""Writes of one look: side by side, each on its own, all ended when the look goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial

import pytest

from tambourinefs.controller.writers import AT_ONCE, Write, Writers
from tambourinefs.errors import NotFound, TambourineError, Unreachable
from tests.announced import Announced


@pytest.fixture
def writers() -> Iterator[Writers]:
    made = Writers()
    yield made
    made.close()


def test_all_are_done_when_it_returns(writers: Writers) -> None:
    done: list[int] = []
    assert writers.each(("one", partial(done.append, n)) for n in range(100)) == {}
    assert sorted(done) == list(range(100))


def test_eight_are_in_flight_together(writers: Writers) -> None:
    meeting = threading.Barrier(AT_ONCE, timeout=20)
    writers.each(("one", meeting.wait) for _ in range(AT_ONCE))  # fails unless all wait at once
    assert not meeting.broken


def test_what_is_refused_to_one_holds_up_no_other(writers: Writers, announce: Announced) -> None:
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


def test_an_api_server_that_is_away_ends_it_and_the_rest_is_left(writers: Writers) -> None:
    begun: list[int] = []

    def write(number: int) -> None:
        begun.append(number)
        raise Unreachable("the API server does not answer")

    with pytest.raises(Unreachable, match="does not answer"):
        writers.each(("one", partial(write, n)) for n in range(1000))
    assert len(begun) <= AT_ONCE


def test_a_list_that_cannot_be_made_is_told(writers: Writers) -> None:
    def writes() -> Iterator[Write]:
        for _ in range(3):
            yield "one", lambda: None
        raise TambourineError("broken on the way")

    with pytest.raises(TambourineError, match="broken on the way"):
        writers.each(writes())
