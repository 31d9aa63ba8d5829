"""The founding document's stories: apply, get, wait, describe, command, delete; real API server, real hosts."""

from __future__ import annotations

import json
import re

from tests.cluster.manifests import counter, failing, fresh_name, sleeper, tambourine
from tests.cluster.world import Cluster
from tests.lab.hosts import Host


def _show(host: Host, unit: str, what: str) -> str:
    return host.run("systemctl", "show", "--property", what, "--value", unit).stdout.strip()


def _lines(host: Host, path: str) -> int:
    return len(host.run("cat", path, check=False).stdout.splitlines())


def _wait_ready(cluster: Cluster, name: str, namespace: str) -> None:
    cluster.kubectl(
        "wait", "--for=condition=Ready", f"tmb/{name}", "-n", namespace, "--timeout=30s"
    )


def test_a_service_from_apply_to_delete(cluster: Cluster) -> None:
    name, namespace = fresh_name(), cluster.allowed_namespace
    cluster.apply(tambourine(name, namespace, command="start", unit=sleeper("First story")))
    _wait_ready(cluster, name, namespace)

    table = cluster.kubectl("get", "tambourine", "-n", namespace).stdout.splitlines()
    assert table[0].split() == ["NAME", "UNIT", "READY", "NODES", "ACTIVE", "SINCE"]
    assert table[1].split()[:5] == [name, f"{name}.service", "True", "2/2", "active"]
    assert len(table) == 2, "`kubectl get tambourine` prints something else than Tambourines"

    wide = cluster.kubectl("get", "tmbi", "-n", namespace, "-o", "wide").stdout.splitlines()
    assert {line.split()[1] for line in wide[1:]} == {"h1", "h2"}
    one = cluster.get("tmbi", "-n", namespace, "--field-selector", "spec.nodeName=h1")["items"]
    assert [item["spec"]["nodeName"] for item in one] == ["h1"]
    status = one[0]["status"]
    h1 = cluster.host("h1")
    assert status["pid"].split()[0] == _show(h1, f"{name}.service", "MainPID")
    assert status["systemdName"] == f"{name}.service - First story"
    assert status["active"].startswith("active (running) since ")
    assert "ago" not in status["active"]
    assert status["cgroup"].endswith(f"/{name}.service")
    for host in cluster.hosts:
        text = host.run("cat", f"/run/tambourine/proc/{namespace}/{name}/status").stdout
        assert "Active: active (running)" in text

    cluster.kubectl("delete", "tmb", name, "-n", namespace, "--timeout=30s")
    for host in cluster.hosts:
        assert _show(host, f"{name}.service", "LoadState") == "not-found"
        assert host.run("ls", f"/etc/systemd/system/{name}.service", check=False).returncode != 0
    # The garbage collector removes what a Tambourine owns; it learns of new kinds every 30 s.
    cluster.wait(
        lambda: not any(cluster.get(kind, "-n", namespace)["items"] for kind in ("tmbi", "tmbr")),
        "nothing of it to be left",
    )


def test_a_unit_that_the_host_has_is_observed_commanded_and_left_alone(cluster: Cluster) -> None:
    name, namespace = fresh_name("own"), cluster.allowed_namespace
    for host in cluster.hosts:
        unit = counter(f"/run/{name}")
        host.run("sh", "-c", f"cat >/etc/systemd/system/{name}.service", input=unit)
        host.run("systemctl", "daemon-reload")
    cluster.apply(tambourine(name, namespace, state="installed"))
    _wait_ready(cluster, name, namespace)
    for host in cluster.hosts:
        assert _show(host, f"{name}.service", "ActiveState") == "inactive"
    cluster.apply(tambourine(name, namespace, state="installed", command="start"))
    cluster.wait(
        lambda: all(_lines(h, f"/run/{name}/starts") == 1 for h in cluster.hosts), "a start"
    )
    _wait_ready(cluster, name, namespace)
    cluster.kubectl("delete", "tmb", name, "-n", namespace, "--timeout=30s")
    for host in cluster.hosts:
        assert _show(host, f"{name}.service", "ActiveState") == "active"
        host.run("systemctl", "stop", name)
        host.run("rm", f"/etc/systemd/system/{name}.service")
        host.run("systemctl", "daemon-reload")


NINE = ("systemdName", "loaded", "drop-in", "active", "docs", "pid", "tasks", "memory", "cgroup")


