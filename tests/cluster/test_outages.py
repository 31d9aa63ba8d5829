"""API server, leader and sync come and go: no service notices, nothing is done twice, the end is right."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tambourinefs.kube import lease
from tambourinefs.model.cluster import JOIN_PREFIX, NAMESPACE
from tests.cluster.manifests import counter, fresh_name, sleeper, tambourine
from tests.cluster.world import Cluster
from tests.lab import kubeapi, kubecontroller
from tests.lab.hosts import Host
from tests.lab.state import Process

SYNC = "tambourine-sync.service"
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE", "APPLY"})


def _show(host: Host, unit: str, what: str) -> str:
    return host.run("systemctl", "show", "--property", what, "--value", unit).stdout.strip()


def _lines(host: Host, path: str) -> int:
    return len(host.run("cat", path, check=False).stdout.splitlines())


def _ready(cluster: Cluster, name: str) -> dict[str, Any]:
    status = cluster.get("tmb", name, "-n", cluster.allowed_namespace).get("status", {})
    found: dict[str, Any] = next(
        (one for one in status.get("conditions", []) if one["type"] == "Ready"), {"status": ""}
    )
    return found


def _instance(cluster: Cluster, name: str, node: str) -> dict[str, Any]:
    found = cluster.get("tmbi", f"{name}.{node}", "-n", cluster.allowed_namespace)
    status: dict[str, Any] = found.get("status", {})
    return status


def test_the_api_server_is_away_for_a_while(cluster: Cluster) -> None:
    name, namespace, h1 = fresh_name("away"), cluster.allowed_namespace, cluster.host("h1")
    unit = counter(f"/run/{name}")
    cluster.apply(tambourine(name, namespace, command="start", unit=unit))
    cluster.wait(lambda: _ready(cluster, name)["status"] == "True", "the start")
    # The order does not come to this host before its API server goes: whoever kills could not tell an order from a fault.
    h1.run("systemctl", "kill", "--signal=STOP", "tambourine-sync.service")
    patch = {"spec": {"command": "restart", "commandID": "a", "rollout": {"maxUnavailable": 2}}}
    cluster.kubectl("patch", "tmb", name, "-n", namespace, "--type=merge", "-p", json.dumps(patch))
    cluster.stop_api()
    pid = _show(h1, f"{name}.service", "MainPID")
    h1.run("systemctl", "kill", "--signal=KILL", "tambourine.service", "tambourine-sync.service")
    cluster.wait(
        lambda: (
            "active (running)"
            in h1.run("cat", f"/run/tambourine/proc/{namespace}/{name}/status", check=False).stdout
        ),
        "the host to tell its status without the cluster",
    )
    assert _show(h1, f"{name}.service", "MainPID") == pid
    cluster.start_api()

    def done(node: str) -> bool:
        last = _instance(cluster, name, node).get("lastCommand") or {}
        return last.get("commandID") == "a" and last.get("result") == "done"

    for node in ("h1", "h2"):
        cluster.wait(lambda node=node: done(node), f"{node} to report the restart")  # type: ignore[misc]
    cluster.wait(lambda: _ready(cluster, name)["status"] == "True", "all ready again")
    for host in cluster.hosts:
        assert _lines(host, f"/run/{name}/starts") == 2
        assert _lines(host, f"/run/{name}/stops") == 1
    cluster.kubectl("delete", "tmb", name, "-n", namespace, "--timeout=30s")


LEASE = ("lease", "tambourine-controller", "-n", "tambourine-system")


def _holder(cluster: Cluster) -> str:
    return str(cluster.get(*LEASE)["spec"].get("holderIdentity") or "")


def _leader(cluster: Cluster) -> Process:
    """The first controller, which leads."""
    found = kubecontroller.process(cluster.plane, 1)
    cluster.wait(lambda: f"_{found.pid}_" in _holder(cluster), "the first to lead")
    return found


def _let_the_next_lead(cluster: Cluster) -> None:
    """The Lease of a controller that has ended is released; another leads without waiting."""
    cluster.kubectl("patch", *LEASE, "--type=merge", "-p", '{"spec":{"holderIdentity":""}}')
    cluster.wait(lambda: _holder(cluster), "another to lead")


@pytest.fixture
def second_controller(cluster: Cluster) -> Iterator[int]:
    kubecontroller.start(cluster.plane, 2)
    yield 2
    for number in (1, 2):
        if cluster.plane.runs(kubecontroller.name_of(number)):
            os.kill(kubecontroller.process(cluster.plane, number).pid, signal.SIGCONT)
            kubecontroller.end(cluster.plane, number)
    kubecontroller.start(cluster.plane, 1)
    _let_the_next_lead(cluster)


def test_a_leader_that_is_frozen_and_woken_ends_itself(
    cluster: Cluster, second_controller: int
) -> None:
    name, namespace = fresh_name("lead"), cluster.allowed_namespace
    first = kubecontroller.process(cluster.plane, 1)
    holder = _holder(cluster)
    os.kill(first.pid, signal.SIGSTOP)
    cluster.apply(tambourine(name, namespace, command="start", unit=sleeper()))
    cluster.wait(lambda: _holder(cluster) != holder, "another to lead")
    cluster.wait(lambda: _ready(cluster, name)["status"] == "True", "the other's work")
    writes = cluster.get("tmb", name, "-n", namespace)["metadata"]["resourceVersion"]
    os.kill(first.pid, signal.SIGCONT)
    cluster.wait(lambda: not first.alive(), "the woken one to end")
    assert "ending" in cluster.plane.log(kubecontroller.name_of(1)).read_text()
    assert cluster.get("tmb", name, "-n", namespace)["metadata"]["resourceVersion"] == writes
    cluster.kubectl("delete", "tmb", name, "-n", namespace, "--timeout=30s")


def test_a_leader_whose_requests_hang_ends_before_another_may_lead(cluster: Cluster) -> None:
    leader = _leader(cluster)
    log = cluster.plane.log(kubecontroller.name_of(1))
    before = log.stat().st_size
    server = cluster.plane.process("kube-apiserver")
    began = time.monotonic()
    os.kill(server.pid, signal.SIGSTOP)
    try:
        cluster.wait(lambda: not leader.alive(), "the leader to end", seconds=lease.LEASE_SECONDS)
        took = time.monotonic() - began
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert took < lease.LEASE_SECONDS
    said = log.read_text()[before:]
    assert "the Lease was not renewed for 10 s; ending" in said
    _let_the_next_lead(cluster)


def test_the_controllers_rights_are_withdrawn_and_given_back(cluster: Cluster) -> None:
    name, later, namespace = fresh_name("kept"), fresh_name("later"), cluster.allowed_namespace
    cluster.apply(tambourine(name, namespace, command="start", unit=sleeper()))
    cluster.wait(lambda: _ready(cluster, name)["status"] == "True", "it to be ready")
    pids = [_show(host, f"{name}.service", "MainPID") for host in cluster.hosts]
    bound = [
        cluster.get("clusterrolebinding", "tambourine-controller"),
        cluster.get("rolebinding", "tambourine-controller", "-n", NAMESPACE),
    ]
    for item in bound:
        for key in ("resourceVersion", "uid", "creationTimestamp", "managedFields"):
            item["metadata"].pop(key, None)
    leader = _leader(cluster)
    log = cluster.plane.log(kubecontroller.name_of(1))
    before, began = log.stat().st_size, time.monotonic()
    try:
        cluster.kubectl("delete", "clusterrolebinding", "tambourine-controller")
        cluster.kubectl("delete", "rolebinding", "tambourine-controller", "-n", NAMESPACE)
        cluster.wait(lambda: not leader.alive(), "the leader to end", seconds=lease.LEASE_SECONDS)
        assert time.monotonic() - began < lease.LEASE_SECONDS
        cluster.apply(tambourine(later, namespace, command="start", unit=sleeper()))
        cluster.wait(
            lambda: "leader election:" in log.read_text()[before:], "the next to be refused"
        )
        assert "forbidden" in log.read_text()[before:]
        assert [_show(host, f"{name}.service", "MainPID") for host in cluster.hosts] == pids
    finally:
        cluster.apply(*bound)
    _let_the_next_lead(cluster)
    cluster.wait(lambda: _ready(cluster, later)["status"] == "True", "work to go on")
    assert [_show(host, f"{name}.service", "MainPID") for host in cluster.hosts] == pids
    cluster.kubectl("delete", "tmb", name, later, "-n", namespace, "--timeout=30s")


def _kill_sync(cluster: Cluster, host: Host) -> None:
    """As soon as it is back from the last time."""
    cluster.wait(lambda: _show(host, SYNC, "ActiveState") == "active", f"{host.name}'s sync")
    host.run("systemctl", "kill", "--signal=KILL", SYNC)


def _starts(host: Host, namespace: str) -> dict[str, int]:
    """How often each service there has been started, by its name."""
    said = host.run("sh", "-c", f"wc -l /run/{namespace}/*/starts").stdout.splitlines()
    counts = (line.split() for line in said[:-1])
    return {path.split("/")[-2]: int(count) for count, path in counts}


def batched(objects: list[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(objects), size):
        yield objects[start : start + size]


@pytest.mark.parametrize("count", [30, pytest.param(100, marks=pytest.mark.soak)])
def test_sync_is_killed_at_random_under_applies_and_restarts(
    cluster: Cluster, count: int, seed: int
) -> None:
    """Each command is run once, of so many applies and a fifth as many restarts."""
    namespace, names = cluster.allowed_namespace, [fresh_name("kill") for _ in range(count)]
    restarted = names[: count // 5]
    dice, killed = random.Random(seed), Counter[str]()
    objects = [
        tambourine(name, namespace, command="start", unit=counter(f"/run/{namespace}/{name}"))
        for name in names
    ]
    before = {host.name: int(_show(host, SYNC, "NRestarts")) for host in cluster.hosts}
    for some in batched(objects, count // 10):
        cluster.apply(*some)
        for host in cluster.hosts:
            if dice.random() < 0.9:
                _kill_sync(cluster, host)
                killed[host.name] += 1
    assert all(killed[host.name] >= 5 for host in cluster.hosts), killed

    def all_ready() -> bool:
        items = cluster.get("tmb", "-n", namespace)["items"]
        return len(items) == count and all(
            item.get("status", {}).get("ready") == "2/2" for item in items
        )

    cluster.wait(all_ready, "all on both nodes", seconds=120)
    for host in cluster.hosts:
        assert _starts(host, namespace) == dict.fromkeys(names, 1), host.name
        assert int(_show(host, SYNC, "NRestarts")) - before[host.name] >= 5

    again = objects[: len(restarted)]
    for item in again:
        item["spec"] |= {"command": "restart", "commandID": "x", "rollout": {"maxUnavailable": 2}}
    for some in batched(again, count // 25):
        cluster.apply(*some)
        for host in cluster.hosts:
            _kill_sync(cluster, host)

    def all_done() -> bool:
        items = cluster.get("tmbi", "-n", namespace)["items"]
        last = [
            item.get("status", {}).get("lastCommand", {})
            for item in items
            if item["spec"]["tambourine"] in restarted
        ]
        return [(one.get("commandID"), one.get("result")) for one in last] == [("x", "done")] * (
            2 * len(restarted)
        )

    cluster.wait(all_done, "all restarts to be reported", seconds=90)
    wanted = dict.fromkeys(names, 1) | dict.fromkeys(restarted, 2)
    for host in cluster.hosts:
        assert _starts(host, namespace) == wanted, host.name
    cluster.kubectl("delete", "tmb", "--all", "-n", namespace, "--timeout=120s", timeout=150)


def test_the_hosts_sync_tells_its_health_where_it_is_told_to(cluster: Cluster) -> None:
    """docs/kubernetes.md, "Health and metrics": by an option in a drop-in of its unit; nothing listens otherwise."""
    host, directory = cluster.host("h2"), f"/run/systemd/system/{SYNC}.d"
    text = "[Service]\nExecStart=\nExecStart=/opt/tambourine/bin/tambourine sync --health-address 127.0.0.1:9441\n"
    asked = ("curl", "--silent", "--fail", "http://127.0.0.1:9441/")

    def says(page: str) -> str:
        return host.run(*asked[:-1], asked[-1] + page, check=False).stdout

    assert says("healthz") == ""
    host.run("mkdir", "-p", directory)
    try:
        host.run("sh", "-c", f"cat >{directory}/health.conf", input=text)
        host.run("systemctl", "daemon-reload")
        host.run("systemctl", "restart", SYNC)
        cluster.wait(lambda: says("healthz") == says("readyz") == "ok", "sync to be well")
        leases = 'tambourine_api_writes_total{verb="patch",resource="leases"} '
        cluster.wait(lambda: leases in says("metrics"), "its heartbeats to be counted")
    finally:
        host.run("rm", "-r", directory)
        host.run("systemctl", "daemon-reload")
        host.run("systemctl", "restart", SYNC)


def _writes(cluster: Cluster) -> Counter[str]:
    """How many write requests the API server has answered so far, by resource; Leases and its own left out."""
    text = kubeapi.page(cluster.plane.server, cluster.plane.pki, "/metrics")
    found: Counter[str] = Counter()
    for line in text.splitlines():
        if not line.startswith("apiserver_request_total{"):
            continue
        labels, _, value = line.partition("} ")
        parts = dict(
            part.split("=", 1) for part in labels.partition("{")[2].split(",") if "=" in part
        )
        if parts["verb"].strip('"') in WRITES:
            resource = "/".join(
                parts[key].strip('"') for key in ("resource", "subresource") if parts[key] != '""'
            )
            found[resource] += int(float(value))
    return found


def _used_invitations(cluster: Cluster) -> set[str]:
    """The join accounts that are there although their certificate was issued: the controller takes them back 30 s later."""
    issued = {
        item["spec"].get("uid")
        for item in cluster.get("csr")["items"]
        if item["status"].get("certificate")
    }
    accounts = cluster.get("sa", "-n", NAMESPACE)["items"]
    bindings = {item["metadata"]["name"] for item in cluster.get("clusterrolebindings")["items"]}
    used = {one["metadata"]["name"] for one in accounts if one["metadata"]["uid"] in issued}
    invited = {one["metadata"]["name"] for one in accounts}
    return used | {name for name in bindings - invited if name.startswith(JOIN_PREFIX)}


def _others_are_done(cluster: Cluster) -> None:
    """Namespaces of other tests that go are written to, and invitations that were used are taken back."""
    cluster.wait(
        lambda: not _used_invitations(cluster), "used invitations to be taken back", seconds=90
    )
    cluster.wait(
        lambda: all(
            item["status"]["phase"] == "Active" for item in cluster.get("namespaces")["items"]
        ),
        "the namespaces of other tests to be gone",
    )


def test_nothing_is_written_while_nothing_changes(cluster: Cluster) -> None:
    name, namespace = fresh_name("quiet"), cluster.allowed_namespace
    cluster.apply(tambourine(name, namespace, command="start", unit=sleeper()))
    cluster.wait(lambda: _ready(cluster, name)["status"] == "True", "it to be ready")
    _others_are_done(cluster)
    settled = time.monotonic() + 3
    cluster.wait(lambda: time.monotonic() > settled, "what is late to be written")
    before, until = _writes(cluster), time.monotonic() + 12
    cluster.wait(lambda: time.monotonic() > until, "a heartbeat of each node")
    new = _writes(cluster) - before
    assert new.pop("leases", 0) >= 2, "no heartbeat was seen: the figures cannot be believed"
    assert new == Counter(), "something was written although nothing changed"
    cluster.kubectl("delete", "tmb", name, "-n", namespace, "--timeout=30s")


def test_a_unit_that_flaps_costs_a_bounded_number_of_writes(cluster: Cluster) -> None:
    name, namespace = fresh_name("flap"), cluster.allowed_namespace
    unit = (
        "[Unit]\nDescription=Flaps\nStartLimitIntervalSec=0\n[Service]\n"
        "ExecStart=/bin/sleep 0.05\nRestart=always\nRestartSec=50ms\n"
    )
    _others_are_done(cluster)
    before, began = _writes(cluster), time.monotonic()
    cluster.apply(tambourine(name, namespace, command="start", unit=unit))
    host = cluster.hosts[0]
    cluster.wait(lambda: int(_show(host, f"{name}.service", "NRestarts") or 0) >= 60, "60 restarts")
    seconds = time.monotonic() - began
    new = _writes(cluster) - before
    assert new["tambourineinstances/status"] <= 2 * (seconds + 6)
    assert new["tambourines/status"] <= seconds + 4
    assert new["events"] <= 3 * 25
    cluster.kubectl("delete", "tmb", name, "-n", namespace, "--timeout=30s")
