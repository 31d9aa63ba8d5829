"""The cost of an idle sync: memory, and writes to the API server by its own count."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import TYPE_CHECKING

from tambourinefs.kube.resources import TAMBOURINES
from tests.bench.clusters import ready, seen, service, told, writes
from tests.bench.figures import Claim, Row, figure
from tests.bench.inside import probe

if TYPE_CHECKING:
    from tests.bench.sizes import Sizes
    from tests.cluster.world import Cluster

SERVICES = 100
UNIT = "tambourine-sync.service"
# Written by the deployment controller after ten minutes without pods (the lab has no kubelet);
# Tambourine's components must not write it.
NOT_OURS = ("PUT", "deployments/status")
SETTLE = 30.0  # seconds after the last of them became Ready


def measure(cluster: Cluster, sizes: Sizes) -> Row:
    (host,) = cluster.hosts
    objects = [service(f"idle-{n}") for n in range(SERVICES)]
    body = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    with seen(cluster, TAMBOURINES, ready) as watching:
        cluster.kubectl("apply", "-f", "-", input=body, timeout=600)
        watching.all([item["metadata"]["name"] for item in objects], "True", 600)
    time.sleep(SETTLE)
    before = writes(cluster)
    seconds = sizes.idle_minutes * 60
    taken = probe(host, "idling", str(seconds), UNIT)[UNIT]
    written = writes(cluster) - before
    leases = sum(count for (_, what), count in written.items() if what == "leases")
    others = Counter(
        {key: count for key, count in written.items() if key[1] != "leases" and key != NOT_OURS}
    )
    pss = figure("pss of sync", [taken["pss"]], "MiB")
    return Row(
        "kube_idle",
        f"sync, {SERVICES} services, idle {sizes.idle_minutes:g} minutes",
        (
            pss,
            figure("wakeups of sync", [taken["wakeups"]], "1/s"),
            figure("writes of Leases, sync's and the leader's", [leases / seconds], "1/s"),
        ),
        (
            Claim("MiB of PSS", pss.median, 60, at_least=False),
            Claim("writes to the API server but Leases", others.total(), 0, at_least=False),
        ),
        told(others),
    )