def test_of_one_node_all_nine_values_are_the_hosts(cluster: Cluster) -> None:
    name, namespace, h1 = fresh_name("nine"), cluster.allowed_namespace, cluster.host("h1")
    unit = sleeper("Nine values").replace("[Service]", "Documentation=man:sleep(1)\n[Service]")
    drop_in = {"name": "10-nice.conf", "content": "[Service]\nNice=1\n"}
    cluster.apply(
        tambourine(name, namespace, command="start", nodeName="h1", unit=unit, dropIns=[drop_in])
    )
    _wait_ready(cluster, name, namespace)
    here = f"/run/tambourine/proc/{namespace}/{name}"

    def told(kind: str, which: str) -> dict[str, str]:
        status = cluster.get(kind, which, "-n", namespace)["status"]
        return {key: status.get(key, "") for key in NINE}

    def seen() -> dict[str, str]:
        found = {key: h1.run("cat", f"{here}/{key}").stdout.rstrip("\n") for key in NINE}
        return found | {"active": found["active"].partition("; ")[0]}

    steady = [key for key in NINE if key not in {"tasks", "memory"}]  # those two move by themselves
    for kind, which in (("tmbi", f"{name}.h1"), ("tmb", name)):
        cluster.wait(
            lambda kind=kind, which=which: (  # type: ignore[misc]
                {k: told(kind, which)[k] for k in steady} == {k: seen()[k] for k in steady}
            ),
            f"what {kind} tells to be the host's: {told(kind, which)}, {seen()}",
        )
        assert all(told(kind, which).values()), told(kind, which)
        assert "10-nice.conf" in told(kind, which)["drop-in"]
        assert "ago" not in told(kind, which)["active"]
    cluster.kubectl("delete", "tmb", name, "-n", namespace, "--timeout=30s")


def test_what_is_deleted_as_an_orphan_runs_on_and_is_nobodys(cluster: Cluster) -> None:
    name, namespace = fresh_name("orphan"), cluster.allowed_namespace
    one = tambourine(
        name, namespace, command="start", deletionPolicy="orphan",
        unit=sleeper(extra="[Install]\nWantedBy=multi-user.target\n"),
        files=[{"path": f"/etc/{name}.conf", "content": "kept\n"}],
    )  # fmt: skip
    cluster.apply(one)
    _wait_ready(cluster, name, namespace)
    before = [_show(host, f"{name}.service", "MainPID") for host in cluster.hosts]
    cluster.kubectl("delete", "tmb", name, "-n", namespace, "--timeout=30s")
    try:
        for host, pid in zip(cluster.hosts, before, strict=True):
            assert _show(host, f"{name}.service", "MainPID") == pid
            assert host.run("systemctl", "is-enabled", name).stdout == "enabled\n"
            assert host.run("cat", f"/etc/{name}.conf").stdout == "kept\n"
            proc = f"/run/tambourine/proc/{namespace}/{name}"
            assert host.run("ls", proc, check=False).returncode != 0
            silo = f"/var/lib/tambourine/silo/{namespace}/{name}"
            assert host.run("ls", silo, check=False).returncode != 0
    finally:
        for host in cluster.hosts:
            host.run("systemctl", "disable", "--now", name)
            host.run("rm", f"/etc/systemd/system/{name}.service", f"/etc/{name}.conf")
            host.run("systemctl", "daemon-reload")


def test_a_failure_is_told_with_where_why_and_the_last_lines(cluster: Cluster) -> None:
    name, namespace = fresh_name("bad"), cluster.allowed_namespace
    cluster.apply(tambourine(name, namespace, command="start", unit=failing(3)))

    def failed() -> bool:
        status = cluster.get("tmb", name, "-n", namespace).get("status", {})
        return bool(status.get("nodes", {}).get("failed") == 2)

    cluster.wait(failed, "both nodes to have failed")
    cluster.wait(
        lambda: (
            "exit code 3"
            in cluster.kubectl("describe", "tmb", name, "-n", namespace).stdout.partition(
                "Events:"
            )[2]
        ),
        "an event that says why",
    )
    said = cluster.kubectl("describe", "tmb", name, "-n", namespace).stdout
    assert "h1: ExecStart=/bin/sh ended with exit code 3 (and 1 other node)" in said
    instance = cluster.get("tmbi", f"{name}.h2", "-n", namespace)["status"]
    assert any("it went wrong" in line for line in instance["journal"])
    cluster.kubectl("delete", "tmb", name, "-n", namespace, "--timeout=30s")


