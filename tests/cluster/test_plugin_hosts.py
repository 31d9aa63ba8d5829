"""`kubectl tambourine` on two real hosts: what it tells is what the hosts do, and its exit code is the verdict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cluster import kubelet
from tests.cluster.manifests import counter, failing, fresh_name, sleeper, tambourine
from tests.cluster.plugin import Plugin
from tests.cluster.world import Cluster
from tests.lab.hosts import Host


@pytest.fixture
def plugin(cluster: Cluster, tmp_path: Path) -> Plugin:
    return Plugin(cluster, tmp_path)


def _apply(cluster: Cluster, name: str, **spec: object) -> None:
    cluster.apply(tambourine(name, cluster.allowed_namespace, **spec))


def _ready(cluster: Cluster, name: str) -> None:
    cluster.kubectl(
        "wait", "--for=condition=Ready", f"tmb/{name}", "-n", cluster.namespace, "--timeout=30s"
    )


def _show(host: Host, unit: str, what: str) -> str:
    return host.run("systemctl", "show", "--property", what, "--value", unit).stdout.strip()


def _lines(host: Host, path: str) -> int:
    return len(host.run("cat", path, check=False).stdout.splitlines())


def _delete(cluster: Cluster, name: str) -> None:
    cluster.kubectl("delete", "tmb", name, "-n", cluster.namespace, "--timeout=30s")


def test_status_shows_what_systemctl_status_shows_on_each_node(
    cluster: Cluster, plugin: Plugin
) -> None:
    name = fresh_name()
    _apply(cluster, name, command="start", unit=sleeper("Told by the plugin"))
    _ready(cluster, name)

    # Between fork and exec a process has systemd's name: it is told, and a moment later its own.
    def named() -> bool:
        said = plugin("status", name).stdout
        assert said.count(" (sleep)\n") == 2, said
        return True

    cluster.wait(named, "processes by name")
    done = plugin("status", name)
    assert (done.returncode, done.stderr) == (0, "")
    head, _, rest = done.stdout.partition("\n\n")
    assert (
        head
        == f"tambourine/{name} in namespace {cluster.namespace}: {name}.service, 2/2 nodes ready"
    )
    first, second = rest.split("\n\n")
    for text, host in ((first, cluster.host("h1")), (second, cluster.host("h2"))):
        lines = text.splitlines()
        assert lines[0] == host.name
        said = host.run("systemctl", "status", "--no-pager", "--lines=0", name).stdout.splitlines()
        labels = ("Loaded:", "Main PID:", "Active:")
        # The age goes on by itself, and memory with the process: both are compared as far as they hold still.
        mine = [
            line.partition(" since ")[0] for line in lines[1:] if line.strip().startswith(labels)
        ]
        theirs = [line.partition(" since ")[0] for line in said if line.strip().startswith(labels)]
        assert lines[1] == said[0]
        assert mine == theirs
        assert any("; " in line and line.endswith(" ago") for line in lines)
    one = plugin("status", f"tambourine/{name}", "--node", "h2")
    assert one.returncode == 0
    assert "\nh1\n" not in one.stdout
    assert "\nh2\n" in one.stdout
    nowhere = plugin("status", name, "--node", "h9")
    assert nowhere.returncode == 1
    assert "hint: it is on h1, h2" in nowhere.stderr
    _delete(cluster, name)


def test_commands_return_when_every_node_has_done_it_once(cluster: Cluster, plugin: Plugin) -> None:
    name = fresh_name()
    _apply(cluster, name, command="start", unit=counter(f"/run/{name}"))
    _ready(cluster, name)
    for verb, file, count in (
        ("restart", "starts", 2),
        ("restart", "starts", 3),
        ("reload", "reloads", 1),
    ):
        done = plugin(verb, name)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"tambourine/{name} ready on 2 of 2 nodes: active\n"
        assert [_lines(host, f"/run/{name}/{file}") for host in cluster.hosts] == [count, count]
    assert plugin("stop", name).returncode == 0
    for host in cluster.hosts:
        assert _show(host, f"{name}.service", "ActiveState") == "inactive"
    assert plugin("status", name).returncode == 0
    assert plugin("start", name).returncode == 0
    for host in cluster.hosts:
        assert _show(host, f"{name}.service", "ActiveState") == "active"
    _delete(cluster, name)


def test_start_brings_back_what_a_person_stopped_on_a_host(
    cluster: Cluster, plugin: Plugin
) -> None:
    name = fresh_name()
    _apply(cluster, name, command="start", unit=sleeper())
    _ready(cluster, name)
    h2 = cluster.host("h2")
    h2.run("systemctl", "stop", name)
    cluster.wait(lambda: plugin("status", name).returncode == 1, "the drift to be told")
    assert "Drifted" in plugin("status", name).stdout
    done = plugin("start", name)
    assert done.returncode == 0, done.stderr
    assert _show(h2, f"{name}.service", "ActiveState") == "active"
    _delete(cluster, name)


def test_a_rollout_that_stops_is_told_with_node_reason_and_journal_and_undone(
    cluster: Cluster, plugin: Plugin
) -> None:
    name = fresh_name()
    _apply(cluster, name, command="start", unit=sleeper("The good one"))
    _ready(cluster, name)
    pids = {host.name: _show(host, f"{name}.service", "MainPID") for host in cluster.hosts}
    _apply(cluster, name, command="start", unit=failing(3))

    def stopped() -> bool:
        return "RolloutStopped" in plugin("status", name).stdout

    def logged() -> bool:  # the excerpt comes a moment after the failure
        return "it went wrong" in plugin("status", name).stdout

    cluster.wait(stopped, "the rollout to stop")
    cluster.wait(logged, "what the run logged")
    told = plugin("status", name)
    assert told.returncode == 1
    assert "ended with exit code 3" in told.stdout
    assert "it went wrong" in told.stdout
    excerpt = plugin("logs", name)
    assert excerpt.returncode == 0
    assert "it went wrong" in excerpt.stdout
    assert "an excerpt: the last" in excerpt.stderr
    assert "its kubelet refuses the log query" in excerpt.stderr

    history = plugin("history", name).stdout.splitlines()
    assert history[0].split() == ["REVISION", "AGE", "NODES", "CURRENT", "CONTENT"]
    assert [line.split()[2:4] for line in history[1:]] == [["1", "-"], ["1", "*"]]
    undone = plugin("undo", name)
    assert undone.returncode == 0, undone.stderr
    good = history[1].split()[0]
    assert undone.stdout.splitlines()[0] == f"tambourine/{name} rolled back to revision {good}"
    for host in cluster.hosts:
        assert _show(host, f"{name}.service", "Description") == "The good one"
        assert _show(host, f"{name}.service", "ActiveState") == "active"
    untouched = [
        host
        for host in cluster.hosts
        if _show(host, f"{name}.service", "MainPID") == pids[host.name]
    ]
    assert len(untouched) == 1, "the rollout or the undo went to the node that had stayed good"
    _delete(cluster, name)


def test_a_command_that_does_not_help_ends_with_1_the_reason_and_the_journal(
    cluster: Cluster, plugin: Plugin
) -> None:
    name = fresh_name("bad")
    _apply(cluster, name, command="start", unit=failing(3))
    cluster.wait(lambda: "Failed" in plugin("status", name).stdout, "the failure to be told")
    done = plugin("restart", name)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"error: tambourine/{name} is not ready: Ready: " in done.stderr
    assert "h1: Ready: Failed: ExecStart=/bin/sh ended with exit code 3" in done.stderr
    assert "  journal of h1:" in done.stderr
    assert "it went wrong" in done.stderr
    assert f"  next: kubectl tambourine status {name}" in done.stderr
    _delete(cluster, name)


def test_undo_goes_back_and_forth_and_to_any_revision(cluster: Cluster, plugin: Plugin) -> None:
    name = fresh_name()
    for text in ("First", "Second"):
        fast = {"maxUnavailable": 2}
        _apply(cluster, name, command="start", unit=sleeper(text), rollout=fast)
        _ready_with(cluster, name, text)
    first, second = plugin("history", name).stdout.splitlines()[1:]
    assert (first.split()[2:4], second.split()[2:4]) == (["0", "-"], ["2", "*"])
    assert plugin("undo", name).returncode == 0
    assert _described(cluster, name) == {"First"}
    assert plugin("undo", name).returncode == 0
    assert _described(cluster, name) == {"Second"}
    digits = first.split()[0].rpartition("-")[2][:8]
    assert plugin("undo", name, "--to-revision", digits).returncode == 0
    assert _described(cluster, name) == {"First"}
    unknown = plugin("undo", name, "--to-revision", "ffffffffffff")
    assert unknown.returncode == 1
    assert "kubectl tambourine history" in unknown.stderr
    names = [line.split()[0] for line in plugin("history", name).stdout.splitlines()[1:]]
    assert names == [first.split()[0], second.split()[0]]
    _delete(cluster, name)


def _ready_with(cluster: Cluster, name: str, text: str) -> None:
    def done() -> bool:
        item = cluster.get("tmb", name, "-n", cluster.namespace)
        status = item.get("status", {})
        ready = {c["type"]: c for c in status.get("conditions", [])}.get("Ready", {})
        current = status.get("observedGeneration") == item["metadata"]["generation"]
        return current and ready.get("status") == "True" and _described(cluster, name) == {text}

    cluster.wait(done, f"{text} to be everywhere")


def _described(cluster: Cluster, name: str) -> set[str]:
    return {_show(host, f"{name}.service", "Description") for host in cluster.hosts}


def test_nodes_lists_agents_versions_namespaces_and_heartbeats(
    cluster: Cluster, plugin: Plugin
) -> None:
    done = plugin("nodes", namespace="")
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    assert head.split() == ["NODE", "READY", "VERSION", "NAMESPACES", "SERVICES", "HEARTBEAT"]
    from tambourinefs import __version__

    for line, host in zip(lines, cluster.hosts, strict=True):
        cells = line.split()
        assert cells[:4] == [host.name, "True", __version__, "*"]
        assert cells[5].endswith("s")
        assert int(cells[5].removesuffix("s")) < 40


def test_tab_completes_services_and_nodes(cluster: Cluster, plugin: Plugin) -> None:
    name = fresh_name("tab")
    _apply(cluster, name, command="start", unit=sleeper())
    _ready(cluster, name)
    where = ("-n", cluster.namespace)
    assert plugin.choices("status", *where, "tab") == [name]
    assert plugin.choices(*where, "restart", name, "") == []
    assert plugin.choices("status", name, *where, "--node", "h") == ["h1", "h2"]
    assert plugin.choices("status", "-n", cluster.namespace) == [cluster.namespace]
    assert {"status", "start", "stop"} <= set(plugin.choices("sta") + plugin.choices("sto"))
    _delete(cluster, name)


def test_a_command_while_others_write_is_not_lost_and_writes_nothing_over(
    cluster: Cluster, plugin: Plugin
) -> None:
    name = fresh_name()
    _apply(cluster, name, command="start", unit=counter(f"/run/{name}"))
    _ready(cluster, name)
    running = plugin.popen("restart", name)
    patch = json.dumps({"metadata": {"labels": {"seen": "yes"}}})
    while running.poll() is None:
        cluster.kubectl("patch", "tmb", name, "-n", cluster.namespace, "--type=merge", "-p", patch)
    _, complaint = running.communicate()
    assert running.returncode == 0, complaint
    item = cluster.get("tmb", name, "-n", cluster.namespace)
    assert item["metadata"]["labels"] == {"seen": "yes"}
    assert [_lines(host, f"/run/{name}/starts") for host in cluster.hosts] == [2, 2]
    _delete(cluster, name)


def test_logs_are_the_nodes_journal_where_its_kubelet_offers_it(
    cluster: Cluster, plugin: Plugin, tmp_path: Path
) -> None:
    name = fresh_name("log")
    unit = "[Service]\nExecStart=/bin/sh -c 'for i in 1 2 3 4 5; do echo line $i; done; exec sleep infinity'\n"
    _apply(cluster, name, command="start", unit=unit, nodeName="h1")
    _ready(cluster, name)
    host = cluster.host("h1")
    written = (
        "journalctl",
        "--no-pager",
        "--output=cat",
        "--lines=2",
        f"_SYSTEMD_UNIT={name}.service",
    )
    cluster.wait(lambda: "line 5" in host.run(*written).stdout, "the journal to have it")

    with kubelet.serving(cluster, host, tmp_path / "kubelet", offers=True):
        done = plugin("logs", name)
        assert (done.returncode, done.stderr) == (0, "")
        assert [line.partition("]: ")[2] for line in done.stdout.splitlines() if "sh[" in line] == [
            "line 1", "line 2", "line 3", "line 4", "line 5",
        ]  # fmt: skip
        # systemd's own word of the start comes to the journal by another way: before or after these.
        assert f"Started {name}.service" in done.stdout
        assert len(plugin("logs", name, "--lines", "2").stdout.splitlines()) == 2
    with kubelet.serving(cluster, host, tmp_path / "other", offers=False):
        done = plugin("logs", name)
        assert (done.returncode, done.stdout) == (1, "")
        assert "enableSystemLogQuery is not set on its kubelet" in done.stderr
    _delete(cluster, name)
