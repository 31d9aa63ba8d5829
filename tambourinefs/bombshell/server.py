"""The server: volumes, rpcs, health and reflection, behind the guard, on the socket."""

from __future__ import annotations

import logging
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from tambourinefs.bombshell import listen
from tambourinefs.bombshell.guard import Guard, Rule
from tambourinefs.bombshell.limits import MAX_MESSAGE, Limits
from tambourinefs.bombshell.service import Service
from tambourinefs.bombshell.sweeper import Sweeper
from tambourinefs.bombshell.volume import Volume
from tambourinefs.errors import HostError
from tambourinefs.rpc import io_pb2, io_pb2_grpc

log = logging.getLogger("bombshell")

SERVICE: Final = io_pb2.DESCRIPTOR.services_by_name["Bombshell"].full_name
_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
GRACE: Final = 5.0  # seconds for running calls at a stop
PATIENCE: Final = 0.5  # seconds without progress at a stop


class Health(health.HealthServicer):  # type: ignore[misc]
    """grpc.health.v1: SERVING while the volumes answer: both for "" and the Bombshell service, one
    for "silo" and "proc".

    Check refreshes the volumes, none of which can block it for long. `publish` notifies watchers.
    """

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
        """Set each status by the last refresh of the volumes."""
        for name, volume in self._volumes.items():
            self.set(name, _SERVING if volume.serving else _NOT_SERVING)
        everything = all(volume.serving for volume in self._volumes.values())
        for name in ("", SERVICE):
            self.set(name, _SERVING if everything else _NOT_SERVING)


@dataclass(frozen=True, slots=True)
class Options:
    """Places, `gid` of the socket (-1: the process's own); `plain`: serve directories that are not
    mounts, too.
    """

    socket: Path
    silo: Path
    proc: Path
    certificates: listen.Certificates
    gid: int = -1
    client_pair: tuple[Path, Path] | None = None  # for `check_answers`
    plain: bool = False
    limits: Limits = field(default_factory=Limits)


class Bombshell:
    """A server that runs inside `serving`."""

    def __init__(self, options: Options) -> None:
        self._options = options
        limits = options.limits
        self.silo = Volume("silo", options.silo, writable=True, plain=options.plain)
        self.proc = Volume("proc", options.proc, writable=False, plain=options.plain)
        self._guard = Guard(
            _rules(limits), Rule("other", limits.others, limits.stall, limits.stream)
        )
        self._pool = ThreadPoolExecutor(limits.threads, thread_name_prefix="call")
        self._sweeper = Sweeper(self.silo)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Inside, the socket answers.

        Raises AlreadyExists, HostError where it cannot be served.
        """
        credentials = listen.Credentials(self._options.certificates).to_grpc()
        with ExitStack() as stack:
            stack.enter_context(listen.exclusive(self._options.socket))
            for volume in (self.silo, self.proc):
                volume.start()
                stack.callback(volume.stop)
            stack.enter_context(self.silo.listening(self._sweeper.request))
            stack.enter_context(self._sweeper.running())
            self._guard.deadlines.start()
            stack.callback(self._guard.deadlines.stop)
            server = self._server()
            for volume in (self.silo, self.proc):
                stack.enter_context(volume.listening(self._health.publish))

            def bind(path: str) -> None:
                _bind(server, path, credentials)

            stack.callback(self._stop, server)
            stack.enter_context(listen.bound(self._options.socket, self._options.gid, bind))
            server.start()
            yield

    def check_answers(self) -> None:
        """Check that a client gets an answer: a TLS handshake on the socket, and a free thread.

        Raises HostError.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # this process's own; clients verify it
        context.set_alpn_protocols(["h2"])
        client = self._options.client_pair
        if client is not None and os.access(client[1], os.R_OK):
            context.load_cert_chain(*client)
        try:
            with socket.socket(socket.AF_UNIX) as plain:
                plain.settimeout(10)
                plain.connect(os.fspath(self._options.socket))
                with context.wrap_socket(plain):
                    pass
            self._pool.submit(lambda: None).result(10)
        except (OSError, TimeoutError) as error:
            raise HostError(
                f"Bombshell does not answer at {self._options.socket}: {error}"
            ) from error

    def publish_health(self) -> None:
        """Notify the watchers of Health of the volumes' state."""
        self._health.publish()

    def describe(self) -> str:
        """One line for `systemctl status`."""
        state = ", ".join(
            f"{volume.name} {'mounted' if volume.serving else 'MISSING'}"
            for volume in (self.silo, self.proc)
        )
        return f"Serving at {self._options.socket}: {state}"

    def _server(self) -> grpc.Server:
        limits = self._options.limits
        server = grpc.server(
            self._pool,
            interceptors=[self._guard],
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE),
                ("grpc.max_concurrent_streams", 256),
                ("grpc.max_connection_age_ms", int(limits.connection_age * 1000)),
                ("grpc.so_reuseport", 0),
            ],
        )
        self._health = Health({"silo": self.silo, "proc": self.proc})
        service = Service(self.silo, self.proc, limits, self._sweeper.request)
        io_pb2_grpc.add_BombshellServicer_to_server(service, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        # Not enable_server_reflection(), which imports grpc.aio (and asyncio, 4 MB) to test the
        # server's type.
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(
            reflection.ReflectionServicer(names), server
        )
        return server

    def _stop(self, server: grpc.Server) -> None:
        self._health.enter_graceful_shutdown()
        stopped = server.stop(GRACE)
        self._guard.deadlines.shorten(PATIENCE)
        stopped.wait(GRACE + 1)  # never set while a call hangs in a file system
        self._stopped = server  # destroying it would wait for such a call, too
        self._pool.shutdown(wait=False, cancel_futures=True)


def _bind(server: grpc.Server, path: str, credentials: grpc.ServerCredentials) -> None:
    try:
        if server.add_secure_port(f"unix:{path}", credentials):
            return
    except RuntimeError as error:
        raise HostError(f"cannot listen at {path}: {error}") from error
    raise HostError(f"cannot listen at {path}")


def _rules(limits: Limits) -> dict[str, Rule]:
    stall, total = limits.stall, limits.stream
    others = Rule("other", limits.others, stall, total)
    rules = {
        "Write": Rule("write", limits.writes, stall, total),
        "Read": Rule("read", limits.reads, stall, total),
        "List": Rule("list", limits.lists, stall, total),
        "Watch": Rule("watch", limits.watches, stall, idle=True),
        "Stat": others,
        "Remove": others,
        "MakeDirectory": others,
    }
    return {f"/{SERVICE}/{name}": rule for name, rule in rules.items()} | {
        f"/{health.SERVICE_NAME}/Check": Rule("health", limits.health, stall, total),
        f"/{health.SERVICE_NAME}/Watch": Rule(
            "health watch", limits.health_watches, stall, idle=True
        ),
        f"/{reflection.SERVICE_NAME}/ServerReflectionInfo": Rule(
            "reflection", limits.reflections, stall, total
        ),
    }
