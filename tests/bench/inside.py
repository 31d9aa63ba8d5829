"""Operations of the rows on their lab host."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from tests.lab.tree import SOURCE

if TYPE_CHECKING:
    from tests.lab.hosts import Host

PROC: Final = "/run/tambourine/proc"
PYTHON: Final = "/opt/tambourine/bin/python"  # Tambourine's own, which knows its modules
SERVICE: Final = """\
apiVersion: tambourine.dev/v1alpha1
kind: Tambourine
metadata: {{name: {name}}}
spec:
  name: {name}
  command: start
  unit: |
    [Unit]
    Description=Bench {name}
    [Service]
    ExecStart=/usr/bin/sleep infinity
    [Install]
    WantedBy=multi-user.target
"""


def probe(host: Host, name: str, *arguments: str, python: str = "/usr/bin/python3") -> Any:
    """What a probe of probes/ prints, run inside by the host's Python."""
    done = host.run(python, f"{SOURCE}/tests/bench/probes/{name}.py", *arguments, timeout=1800)
    return json.loads(done.stdout)


def columns(rows: list[list[float]]) -> list[list[float]]:
    return [list(column) for column in zip(*rows, strict=True)]


def manifests(prefix: str, count: int) -> str:
    """Sleeping services, as one YAML file."""
    return "---\n".join(SERVICE.format(name=f"{prefix}-{n}") for n in range(count))


def install(host: Host, prefix: str, count: int) -> None:
    """Apply services and wait until they are reported running."""
    host.run("tambourine", "apply", "-f", "-", input=manifests(prefix, count), timeout=1200)
