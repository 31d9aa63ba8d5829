"""What a test does with a cluster of the lab."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tambourinefs.errors import NotFound, TambourineError
from tambourinefs.kube.resources import NAMESPACES
from tests.cluster import kinds
from tests.daemons import DAEMONS, SYNC
from tests.lab import cluster, controlplane, kubebuild, kubecontroller, kubejoin
from tests.lab.controlplane import ControlPlane
from tests.lab.hosts import CommandFailed, Host
from tests.lab.state import LabState
from tests.waiting import LONGEST_PAUSE, PATIENCE, rest

if TYPE_CHECKING:
    from tambourinefs.kube.api import Api
    from tambourinefs.kube.resources import Resource

_NUMBER = itertools.count(1)
_CONDITIONS = (
    "jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.generation}:"
    "{range .status.conditions[*]} {.type}={.status} {.reason} {.observedGeneration} {.message};{end}{'\\n'}{end}"
)


class Cluster:
    """A real API server, and the hosts that have joined it (none for a control plane alone)."""

    def __init__(self, state: LabState, hosts: list[Host]) -> None:
        self.state = state
        self.hosts = hosts
        self.plane = ControlPlane(state)
        self._namespaces: list[str] = []

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.plane.kubeconfig

    @property
    def programs(self) -> Path:
        """The directory of kubectl, for PATH."""
        return kubebuild.programs()

    @cached_property
    def api(self) -> Api:
        """The client of the tree as the administrator."""
        from tambourinefs.kube.api import connect

        return connect(self.kubeconfig, user_agent="tambourine-test")

    def host(self, name: str) -> Host:
        return next(host for host in self.hosts if host.name == name)

    def kubectl(
        self,
        *argv: str,
        input: str | None = None,  # noqa: A002 (as subprocess names it)
        check: bool = True,
        kubeconfig: Path | None = None,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """kubectl as the administrator, or as the user of `kubeconfig`; CommandFailed when check and it fails."""
        done = subprocess.run(
            [self.programs / "kubectl", *argv],
            input=input or "",
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **cluster.BRIEF, "KUBECONFIG": str(kubeconfig or self.kubeconfig)},
        )
        if check and done.returncode != 0:
            raise CommandFailed(
                f"kubectl {' '.join(argv)}: {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    def get(self, *argv: str) -> dict[str, Any]:
        """The decoded `kubectl get ARGV… -o json`, by a request of our own where it is one of tests/cluster/kinds.py: a
        kubectl costs twenty times that, and tests wait by it.
        """
        if (asked := _asked(argv)) is None:
            found: dict[str, Any] = json.loads(self.kubectl("get", *argv, "-o", "json").stdout)
            return found
        try:
            found = asked(self.api)
        except TambourineError as error:
            raise CommandFailed(f"get {' '.join(argv)}: {error}") from error
        for item in found.get("items", [found]):
            item["metadata"].pop("managedFields", None)  # as kubectl does
        return found

    def apply(self, *objects: dict[str, Any]) -> None:
        """`kubectl apply --server-side -f -` of these, without kubectl; CommandFailed where one is refused."""
        for item in objects:
            kind = kinds.of_object(item)
            namespace = item["metadata"].get("namespace", "default") if kind.namespaced else ""
            whole = {**item, "metadata": {**item["metadata"], "namespace": namespace}}
            try:
                self.api.apply(kind, whole, manager="kubectl")
            except TambourineError as error:
                raise CommandFailed(f"apply: {error}") from error

    @cached_property
    def namespace(self) -> str:
        """A Kubernetes namespace of this test's own; the hosts do not allow it until `allow_namespaces`."""
        return self.new_namespace()

    @property
    def allowed_namespace(self) -> str:
        """The same; the shared cluster's hosts allow every namespace."""
        return self.namespace

    def new_namespace(self) -> str:
        """One more; it goes away with the test."""
        name = f"t{os.getpid()}-{next(_NUMBER)}"
        self.api.create(NAMESPACES, {"metadata": {"name": name}})
        self._namespaces.append(name)
        return name

    def remove_namespaces(self) -> None:
        """Delete what new_namespace made. The namespace controller goes on with their content by itself."""
        for name in self._namespaces:
            with suppress(NotFound):
                self.api.delete(NAMESPACES, name)
        self._namespaces.clear()

    def allow_namespaces(self, *namespaces: str) -> None:
        """Let every host allow these and `local`, as its administrator does; returns when the cluster knows."""
        names = ", ".join(f'"{name}"' for name in ("local", *namespaces))
        text = f"[agent]\nnamespaces = [{names}]\n"
        for host in self.hosts:
            host.run("sh", "-c", "cat >/etc/tambourine/config.d/50-namespaces.toml", input=text)
            host.run("systemctl", "restart", "tambourine.service", "tambourine-sync.service")
        for host in self.hosts:
            self.wait(
                lambda name=host.name: (  # type: ignore[misc]
                    self.get("tmbn", name)["status"]["namespaces"] == list(namespaces)
                ),
                f"{host.name} to allow {namespaces}",
            )

    def controller_options(self, *options: str) -> None:
        """Restart the controller, with these."""
        self.plane.remember(f"{kubecontroller.PREFIX}-options", list(options))
        kubecontroller.end(self.plane)
        kubecontroller.start(self.plane)

    def rejoin(self) -> None:
        """After another cluster took this one's place: Nodes, our resources, the controller's rights, the hosts'."""
        cluster.prepare(self.plane, [host.name for host in self.hosts])
        kubecontroller.give_identity(self.plane)
        kubejoin.join(self.plane, [host.state for host in self.hosts])

    def stop_api(self) -> None:
        """The API server is gone without a word (SIGKILL); etcd and the controller manager stay."""
        with self.state.lock():
            controlplane.stop(self.plane)

    def start_api(self) -> None:
        """Start what does not run of the control plane; returns when it is ready."""
        with self.state.lock():
            controlplane.start(self.plane)

    def snapshot(self, to: Path) -> None:
        """Write what etcd holds to a file; no connection is lost."""
        with self.state.lock():
            controlplane.snapshot(self.plane, to)

    def restore(self, from_: Path) -> None:
        """The state of a snapshot is all that there is; revisions go on from then."""
        with self.state.lock():
            controlplane.restore(self.plane, from_)

    def replace(self) -> None:
        """Another cluster at the same address, with the same CA: empty, without our resources."""
        with self.state.lock():
            controlplane.replace(self.plane)

    def apply_manifests(self) -> None:
        """What lies in k8s/ once more."""
        cluster.apply_manifests(self.plane)

    def is_there(self, *argv: str) -> bool:
        """Whether `get` finds it; False also while there is no answer."""
        try:
            self.get(*argv)
        except CommandFailed:
            return False
        return True

    def picture(self) -> str:
        """What all say when a test has failed: the objects, the controllers, each host's sync and agent."""
        asked = {
            "objects": ("get", "tmb,tmbi,tmbn", "-A", "-o", "wide"),
            "conditions": ("get", "tmb,tmbi,tmbn", "-A", "-o", _CONDITIONS),
            "leases": ("get", "leases", "-A"),
            "events": ("get", "events", "-A"),
        }
        parts = {
            what: self.kubectl(*argv, "--request-timeout=10s", check=False)
            for what, argv in asked.items()
        }
        journal = (
            "journalctl",
            "--no-pager",
            "--lines=40",
            *(f"--unit={one}" for one in (*DAEMONS, SYNC)),
        )
        parts |= {host.name: host.run(*journal, check=False) for host in self.hosts}
        said = {what: done.stdout + done.stderr for what, done in parts.items()}
        for log in sorted(self.plane.directory.glob("*controller-[0-9]*.log")):
            said[log.name] = log.read_text(errors="replace")
        return "\n".join(f"== {what}\n{text[-6000:]}" for what, text in said.items())

    @staticmethod
    def wait(condition: Callable[[], object], what: str, *, seconds: float = PATIENCE) -> None:
        """Return when condition() is true; AssertionError naming `what` and the last complaint after so long.

        Each look is work of the API server too. So the longer it took already, the longer is the rest: a fifteenth of that.
        """
        since = time.monotonic()
        said: object = None
        while (began := time.monotonic()) < since + seconds:
            try:
                if condition():
                    return
            except (AssertionError, KeyError, ValueError) as error:  # not there yet
                said = error
            rest(began, least=max(0.05, min((began - since) / 15, LONGEST_PAUSE)))
        raise AssertionError(f"waited {seconds:g} s for {what}: {said}")


def _asked(argv: tuple[str, ...]) -> Callable[[Api], dict[str, Any]] | None:
    """The request of `kubectl get KIND [NAME] [-n NAMESPACE]`; None for all else, which kubectl itself is asked for."""
    what, rest = kinds.by_word(argv[0]), list(argv[1:])
    name = rest.pop(0) if rest and not rest[0].startswith("-") else ""
    namespace = "default"
    if len(rest) == 2 and rest[0] == "-n":
        namespace, rest = rest[1], []
    if what is None or rest:
        return None
    if name:
        return lambda api: api.get(what, name, namespace)
    return lambda api: {"items": _items(api, what, namespace)}


def _items(api: Api, kind: Resource, namespace: str) -> list[dict[str, Any]]:
    """Each with its kind, which the API server leaves out in lists of its own."""
    named = {"apiVersion": kind.api_version, "kind": kind.kind}
    return [named | item for page in api.list_pages(kind, namespace) for item in page.items]
