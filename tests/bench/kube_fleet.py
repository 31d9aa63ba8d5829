"""The controller with many nodes: from empty to Ready everywhere, one edit, then idle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tambourinefs.kube.resources import TAMBOURINES
from tests.bench.clusters import seen, service, told, writes
from tests.bench.figures import Claim, Row, figure
from tests.lab import kubecontroller

if TYPE_CHECKING:
    from typing import Any

    from tests.bench.sizes import Sizes
    from tests.cluster.world import Cluster

TAMBOURINES_A_NODE: Final = 20
ROLLOUT: Final = {"maxUnavailable": "10%"}
SETTLE: Final = 15.0  # seconds
IDLE: Final = 120.0  # seconds
PATIENCE: Final = 3600.0  # seconds: a busy machine
Counts = Counter[tuple[str, str]]
ASSIGNED: Final = ("PATCH", "tambourinenodes")  # the nodes write their status by APPLY
MADE: Final = ("POST", "tambourineinstances")


def measure(cluster: Cluster, sizes: Sizes) -> Row:
    names = [f"svc-{n:02}" for n in range(TAMBOURINES_A_NODE)]
    objects = [service(name, rollout=ROLLOUT) for name in names]
    body = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    with fleet(cluster, sizes.nodes), seen(cluster, TAMBOURINES, reach) as watching:
        cluster.kubectl("apply", "-f", "-", input=body, timeout=600)
        before = writes(cluster)
        begin = time.monotonic()
        kubecontroller.start(cluster.plane)
        with weighed(cluster) as weights:
            first = watching.all(names, f"1 {sizes.nodes}/{sizes.nodes}", PATIENCE) - begin
            time.sleep(SETTLE)
            from_nothing = writes(cluster) - before
            begin = time.monotonic()
            cluster.apply(service(names[0], label="1", rollout=ROLLOUT))
            edit = watching.all(names[:1], f"2 {sizes.nodes}/{sizes.nodes}", PATIENCE) - begin
            time.sleep(SETTLE)
            edited = writes(cluster) - before - from_nothing
            idle = idle_writes(cluster)
    return row(sizes, first, edit, max(weights), from_nothing, edited, idle)


def row(
    sizes: Sizes,
    first: float,
    edit: float,
    pss: float,
    from_nothing: Counts,
    edited: Counts,
    idle: Counts,
) -> Row:
    instances = sizes.nodes * TAMBOURINES_A_NODE
    others = Counter({key: count for key, count in idle.items() if key[1] != "leases"})
    return Row(
        "kube_fleet",
        f"controller: {sizes.nodes} simulated nodes x {TAMBOURINES_A_NODE} Tambourines",
        (
            figure("from nothing until all are Ready", [first]),
            figure(f"one edit, maxUnavailable {ROLLOUT['maxUnavailable']}", [edit]),
            figure("pss, at most", [pss], "MiB"),
        ),
        (
            Claim("writes of assignments a node, from nothing", from_nothing[ASSIGNED] / sizes.nodes, 1, at_least=False),
            Claim("writes an instance, from nothing", from_nothing[MADE] / instances, 1, at_least=False),
            Claim("writes of assignments a node, one edit", edited[ASSIGNED] / sizes.nodes, 1, at_least=False),
            Claim("writes an instance, one edit", edited[MADE] / instances, 0, at_least=False),
            Claim(f"writes but Leases, idle {IDLE:g} s", others.total(), 0, at_least=False),
            Claim("MiB of PSS", pss, 250, at_least=False),
        ),
        f"from nothing: {told(from_nothing)}; edit: {told(edited)}; idle: {told(idle)}",
    )  # fmt: skip


def reach(item: dict[str, Any]) -> str:
    """`2 7/1000`: of generation 2, as its status says, 7 nodes are Ready."""
    status = item.get("status") or {}
    nodes = status.get("nodes") or {}
    return f"{status.get('observedGeneration')} {nodes.get('ready')}/{nodes.get('desired')}"


def idle_writes(cluster: Cluster) -> Counts:
    before = writes(cluster)
    time.sleep(IDLE)  # this is what is measured: nothing happens
    return writes(cluster) - before


@contextmanager
def fleet(cluster: Cluster, count: int) -> Iterator[None]:
    """Simulate nodes in a separate process."""
    command = [sys.executable, "-m", "tests.bench.fleet", str(cluster.kubeconfig), str(count)]
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "ready\n":
            raise SystemExit(f"the fleet ended with {process.wait(10)}")
        yield
        if process.poll() is not None:
            raise SystemExit(f"the fleet ended with {process.returncode}")
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@contextmanager
def weighed(cluster: Cluster) -> Iterator[list[float]]:
    """The controller's PSS in MiB each second (proc(5), smaps_rollup); one process throughout."""
    controller = kubecontroller.process(cluster.plane)
    stop, found = threading.Event(), [0.0]

    def weigh() -> None:
        while not stop.wait(1) and controller.alive():
            found.append(pss(controller.pid))

    thread = threading.Thread(target=weigh)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()
    if not controller.alive():
        said = cluster.plane.log(kubecontroller.name_of(1)).read_text()[-4000:]
        raise SystemExit(f"the controller ended on the way:\n{said}")


def pss(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"no Pss of {pid}")
