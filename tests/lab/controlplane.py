"""A real control plane for a lab: etcd, kube-apiserver, kube-controller-manager; RBAC, admission as in production."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tests.lab import background, cgroups, kubeapi, kubebuild, kubenet, kubepki
from tests.lab.state import LabState, Process
from tests.lab.tools import LabError, run, wait_until

READY_SECONDS: Final = 60
ETCD: Final = "http://127.0.0.1:2379"
COMPONENTS: Final = ("etcd", "kube-apiserver", "kube-controller-manager")
# Without those that need kubelets, volumes or a cloud. The node lifecycle controller would call every Node dead.
CONTROLLERS: Final = (
    "namespace", "garbage-collector", "serviceaccount", "serviceaccount-token", "root-ca-certificate-publisher",
    "certificatesigningrequest-signing", "certificatesigningrequest-approving", "certificatesigningrequest-cleaner",
    "bootstrap-signer", "token-cleaner", "clusterrole-aggregation", "validatingadmissionpolicy-status",
    "deployment", "replicaset", "daemonset", "disruption", "resourcequota",
)  # fmt: skip
# Not needed here (Tambourine must not depend on priority and fairness): a tenth of each start.
UNUSED: Final = (
    "autoscaling/v1", "autoscaling/v2", "batch/v1", "flowcontrol.apiserver.k8s.io/v1",
)  # fmt: skip


@dataclass(frozen=True)
class ControlPlane:
    """The directory of a lab's control plane and what runs of it."""

    lab: LabState

    @property
    def directory(self) -> Path:
        return self.lab.directory / "control"

    @property
    def machine(self) -> str:
        """The cgroup of its processes."""
        return f"{self.lab.ident}-control"

    @property
    def pki(self) -> Path:
        return self.directory / "pki"

    @property
    def data(self) -> Path:
        """etcd's."""
        return self.directory / "etcd"

    def log(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.pki / "admin.kubeconfig"

    @property
    def plugin(self) -> Path:
        """Where `kubectl tambourine` of this tree lies, for PATH; empty in a lab without hosts."""
        return self.directory / "plugin"

    @property
    def server(self) -> str:
        return f"https://{kubenet.server(self.subnet)}:{kubenet.PORT}"

    @property
    def subnet(self) -> int:
        return int(self.read()["subnet"])

    @property
    def holder(self) -> int:
        """The process whose network namespace is the cluster's; LabError when there is no control plane."""
        return self.process("holder").pid

    def process(self, name: str) -> Process:
        """holder, etcd, kube-apiserver or kube-controller-manager; LabError when it does not run."""
        found = self.read().get(name)
        if isinstance(found, dict) and Process(**found).alive():
            return Process(**found)
        raise LabError(f"{name} of lab {self.lab.name} does not run; `lab api start` starts it")

    def runs(self, name: str) -> bool:
        """Whether that process is there."""
        try:
            self.process(name)
        except LabError:
            return False
        return True

    def options(self, name: str) -> list[str]:
        """Further options of a process, from a test that needs them."""
        found: list[str] = self.read().get(f"{name}-options", [])
        return found

    def remember(self, name: str, value: object) -> None:
        path = self.directory / "state.json"
        state = {**self.read(), name: value}
        path.with_suffix(".new").write_text(json.dumps(state))
        path.with_suffix(".new").replace(path)

    def read(self) -> dict[str, Any]:
        """What `remember` wrote; LabError when there is no control plane."""
        try:
            return dict(json.loads((self.directory / "state.json").read_text()))
        except FileNotFoundError:
            raise LabError(
                f"lab {self.lab.name} has no control plane: `lab up --kubernetes`"
            ) from None


def up(plane: ControlPlane) -> None:
    """Make and start it; returns when the API server answers that it is ready."""
    kubebuild.programs()
    plane.directory.mkdir(parents=True)
    (plane.directory / "state.json").write_text("{}")
    spawn(plane, "holder")
    subnet = kubenet.build(plane.holder, plane.lab.ident)
    plane.remember("subnet", subnet)
    kubepki.make_ca(plane.pki)
    names = f"IP:{kubenet.server(subnet)},IP:127.0.0.1,IP:10.0.0.1,DNS:localhost,DNS:kubernetes.default.svc"
    kubepki.make_certificate(plane.pki, "apiserver", "/CN=kube-apiserver", server=names)
    kubepki.make_tokens(plane.pki)
    for name in kubepki.USERS:
        kubepki.write_kubeconfig(plane.pki, name, plane.server)
    start(plane)


def start(plane: ControlPlane) -> None:
    """Start what does not run; returns when the API server is ready."""
    for name in COMPONENTS:
        if (
            name == "kube-controller-manager"
        ):  # it gives up on an API server that takes more than 10 s
            what = f"the API server to be ready; its log: {plane.log('kube-apiserver')}"
            wait_until(lambda: _ready(plane), READY_SECONDS, what)
        if not plane.runs(name):
            spawn(plane, name)


def stop(plane: ControlPlane, *names: str) -> None:
    """End the processes by SIGKILL: what a node must stand is an API server that is gone without a word."""
    for name in names or ("kube-apiserver",):
        if plane.runs(name):
            process = plane.process(name)
            os.kill(process.pid, signal.SIGKILL)
            wait_until(lambda process=process: not process.alive(), 20, f"{name} to end")  # type: ignore[misc]


def snapshot(plane: ControlPlane, to: Path) -> None:
    """Write what etcd holds now to a tar file. etcd stands still for that moment: it starts from the copy as after
    a kill, and no connection is lost.
    """
    process = plane.process("etcd")
    os.kill(process.pid, signal.SIGSTOP)
    try:
        run("tar", "--create", f"--file={to}", f"--directory={plane.data}", ".")
    finally:
        os.kill(process.pid, signal.SIGCONT)


def restore(plane: ControlPlane, from_: Path) -> None:
    """Put an older state back, as an administrator restores a snapshot: revisions begin where they were then."""
    if not from_.is_file():
        raise LabError(f"{from_}: no snapshot of `lab api snapshot`")
    _empty(plane)
    plane.data.mkdir(mode=0o700)
    run("tar", "--extract", f"--file={from_}", f"--directory={plane.data}")
    start(plane)


def replace(plane: ControlPlane) -> None:
    """Another, empty cluster at the same address with the same CA and keys."""
    _empty(plane)
    start(plane)


def _empty(plane: ControlPlane) -> None:
    stop(plane, *reversed(COMPONENTS))
    shutil.rmtree(plane.data)


def down(plane: ControlPlane) -> None:
    """End all of it; with the last process goes the network. A no-op if there is none; also works for a part of it."""
    if plane.directory.exists():
        cgroups.end(plane.machine)
        cgroups.remove(plane.machine)
        if "subnet" in plane.read():
            kubenet.wait_gone(plane.subnet)


def command(plane: ControlPlane, name: str) -> list[str]:
    """How a component is started."""
    if name == "holder":
        return ["sleep", "infinity"]
    options = {
        "etcd": _etcd,
        "kube-apiserver": _apiserver,
        "kube-controller-manager": _controller_manager,
    }[name](plane)
    return [str(kubebuild.programs() / name), *options]


def _etcd(plane: ControlPlane) -> list[str]:
    return [
        f"--data-dir={plane.data}", "--unsafe-no-fsync", "--log-level=warn", f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}", "--listen-peer-urls=http://127.0.0.1:2380",
        "--heartbeat-interval=200",  # there is one member only
    ]  # fmt: skip


