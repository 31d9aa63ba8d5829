"""Fifty services come and go: no descriptor, thread or temporary file stays, and memory does not grow."""

from __future__ import annotations

from dataclasses import dataclass

from tambourinefs.rpc.client import Client
from tests.daemons import DAEMONS
from tests.e2e.chain import pids, wait_until
from tests.e2e.chaos import Wish, client_of, put, remove, temporaries, wait_gone, wait_ready
from tests.lab.hosts import Host

AT_ONCE = 25
GROWTH_KIB = 2048  # of a daemon: allocators keep some; a leak of 50 KiB a service would be 2,500


@dataclass(frozen=True)
class Size:
    """What a process has."""

    descriptors: int
    threads: int
    rss_kib: int


def size(host: Host, unit: str) -> Size:
    proc = host.root / "proc" / str(pids(host, unit)[0])
    fields = dict(
        line.split(":", 1) for line in (proc / "status").read_text().splitlines() if ":" in line
    )
    return Size(
        len(list((proc / "fd").iterdir())), int(fields["Threads"]), int(fields["VmRSS"].split()[0])
    )


def come_and_go(client: Client, rounds: int) -> None:
    for _ in range(rounds):
        wishes = [Wish(f"leak-{n}", mark=1) for n in range(AT_ONCE)]
        generations = {wish.name: put(client, wish.manifest()) for wish in wishes}
        for name, generation in generations.items():
            wait_ready(client, name, generation)
        for name in generations:
            remove(client, name)
        wait_gone(client, generations)


def test_fifty_services_come_and_go(host: Host) -> None:
    with client_of(host) as client:
        come_and_go(client, 1)  # what is loaded and cached once is no leak
        before = {unit: size(host, unit) for unit in DAEMONS}
        come_and_go(client, 2)

        def grown() -> list[str]:
            found = []
            for unit in DAEMONS:
                was, now = before[unit], size(host, unit)
                if now.descriptors > was.descriptors + 2 or now.threads > was.threads + 4:
                    found.append(f"{unit}: {was} became {now}")
            return found

        wait_until(lambda: not grown(), "what was opened is closed")
        for unit in DAEMONS:
            now = size(host, unit)
            print(f"{unit}: {before[unit]} -> {now}")
            assert now.rss_kib - before[unit].rss_kib < GROWTH_KIB, unit
    wait_until(lambda: not temporaries(host), "no temporary file is left")
    assert not list((host.root / "var/lib/tambourine/agent/services").glob("local_leak-*"))
    for n in range(AT_ONCE):
        (host.root / f"run/leak-{n}.ran").unlink()
