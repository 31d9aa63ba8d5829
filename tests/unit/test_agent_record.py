"""What the agent remembers: of one service, and of its silo."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from tambourinefs.agent.state.record import TOKENS_KEPT, Record, Token
from tambourinefs.agent.state.store import accept_silo
from tambourinefs.errors import HostError


def token(number: int) -> Token:
    return Token("uid", "restart", str(number))


def test_the_last_64_one_shot_commands_are_remembered() -> None:
    """So many: one that comes again from an older manifest is not run again."""
    record = Record("local", "x", "x.service")
    for number in range(100):
        record = record.taking(token(number))
    assert TOKENS_KEPT == 64
    assert [t.command_id for t in record.tokens] == [str(number) for number in range(36, 100)]
    assert record.handled(token(36))
    assert not record.handled(token(35))


def test_one_that_is_remembered_keeps_its_place_and_pushes_nobody_out() -> None:
    record = Record("local", "x", "x.service")
    for number in range(TOKENS_KEPT):
        record = record.taking(token(number))
    assert record.taking(token(0)) is record
    assert record.taking(token(0)).handled(token(1))


def test_another_object_of_the_same_name_has_its_own() -> None:
    record = Record("local", "x", "x.service").taking(token(1))
    assert not record.handled(Token("another", "restart", "1"))
    assert not record.handled(Token("uid", "reload", "1"))


def test_a_silo_is_accepted_where_an_agent_has_worked(tmp_path: Path) -> None:
    for place in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(HostError, match=r"is not the state directory|version none"):
            accept_silo(place, str(uuid4()))
    assert list(tmp_path.iterdir()) == []
