"""From assignments to manifests: what is written, removed, kept, acknowledged (DESIGN: sync)."""

from __future__ import annotations

from typing import Any

import pytest

from tambourinefs.model.status import StatusReport
from tambourinefs.sync import silo_changes
from tambourinefs.sync.silo_changes import SiloChanges
from tests.unit.cluster_world import NAMESPACE, assigned, manifest_at, service

KEY = (NAMESPACE, "zfs")
IT = service(generation=3)


def _report(uid: str = IT.uid, generation: int = 3) -> StatusReport:
    return StatusReport(namespace=NAMESPACE, name="zfs", uid=uid, observed_generation=generation)


def _changes(
    *assignments: Any, held: Any = None, report: Any = None, namespaces: Any = ("*",)
) -> SiloChanges:
    return silo_changes.silo_changes(
        assignments,
        {KEY: held} if held else {},
        {KEY: report} if report else {},
        namespaces,
    )


def _did(found: SiloChanges) -> tuple[int, int, int, int]:
    """How many are installed, rewritten as an orphan, removed, acknowledged."""
    return len(found.install), len(found.rewrite), len(found.remove), len(found.acknowledged)


ABSENT = assigned(IT, state="absent")
RELEASED = assigned(IT, state="released")
ORPHAN = manifest_at(service(generation=3, deletionPolicy="orphan"))


@pytest.mark.parametrize(
    ("assignment", "held", "report", "does"),
    [
        (assigned(IT), None, None, (1, 0, 0, 0)),
        (assigned(IT), manifest_at(IT), _report(), (0, 0, 0, 0)),
        (assigned(IT, generation=4), manifest_at(IT), _report(), (1, 0, 0, 0)),
        (assigned(IT, command="restart", command_id="x"), manifest_at(IT), _report(), (1, 0, 0, 0)),
        (assigned(IT, spec_state="absent"), manifest_at(IT), _report(), (1, 0, 0, 0)),
        # made again under its name: written over the other's
        (assigned(service(uid="new")), manifest_at(IT), _report(), (1, 0, 0, 0)),
        # the one before is not in the silo any more, but the agent is not done with it
        (assigned(service(uid="new")), None, _report(), (0, 0, 0, 0)),
        (ABSENT, manifest_at(IT), _report(), (0, 0, 1, 0)),
        (ABSENT, None, _report(), (0, 0, 0, 0)),  # the agent still removes it
        (ABSENT, None, None, (0, 0, 0, 1)),
        (ABSENT, manifest_at(service(uid="new")), _report("new"), (0, 0, 0, 1)),
        (RELEASED, manifest_at(IT), _report(), (0, 1, 0, 0)),
        (RELEASED, ORPHAN, _report(generation=2), (0, 0, 0, 0)),  # the agent has not seen that
        (RELEASED, ORPHAN, _report(), (0, 0, 1, 0)),
        (RELEASED, None, None, (0, 0, 0, 1)),
    ],
)
def test_what_is_done(assignment: Any, held: Any, report: Any, does: Any) -> None:
    assert _did(_changes(assignment, held=held, report=report)) == does


@pytest.mark.parametrize("state", ["installed", "absent", "released"])
def test_an_older_generation_does_nothing_and_is_told(state: str) -> None:
    found = _changes(
        assigned(IT, state=state, generation=2), held=manifest_at(IT), report=_report()
    )
    assert _did(found) == (0, 0, 0, 0)
    assert "generation 2 is older than generation 3" in found.refused[KEY]


@pytest.mark.parametrize("namespaces", [(), ("other",), ("local",)])
def test_a_namespace_that_the_host_does_not_allow(namespaces: Any) -> None:
    found = _changes(assigned(IT, generation=9), held=manifest_at(IT), namespaces=namespaces)
    assert _did(found) == (0, 0, 0, 0)
    assert "does not allow" in found.refused[KEY]


def test_local_never_comes_from_a_cluster() -> None:
    hostile = assigned(IT, namespace="local")
    found = silo_changes.silo_changes([hostile], {}, {}, ("*", "local"))
    assert _did(found) == (0, 0, 0, 0)


def test_what_no_assignment_speaks_of_is_kept_and_told() -> None:
    found = _changes(held=manifest_at(IT), report=_report())
    assert _did(found) == (0, 0, 0, 0)
    assert found.unlisted == (f"{NAMESPACE}/zfs",)


def test_deleted_and_made_again_while_the_host_was_away() -> None:
    again = assigned(service(uid="new"))
    found = _changes(ABSENT, again, held=manifest_at(IT), report=_report())
    assert _did(found) == (1, 0, 0, 0)
    after = _changes(ABSENT, again, held=manifest_at(service(uid="new")), report=_report("new", 1))
    assert _did(after) == (0, 0, 0, 1)
