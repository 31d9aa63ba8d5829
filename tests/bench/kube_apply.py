"""From `kubectl apply` to a running unit, beside the node's chain alone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tambourinefs.kube.resources import INSTANCES
from tests.bench.clusters import active, changed_at, seen, service
from tests.bench.figures import Claim, Row, figure, percentile
from tests.bench.inside import PYTHON, probe

if TYPE_CHECKING:
    from tests.bench.sizes import Sizes
    from tests.cluster.world import Cluster

TURNS, ROUNDS = 10, 10


def measure(cluster: Cluster, _: Sizes) -> Row:
    (host,) = cluster.hosts
    ours, alone = [], []
    with seen(cluster, INSTANCES, active) as watching:
        for turn in range(TURNS):  # in turns, so that variations of the machine affect both
            alone += [one["ours"] for one in probe(host, "applying", "active", str(ROUNDS), python=PYTHON)]  # fmt: skip
            for n in range(ROUNDS):
                name = f"kube-{turn}-{n}"
                cluster.apply(service(name))
                returned = time.monotonic()
                watching.when(f"{name}.{host.name}", "active")
                ours.append(changed_at(host, f"{name}.service") - returned)
    more = [(percentile(ours, p) - percentile(alone, p)) * 1e3 for p in (50, 99)]
    return Row(
        "kube_apply",
        "`kubectl apply` returns until the new service runs",
        (figure("through the cluster", ours), figure("the node chain alone", alone)),
        (
            Claim("ms more, p50", more[0], 250, at_least=False),
            Claim("ms more, p99", more[1], 1000, at_least=False),
        ),
        "both end when systemd says so; API server, etcd, controller and host share the machine",
    )
