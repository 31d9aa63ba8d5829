"""k8s/examples as a user has them: applied and deleted whole, by kubectl; and what a host could show of it after."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tambourinefs.model.manifest import parse_yaml
from tests.cluster.world import Cluster
from tests.lab.hosts import Host
from tests.lab.state import CHECKOUT
from tests.lab.tree import SOURCE

EXAMPLES: Final = CHECKOUT / "k8s" / "examples"
Print = dict[str, str]


def path(name: str) -> Path:
    return EXAMPLES / f"{name}.yaml"


def objects(name: str) -> list[str]:
    """The names of the Tambourines in it."""
    return [manifest.metadata.name for manifest in parse_yaml(path(name).read_bytes(), source=name)]


@contextmanager
def unchanged(*hosts: Host) -> Iterator[None]:
    """What is done inside leaves no trace on these hosts."""
    before = {host.name: fingerprint(host) for host in hosts}
    yield
    for host in hosts:
        now, then = fingerprint(host), before[host.name]
        differing = {
            key: (then.get(key), now.get(key))
            for key in now | then
            if now.get(key) != then.get(key)
        }
        assert differing == {}, f"{host.name}, before and after: {differing}"


@contextmanager
def applied(cluster: Cluster, name: str, *, ready: bool = True) -> Iterator[str]:
    """`kubectl apply -f` of an example in a namespace of the test, which it gets; every host must be as before
    once `kubectl delete -f` has returned. `ready`: wait until all of it is.
    """
    file, namespace = str(path(name)), cluster.allowed_namespace
    with unchanged(*cluster.hosts):
        cluster.kubectl("apply", "--validate=strict", "-n", namespace, "-f", file)
        try:
            if ready:
                wait_ready(cluster, name)
            yield namespace
        finally:
            cluster.kubectl("delete", "-n", namespace, "-f", file, "--timeout=60s", timeout=90)


def wait_ready(cluster: Cluster, name: str) -> None:
    """Until each Tambourine of it is Ready on all hosts."""
    namespace = cluster.allowed_namespace
    for each in objects(name):
        cluster.wait(
            lambda each=each: _ready(cluster, each, namespace), f"{each} to be Ready"  # type: ignore[misc]
        )  # fmt: skip


def _ready(cluster: Cluster, name: str, namespace: str) -> bool:
    found = ready(cluster, name, namespace)
    assert found.get("status") == "True", f"{found.get('reason')}: {found.get('message')}"
    return True


def ready(cluster: Cluster, name: str, namespace: str) -> dict[str, Any]:
    """The condition Ready of a Tambourine; {} while there is none for its generation."""
    found = cluster.get("tmb", name, "-n", namespace)
    generation = found["metadata"]["generation"]
    conditions = found.get("status", {}).get("conditions", ())
    return next(
        (c for c in conditions if c["type"] == "Ready" and c["observedGeneration"] == generation),
        {},
    )


def journal(host: Host, unit: str) -> list[str]:
    """What the unit's latest run has said."""
    run = host.run("systemctl", "show", "--property=InvocationID", "--value", unit).stdout.strip()
    match = f"_SYSTEMD_INVOCATION_ID={run}"
    return host.run("journalctl", "--no-pager", "--output=cat", match).stdout.splitlines()


def property_of(host: Host, unit: str, name: str) -> str:
    return host.run("systemctl", "show", f"--property={name}", "--value", unit).stdout.strip()


def fingerprint(host: Host) -> Print:
    """What an example could leave; see host_probe.py."""
    found: Print = json.loads(host.run("python3", f"{SOURCE}/tests/cluster/host_probe.py").stdout)
    return found
