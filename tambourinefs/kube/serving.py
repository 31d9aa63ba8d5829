"""Health and metrics over plain HTTP, at the paths where Kubernetes expects them."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

IDLE_SECONDS: Final = 5.0  # a silent client is disconnected


def serve(
    address: str,
    *,
    health: Callable[[], str],
    ready: Callable[[], str],
    metrics: Callable[[], str],
) -> ThreadingHTTPServer:
    """Serve /healthz, /livez, /readyz and /metrics at host:port in a thread. `health` and `ready` return the problem that
    makes it 503, or "".

    An IPv6 address (fd00::1:9440) needs no brackets: the port follows the last colon.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = IDLE_SECONDS

        def do_GET(self) -> None:
            answers = {"/healthz": health, "/livez": health, "/readyz": ready}
            if self.path == "/metrics":
                self._answer(200, metrics())
            elif self.path in answers:
                problem = answers[self.path]()
                self._answer(503 if problem else 200, problem or "ok")
            else:
                self._answer(404, "not found: /healthz /livez /readyz /metrics")

        def _answer(self, code: int, text: str) -> None:
            body = text.encode()
            self.send_response(code)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log no request: probes come every few seconds."""

    host, _, port = address.rpartition(":")
    host = host.strip("[]")

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True

    server = Server((host, int(port)), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def write_metrics(writes: Counter[tuple[str, str]]) -> str:
    """`Api.writes` in the Prometheus text format."""
    lines = [
        "# HELP tambourine_api_writes_total Writes to the API server.",
        "# TYPE tambourine_api_writes_total counter",
    ]
    for (verb, plural), count in sorted(writes.items()):
        lines.append(f'tambourine_api_writes_total{{verb="{verb}",resource="{plural}"}} {count}')
    return "\n".join(lines) + "\n"
