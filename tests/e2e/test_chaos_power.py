"""Power cuts, until ten were in the middle of 50 applies: nothing half, nothing lost that was answered, nothing done twice.

After each boot every manifest is whole and is what was answered last, or what was on its way when the power went; all are
applied and run again. One service a round was restarted by command before, and that was done: it is started by the boot and
nothing else. In the end all are deleted, and /etc is what it was before the first.
"""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tambourinefs.errors import TambourineError
from tambourinefs.model.manifest import parse_json
from tambourinefs.rpc.client import Client
from tests.e2e.chain import props, wait_answering, wait_until
from tests.e2e.chaos import (
    Service,
    Wish,
    check_started,
    client_of,
    ledger,
    persistently,
    put,
    remove,
    settle,
    temporaries,
    tree,
    wait_gone,
    wait_ready,
)
from tests.lab.hosts import Host

APPLIES = 50  # in each round, were it not for the cut
WORKERS = 3
SERVICES = 12
KINDS = ("edit", "edit", "both", "restart", "touch")
ORIGINALS = Path("etc/chaos")
STATE = Path("var/lib/tambourine/agent")


def make(n: int) -> Service:
    """Of three, one brings a file that stood there before, one a file in a directory that did not, one none."""
    name = f"p{n}"
    path = f"/{ORIGINALS}/{name}.conf" if n % 3 == 0 else f"/{ORIGINALS}/{name}.d/{name}.conf"
    files = {"files": [{"path": path, "content": f"of {name}\n"}]} if n % 3 < 2 else {}
    return Service(Wish(name, extra=files))


def edit(client: Client, services: list[Service], applies: int, seed: str) -> int:
    """Edits without waiting, until there is no answer; the number that was answered."""
    rng = random.Random(seed)
    for number in range(applies):
        service = rng.choice(services)
        kind = rng.choice(KINDS) if service.wish.mark else "edit"
        service.wish.change(kind)
        service.changed += kind != "touch"
        wanted = service.wish.manifest()
        service.pending.append(wanted)
        try:
            put(client, wanted)
        except TambourineError:
            return number
        service.answered, service.pending = wanted, []
    return applies


def cut_amid(host: Host, services: list[Service], seed: str) -> int:
    """Cut the power while the applies run; how many were answered."""
    rng = random.Random(seed)
    with client_of(host, timeout=5) as client, ThreadPoolExecutor(WORKERS) as pool:
        asking = [
            pool.submit(edit, client, services[n::WORKERS], APPLIES // WORKERS + 1, f"{seed}-{n}")
            for n in range(WORKERS)
        ]
        time.sleep(rng.uniform(0.05, 0.9))  # any moment will do
        host.crash()
        return sum(done.result() for done in asking)


def check_stored(host: Host, service: Service) -> None:
    """What lies in the store itself is whole, and nothing older than what was answered."""
    path = host.root / f"var/lib/tambourine/store/tree/local/{service.name}/tambourine.json"
    allowed = [m for m in (service.answered, *service.pending) if m is not None]
    if not path.exists():
        assert service.answered is None, f"{service.name} was answered, and is lost"
        return
    found = parse_json(path.read_bytes(), source=service.name)
    same = [
        m for m in allowed if (m.spec, m.metadata.labels) == (found.spec, found.metadata.labels)
    ]
    assert same, f"{service.name} is none of the {len(allowed)} that it may be: {found}"


@pytest.mark.parametrize("cuts", [2, pytest.param(10, marks=pytest.mark.soak)])
def test_power_cuts_amid_applies(fresh_host: Host, cuts: int, seed: int) -> None:
    """`cuts` that hit the applies, out of at most three times as many."""
    host = fresh_host
    (host.root / ORIGINALS).mkdir()
    for n in range(0, SERVICES, 3):
        (host.root / ORIGINALS / f"p{n}.conf").write_text(f"original {n}\n")
    host.run("sync")
    before = tree(host.root / "etc")
    services = [make(n) for n in range(SERVICES)]
    in_the_middle = 0
    for cut in range(3 * cuts):
        if in_the_middle == cuts:
            break
        for service in services:
            service.changed = 0
        settled, others = services[cut % SERVICES], [*services]
        others.remove(settled)
        with client_of(host) as client:
            settle(client, settled)
        answered = cut_amid(host, others, f"{seed}-{cut}")
        in_the_middle += 0 < answered < APPLIES
        host.start()
        wait_answering(host)
        print(f"cut {cut} after {answered} answers")
        for service in services:
            check_stored(host, service)
        with client_of(host) as client:
            for service in services:
                if service.answered is None and not service.pending:
                    continue
                wanted = service.wish.manifest()  # the last that was sent, whatever became of it
                lost = service.lost
                generation = put(client, wanted)
                wait_ready(client, service.name, generation)
                service.answered, service.pending = wanted, []
                assert not (lost and service is settled)
                if not lost:
                    check_started(service, ledger(host, service.name))
        known = [f"{service.name}.service" for service in services if service.answered]
        assert set(props(host, "ActiveState", *known)) == {"active"}
    assert in_the_middle == cuts, f"only {in_the_middle} cuts hit the applies"
    with client_of(host) as client:
        for service in services:
            persistently(partial(remove, client, service.name))
        wait_gone(client, [service.name for service in services])
    wait_until(lambda: not temporaries(host), "no temporary file is left")
    host.run(
        "systemctl", "restart", "tambourine.service"
    )  # unreferenced originals are removed at its start
    for left in ("services", "originals"):
        assert not list((host.root / STATE / left).iterdir())
    assert changes(before, tree(host.root / "etc")) == []


def changes(before: dict[str, tuple[int, str | bytes]], after: dict[str, tuple[int, str | bytes]]) -> list[str]:  # fmt: skip
    """The paths below /etc that differ."""
    return sorted(
        path for path in before.keys() | after.keys() if before.get(path) != after.get(path)
    )
