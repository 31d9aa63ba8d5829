"""Labs are shared between workers: one at a time, and only clean ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import pool
from tests.lab import lab
from tests.lab.hosts import Host
from tests.lab.state import HostState, LabState


@dataclass
class Labs:
    """The labs that are up, and the state in which each host is."""

    made: list[str] = field(default_factory=list)
    taken_down: list[str] = field(default_factory=list)
    state: str = "as found"


@pytest.fixture
def labs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Labs:
    found = Labs()

    def up(state: LabState, *, hosts: int, **_: Any) -> list[HostState]:
        found.made.append(state.name)
        return [HostState(state, f"h{number}") for number in range(1, hosts + 1)]

    monkeypatch.setattr(lab, "up", up)
    monkeypatch.setattr(lab, "down", lambda state: found.taken_down.append(state.name))
    monkeypatch.setattr(pool, "_fingerprint", lambda host: found.state)
    monkeypatch.setattr(pool, "_directory", lambda: tmp_path / "run")
    monkeypatch.setenv(pool.RUN, "77")
    return found


def test_a_lab_that_is_leased_is_not_leased_again(labs: Labs) -> None:
    with pool.lease("host") as one, pool.lease("host") as other:
        assert [one.state.name, other.state.name] == ["host-77-1", "host-77-2"]
    assert labs.taken_down == []


def test_a_lab_that_is_returned_is_leased_again(labs: Labs) -> None:
    for _ in range(2):
        with pool.lease("host") as lease:
            assert lease.state.name == "host-77-1"
    assert labs.taken_down == []


def test_kinds_do_not_mix(labs: Labs) -> None:
    with pool.lease("host"):
        pass
    with pool.lease("bare", kind="bare") as lease:
        assert lease.state.name == "bare-77-1"


def test_a_lab_with_a_failed_test_is_taken_down(
    labs: Labs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Host, "run", lambda *_, **__: None)
    with pool.lease("host"):
        pool.note_failure()
    assert labs.taken_down == ["host-77-1"]


def test_a_lab_that_is_not_as_it_was_is_taken_down(labs: Labs) -> None:
    with pool.lease("host"):
        labs.state = "a file more in /etc"
    assert labs.taken_down == ["host-77-1"]
    with pool.lease("host") as lease:
        lease.remember()
    assert labs.taken_down == ["host-77-1"]


def test_the_end_of_the_run_takes_all_down(labs: Labs) -> None:
    with pool.lease("host"), pool.lease("two", hosts=2):
        pass
    pool.end()
    assert sorted(labs.taken_down) == ["host-77-1", "two-77-1"]
    assert not pool._directory().exists()


def test_after_a_failed_test_a_module_gets_another_lab(labs: Labs) -> None:
    with pool.Replaceable("own") as made:
        first = made.host.state.lab.name
        pool.replace_unusable()
        assert made.host.state.lab.name == first
        pool.note_failure()
        assert labs.taken_down == []
        pool.replace_unusable()
        assert labs.taken_down == [first]
        assert made.host.state.lab.name == labs.made[-1] != first
        pool.replace_unusable()
    assert labs.taken_down == labs.made
