"""Another cluster, a restored one, no CRDs, no rights, no Node, no power: absence is never an order.

One lab for the module; each test leaves it working, but for the last: docs/kubernetes.md, which takes it away.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.manifests import counter, fresh_name, sleeper, tambourine
from tests.cluster.pages import Reader
from tests.cluster.plugin import Plugin
from tests.cluster.world import Cluster
from tests.lab.hosts import CommandFailed, Host
from tests.lab.state import CHECKOUT
from tests.transcript import play, steps

GROUP = "tambourine.dev"
PAGE = CHECKOUT / "docs/kubernetes.md"
CRDS = [
    f"{plural}.{GROUP}"
    for plural in ("tambourines", "tambourineinstances", "tambourinenodes", "tambourinerevisions")
]


def _show(host: Host, unit: str, what: str) -> str:
    return host.run("systemctl", "show", "--property", what, "--value", unit).stdout.strip()


def _pids(cluster: Cluster, *names: str) -> list[str]:
    found = [_show(host, f"{name}.service", "MainPID") for host in cluster.hosts for name in names]
    assert "0" not in found, found
    return found


def _lines(host: Host, path: str) -> int:
    return len(host.run("cat", path, check=False).stdout.splitlines())


def _columns(cluster: Cluster, kind: str, name: str) -> dict[str, str]:
    """What `kubectl get KIND NAME` prints, by column: they are two spaces apart, a value is words."""
    head, line = cluster.kubectl("get", kind, name).stdout.splitlines()
    starts = [found.start() for found in re.finditer(r"(?:^|(?<= ))\S+", head)]
    ends = [*starts[1:], len(line) + 1]
    values = [line[start:end].strip() for start, end in zip(starts, ends, strict=True)]
    return dict(zip(head.split(), values, strict=True))


def _is_ready(cluster: Cluster, name: str, nodes: str = "2/2") -> bool:
    try:
        found = cluster.get("tmb", name)
    except CommandFailed:
        return False
    status = found.get("status", {})
    return bool(
        status.get("ready") == nodes
        and status.get("observedGeneration") == found["metadata"]["generation"]
        and any(c["type"] == "Ready" and c["status"] == "True" for c in status["conditions"])
    )


def _start(cluster: Cluster, name: str, unit: str, nodes: str = "2/2", **spec: Any) -> None:
    cluster.apply(tambourine(name, command="start", unit=unit, **spec))
    cluster.wait(lambda: _is_ready(cluster, name, nodes), f"{name} to be ready")


def _delete(cluster: Cluster, *names: str) -> None:
    cluster.kubectl("delete", "tmb", *names, "--timeout=40s")
    for host in cluster.hosts:
        for name in names:
            assert _show(host, f"{name}.service", "LoadState") == "not-found"


def _unlisted(cluster: Cluster, node: str) -> list[str]:
    found: list[str] = cluster.get("tmbn", node).get("status", {}).get("unlisted", [])
    return found


def _states(cluster: Cluster, node: str, *names: str) -> set[str]:
    """Of these, or of all that it is told of."""
    assignments = cluster.get("tmbn", node)["spec"].get("assignments", [])
    return {
        item.get("state", "installed") for item in assignments if not names or item["name"] in names
    }


def test_rights_are_withdrawn_and_given_back(doomed_cluster: Cluster) -> None:
    cluster, name, later = doomed_cluster, fresh_name("rights"), fresh_name("later")
    _start(cluster, name, sleeper())
    pids = _pids(cluster, name)
    bindings = cluster.get("clusterrolebindings")["items"]
    ours = [
        item
        for item in bindings
        if item["metadata"]["name"] == "tambourine-node"
        or item["metadata"]["name"].startswith("tambourine:node:")
    ]
    assert len(ours) == 3
    cluster.kubectl("delete", "clusterrolebinding", *(item["metadata"]["name"] for item in ours))
    h1 = cluster.host("h1")
    h1.run("systemctl", "restart", "tambourine-sync.service")
    cluster.wait(
        lambda: (
            "forbidden" in h1.run("journalctl", "-b", "-u", "tambourine-sync", "-n", "20").stdout
        ),
        "sync to say that it lacks rights",
    )
    cluster.apply(tambourine(later, command="start", unit=sleeper()))
    assert _pids(cluster, name) == pids
    for item in ours:
        for key in ("resourceVersion", "uid", "creationTimestamp", "managedFields"):
            item["metadata"].pop(key, None)
    cluster.apply(*ours)
    cluster.wait(lambda: _is_ready(cluster, later), "work to go on with the rights")
    assert _pids(cluster, name) == pids
    _delete(cluster, name, later)


def test_a_node_is_deleted_and_made_again(doomed_cluster: Cluster) -> None:
    cluster, name = doomed_cluster, fresh_name("node")
    _start(cluster, name, sleeper())
    pids = _pids(cluster, name)
    h2 = cluster.get("node", "h2")
    cluster.kubectl("delete", "node", "h2")
    cluster.wait(lambda: _is_ready(cluster, name, "1/1"), "one node to be asked for")
    assert _pids(cluster, name) == pids
    h2["metadata"] = {"name": "h2", "labels": h2["metadata"]["labels"]}
    cluster.apply(h2)
    cluster.wait(lambda: _is_ready(cluster, name), "both again")
    assert _pids(cluster, name) == pids
    _delete(cluster, name)


def test_crds_are_deleted_against_our_policy(doomed_cluster: Cluster) -> None:
    cluster, name = doomed_cluster, fresh_name("crds")
    _start(cluster, name, sleeper())
    pids = _pids(cluster, name)
    refused = cluster.kubectl("delete", "crd", CRDS[0], "--wait=false", check=False)
    assert refused.returncode != 0
    assert "tambourine.dev/allow-deletion=true" in refused.stderr
    cluster.kubectl("annotate", "crd", *CRDS, "tambourine.dev/allow-deletion=true")
    cluster.kubectl("delete", "crd", *CRDS, "--wait=false")
    log = cluster.plane.log("tambourine-controller-1")
    cluster.wait(
        lambda: "nothing is removed from any host" in log.read_text(errors="replace"),
        "the controller to notice it",
    )
    # Finalizers hold the CRDs; who wants them gone takes those away.
    cluster.kubectl(
        "patch", "tmb", name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}', check=False
    )
    cluster.wait(
        lambda: (
            not any(name in cluster.kubectl("get", "crd", "-o", "name").stdout for name in CRDS)
        ),
        "the CRDs to be gone",
    )
    for host in cluster.hosts:
        host.run("systemctl", "restart", "tambourine-sync.service")
    assert _pids(cluster, name) == pids
    cluster.apply_manifests()
    cluster.wait(lambda: f"default/{name}" in _unlisted(cluster, "h1"), "it to be told as unlisted")
    assert _pids(cluster, name) == pids
    # Wanted once more: what is the same runs on.
    cluster.apply(tambourine(name, command="start", unit=sleeper()))
    cluster.wait(lambda: _is_ready(cluster, name), "it to be taken up")
    assert _pids(cluster, name) == pids
    _delete(cluster, name)


def test_an_older_snapshot_of_etcd_is_restored(doomed_cluster: Cluster, tmp_path: Path) -> None:
    cluster, kept, later = doomed_cluster, fresh_name("kept"), fresh_name("later")
    _start(cluster, kept, sleeper("First"))
    cluster.snapshot(tmp_path / "etcd.tar")
    both: dict[str, Any] = {"rollout": {"maxUnavailable": 2}}
    _start(cluster, kept, sleeper("Second"), **both)
    _start(cluster, later, sleeper())
    pids = _pids(cluster, kept, later)
    cluster.restore(tmp_path / "etcd.tar")
    cluster.wait(
        lambda: f"default/{later}" in _unlisted(cluster, "h1"),
        "what is too new to be told",
        seconds=90,
    )
    said = cluster.get("tmbn", "h1")["status"]["conditions"][0]["message"]
    assert "is older than" in said
    assert _pids(cluster, kept, later) == pids
    assert _show(cluster.host("h1"), f"{kept}.service", "Description") == "Second"
    # The object goes on from the generation that it was restored at: edits until it is past the host's.
    for number in range(3):
        cluster.apply(tambourine(kept, command="start", unit=sleeper(f"Edit {number}"), **both))
    cluster.wait(lambda: _is_ready(cluster, kept), "the edit to arrive")
    assert _show(cluster.host("h1"), f"{kept}.service", "Description") == "Edit 2"
    cluster.apply(tambourine(later, command="start", unit=sleeper()))
    cluster.wait(lambda: _is_ready(cluster, later), "the unlisted one to be taken up")
    _delete(cluster, kept, later)


def test_another_empty_cluster_stands_in_its_place(doomed_cluster: Cluster) -> None:
    cluster, name = doomed_cluster, fresh_name("other")
    _start(cluster, name, sleeper())
    pids = _pids(cluster, name)
    cluster.replace()
    for host in cluster.hosts:
        host.run("systemctl", "restart", "tambourine-sync.service")
    cluster.rejoin()
    for node in ("h1", "h2"):
        cluster.wait(
            lambda node=node: f"default/{name}" in _unlisted(cluster, node),  # type: ignore[misc]
            f"{node} to tell what the new cluster does not know",
        )
    assert _pids(cluster, name) == pids
    cluster.apply(tambourine(name, command="start", unit=sleeper()))
    cluster.wait(lambda: _is_ready(cluster, name), "it to be taken up")
    assert _pids(cluster, name) == pids
    _delete(cluster, name)


def _stop_and_start_the_agent(cluster: Cluster, node: str, name: str) -> None:
    """Meanwhile the node is not ready, and its services do not show their former state."""

    def active() -> str:
        return _columns(cluster, "tmbi", f"{name}.{node}")["ACTIVE"]

    def ready() -> tuple[str, str]:
        conditions = cluster.get("tmbn", node)["status"]["conditions"]
        found = next(one for one in conditions if one["type"] == "Ready")
        return found["status"], found["reason"]

    assert ready()[0] == "True"
    cluster.host(node).run("systemctl", "stop", "tambourine.service")
    try:
        cluster.wait(lambda: ready() == ("False", "HostUnreachable"), "its word")
        assert _columns(cluster, "tmbn", node)["READY"] == "False"
        cluster.wait(lambda: active() == "unknown", "its service to be unknown")
    finally:
        cluster.host(node).run("systemctl", "start", "tambourine.service")
    cluster.wait(lambda: ready()[0] == "True", f"{node} to be ready again")
    cluster.wait(lambda: active().startswith("active (running)"), "its word to be back")


def test_power_goes_on_one_node_while_things_are_deleted(
    doomed_cluster: Cluster, tmp_path: Path
) -> None:
    cluster, gone, again = doomed_cluster, fresh_name("gone"), fresh_name("again")
    h2, runs = cluster.host("h2"), fresh_name("runs")
    _start(cluster, gone, sleeper("Gone"))
    _start(cluster, runs, sleeper("Runs"))
    _start(cluster, "only", sleeper("Only there"), nodeName="h2", nodes="1/1")
    assert _columns(cluster, "tmbi", f"{runs}.h2")["ACTIVE"].startswith("active (running)")
    assert _columns(cluster, "tmbn", "h2")["READY"] == "True"
    _start(cluster, again, counter(f"/run/{again}"))
    token = {"command": "restart", "commandID": "x"}
    cluster.apply(
        tambourine(again, unit=counter(f"/run/{again}"), rollout={"maxUnavailable": 2}, **token)
    )
    cluster.wait(lambda: _is_ready(cluster, again), "the restart")
    h2.crash()
    cluster.kubectl("delete", "tmb", gone, again, "--timeout=30s")  # bounded: h2 cannot answer
    assert _states(cluster, "h2", gone, again) == {"absent"}
    assert _show(cluster.host("h1"), f"{gone}.service", "LoadState") == "not-found"
    cluster.apply(tambourine(again, unit=counter(f"/run/{again}"), **token))
    _start_alone = tambourine("alive", command="start", unit=sleeper())
    cluster.apply(_start_alone)
    _stop_and_start_the_agent(cluster, "h1", runs)  # while the other is not yet lost

    def lost() -> bool:
        found = cluster.get("tmb", again)["status"]
        ready = next(one for one in found["conditions"] if one["type"] == "Ready")
        return bool(ready["reason"] == "NodeLost" and found["nodes"]["unknown"] == 1)

    cluster.wait(lost, "no service of h2 shown as active")
    cluster.wait(
        lambda: _columns(cluster, "tmbi", f"{runs}.h2")["READY"] == "Unknown", "its instance"
    )
    instance = _columns(cluster, "tmbi", f"{runs}.h2")
    assert instance["ACTIVE"] == "unknown"
    assert _columns(cluster, "tmb", runs)["ACTIVE"] == "1 active, 1 unknown"
    assert _columns(cluster, "tmb", "only")["ACTIVE"] == "unknown"
    cluster.wait(lambda: _columns(cluster, "tmbn", "h2")["READY"] == "Unknown", "its node")
    assert _columns(cluster, "tmbn", "h1")["READY"] == "True"
    nodes = Plugin(cluster, tmp_path)("nodes", namespace="").stdout
    assert re.search(r"^h2 +Unknown/NodeLost ", nodes, re.MULTILINE), nodes
    of_h2 = cluster.kubectl("get", "tmbi", "-o", "wide", "--field-selector=spec.nodeName=h2").stdout
    assert "running" not in of_h2, of_h2
    h2.start()
    cluster.wait(lambda: _columns(cluster, "tmbn", "h2")["READY"] == "True", "h2's own word")
    cluster.wait(
        lambda: _columns(cluster, "tmbi", f"{runs}.h2")["ACTIVE"].startswith("active (running)"),
        "what runs there to be told again",
    )
    cluster.wait(lambda: _columns(cluster, "tmb", runs)["ACTIVE"] == "active", "the summary")
    cluster.wait(lambda: _columns(cluster, "tmb", "only")["ACTIVE"] == "active", "the other")
    cluster.wait(lambda: _is_ready(cluster, again), "h2 to be back with the new one")
    cluster.wait(
        lambda: _show(h2, f"{gone}.service", "LoadState") == "not-found", "the other to be gone"
    )
    cluster.wait(
        lambda: _states(cluster, "h2") == {"installed"}, "the tombstones to be carried out"
    )
    # /run was lost with the power: what is counted is what happened since the boot.
    assert _lines(h2, f"/run/{again}/starts") <= 2
    _delete(cluster, again, "alive", runs, "only")


def test_what_the_page_about_clusters_shows_is_what_happens(
    doomed_cluster: Cluster, tmp_path: Path
) -> None:
    """From installing to taking it away; the reader stands beside a checkout, named tambourine."""
    found = steps(PAGE.read_text())
    assert len(found) >= 20
    stands = tmp_path / "mine"
    stands.mkdir()
    (stands / "tambourine").symlink_to(CHECKOUT)
    play(PAGE, found, Reader(doomed_cluster, tmp_path, stands=stands).run)


@pytest.fixture(autouse=True)
def _works_afterwards(doomed_cluster: Cluster) -> Any:
    yield
    doomed_cluster.start_api()
