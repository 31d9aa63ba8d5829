"""Minds that change in the middle: a defined order, the right end, nothing done twice."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster.manifests import counter, fresh_name, tambourine
from tests.cluster.world import Cluster
from tests.lab.hosts import Host


def _show(host: Host, unit: str, what: str) -> str:
    return host.run("systemctl", "show", "--property", what, "--value", unit).stdout.strip()


def _lines(host: Host, path: str) -> int:
    return len(host.run("cat", path, check=False).stdout.splitlines())


def _is_ready(cluster: Cluster, name: str) -> bool:
    found: dict[str, Any] = cluster.get("tmb", name, "-n", cluster.allowed_namespace)
    status = found.get("status", {})
    return bool(
        status.get("ready") == "2/2"
        and status["observedGeneration"] == found["metadata"]["generation"]
    )


def _slow_to_stop(name: str) -> str:
    """Its stop waits for a file that the test makes, so that the test is in the middle of it."""
    wait = f"while [ ! -e /run/{name}/go ]; do sleep 0.1; done"
    return counter(f"/run/{name}") + f"ExecStop=/bin/sh -c '{wait}'\nTimeoutStopSec=60\n"


@pytest.mark.parametrize("how", ["state absent", "deleted"])
def test_wanted_again_while_it_is_being_uninstalled(cluster: Cluster, how: str) -> None:
    name, namespace = fresh_name("again"), cluster.allowed_namespace
    unit = f"{name}.service"
    wanted = tambourine(name, namespace, command="start", unit=_slow_to_stop(name))
    cluster.apply(wanted)
    cluster.wait(lambda: _is_ready(cluster, name), "the start")
    if how == "deleted":
        cluster.kubectl("delete", "tmb", name, "-n", namespace, "--wait=false")
    else:
        cluster.apply(tambourine(name, namespace, state="absent", unit=_slow_to_stop(name)))
        # One node after the other, as any change: the second follows when the first is through.
    some = cluster.hosts[:1] if how == "state absent" else cluster.hosts
    stopping = [h for h in cluster.hosts if _show(h, unit, "ActiveState") == "deactivating"]
    cluster.wait(
        lambda: (
            sum(_show(host, unit, "ActiveState") == "deactivating" for host in cluster.hosts)
            >= len(some)
        ),
        f"it to be stopping: {stopping}",
    )
    if how == "deleted":  # the API server keeps an object that goes until it is gone
        for host in cluster.hosts:
            host.run("touch", f"/run/{name}/go")
        cluster.kubectl(
            "delete", "tmb", name, "-n", namespace, "--timeout=30s", "--ignore-not-found"
        )
        cluster.apply(wanted)
    else:
        cluster.apply(wanted)
        for host in cluster.hosts:
            host.run("touch", f"/run/{name}/go")
    cluster.wait(lambda: _is_ready(cluster, name), "it to be there again")
    for host in cluster.hosts:
        assert _show(host, unit, "ActiveState") == "active"
        starts, stops = _lines(host, f"/run/{name}/starts"), _lines(host, f"/run/{name}/stops")
        assert starts == stops + 1 <= 2, host.name
    cluster.kubectl("delete", "tmb", name, "-n", namespace, "--timeout=30s")


def test_edited_while_it_rolls_out_the_last_edit_wins_on_every_node(cluster: Cluster) -> None:
    name, namespace = fresh_name("edit"), cluster.allowed_namespace
    unit = f"{name}.service"

    def edition(number: int) -> dict[str, Any]:
        text = counter(f"/run/{name}").replace("Counts its starts", f"Edition {number}")
        return tambourine(name, namespace, command="start", unit=text)

    cluster.apply(edition(0))
    cluster.wait(lambda: _is_ready(cluster, name), "the start")
    for number in range(1, 8):
        cluster.apply(edition(number))  # each while the one before is on its way
    cluster.wait(lambda: _is_ready(cluster, name), "the last one on both")
    for host in cluster.hosts:
        assert _show(host, unit, "Description") == "Edition 7"
        assert _show(host, unit, "ActiveState") == "active"
        starts, stops = _lines(host, f"/run/{name}/starts"), _lines(host, f"/run/{name}/stops")
        assert starts == stops + 1 <= 8, host.name
    cluster.kubectl("delete", "tmb", name, "-n", namespace, "--timeout=30s")
