"""Each example of k8s/examples on two hosts, by `kubectl apply -f` and nothing else: what it does, and that nothing of it is
left after `kubectl delete -f`. Those that need a kernel or a program that is not here say which.
"""

from __future__ import annotations

import re

import pytest
import yaml

from tests.cluster import examples
from tests.cluster.examples import applied, journal, property_of
from tests.cluster.world import Cluster
from tests.lab.hosts import Host

MISSING = {
    "zfs": r"ConditionPath(IsDirectory=/sys/module/zfs|Exists=/usr/sbin/zpool) was not met",
    "apparmor": r"Condition(Security=apparmor|FileIsExecutable=/usr/sbin/apparmor_parser) was not met",
    "selinux": r"Condition(Security=selinux|FileIsExecutable=/usr/sbin/semodule) was not met",
    "falco": r"ConditionFileIsExecutable=/usr/bin/falco was not met",
}


def _edited(cluster: Cluster, name: str, old: str, new: str) -> None:
    """Apply the example once more, with an edit."""
    text = examples.path(name).read_text()
    assert old in text
    cluster.kubectl(
        "apply", "-n", cluster.allowed_namespace, "-f", "-", input=text.replace(old, new)
    )


def _wait_not_ready(cluster: Cluster, name: str, reason: str) -> str:
    """Returns the message once Ready is False for that reason."""
    namespace = cluster.allowed_namespace

    def settled() -> bool:
        found = examples.ready(cluster, name, namespace)
        assert (found.get("status"), found.get("reason")) == ("False", reason), found
        return True

    cluster.wait(settled, f"{name} to be not Ready: {reason}")
    message: str = examples.ready(cluster, name, namespace)["message"]
    return message


@pytest.mark.parametrize("name", MISSING)
def test_an_example_says_what_its_host_lacks(cluster: Cluster, name: str) -> None:
    (tambourine,) = examples.objects(name)
    with applied(cluster, name, ready=False) as namespace:
        cluster.wait(
            lambda: "and 1 other node" in _wait_not_ready(cluster, tambourine, "ConditionNotMet"),
            "both hosts to miss it",
        )
        message = examples.ready(cluster, tambourine, namespace)["message"]
        assert re.search(MISSING[name], message), message
        for host in cluster.hosts:
            of_host = cluster.get("tmbi", f"{tambourine}.{host.name}", "-n", namespace)["status"]
            verdicts = {c["type"]: (c["status"], c["reason"]) for c in of_host["conditions"]}
            assert verdicts == {
                "Accepted": ("True", "Accepted"),
                "Applied": ("True", "Applied"),
                "Ready": ("False", "ConditionNotMet"),
            }
            text = host.run("cat", f"/run/tambourine/proc/{namespace}/{tambourine}/status").stdout
            assert re.search(MISSING[name], text)


def test_the_cni_tool_chain_is_proved_and_its_proof_leaves_nothing(cluster: Cluster) -> None:
    with applied(cluster, "cni"):
        for host in cluster.hosts:
            said = journal(host, "cni-tools.service")
            begin = said.index("ADD bridge ok")
            assert said[begin : begin + 7] == [
                "ADD bridge ok",
                "ADD portmap ok",
                "eth0 has 10.88.0.2/16 by 10.88.0.1",
                "a connection from 10.88.0.2 came through the bridge",
                "DEL portmap ok",
                "DEL bridge ok",
                "eth0 is gone",
            ]
            # The network is there for a runtime to use, and not in use.
            host.run("test", "-e", "/etc/cni/net.d/90-bridge.conflist")
            assert "cni0" not in host.run("ip", "-brief", "link").stdout
            assert "10.88." not in host.run("nft", "list", "ruleset").stdout
        _edited(cluster, "cni", '"type": "host-local"', '"type": "nobodys"')
        # A network that does not work is found out, on one host, and reaches no other.
        assert "cni-check ended with exit code 1" in _wait_not_ready(
            cluster, "cni-tools", "RolloutStopped"
        )


