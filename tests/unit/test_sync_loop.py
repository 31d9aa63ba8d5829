"""One step of sync: an error of one service does not stop the others, and becomes a condition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tambourinefs.errors import OutOfSpace, TambourineError, Unreachable
from tambourinefs.kube.clock import ServerClock
from tambourinefs.kube.errors import Invalid
from tambourinefs.kube.events import Recorder
from tambourinefs.model import cluster
from tambourinefs.model.schema import API_VERSION
from tambourinefs.model.status import StatusReport
from tambourinefs.sync.loop import RETRY_AFTER, Sync
from tests.announced import Announced
from tests.unit.cluster_world import NAMESPACE, assigned, manifest_at, service

ONE, TWO = service("one", generation=2), service("two", generation=2)


class _Api:
    """An API server with the revisions of both; what is applied is kept, `refuses` by name."""

    def __init__(self) -> None:
        self.clock = ServerClock(lambda: 0.0)
        self.refuses: dict[str, TambourineError] = {}
        self.applied: dict[str, Any] = {}

    def get(self, _: object, name: str, __: str = "") -> dict[str, Any]:
        it = next(one for one in (ONE, TWO) if one.revision == name)
        assert it.spec is not None
        spec = cluster.RevisionSpec(it.name, it.digest, cluster.content_of(it.spec))
        return {"metadata": {"name": name}, "spec": cluster.to_dict(spec)}

    def apply_status(
        self, _: object, metadata: dict[str, Any], status: dict[str, Any], **__: Any
    ) -> dict[str, Any]:
        name = metadata["name"]
        if name in self.refuses:
            raise self.refuses[name]
        self.applied[name] = status
        return {"metadata": {"name": name, "uid": "u"}}


class _Host:
    """A silo; `refuses` by name."""

    def __init__(self) -> None:
        self.stored: dict[Any, Any] = {}
        self.statuses: dict[Any, StatusReport] = {}
        self.refuses: dict[str, TambourineError] = {}

    def manifests(self) -> dict[Any, Any]:
        return dict(self.stored)

    def reports(self) -> dict[Any, StatusReport]:
        return dict(self.statuses)

    def journal(self, _: object) -> tuple[str, ...]:
        return ()

    def write(self, item: Any) -> None:
        if item.metadata.name in self.refuses:
            raise self.refuses[item.metadata.name]
        self.stored[item.metadata.namespace, item.metadata.name] = item

    def remove(self, key: Any) -> None:
        del self.stored[key]


def _sync(
    *assignments: Any, certificates: Callable[[], str] = lambda: ""
) -> tuple[Sync, _Api, _Host]:
    api, host = _Api(), _Host()
    recorder = Recorder(api, "tambourine.dev/sync", "h1")  # type: ignore[arg-type]
    made = Sync(api, recorder, host, "h1", ("*",), "boot", certificates=certificates)  # type: ignore[arg-type]
    spec = cluster.to_dict(cluster.NodeSpec(tuple(assignments)))
    item = {"apiVersion": API_VERSION, "metadata": {"name": "h1", "generation": 3}, "spec": spec}
    made.node.record_write(item)
    made.node.synced.set()
    return made, api, host


def _condition(api: _Api, kind: str) -> dict[str, str]:
    found: dict[str, str] = next(
        one for one in api.applied["h1"]["conditions"] if one["type"] == kind
    )
    return found


def _ready(api: _Api) -> tuple[str, str]:
    found = _condition(api, "Ready")
    return found["reason"], found["message"]


def test_a_manifest_that_the_silo_refuses_does_not_stop_the_others(announce: Announced) -> None:
    announce("quota is reached")
    sync, api, host = _sync(assigned(ONE), assigned(TWO))
    host.refuses["one"] = OutOfSpace("the silo's quota is reached")
    sync.step()
    assert set(host.stored) == {(NAMESPACE, "two")}
    assert _ready(api) == ("PartiallyRefused", f"{NAMESPACE}/one: the silo's quota is reached")
    host.refuses.clear()
    sync.step()
    assert len(host.stored) == 2
    assert _ready(api) == ("Ready", "")


def test_a_status_that_is_rejected_stops_no_other_and_no_acknowledgement(
    announce: Announced,
) -> None:
    announce("Too long")
    tomb = assigned(service("gone", generation=2), state="absent")
    sync, api, host = _sync(assigned(ONE), assigned(TWO), tomb)
    for it in (ONE, TWO):
        host.stored[NAMESPACE, it.name] = manifest_at(it)
        host.statuses[NAMESPACE, it.name] = StatusReport(
            namespace=NAMESPACE, name=it.name, uid=it.uid, observed_generation=2
        )
    api.refuses["one.h1"] = Invalid("status.drop-in: Too long")
    sync.step()
    assert "two.h1" in api.applied
    assert [one["uid"] for one in api.applied["h1"]["acknowledged"]] == [tomb.uid]
    assert "one: status.drop-in: Too long" in _ready(api)[1]


@pytest.mark.parametrize("who", ["host", "api"])
def test_an_unreachable_server_ends_the_step(who: str) -> None:
    sync, api, host = _sync(assigned(ONE))
    if who == "host":
        host.refuses["one"] = Unreachable("Bombshell is away")
    else:
        api.refuses["h1"] = Unreachable("the API server is away")
    with pytest.raises(Unreachable):
        sync.step()
    assert "h1" not in api.applied


class _Silent(_Host):
    """A host; `why`: the reason why it does not answer, or ""."""

    def __init__(self) -> None:
        super().__init__()
        self.why = ""

    def reports(self) -> dict[Any, StatusReport]:
        if self.why:
            raise Unreachable(self.why)
        return super().reports()


def test_host_unreachable_after_ten_seconds_without_an_answer() -> None:
    tomb = assigned(service("gone", generation=2), state="absent")
    sync, api, _ = _sync(tomb)
    host, now = _Silent(), [0.0]
    sync._host, sync._clock = host, lambda: now[0]  # type: ignore[assignment]
    sync.step()
    before = api.applied["h1"]
    assert _ready(api) == ("Ready", "")
    _learn(sync, before, tomb)
    host.why = "the status mount has no server"
    for now[0] in (0.0, 9.0):
        with pytest.raises(Unreachable):
            sync.step()
        assert api.applied["h1"] == before
    now[0] = 10.0
    with pytest.raises(Unreachable):
        sync.step()
    after = api.applied["h1"]
    assert _ready(api) == ("HostUnreachable", "the status mount has no server")
    assert after["conditions"][0]["status"] == "False"
    assert {**after, "conditions": 0} == {**before, "conditions": 0}  # nothing is taken back
    assert after["acknowledged"]
    host.why = ""
    sync.step()
    assert _ready(api) == ("Ready", "")
    host.why = "it restarts"
    now[0] = 11.0
    with pytest.raises(Unreachable):
        sync.step()
    assert _ready(api) == ("Ready", "")


def _learn(sync: Sync, status: dict[str, Any], *assignments: Any) -> None:
    """What the watch brings of a status that was written."""
    spec = cluster.to_dict(cluster.NodeSpec(tuple(assignments)))
    metadata = {"name": "h1", "generation": 3}
    sync.node.record_write(
        {"apiVersion": API_VERSION, "metadata": metadata, "spec": spec, "status": status}
    )


def test_nothing_is_written_over_an_hour_in_which_nothing_changes() -> None:
    sync, api, host = _sync(assigned(ONE), assigned(TWO))
    now = [0.0]
    sync._clock = lambda: now[0]

    def figures(step: int) -> None:
        """What moves by itself on a quiet host: tasks, and memory by a tenth."""
        memory = (40 + step % 5) << 20
        for it in (ONE, TWO):
            host.stored[NAMESPACE, it.name] = manifest_at(it)
            host.statuses[NAMESPACE, it.name] = StatusReport(
                namespace=NAMESPACE, name=it.name, uid=it.uid, observed_generation=2,
                active=f"active (running) since Fri 2021-03-05 13:38:11 PST; {step}s ago",
                memory=f"{memory >> 20}.0M", memory_current=memory, tasks=f"{1 + step % 2} (limit: 100)",
            )  # fmt: skip

    figures(0)
    sync.step()
    assert set(api.applied) == {"h1", "one.h1", "two.h1"}
    _learn(sync, api.applied["h1"], assigned(ONE), assigned(TWO))
    api.applied.clear()
    for step in range(1, 121):  # RESYNC_EVERY is 30 s; FIGURES_EVERY comes round six times
        now[0] = 30.0 * step
        figures(step)
        sync.step()
    assert api.applied == {}


def test_all_statuses_are_written_again_when_the_host_answers() -> None:
    """Meanwhile the controller has marked them unknown."""
    sync, api, _ = _sync(assigned(ONE))
    host, now = _Silent(), [0.0]
    sync._host, sync._clock = host, lambda: now[0]  # type: ignore[assignment]
    host.stored[NAMESPACE, "one"] = manifest_at(ONE)
    host.statuses[NAMESPACE, "one"] = StatusReport(
        namespace=NAMESPACE, name="one", uid=ONE.uid, observed_generation=2
    )
    sync.step()
    for away, told in ((5.0, set()), (10.0, {"h1", "one.h1"})):
        api.applied.clear()
        host.why = "the status mount has no server"
        for step in (0.0, away):
            now[0] += step
            with pytest.raises(Unreachable):
                sync.step()
        host.why = ""
        sync.step()
        assert set(api.applied) == told


def test_all_statuses_are_written_again_when_the_controller_requests_a_resync() -> None:
    sync, api, host = _sync(assigned(ONE))
    host.stored[NAMESPACE, "one"] = manifest_at(ONE)
    host.statuses[NAMESPACE, "one"] = StatusReport(
        namespace=NAMESPACE, name="one", uid=ONE.uid, observed_generation=2
    )
    sync.step()
    assert set(api.applied) == {"h1", "one.h1"}
    api.applied.clear()
    sync.step()
    assert api.applied == {}, "nothing changed"
    item = cluster.to_dict(cluster.NodeSpec((assigned(ONE),)))
    annotations = {cluster.RESYNC_REQUESTED_AT: "2026-01-01T00:00:00Z"}
    metadata = {"name": "h1", "generation": 3, "annotations": annotations}
    sync.node.record_write({"apiVersion": API_VERSION, "metadata": metadata, "spec": item})
    sync.step()
    assert set(api.applied) == {"h1", "one.h1"}


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (1_000_000.0, ""),
        (1_000_290.0, ""),
        (1_000_000.0 + 3 * 3600 + 60, "this host's clock is 3 h 1 min ahead of the API server's"),
        (1_000_000.0 - 600, "this host's clock is 10 min behind the API server's"),
    ],
)
def test_clock_skew_is_a_condition(now: float, said: str) -> None:
    sync, api, _ = _sync()
    api.clock = ServerClock(lambda: now)
    api.clock.observe("Mon, 12 Jan 1970 13:46:40 GMT")
    sync.step()
    found = _condition(api, "ClockGood")
    assert (found["status"], found.get("message", "").partition(": check")[0]) == (
        "False" if said else "True", said,
    )  # fmt: skip


def test_certificates_that_were_not_renewed_are_a_condition_until_they_are() -> None:
    said = ["server.crt ended 2026-01-01"]
    sync, api, _ = _sync(certificates=lambda: said[0])
    sync.step()
    found = _condition(api, "CertificatesValid")
    assert (found["status"], found["reason"], found["message"]) == (
        "False",
        "RenewalFailed",
        said[0],
    )
    said[0] = ""
    sync.step()
    found = _condition(api, "CertificatesValid")
    assert (found["status"], found["reason"]) == ("True", "Valid")


def test_small_changes_of_the_skew_do_not_change_its_message() -> None:
    now = [1_003_600.0]
    clock = ServerClock(lambda: now[0])
    said = set()
    for step in range(60):
        now[0] = 1_003_600.0 + step % 3
        clock.observe("Mon, 12 Jan 1970 13:46:40 GMT")
        said.add(clock.problem)
    assert len(said) == 1
    now[0] = 1_000_000.0
    clock.observe("nonsense")
    assert clock.problem
    clock.observe("Mon, 12 Jan 1970 13:46:40 GMT")
    assert clock.problem == ""


def test_a_revision_that_does_not_match_its_digest_is_not_installed(announce: Announced) -> None:
    announce("does not match the digest")
    lie = msgspec.structs.replace(assigned(ONE), digest="0" * 64)
    sync, _, host = _sync(lie, assigned(TWO))
    assert sync.step() == RETRY_AFTER
    assert set(host.stored) == {(NAMESPACE, "two")}
