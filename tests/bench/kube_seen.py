"""From a change of a unit's state on the host until `kubectl get` shows it."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from tambourinefs.kube.resources import INSTANCES, TAMBOURINES
from tests.bench.clusters import active, changed_at, seen, service
from tests.bench.figures import Claim, Row, figure

if TYPE_CHECKING:
    from tests.bench.sizes import Sizes
    from tests.cluster.world import Cluster

ROUNDS = 50
APART = (1.5, 3.0)  # seconds between two changes: each is one that comes alone


def measure(cluster: Cluster, _: Sizes) -> Row:
    (host,) = cluster.hosts
    name, instance = "seen", f"seen.{host.name}"
    on_instance, on_whole = [], []
    with (
        seen(cluster, INSTANCES, active) as instances,
        seen(cluster, TAMBOURINES, active) as wholes,
    ):
        cluster.apply(service(name))
        wholes.when(name, "active")
        for turn in range(ROUNDS):
            verb, state = ("stop", "inactive") if turn % 2 == 0 else ("start", "active")
            time.sleep(random.uniform(*APART))
            host.run("systemctl", verb, f"{name}.service")
            changed = changed_at(host, f"{name}.service")
            on_instance.append(instances.when(instance, state) - changed)
            on_whole.append(wholes.when(name, state) - changed)
        shown = cluster.kubectl("get", "tmb", name, "-o", "jsonpath={.status.activeState}").stdout
        assert shown == state, shown
    found = (
        figure("on the TambourineInstance", on_instance),
        figure("on the Tambourine", on_whole),
    )
    return Row(
        "kube_seen",
        "state change on the host until `kubectl get` shows it",
        found,
        (
            Claim(
                "ms until the instance shows it, p50", found[0].median * 1e3, 300, at_least=False
            ),
            Claim(
                "ms until the Tambourine shows it, p50", found[1].median * 1e3, 1500, at_least=False
            ),
        ),
    )