def test_a_cni_plugin_that_is_missing_is_named(cluster: Cluster) -> None:
    h1 = cluster.host("h1")
    with examples.unchanged(h1):
        h1.run("mount", "-t", "tmpfs", "empty", "/usr/lib/cni")
        try:
            with applied(cluster, "cni", ready=False) as namespace:
                _wait_not_ready(cluster, "cni-tools", "ConditionNotMet")
                found = examples.ready(cluster, "cni-tools", namespace)
                missing = "h1: ConditionFileIsExecutable=/usr/lib/cni/"
                assert found["message"].startswith(missing), found
        finally:
            h1.run("umount", "/usr/lib/cni")


def test_a_seccomp_profile_is_laid_down_and_enforced(cluster: Cluster) -> None:
    with applied(cluster, "seccomp"):
        for host in cluster.hosts:
            said = journal(host, "seccomp-profiles.service")
            assert said[said.index("without the profile:") + 1] == "a new user namespace"
            with_it = next(at for at, line in enumerate(said) if line.startswith("with /var/lib/"))
            assert said[with_it + 1] == "unshare: unshare failed: Operation not permitted"
            assert "refused, as it shall be" in said
            listed = host.run("ls", "/var/lib/kubelet/seccomp/profiles").stdout.split()
            assert listed == ["audit.json", "no-user-namespaces.json"]
        # A profile that lets it pass is found out.
        _edited(cluster, "seccomp", '["unshare", "clone"]', '["swapon"]')
        message = _wait_not_ready(cluster, "seccomp-profiles", "RolloutStopped")
        assert "ended with exit code 1" in message
        first = cluster.host(message.partition(" ")[0])
        assert "it is not refused" in journal(first, "seccomp-profiles.service")


def test_a_host_that_does_not_allow_containerd_says_so_and_keeps_its_own(cluster: Cluster) -> None:
    h1 = cluster.host("h1")
    before = h1.run("cat", "/etc/containerd/config.toml").stdout
    only = yaml.safe_dump(next(yaml.safe_load_all(examples.path("cri").read_text())))
    config = "/etc/tambourine/config.d/99-strict.toml"
    h1.run("sh", "-c", f"cat >{config}", input="[agent]\nallowed_units = []\n")
    h1.run("systemctl", "restart", "tambourine.service")
    try:
        namespace = cluster.allowed_namespace
        only = only.replace("spec:\n", "spec:\n  nodeName: h1\n", 1)
        cluster.kubectl("apply", "-n", namespace, "-f", "-", input=only)

        def denied() -> bool:
            status = cluster.get("tmbi", "containerd.h1", "-n", namespace)["status"]
            accepted = next(c for c in status["conditions"] if c["type"] == "Accepted")
            assert accepted["status"] == "False", accepted
            assert "agent.denied_units" in accepted["message"]
            return bool(accepted["reason"] == "DeniedByPolicy")

        cluster.wait(denied, "h1 to refuse it")
        assert h1.run("cat", "/etc/containerd/config.toml").stdout == before
        assert property_of(h1, "containerd.service", "ActiveState") == "inactive"
        cluster.kubectl("delete", "tmb", "containerd", "-n", namespace, "--timeout=60s")
    finally:
        h1.run("rm", config)
        h1.run("systemctl", "restart", "tambourine.service")


def test_every_unit_is_one_that_was_not_there(cluster: Cluster) -> None:
    """But containerd's: the others would not be written over a unit of the host."""
    for name in (path.stem for path in examples.EXAMPLES.glob("*.yaml")):
        for document in yaml.safe_load_all(examples.path(name).read_text()):
            if "unit" in document["spec"]:
                _is_not_there(cluster.host("h1"), document["spec"]["name"])


def _is_not_there(host: Host, unit: str) -> None:
    assert property_of(host, f"{unit}.service", "LoadState") == "not-found"
