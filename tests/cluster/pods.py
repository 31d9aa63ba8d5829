"""A pod's template run on a host of the lab by runc, as a kubelet would have it run: the lab has no kubelet.

What is not as there: the root file system is the host's own, read-only, in place of the image; the network is the host's;
no seccomp profile is applied.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from tests.cluster.world import Cluster
from tests.lab.hosts import Host
from tests.lab.tree import PREFIX

Object = dict[str, Any]
DIRECTORY: Final = "/run/test-pod"
ENTRYPOINT: Final = f"{PREFIX}/bin/tambourine"  # Containerfile; the hosts have it at the same place


def prepare(
    cluster: Cluster, host: Host, template: Object, values: dict[str, str], token: str
) -> None:
    """Lay down the bundle. `values`: of the downward API's variables."""
    host.run("mkdir", "-p", f"{DIRECTORY}/rootfs", f"{DIRECTORY}/account")
    # Without what is mounted below it: /etc, /run and /var of the host are not the container's.
    host.run("mount", "--bind", "/", f"{DIRECTORY}/rootfs")
    files = {"token": token, "ca.crt": (cluster.plane.pki / "ca.crt").read_text()}
    for name, text in files.items():
        host.run("sh", "-c", f"umask 022; cat >{DIRECTORY}/account/{name}", input=text)
    config = configuration(cluster, template["spec"], values)
    host.run("sh", "-c", f"cat >{DIRECTORY}/config.json", input=json.dumps(config))


def remove(host: Host) -> None:
    """Leave nothing of it."""
    host.run("umount", f"{DIRECTORY}/rootfs", check=False)
    host.run("rm", "-rf", "--one-file-system", DIRECTORY)


def configuration(cluster: Cluster, spec: Object, values: dict[str, str]) -> Object:
    """The OCI runtime's configuration of the pod's one container (opencontainers/runtime-spec, config.md)."""
    (container,) = spec["containers"]
    pod, own = spec["securityContext"], container["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert own["capabilities"] == {"drop": ["ALL"]}
    server, _, port = cluster.plane.server.removeprefix("https://").rpartition(":")
    environment = values | {
        "KUBERNETES_SERVICE_HOST": server,
        "KUBERNETES_SERVICE_PORT": port,
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": "/src",
    }
    args = [
        re.sub(r"\$\((\w+)\)", lambda found: values[found[1]], word) for word in container["args"]
    ]
    return {
        "ociVersion": "1.0.2",
        "root": {"path": f"{DIRECTORY}/rootfs", "readonly": own["readOnlyRootFilesystem"]},
        "process": {
            "user": {"uid": pod["runAsUser"], "gid": pod["runAsGroup"]},
            "args": [ENTRYPOINT, *args],
            "env": [f"{name}={value}" for name, value in environment.items()],
            "cwd": "/",
            "capabilities": {},
            "noNewPrivileges": not own["allowPrivilegeEscalation"],
        },
        "mounts": [*_MOUNTS, *_volumes(spec, container)],
        "linux": {"namespaces": [{"type": kind} for kind in ("mount", "pid", "ipc", "uts")]},
    }


_MOUNTS: Final[list[Object]] = [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
    {"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
    *(
        {"destination": path, "source": path, "options": ["bind", "ro"]}
        for path in (PREFIX, "/src")  # the image's own content
    ),
]  # fmt: skip


def _volumes(spec: Object, container: Object) -> list[Object]:
    sources = {
        volume["name"]: volume["hostPath"]["path"]
        if "hostPath" in volume
        else f"{DIRECTORY}/account"  # the token's, which admission added
        for volume in spec["volumes"]
    }
    return [
        {
            "destination": mount["mountPath"],
            "source": sources[mount["name"]],
            "options": ["bind", "ro" if mount.get("readOnly") else "rw"],
        }
        for mount in container["volumeMounts"]
    ]
