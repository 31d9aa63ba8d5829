"""Run the requested rows, print each when it is measured, write bench.json."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.bench.figures import HEADER, Row
from tests.bench.sizes import Sizes

if TYPE_CHECKING:
    from tests.cluster.world import Cluster
    from tests.lab.hosts import Host

ROOT: Final = Path(__file__).resolve().parents[2]
# Each is a module beside this one with `measure(host) -> Row`; `silo` needs no lab host.
HOST_ROWS: Final = ("values", "status", "new", "edit", "thousand", "silo", "idle")
WITHOUT_HOST: Final = frozenset({"silo"})
# With `measure(cluster, sizes) -> Row`, on a control plane that this number of hosts has joined.
CLUSTER_ROWS: Final = {
    "kube_apply": 1,
    "kube_seen": 1,
    "kube_burst": 2,
    "kube_idle": 1,
    "kube_fleet": 0,
}
ROWS: Final = (*HOST_ROWS, *CLUSTER_ROWS)


@contextmanager
def bench_host() -> Iterator[Host]:
    """A lab host with Tambourine, used by this run only."""
    from tests.lab import lab
    from tests.lab.hosts import Host
    from tests.lab.state import LabState

    state = LabState(f"bench-{os.getpid()}")
    try:
        yield Host(lab.up(state, hosts=1, owner=os.getpid())[0])
    finally:
        lab.down(state)


@contextmanager
def bench_cluster(hosts: int) -> Iterator[Cluster]:
    """A control plane of this run, with the controller if there are hosts; they allow `default`."""
    from tests.cluster.world import Cluster
    from tests.lab import lab
    from tests.lab.hosts import Host
    from tests.lab.state import LabState

    state = LabState(f"bench-{os.getpid()}")
    try:
        made = lab.up(state, hosts=hosts, owner=os.getpid(), kubernetes=True)
        yield Cluster(state, [Host(host) for host in made])
    finally:
        lab.down(state)


def measure(name: str, sizes: Sizes) -> Row:
    module = importlib.import_module(f"tests.bench.{name}")
    if name in CLUSTER_ROWS:
        with bench_cluster(CLUSTER_ROWS[name]) as cluster:
            row = module.measure(cluster, sizes)
    elif name in WITHOUT_HOST:
        row = module.measure()
    else:
        # Install rivals first: a host sees this machine's programs as they were at its start.
        getattr(module, "prepare", lambda: None)()
        with bench_host() as host:  # a new host for each row, without another row's units
            row = module.measure(host)
    assert isinstance(row, Row)
    return row


def machine() -> dict[str, object]:
    described = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in described if "model name" in line), "?")
    return {
        "load": os.getloadavg()[0],
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "cpu": model,
        "python": platform.python_version(),
    }


def write(rows: dict[str, Row], path: Path) -> None:
    """bench.json; rows of an earlier run that were not measured now stay in it."""
    known = json.loads(path.read_text())["rows"] if path.exists() else {}
    known |= {name: {**row.to_plain(), "machine": machine()} for name, row in rows.items()}
    path.write_text(json.dumps({"rows": known}, indent=2) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("rows", nargs="*", choices=[[], *ROWS], metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--output", type=Path, default=ROOT / "bench.json")
    parser.add_argument("--idle-minutes", type=float, default=Sizes.idle_minutes, metavar="N")
    parser.add_argument("--nodes", type=int, default=Sizes.nodes, help="of kube_fleet", metavar="N")
    asked = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("mounts and lab hosts need root")
    if os.getloadavg()[0] > 1:
        print(
            f"this machine is busy (load {os.getloadavg()[0]:.1f}): ratios hold, times do not",
            file=sys.stderr,
        )
    sizes = Sizes(asked.idle_minutes, asked.nodes)
    done: dict[str, Row] = {}
    for name in asked.rows or ROWS:
        print(f"{name} …", file=sys.stderr, flush=True)
        done[name] = measure(name, sizes)
        write(done, asked.output)
        for text in (*done[name].figures, *done[name].claims):
            print(f"  {text}", file=sys.stderr, flush=True)
    print(HEADER)
    for row in done.values():
        print(row.to_markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