def _apiserver(plane: ControlPlane) -> list[str]:
    pki, address = plane.pki, kubenet.server(plane.subnet)
    return [
        f"--etcd-servers={ETCD}", "--authorization-mode=Node,RBAC", "--anonymous-auth=false",
        "--enable-admission-plugins=NodeRestriction", "--enable-bootstrap-token-auth=true",
        "--allow-privileged=true",
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt", f"--tls-private-key-file={pki}/apiserver.key",
        f"--service-account-key-file={pki}/sa.pub", f"--service-account-signing-key-file={pki}/sa.key",
        "--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.0.0.0/24",
        f"--bind-address={address}", f"--advertise-address={address}", f"--secure-port={kubenet.PORT}",
        "--endpoint-reconciler-type=none", "--enable-priority-and-fairness=false",
        f"--runtime-config={','.join(f'{name}=false' for name in UNUSED)}", f"--token-auth-file={pki}/tokens.csv",
    ]  # fmt: skip


def _controller_manager(plane: ControlPlane) -> list[str]:
    pki = plane.pki
    kubeconfig = f"{pki}/manager.kubeconfig"
    return [
        f"--kubeconfig={kubeconfig}", f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}", "--leader-elect=false", "--bind-address=127.0.0.1",
        f"--root-ca-file={pki}/ca.crt", f"--service-account-private-key-file={pki}/sa.key",
        f"--cluster-signing-cert-file={pki}/ca.crt", f"--cluster-signing-key-file={pki}/ca.key",
        "--use-service-account-credentials=true", "--kube-api-qps=300", "--kube-api-burst=600",
        f"--controllers={','.join(f'{name}-controller' for name in CONTROLLERS)}",
    ]  # fmt: skip


def spawn(plane: ControlPlane, name: str) -> None:
    """Start a process of the cluster's: `kubestarter` knows how."""
    process = background.spawn("tests.lab.kubestarter", plane.lab.name, name)
    plane.remember(name, asdict(process))


def _ready(plane: ControlPlane) -> bool:
    for name in ("etcd", "kube-apiserver"):
        if not plane.runs(name):
            end = plane.log(name).read_text(errors="replace")[-2000:]
            raise LabError(f"{name} ended: {end}")
    return kubeapi.ready(plane.server, plane.pki)
