"""What the plugin prints and writes: pure functions of objects."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from tambourinefs.cli.plugin import logs, nodes, revisions, statustext
from tambourinefs.cli.plugin.command import patch
from tambourinefs.cli.plugin.undo import summary
from tambourinefs.errors import HostError, InvalidInput, NotFound
from tambourinefs.model import cluster, manifest
from tests.unit.plugin_objects import UID, UNIT, condition, instance, service

NOW = datetime(2026, 1, 3, 6, 4, 5, tzinfo=UTC)
SEED = {
    "systemdName": "NetworkManager.service - Network Manager",
    "loaded": "loaded (/lib/systemd/system/NetworkManager.service; enabled; vendor preset: enabled)",
    "drop-in": "/etc/systemd/system/NetworkManager.service.d\n└─10-a.conf, 20-b.conf",
    "active": "active (running) since Fri 2026-01-02 03:04:05 UTC",
    "docs": "man:NetworkManager(8)",
    "pid": "514 (NetworkManager)",
    "tasks": "3 (limit: 77070)",
    "memory": "17.5M",
    "cgroup": "/system.slice/NetworkManager.service",
    "since": "2026-01-02T03:04:05Z",
    "activeState": "active",
}


def test_the_nine_values_stand_as_systemctl_status_has_them() -> None:
    assert statustext.of_node(instance("h1", **SEED), NOW, 10) == [
        "h1",
        "● NetworkManager.service - Network Manager",
        "     Loaded: loaded (/lib/systemd/system/NetworkManager.service; enabled; vendor preset: enabled)",
        "    Drop-In: /etc/systemd/system/NetworkManager.service.d",
        "             └─10-a.conf, 20-b.conf",
        "     Active: active (running) since Fri 2026-01-02 03:04:05 UTC; 1 day 3h ago",
        "       Docs: man:NetworkManager(8)",
        "   Main PID: 514 (NetworkManager)",
        "      Tasks: 3 (limit: 77070)",
        "     Memory: 17.5M",
        "     CGroup: /system.slice/NetworkManager.service",
    ]


def test_what_is_not_true_is_told_with_reason_and_journal() -> None:
    bad = instance(
        "h2",
        condition("Accepted"),
        condition("Ready", "False", "Failed", message="first\nsecond"),
        activeState="failed",
        reason="exit code 3",
        journal=["one", "two", "three"],
    )
    assert statustext.of_node(bad, NOW, 2, generation=4) == [
        "h2 (has generation 3 of 4)",
        "\u00d7 web.service",
        "     Reason: exit code 3",
        "",
        "  Ready   False   Failed   first",
        "    second",
        "",
        "  two",
        "  three",
    ]


def test_the_heading_says_how_far_it_is() -> None:
    fresh = service(desired=0, observed=0)
    fresh = msgspec.structs.replace(fresh, status=cluster.TambourineStatus())
    assert statustext.heading(fresh) == [
        "tambourine/web in namespace storage: web, the controller has not observed it yet"
    ]
    newer = statustext.heading(service(condition("Ready"), generation=5))
    assert newer == [
        "tambourine/web in namespace storage: web.service, 0/2 nodes ready (generation 3 of 5)"
    ]
    going = statustext.heading(service(deletionTimestamp="2026-01-01T00:00:00Z"))
    assert going[0].endswith(", being deleted")


def test_what_a_node_says_cannot_move_the_terminal() -> None:
    evil = "\x1b]0;owned\x07\r\x9b2J\u202e"
    hostile = instance(
        "h1",
        condition("Ready", "False", "Evil", message=evil),
        **{key: evil for key in SEED if key != "since"},
        journal=[evil],
        reason=evil,
    )
    text = "\n".join(
        statustext.whole(service(condition("Ready", "False", message=evil)), [hostile], NOW, 5)
    )
    assert text.isprintable() or {c for c in text if not c.isprintable()} == {"\n"}


@pytest.mark.parametrize(
    ("before", "verb", "wanted"),
    [
        (None, "start", {"command": "start", "commandID": None}),
        ("stop", "start", {"command": "start", "commandID": None}),
        ("start", "start", {"command": "start", "commandID": "new"}),
        ("start", "restart", {"command": "restart", "commandID": "new"}),
        ("restart", "restart", {"command": "restart", "commandID": "new"}),
        ("restart", "reload", {"command": "reload", "commandID": "new"}),
        ("reload", "stop", {"command": "stop", "commandID": None}),
        ("stop", "stop", {"command": "stop", "commandID": "new"}),
    ],
)
def test_every_command_is_a_new_order(
    before: str | None, verb: str, wanted: dict[str, object]
) -> None:
    there = service()
    if before:
        there.spec["command"] = before
    assert patch(there, verb, "new") == wanted  # type: ignore[arg-type]


def revision(unit: str, created: str, version: str = "1") -> cluster.Revision:
    content = cluster.Content(name="web", unit=unit)
    assignment = cluster.Assignment(uid=UID, namespace="storage", name="web", generation=1)
    digest = manifest.content_digest(cluster.manifest_of(assignment, content))
    return cluster.Revision(
        spec=cluster.RevisionSpec(tambourine="web", digest=digest, content=content),
        metadata=cluster.ObjectMeta(
            name=cluster.revision_name("web", digest),
            namespace="storage",
            creation_timestamp=created,
            resource_version=version,
        ),
    )


OLD, MIDDLE, NEW = (
    revision(f"[Service]\nExecStart=/bin/{name}\n", f"2026-01-01T00:00:0{n}Z")
    for n, name in enumerate(("old", "middle", "new"))
)


def with_unit(unit: str) -> revisions.Service:  # type: ignore[name-defined]
    there = service()
    there.spec["unit"] = unit
    return there


def test_undo_means_the_newest_content_that_is_not_the_current_one() -> None:
    there = [OLD, MIDDLE, NEW]
    for unit, wanted in (("new", MIDDLE), ("middle", NEW), ("old", NEW), ("another", NEW)):
        now = with_unit(f"[Service]\nExecStart=/bin/{unit}\n")
        assert revisions.chosen(now, there, "") is wanted
    with pytest.raises(NotFound, match="no revision other than the current one"):
        revisions.chosen(with_unit("[Service]\nExecStart=/bin/new\n"), [NEW], "")


def test_a_revision_is_asked_for_by_name_or_first_digits() -> None:
    there = [OLD, MIDDLE, NEW]
    assert revisions.chosen(service(), there, OLD.metadata.name) is OLD
    assert revisions.chosen(service(), there, OLD.spec.digest[:4]) is OLD
    for asked in (OLD.spec.digest[:3], "zzzz", "\x1b[2J"):
        with pytest.raises(NotFound) as caught:
            revisions.chosen(service(), there, asked)
        assert str(caught.value).isprintable()
    twin = msgspec.structs.replace(OLD, metadata=cluster.ObjectMeta(name="twin"))
    with pytest.raises(InvalidInput, match="give more digits"):
        revisions.chosen(service(), [OLD, twin], OLD.spec.digest[:8])


def test_going_back_takes_away_what_the_revision_has_not() -> None:
    now = service()
    now.spec.update(
        dropIns=[{"name": "a.conf", "content": "[Service]\nNice=1\n"}],
        enabled=True,
        command="start",
    )
    assert revisions.difference(now, OLD) == {
        "unit": OLD.spec.content.unit, "dropIns": None, "enabled": None,
    }  # fmt: skip
    assert revisions.difference(with_unit(str(OLD.spec.content.unit)), OLD) == {}


def test_a_revision_that_is_not_what_its_digest_says_is_not_applied() -> None:
    content = msgspec.structs.replace(OLD.spec.content, unit="[Service]\nExecStart=/bin/evil\n")
    forged = msgspec.structs.replace(OLD, spec=msgspec.structs.replace(OLD.spec, content=content))
    with pytest.raises(HostError, match="does not match its digest"):
        revisions.difference(service(), forged)


def test_a_content_is_summed_up_in_a_few_words() -> None:
    assert summary(cluster.Content(name="web")) == "the host's own unit"
    assert summary(cluster.Content(name="web", unit=UNIT)) == "unit of 2 lines"


def test_nodes_are_listed_with_and_without_an_agent() -> None:
    member = {
        "metadata": {"name": "h1"},
        "spec": {"assignments": [{"uid": "a"}, {"uid": "b", "state": "absent"}]},
        "status": {
            "version": "0.1.0",
            "namespaces": ["storage", "web"],
            "conditions": [condition("Ready", "False", "BombshellAway")],
        },
    }
    lease = {
        "metadata": {"name": "tambourine-h1"},
        "spec": {"renewTime": "2026-01-03T06:04:00.000000Z"},
    }
    found = nodes.rows(
        [member, {"metadata": {"name": "h0"}}], [lease], [{"metadata": {"name": "h2"}}], NOW
    )
    assert found == [
        ["h0", "Unknown", "", "none", "0", ""],
        ["h1", "False/BombshellAway", "0.1.0", "storage,web", "1", "5s"],
        ["h2", "no agent", "", "", "", ""],
    ]


def test_a_node_that_was_silent_for_too_long_is_marked() -> None:
    member = {"metadata": {"name": "h1"}}
    lease = {"metadata": {"name": "tambourine-h1"}, "spec": {"renewTime": "2026-01-03T06:00:00Z"}}
    assert nodes.rows([member], [lease], [], NOW)[0][-1] == "4m, late"


def test_the_kubelet_is_asked_for_plain_services_by_their_name_alone() -> None:
    assert (
        logs.query("h1", "web@a.service", 10)
        == "/api/v1/nodes/h1/proxy/logs/?query=web%40a&tailLines=10"
    )
    for unit in ("web.timer", "a\\x2db.service"):
        with pytest.raises(logs.NotOffered):
            logs.query("h1", unit, 10)


@pytest.mark.parametrize(
    "answer",
    [
        [],
        ["", "log not found for web"],
        ["", "options present and query resolved to log files for [web]", "try without"],
        ["", "error: journal output not available"],
    ],
)
def test_what_the_kubelet_says_instead_of_lines_is_not_taken_for_lines(answer: list[str]) -> None:
    with pytest.raises(logs.NotOffered):
        list(logs.checked(iter(answer)))


def test_lines_of_the_journal_come_through_whole() -> None:
    for lines in (["a"], ["", "b"], ["a", "", "c"]):
        assert list(logs.checked(iter(lines))) == lines


class Reported:
    """The API server's instance, as it is at each look."""

    def __init__(self, *statuses: dict[str, Any]) -> None:
        self.statuses = list(statuses)

    def get(self, _resource: object, name: str, namespace: str) -> dict[str, Any]:
        assert (name, namespace) == ("web.h1", "shop")
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return {"metadata": {"name": name, "namespace": namespace}, "spec": {}, "status": status}


def _instance(**status: Any) -> cluster.Instance:
    metadata = cluster.ObjectMeta(name="web.h1", namespace="shop")
    return cluster.Instance(metadata=metadata, status=cluster.InstanceStatus(**status))


def test_the_excerpt_of_a_run_that_has_just_failed_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "_LOOK_SECONDS", 0.001)
    api = Reported({"activeState": "failed"}, {"activeState": "failed", "journal": ["no disk"]})
    assert logs._excerpt(api, _instance(active_state="failed")) == ("no disk",)  # type: ignore[arg-type]


def test_the_excerpt_of_a_run_without_a_word_is_waited_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "_LOOK_SECONDS", 0.001)
    monkeypatch.setattr(logs, "_EXCERPT_SECONDS", 0.02)
    api = Reported({"activeState": "failed"})
    assert logs._excerpt(api, _instance(active_state="failed")) == ()  # type: ignore[arg-type]
    assert logs._excerpt(api, _instance(active_state="active")) == ()  # type: ignore[arg-type]
