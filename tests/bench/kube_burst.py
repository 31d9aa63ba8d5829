"""Many Tambourines at once on two hosts, against `tambourine apply` on each host."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from tambourinefs.kube.resources import TAMBOURINES
from tests.bench.clusters import ready, seen, service
from tests.bench.figures import Row, figure, times_as_long

if TYPE_CHECKING:
    from tests.bench.sizes import Sizes
    from tests.cluster.world import Cluster
    from tests.lab.hosts import Host

COUNT, TURNS = 200, 2


def measure(cluster: Cluster, _: Sizes) -> Row:
    alone, ours = [], []
    for turn in range(TURNS):
        alone.append(by_hosts(cluster.hosts, f"alone-{turn}"))
        ours.append(by_cluster(cluster, f"kube-{turn}"))
    found = figure("kubectl apply", ours), figure("tambourine apply on both hosts", alone)
    return Row(
        "kube_burst",
        f"{COUNT} Tambourines x {len(cluster.hosts)} hosts applied at once until all are Ready",
        found,
        (times_as_long("times as long", *found, 2),),
        f"{TURNS} runs of each; from the start of the command",
    )


def by_hosts(hosts: list[Host], prefix: str) -> float:
    """Seconds until `tambourine apply` says on both that all run. They are removed again."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": services(prefix, "local")})

    def each(verb: str) -> None:
        def run(host: Host) -> None:
            host.run("tambourine", verb, "-f", "-", "--timeout", "15m", input=text, timeout=1000)

        with ThreadPoolExecutor(len(hosts)) as pool:
            list(pool.map(run, hosts))

    begin = time.monotonic()
    each("apply")
    took = time.monotonic() - begin
    each("delete")
    return took


def by_cluster(cluster: Cluster, prefix: str) -> float:
    """Seconds until the API server shows all of them Ready on both hosts. They are removed again."""
    objects = services(prefix, "default")
    names = [item["metadata"]["name"] for item in objects]
    body = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    with seen(cluster, TAMBOURINES, ready) as watching:
        begin = time.monotonic()
        cluster.kubectl("apply", "-f", "-", input=body, timeout=1000)
        took = watching.all(names, "True", 1000) - begin
    found = cluster.get("tmb", "-n", "default")["items"]
    reached = {item["status"]["ready"] for item in found}
    assert reached == {f"{len(cluster.hosts)}/{len(cluster.hosts)}"}, reached
    cluster.kubectl("delete", "tmb", "--all", "-n", "default", timeout=1000)
    return took


def services(prefix: str, namespace: str) -> list[dict[str, Any]]:
    made = [service(f"{prefix}-{n}") for n in range(COUNT)]
    for item in made:
        item["metadata"]["namespace"] = namespace
    return made
