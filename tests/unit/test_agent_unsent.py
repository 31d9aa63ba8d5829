"""A job that was recorded and never sent: what asked for it still does."""

from __future__ import annotations

import pytest

from tambourinefs.agent.record import Record, Running, Token
from tambourinefs.agent.transitions import unsent

UID = "u"


def recorded(
    verb: str, command: str, command_id: str = "", *, tokens: tuple[Token, ...] = ()
) -> Record:
    running = Running(verb, UID, 2, "boot", "invocation", command, command_id)
    return Record("local", "a", "a.service", tokens=tokens, running=running)


@pytest.mark.parametrize("command", ["", "start"])
def test_changed_content_asks_for_its_restart_again(command: str) -> None:
    """A new generation with `start` is carried out by the restart that its content needs."""
    assert unsent(recorded("restart", command)).due == "restart"


def test_a_token_is_free_again() -> None:
    others = Token(UID, "restart", "1")
    after = unsent(recorded("restart", "restart", "2", tokens=(others, Token(UID, "restart", "2"))))
    assert (after.tokens, after.due, after.running) == ((others,), "", None)


def test_a_start_leaves_nothing() -> None:
    assert unsent(recorded("start", "start")).due == ""
