"""A job that was recorded and never sent: what asked for it still does."""

from __future__ import annotations

import json

import pytest

from tambourinefs.agent.admission.admit import Want
from tambourinefs.agent.host.content import Content
from tambourinefs.agent.planning.actions import Place, PlanInput
from tambourinefs.agent.planning.plan import plan
from tambourinefs.agent.planning.transitions import unsent
from tambourinefs.agent.state.record import Record, Running, Token, replace
from tambourinefs.model.manifest import parse_json
from tambourinefs.model.unit import Unit

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


def test_a_start_of_a_manifest_that_once_asked_for_a_restart_keeps_its_token_taken() -> None:
    """Another edit of it is carried out by a start, which takes no token: the restart was done long ago."""
    taken = (Token(UID, "restart", "1"),)
    assert unsent(recorded("start", "restart", "1", tokens=taken)).tokens == taken


@pytest.mark.parametrize("state", ["active", "inactive"])
def test_content_that_changes_amid_a_restart_asks_for_another(state: str) -> None:
    """Between its stop and its start a unit is inactive, and systemd may start the text that it has read before."""
    text = "[Service]\nExecStart=/bin/sleep 2\n"
    document = {
        "apiVersion": "tambourine.dev/v1alpha1",
        "kind": "Tambourine",
        "metadata": {"name": "a", "namespace": "local", "uid": UID, "generation": 3},
        "spec": {"name": "a", "command": "start", "unit": text},
    }
    manifest = parse_json(json.dumps(document).encode(), source="a")
    want = Want(manifest, Content(targets=(), digest="new"), (), "silo")
    record = replace(recorded("restart", "restart", "1"), content="old", applied=True)
    world = PlanInput(
        wants={("local", "a"): want}, absent={}, applied={("local", "a"): record}, boot="boot",
        units={"a.service": Unit("a.service", load_state="loaded", active_state=state)},
        running={("local", "a")},
    )  # fmt: skip
    (place,) = [action for action in plan(world) if isinstance(action, Place)]
    assert place.due == "restart"
