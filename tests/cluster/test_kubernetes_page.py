"""docs/kubernetes.md: what it says of Argo CD and Flux, as far as an API server alone can tell. Each of its commands is run
at the end of test_catastrophes.py, since they take a cluster away.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import yaml

from tests.cluster.manifests import failing, fresh_name, sleeper, tambourine
from tests.cluster.plugin import Plugin
from tests.cluster.world import Cluster
from tests.lab.hosts import Host
from tests.lab.state import CHECKOUT

PAGE = CHECKOUT / "docs/kubernetes.md"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_what_the_page_gives_to_argo_cd_and_flux_is_yaml_and_names_our_fields() -> None:
    found = [yaml.safe_load(text) for text in _blocks("yaml")]
    argo = next(item for item in found if "syncPolicy" in item.get("spec", {}))["spec"]
    (rule,) = argo["ignoreDifferences"]
    assert (rule["group"], rule["kind"]) == ("tambourine.dev", "Tambourine")
    flux = next(item for item in found if "ignore" in item.get("spec", {}))["spec"]
    (ignored,) = flux["ignore"]
    assert rule["jsonPointers"] == ignored["paths"] == ["/spec/command", "/spec/commandID"]
    assert ignored["target"]["kind"] == "Tambourine"


def test_a_command_stays_where_another_applies_a_manifest_without_it(
    cluster: Cluster, tmp_path: Path
) -> None:
    """What the page says of Flux with `Merge`: a field that the manifest in git leaves out is the plugin's own."""
    name, namespace = fresh_name("git"), cluster.allowed_namespace
    text = yaml.safe_dump(
        {
            "apiVersion": "tambourine.dev/v1alpha1",
            "kind": "Tambourine",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"name": name, "unit": sleeper("From git")},
        }
    )
    flux = ("apply", "--server-side", "--field-manager=kustomize-controller", "-f", "-")
    cluster.kubectl(*flux, input=text)
    cluster.kubectl("wait", "--for=condition=Ready", f"tmb/{name}", "-n", namespace, "--timeout=60s")  # fmt: skip
    done = Plugin(cluster, tmp_path)("restart", name)
    assert done.returncode == 0, done.stderr
    before = cluster.get("tmb", name, "-n", namespace)["spec"]
    pids = [_pid(host, name) for host in cluster.hosts]
    cluster.kubectl(*flux, input=text.replace("From git", "From git, too"))
    cluster.kubectl("wait", "--for=condition=Ready", f"tmb/{name}", "-n", namespace, "--timeout=60s")  # fmt: skip
    after = cluster.get("tmb", name, "-n", namespace)["spec"]
    assert (after["command"], after["commandID"]) == ("restart", before["commandID"])
    assert after["unit"] == sleeper("From git, too")
    assert [_pid(host, name) for host in cluster.hosts] != pids  # by the edit: that, too, is once
    cluster.kubectl("delete", "tmb", name, "-n", namespace, "--timeout=60s")


def _pid(host: Host, name: str) -> str:
    return host.run("systemctl", "show", "--property=MainPID", "--value", name).stdout.strip()


def _lua(value: object) -> str:
    """A decoded JSON value as Lua writes it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"[{json.dumps(key)}]={_lua(item)}" for key, item in value.items()) + "}"  # fmt: skip
    if isinstance(value, list):
        return "{" + ", ".join(map(_lua, value)) + "}"
    return json.dumps(value)


def test_the_health_check_for_argo_cd_follows_a_tambourine(
    cluster: Cluster, tmp_path: Path
) -> None:
    name, namespace = fresh_name("argo"), cluster.allowed_namespace
    data = next(item["data"] for item in map(yaml.safe_load, _blocks("yaml")) if "data" in item)
    (check,) = data.values()

    def health() -> str:
        item = cluster.get("tmb", name, "-n", namespace)
        item["metadata"].pop("managedFields", None)
        script = f"local function check(obj)\n{check}\nend\nprint(check({_lua(item)}).status)\n"
        done = subprocess.run(["lua5.4", "-"], input=script, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def becomes(wanted: str, **spec: object) -> None:
        cluster.apply(tambourine(name, namespace, command="start", **spec))
        cluster.wait(lambda: health() == wanted, f"it to be {wanted}")

    becomes("Healthy", unit=sleeper("One"))
    becomes("Suspended", unit=sleeper("Two"), rollout={"paused": True})
    becomes("Degraded", unit=failing(3))
    unseen = {"metadata": {"generation": 1}}
    done = subprocess.run(
        ["lua5.4", "-"],
        input=f"local function check(obj)\n{check}\nend\nprint(check({_lua(unseen)}).status)\n",
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "Progressing"
    cluster.kubectl("delete", "tmb", name, "-n", namespace, "--timeout=30s")