def test_a_restart_is_done_once_on_every_node(cluster: Cluster) -> None:
    name, namespace = fresh_name(), cluster.allowed_namespace
    unit = counter(f"/run/{name}")
    cluster.apply(tambourine(name, namespace, command="start", unit=unit))
    _wait_ready(cluster, name, namespace)
    asked = {"command": "restart", "commandID": "once"}
    patch = {"spec": {**asked, "rollout": {"maxUnavailable": 2}}}
    cluster.kubectl("patch", "tmb", name, "-n", namespace, "--type=merge", "-p", json.dumps(patch))

    def done() -> bool:
        items = cluster.get("tmbi", "-n", namespace)["items"]
        last = [item["status"].get("lastCommand", {}) for item in items]
        return len(last) == 2 and all(
            one.get("commandID") == "once" and one.get("result") == "done" for one in last
        )

    cluster.wait(done, "the restart to be reported")
    _wait_ready(cluster, name, namespace)
    cluster.wait(  # an event of that node's sync, on its instance
        lambda: re.search(
            r"Normal +CommandDone .* tambourine[.]dev/sync +restart [(]once[)]: done",
            cluster.kubectl("describe", "tmbi", f"{name}.h1", "-n", namespace).stdout,
        ), "h1's own event",
    )  # fmt: skip
    for host in cluster.hosts:
        assert _lines(host, f"/run/{name}/starts") == 2
    cluster.kubectl("delete", "tmb", name, "-n", namespace, "--timeout=30s")


def test_a_tambourine_that_reaches_no_node_says_why_and_what_to_do(cluster: Cluster) -> None:
    name, namespace = fresh_name(), cluster.allowed_namespace
    cluster.apply(
        tambourine(name, namespace, unit=sleeper(), nodeSelector={"disk": "of-another-kind"})
    )

    def ready() -> dict[str, str]:
        conditions = cluster.get("tmb", name, "-n", namespace)["status"]["conditions"]
        found: dict[str, str] = next(one for one in conditions if one["type"] == "Ready")
        return found

    cluster.wait(lambda: ready()["reason"] == "NoNodes", "NoNodes")
    assert "2 of 2 nodes allow namespace" in ready()["message"]
    cluster.kubectl("label", "node", "h2", "disk=of-another-kind")
    try:
        _wait_ready(cluster, name, namespace)
        h2 = cluster.host("h2")
        assert _show(h2, f"{name}.service", "LoadState") == "loaded"
    finally:
        cluster.kubectl("label", "node", "h2", "disk-")
    cluster.wait(lambda: _show(h2, f"{name}.service", "LoadState") == "not-found", "h2 to be left")
    cluster.wait(lambda: ready()["reason"] == "NoNodes", "NoNodes once more")
    cluster.kubectl("delete", "tmb", name, "-n", namespace, "--timeout=30s")


def test_two_namespaces_want_one_unit(cluster: Cluster) -> None:
    unit = fresh_name("shared")
    first, second = cluster.allowed_namespace, cluster.new_namespace()
    one = tambourine("mine", first, command="start", unit=sleeper("The first"))
    two = tambourine("mine", second, command="start", unit=sleeper("The second"))
    one["spec"]["name"] = two["spec"]["name"] = unit
    cluster.apply(one)
    _wait_ready(cluster, "mine", first)
    before = [_show(host, f"{unit}.service", "MainPID") for host in cluster.hosts]
    cluster.apply(two)

    def accepted() -> dict[str, str]:
        conditions = cluster.get("tmb", "mine", "-n", second)["status"]["conditions"]
        found: dict[str, str] = next(one for one in conditions if one["type"] == "Accepted")
        return found

    cluster.wait(lambda: accepted()["reason"] == "NameConflict", "the conflict")
    assert f"{first}/mine" in accepted()["message"]
    assert [_show(host, f"{unit}.service", "MainPID") for host in cluster.hosts] == before
    # Arrival of the daemons in any order changes nothing.
    for host in cluster.hosts:
        host.run("systemctl", "restart", "tambourine.service", "tambourine-sync.service")
    cluster.wait(lambda: accepted()["status"] == "False", "the conflict to stay")
    assert [_show(host, f"{unit}.service", "MainPID") for host in cluster.hosts] == before
    cluster.kubectl("delete", "tmb", "mine", "-n", first, "--timeout=30s")
    _wait_ready(cluster, "mine", second)
    assert _show(cluster.hosts[0], f"{unit}.service", "Description") == "The second"
    cluster.kubectl("delete", "tmb", "mine", "-n", second, "--timeout=30s")


def test_a_namespace_that_goes_takes_its_services_along(cluster: Cluster) -> None:
    namespace, names = cluster.allowed_namespace, [fresh_name("ns") for _ in range(3)]
    cluster.apply(*(tambourine(name, namespace, command="start", unit=sleeper()) for name in names))
    for name in names:
        _wait_ready(cluster, name, namespace)
    cluster.kubectl("delete", "namespace", namespace, "--timeout=50s")
    for host in cluster.hosts:
        for name in names:
            assert _show(host, f"{name}.service", "LoadState") == "not-found"
