"""What tests of the agent do with a host: hand in manifests by the command line, read statuses as files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests import waiting
from tests.lab.hosts import Host
from tests.waiting import PATIENCE

SLEEPS = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
OWN = ("tambourine.service", "tambourine-silo.service", "tambourine-bombshell.service")


def manifest(name: str, **spec: Any) -> dict[str, Any]:
    """A Tambourine of namespace local. `spec` in the manifest's own words."""
    return {
        "apiVersion": "tambourine.dev/v1alpha1",
        "kind": "Tambourine",
        "metadata": {"name": name, "namespace": "local"},
        "spec": {"name": name, **spec},
    }


def apply(host: Host, *manifests: dict[str, Any], wait: bool = True, check: bool = True) -> int:
    """`tambourine apply` of these in one file; its exit status."""
    text = "\n---\n".join(json.dumps(m) for m in manifests)
    command = ["tambourine", "apply", "-f", "-", *([] if wait else ["--no-wait"])]
    return host.run(*command, input=text, check=check, timeout=120).returncode


def delete(host: Host, *names: str) -> None:
    """`tambourine delete`, and wait until nothing is left."""
    host.run("tambourine", "delete", *names, timeout=120)


def status(host: Host, name: str) -> dict[str, Any] | None:
    """status.json, or None where the service is not shown (or the agent not there)."""
    file = host.root / f"run/tambourine/proc/local/{name}/status.json"
    try:
        found: dict[str, Any] = json.loads(file.read_text())
    except OSError:
        return None
    return found


def condition(host: Host, name: str, kind: str) -> tuple[str, str]:
    """(status, reason) of a condition; ("", "") where the service is not shown."""
    for one in (status(host, name) or {}).get("conditions", ()):
        if one["type"] == kind:
            return one["status"], one["reason"]
    return "", ""


def until(what: Callable[[], bool], message: str, *, within: float = PATIENCE) -> None:
    """Wait until it holds; AssertionError when it does not come in time."""
    waiting.until(what, message, seconds=within, least=0.02)


def until_ready(host: Host, name: str, *, within: float = PATIENCE) -> None:
    until(lambda: condition(host, name, "Ready")[0] == "True", f"{name} ready", within=within)


def show(host: Host, unit: str, name: str) -> str:
    """One property, from systemd itself."""
    return host.run("systemctl", "show", "--value", "-p", name, unit).stdout.strip()


def etc(host: Host) -> str:
    """Every path in /etc and every file's digest; to see that nothing stayed behind."""
    listing = host.run("find", "/etc", "-printf", "%p %y %m %u %g %l\\n").stdout
    sums = host.run("sh", "-c", "find /etc -type f -print0 | sort -z | xargs -0 sha256sum").stdout
    return "\n".join(sorted(listing.splitlines())) + sums


@contextmanager
def unchanged(host: Host) -> Iterator[None]:
    """/etc and the units in memory are after the block what they were before."""
    before = etc(host), units(host)
    yield
    assert etc(host) == before[0]
    assert units(host) == before[1]


def units(host: Host) -> list[str]:
    """The names of loaded service units and their states, but those of who looks."""
    lines = host.run(
        "systemctl", "list-units", "--all", "--plain", "--no-legend", "--type=service"
    ).stdout
    return sorted(
        line.split()[0] for line in lines.splitlines() if "not-found inactive" not in line
    )
