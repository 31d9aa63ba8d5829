"""`kubectl tambourine` on a real API server: whose rights it has, which cluster it means, what it says when it may not."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.manifests import fresh_name, sleeper, tambourine
from tests.cluster.plugin import Plugin
from tests.cluster.world import Cluster


@pytest.fixture
def plugin(control_plane: Cluster, tmp_path: Path) -> Plugin:
    return Plugin(control_plane, tmp_path)


def _apply(cluster: Cluster, name: str, **spec: object) -> None:
    cluster.apply(tambourine(name, cluster.namespace, **spec))


def _as(cluster: Cluster, directory: Path, role: str) -> Path:
    """The kubeconfig of a person who has this ClusterRole in the test's namespace, and nothing else."""
    namespace = cluster.namespace
    cluster.kubectl("create", "serviceaccount", "person", "-n", namespace)
    cluster.kubectl(
        "create", "rolebinding", "person", "-n", namespace,
        f"--clusterrole={role}", f"--serviceaccount={namespace}:person",
    )  # fmt: skip
    token = cluster.kubectl("create", "token", "person", "-n", namespace).stdout.strip()
    config: dict[str, Any] = json.loads(cluster.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    config["contexts"][0]["context"]["namespace"] = namespace
    path = directory / "person.kubeconfig"
    path.write_text(json.dumps(config))
    return path


def test_who_may_only_look_looks_and_is_refused_the_rest_with_3(
    control_plane: Cluster, plugin: Plugin, tmp_path: Path
) -> None:
    name = fresh_name()
    _apply(control_plane, name, command="start", unit=sleeper())
    person = _as(control_plane, tmp_path, "tambourine-view")
    seen = plugin("status", name, kubeconfig=person, namespace="")  # the context's namespace
    assert seen.returncode == 1
    assert seen.stdout.startswith(f"tambourine/{name} in namespace {control_plane.namespace}: ")
    for argv in (
        ("restart", name),
        ("stop", name, "--no-wait"),
        ("nodes",),
        ("uninstall", "--yes"),
    ):
        done = plugin(*argv, kubeconfig=person, namespace="")
        assert done.returncode == 3, (argv, done.stdout, done.stderr)
        assert "error: " in done.stderr
        assert "forbidden" in done.stderr
    spec = control_plane.get("tmb", name, "-n", control_plane.namespace)["spec"]
    assert spec["command"] == "start"


def test_who_may_edit_commands_and_waits(
    control_plane: Cluster, plugin: Plugin, tmp_path: Path
) -> None:
    name = fresh_name()
    _apply(control_plane, name, unit=sleeper())
    person = _as(control_plane, tmp_path, "tambourine-edit")
    done = plugin("restart", name, "--no-wait", kubeconfig=person, namespace="")
    assert (done.returncode, done.stdout) == (0, f"tambourine/{name} configured\n")
    spec = control_plane.get("tmb", name, "-n", control_plane.namespace)["spec"]
    assert spec["command"] == "restart"
    first = spec["commandID"]
    assert plugin("restart", name, "--no-wait", kubeconfig=person, namespace="").returncode == 0
    where = ("-n", control_plane.namespace, "--show-managed-fields")
    item = control_plane.get("tmb", name, *where)
    assert item["spec"]["commandID"] not in ("", first)
    managers = {entry["manager"] for entry in item["metadata"]["managedFields"]}
    assert "kubectl-tambourine" in managers


def test_without_a_controller_the_wait_ends_with_4_and_says_where_to_look(
    control_plane: Cluster, plugin: Plugin
) -> None:
    name = fresh_name()
    _apply(control_plane, name, unit=sleeper())
    done = plugin("start", name, "--timeout", "1s")
    assert (done.returncode, done.stdout) == (4, "")
    assert "the controller has not observed this generation yet" in done.stderr
    assert "app.kubernetes.io/name=tambourine-controller" in done.stderr


def test_what_is_not_there_or_not_meant_so_is_named(control_plane: Cluster, plugin: Plugin) -> None:
    namespace = control_plane.namespace
    gone = plugin("restart", "missing")
    assert gone.returncode == 1
    assert f'tambourine/missing not found in namespace "{namespace}"' in gone.stderr
    name = fresh_name()
    _apply(control_plane, name, state="absent", unit=sleeper())
    absent = plugin("start", name)
    assert absent.returncode == 2
    assert "spec.state: cannot start" in absent.stderr


def test_kubeconfigs_are_chosen_as_kubectl_does(
    control_plane: Cluster, plugin: Plugin, tmp_path: Path
) -> None:
    """Of several files the first that names a context chooses: the plugin agrees with kubectl itself."""
    namespace, other = control_plane.namespace, control_plane.new_namespace()
    name = fresh_name()
    _apply(control_plane, name, unit=sleeper())
    control_plane.apply(tambourine(name, other, unit=sleeper()))
    real: dict[str, Any] = json.loads(control_plane.kubeconfig.read_text())
    context = real["contexts"][0]["context"]
    first, second = tmp_path / "first", tmp_path / "second"
    mine = {"name": "mine", "context": {**context, "namespace": namespace}}
    theirs = {"name": "theirs", "context": {**context, "namespace": other}}
    first.write_text(json.dumps({"contexts": [mine], "current-context": "mine"}))
    second.write_text(json.dumps({**real, "contexts": [theirs], "current-context": "theirs"}))
    both = f"{first}:{tmp_path}/missing:{second}"
    kubectl = plugin.kubectl(
        "get", "tmb", name, "-o", "jsonpath={.metadata.namespace}", kubeconfig=both
    )
    assert kubectl.stdout == namespace
    told = plugin("status", name, namespace="", kubeconfig=both)
    assert told.stdout.startswith(f"tambourine/{name} in namespace {namespace}: ")
    chosen = plugin("status", name, "--context", "theirs", namespace="", kubeconfig=both)
    assert chosen.stdout.startswith(f"tambourine/{name} in namespace {other}: ")
    before = plugin.kubectl("tambourine", "-n", other, "status", name, kubeconfig=both)
    assert before.stdout == chosen.stdout


def test_an_api_server_that_is_away_ends_with_4_and_completes_nothing(
    control_plane: Cluster, plugin: Plugin
) -> None:
    namespace = control_plane.namespace
    control_plane.apply(tambourine("web", namespace, unit=sleeper()))
    waiting = plugin.popen("restart", "web")
    control_plane.wait(
        lambda: "commandID" in control_plane.get("tmb", "web", "-n", namespace)["spec"], "the order",
    )  # fmt: skip
    control_plane.stop_api()
    assert plugin("status", "web").returncode == 4
    # Who waits goes on when it is back, and does not take silence for an answer.
    assert waiting.poll() is None
    control_plane.start_api()
    control_plane.kubectl("delete", "tmb", "web", "-n", namespace, "--wait=false")
    begun = time.monotonic()
    _, complaint = waiting.communicate(timeout=60)
    assert waiting.returncode == 1, complaint
    assert "Deleted: it was deleted" in complaint
    assert time.monotonic() - begun < 45
    control_plane.stop_api()
    for argv in (("status", "web"), ("restart", "web"), ("nodes",), ("uninstall", "--yes")):
        done = plugin(*argv)
        assert done.returncode == 4, (argv, done.stderr)
        assert "does not answer" in done.stderr
    assert plugin.choices("status", "-n", namespace, "") == []
