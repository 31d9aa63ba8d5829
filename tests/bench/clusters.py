"""Objects, observation times and API server request counts for the Kubernetes rows."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from tambourinefs.kube.reflector import Reflector
from tambourinefs.kube.resources import Resource
from tests.cluster.manifests import tambourine
from tests.lab import kubeapi

if TYPE_CHECKING:
    from tests.cluster.world import Cluster
    from tests.lab.hosts import Host

NAMESPACE: Final = "default"  # the lab's hosts allow it
UNIT: Final = "[Unit]\nDescription=Bench {label}\n[Service]\nExecStart=/usr/bin/sleep infinity\n"
_WRITES: Final = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE"})
_SAMPLE: Final = re.compile(r"apiserver_request_total\{(.*)\} (\S+)")
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')


def service(name: str, label: str = "0", **spec: Any) -> dict[str, Any]:
    """A Tambourine that sleeps, as the probe `applying` makes it on a host."""
    whole = {"command": "start", "enabled": False, "unit": UNIT.format(label=label), **spec}
    return tambourine(name, NAMESPACE, **whole)


def changed_at(host: Host, unit: str) -> float:
    """The last change of state, in seconds of CLOCK_MONOTONIC, which lab hosts share."""
    said = host.run("systemctl", "show", "-P", "StateChangeTimestampMonotonic", unit).stdout
    return int(said) / 1e6


class Seen:
    """A watch of one kind, as `kubectl get -w`; records when each state was first observed."""

    def __init__(self, cluster: Cluster, resource: Resource, state: Callable[[Any], str]) -> None:
        self._state = state
        self._lock = threading.Condition()
        self._now: dict[str, tuple[str, float]] = {}  # name: state, when it was observed
        self._stop = threading.Event()
        self.reflector = Reflector(
            cluster.api, resource, project=self._project, namespace=NAMESPACE
        )
        self._thread = threading.Thread(target=self.reflector.run, args=(self._stop,), daemon=True)
        self._thread.start()
        if not self.reflector.synced.wait(30):
            raise SystemExit(f"{resource.plural} cannot be listed: {self.reflector.error}")

    def _project(self, item: dict[str, Any]) -> bool:
        at, name, state = time.monotonic(), item["metadata"]["name"], self._state(item)
        with self._lock:
            if self._now.get(name, ("", 0.0))[0] != state:
                self._now[name] = (state, at)
                self._lock.notify_all()
        return True

    def when(self, name: str, state: str, seconds: float = 60) -> float:
        """Wait for an object's state; the CLOCK_MONOTONIC time of its observation."""
        with self._lock:
            if not self._lock.wait_for(lambda: self._now.get(name, ("",))[0] == state, seconds):
                raise SystemExit(f"{name} is not {state} but {self._now.get(name)}")
            return self._now[name][1]

    def all(self, names: list[str], state: str, seconds: float) -> float:
        """Wait for the state of all objects; the time of the last."""
        deadline = time.monotonic() + seconds
        return max(self.when(name, state, deadline - time.monotonic()) for name in names)

    def close(self) -> None:
        self._stop.set()
        self.reflector.close()
        self._thread.join(10)


@contextmanager
def seen(cluster: Cluster, resource: Resource, state: Callable[[Any], str]) -> Iterator[Seen]:
    watching = Seen(cluster, resource, state)
    try:
        yield watching
    finally:
        watching.close()


def active(item: dict[str, Any]) -> str:
    """`activeState` of a Tambourine or an instance."""
    return str((item.get("status") or {}).get("activeState", ""))


def ready(item: dict[str, Any]) -> str:
    """`True` where Ready is, of the generation that the object has."""
    generation = item["metadata"]["generation"]
    for condition in (item.get("status") or {}).get("conditions") or ():
        if condition["type"] == "Ready" and condition.get("observedGeneration") == generation:
            return str(condition["status"])
    return ""


def writes(cluster: Cluster) -> Counter[tuple[str, str]]:
    """Writes that the API server counted, by (verb, resource/subresource)."""
    text = kubeapi.page(cluster.plane.server, cluster.plane.pki, "/metrics")
    found: Counter[tuple[str, str]] = Counter()
    for line in text.splitlines():
        if not (sample := _SAMPLE.fullmatch(line)):
            continue
        labels = dict(_LABEL.findall(sample[1]))
        if labels["verb"] in _WRITES:
            what = "/".join(filter(None, (labels["resource"], labels["subresource"])))
            found[labels["verb"], what] += int(float(sample[2]))
    return found


def told(counts: Counter[tuple[str, str]]) -> str:
    """Counts in one line."""
    return ", ".join(f"{count} {verb} {what}" for (verb, what), count in sorted(counts.items()))
