"""grpc.health.v1: SERVING while the volumes answer: both for "" and the Bombshell service, one for "silo" and "proc"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import grpc
from grpc_health.v1 import health, health_pb2

from tambourinefs.rpc import io_pb2

if TYPE_CHECKING:
    from tambourinefs.bombshell.volume import Volume

SERVICE: Final = io_pb2.DESCRIPTOR.services_by_name["Bombshell"].full_name
_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING


class Health(health.HealthServicer):  # type: ignore[misc]
    """Asks the volumes at each Check; none can hold it up for long. Watchers are told by `publish`."""

    def __init__(self, volumes: Mapping[str, Volume]) -> None:
        super().__init__()
        self._volumes = volumes
        self.publish()

    def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        for volume in self._volumes.values():
            volume.refresh()
        self.publish()
        return super().Check(request, context)

    def publish(self) -> None:
        """Tell what the volumes looked like last."""
        for name, volume in self._volumes.items():
            self.set(name, _SERVING if volume.serving else _NOT_SERVING)
        everything = all(volume.serving for volume in self._volumes.values())
        for name in ("", SERVICE):
            self.set(name, _SERVING if everything else _NOT_SERVING)
