"""Objects of a cluster as the plugin reads them, for its unit tests."""

from __future__ import annotations

from typing import Any

from tambourinefs.cli.plugin.objects import TambourineObject, instance_of, service_of
from tambourinefs.model import cluster

UID = "uid-1"
UNIT = "[TambourineObject]\nExecStart=/bin/sleep infinity\n"
Object = dict[str, Any]


def condition(
    kind: str, status: str = "True", reason: str = "", generation: int = 3, message: str = ""
) -> Object:
    return {
        "type": kind,
        "status": status,
        "reason": reason or kind,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }


def service(
    *conditions: Object, desired: int = 2, observed: int = 3, generation: int = 3, **metadata: Any
) -> TambourineObject:
    """A Tambourine `web` in namespace `storage`."""
    return service_of(
        {
            "metadata": {
                "name": "web", "namespace": "storage", "uid": UID, "generation": generation, **metadata,
            },
            "spec": {"name": "web", "unit": UNIT},
            "status": {
                "unit": "web.service",
                "observedGeneration": observed,
                "nodes": {"desired": desired},
                "ready": f"0/{desired}",
                "conditions": list(conditions),
            },
        }
    )  # fmt: skip


def instance(node: str, *conditions: Object, **status: Any) -> cluster.Instance:
    """What `node` reports of it; without conditions all is well at generation 3."""
    found = instance_of(
        {
            "metadata": {
                "name": f"web.{node}",
                "namespace": "storage",
                "ownerReferences": [{"uid": UID}],
            },
            "spec": {"nodeName": node, "tambourine": "web", "unit": "web.service"},
            "status": {
                "uid": UID,
                "observedGeneration": 3,
                "conditions": list(conditions) or [condition(k) for k in ("Accepted", "Applied", "Ready")],
                **status,
            },
        }
    )  # fmt: skip
    assert found is not None
    return found
