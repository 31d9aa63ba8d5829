"""The kubelet's /logs/ in front of a real host's journal, reached through the API server's own node proxy.

The lab has no kubelets. What this answers is what pkg/kubelet/kubelet_server_journal.go answers (Kubernetes 1.36): with the
query offered, the output of the journalctl command that it runs; without, the listing of /var/log, whatever was asked.
"""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.cluster.world import Cluster
from tests.lab import kubepki
from tests.lab.hosts import Host

JOURNALCTL = ("journalctl", "--utc", "--no-pager", "--output=short-precise", "--pager-end")


class _Handler(http.server.BaseHTTPRequestHandler):
    host: Host
    offers: bool

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        asked = parse_qs(url.query)
        if url.path != "/logs/" or not self.offers:
            listing = '<!doctype html>\n<pre>\n<a href="journal/">journal/</a>\n</pre>\n'
            self._answer("text/html; charset=utf-8", listing)
            return
        (service,) = asked["query"]
        known = self.host.run("journalctl", "--field", "_SYSTEMD_UNIT").stdout
        if f"{service}.service" not in known:
            text = "\noptions present and query resolved to log files for [x]\ntry without specifying options\n"
        else:
            options = (f"--lines={asked['tailLines'][0]}", f"--unit={service}")
            text = self.host.run(*JOURNALCTL, *options).stdout
        self._answer("text/plain;charset=UTF-8", text)

    def _answer(self, kind: str, text: str) -> None:
        data = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (as http.server names it)
        """Said by what the test sees."""


@contextmanager
def serving(cluster: Cluster, host: Host, directory: Path, *, offers: bool) -> Iterator[None]:
    """The host's Node has a kubelet at this machine's address in the lab's network, while this lasts."""
    address = f"10.77.{cluster.plane.subnet}.2"
    kubepki.make_ca(directory / "pki")
    kubepki.make_certificate(directory / "pki", "kubelet", "/CN=kubelet", server=f"IP:{address}")
    handler = type("Handler", (_Handler,), {"host": host, "offers": offers})
    server = http.server.ThreadingHTTPServer((address, 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "pki" / "kubelet.crt", directory / "pki" / "kubelet.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        port = server.server_address[1]
        addresses = [{"type": "InternalIP", "address": address}]
        _report(
            cluster,
            host,
            {"addresses": addresses, "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}},
        )
        yield
    finally:
        _report(cluster, host, {"addresses": None, "daemonEndpoints": None})
        server.shutdown()
        thread.join()
        server.server_close()


def _report(cluster: Cluster, host: Host, status: dict[str, object]) -> None:
    patch = json.dumps({"status": status})
    cluster.kubectl("patch", "node", host.name, "--subresource=status", "--type=merge", "-p", patch)
