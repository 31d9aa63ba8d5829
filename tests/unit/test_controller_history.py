"""Which revisions the controller takes away."""

from __future__ import annotations

from tambourinefs.controller import history
from tambourinefs.controller.snapshot import Revision, Service
from tambourinefs.model import cluster
from tests.unit.cluster_world import assigned, make, member, service

KEPT = cluster.REVISIONS_KEPT


def revision(of: Service, number: int, name: str = "") -> Revision:
    """The `number`th content that it had."""
    created = f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z"
    name = name or f"{of.name}-{number}"
    return Revision(of.namespace, name, f"u{number}", of.uid, created, number)


def gone(*world: Revision) -> list[str]:
    return [item.name for item in world]


def test_the_newest_ten_stay_beside_the_current_one() -> None:
    zfs = service()
    old = [revision(zfs, number) for number in range(KEPT + 3)]
    now = revision(zfs, 99, zfs.revision)
    found = history.excess(make(zfs, revisions=(*reversed(old), now)))
    assert gone(*found) == ["zfs-0", "zfs-1", "zfs-2"]
    assert gone(*history.excess(make(zfs, revisions=(*old[:KEPT], now)))) == []


def test_within_one_second_the_version_says_who_is_older() -> None:
    zfs = service()
    same = [
        Revision(zfs.namespace, f"r{n}", "u", zfs.uid, "2026-01-01T00:00:00Z", n)
        for n in range(9, 9 + KEPT + 1)
    ]
    assert gone(*history.excess(make(zfs, revisions=tuple(same)))) == ["r9"]


def test_the_current_content_stays_however_old_it_is() -> None:
    zfs = service()
    back = revision(zfs, 0, zfs.revision)
    rest = [revision(zfs, number) for number in range(1, KEPT + 2)]
    assert gone(*history.excess(make(zfs, revisions=(back, *rest)))) == ["zfs-1"]


def test_what_a_node_is_still_told_of_stays() -> None:
    zfs = service()
    old = [revision(zfs, number) for number in range(KEPT + 2)]
    behind = member("h1", assigned(zfs, revision="zfs-0"))
    assert gone(*history.excess(make(zfs, members=(behind,), revisions=tuple(old)))) == ["zfs-1"]


def test_a_tambourine_that_goes_or_cannot_be_read_keeps_its_history() -> None:
    for zfs in (service(deleted="2026-01-01T00:00:00Z"), service(unheard="of")):
        old = tuple(revision(zfs, number) for number in range(KEPT + 2))
        assert gone(*history.excess(make(zfs, revisions=old))) == []
    assert gone(*history.excess(make(revisions=old))) == []


def test_each_tambourine_has_its_own_ten() -> None:
    first, second = service("a"), service("b")
    old = [revision(one, number) for one in (first, second) for number in range(KEPT)]
    assert gone(*history.excess(make(first, second, revisions=tuple(old)))) == []
