"""The power goes in the middle of applies, five times: QEMU is killed. Nothing is torn, nothing that was answered is lost,
and no command that was done before the cut is done again.
"""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

from tambourinefs.errors import Unreachable
from tambourinefs.model.manifest import parse_json
from tambourinefs.rpc.client import Client
from tests.e2e.chaos import Service, Wish, check_started, put, remove, settle, wait_ready
from tests.lab.tools import say
from tests.machine.machine import Machine
from tests.machine.waiting import wait_until

CUTS = 5
SERVICES = 4
WORKERS = 2
KINDS = ("edit", "both", "restart", "touch")
PATIENCE = 900.0  # seconds for one step of an emulated processor
STORE = "/var/lib/tambourine/store/tree/local"
PKI = "/etc/tambourine/pki"
# Of each file that is named: P and its content, or nothing; then a zero byte.
READ = 'for f; do test -e "$f" && { printf P; cat "$f"; }; printf "\\0"; done'


@dataclass
class Answers:
    """How many applies were answered in this round; `enough` is set at the number at which the power goes."""

    wanted: int
    count: int = 0
    enough: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self) -> None:
        with self._lock:
            self.count += 1
            if self.count >= self.wanted:
                self.enough.set()


def edit(client: Client, services: list[Service], answers: Answers, seed: str) -> int:
    """Apply edits without waiting until the machine does not answer; the number sent."""
    rng = random.Random(seed)
    try:
        while True:
            service = rng.choice(services)
            kind = rng.choice(KINDS) if service.wish.mark else "edit"
            service.wish.change(kind)
            service.changed += kind != "touch"
            wanted = service.wish.manifest()
            service.pending.append(wanted)
            try:
                put(client, wanted)
            except Unreachable:
                return 1
            service.answered, service.pending = wanted, []
            answers.add()
    finally:
        answers.enough.set()  # the round is over


def connected(machine: Machine, stack: ExitStack) -> Client:
    """A client here to the machine's Bombshell; of this boot of it."""
    for name in ("ca.crt", "client.crt", "client.key"):
        (machine.directory / name).write_text(machine.run("cat", f"{PKI}/{name}").stdout)
    socket = machine.directory / "bombshell"
    machine.forward(socket, "/run/tambourine/bombshell/bombshell.sock")
    ca, certificate, key = (
        machine.directory / name for name in ("ca.crt", "client.crt", "client.key")
    )
    return stack.enter_context(Client(socket, ca, certificate, key, timeout=240))


def read(machine: Machine, *paths: str) -> list[str | None]:
    """The content of each file, None where there is none; one command."""
    texts = machine.run("sh", "-c", READ, "sh", *paths).stdout.split("\0")[:-1]
    return [text[1:] if text else None for text in texts]


def check_stored(service: Service, stored: str | None) -> None:
    """What lies in the store itself is whole, and nothing older than what was answered."""
    name = service.name
    if stored is None:
        assert service.answered is None, f"{name} was answered, and is lost"
        return
    found = parse_json(stored.encode(), source=name)
    allowed = [m for m in (service.answered, *service.pending) if m is not None]
    same = [
        m for m in allowed if (m.spec, m.metadata.labels) == (found.spec, found.metadata.labels)
    ]
    assert same, f"{name} is none of the {len(allowed)} that it may be: {found}"


def round_of(machine: Machine, services: list[Service], settled: Service, seed: str) -> int:
    """Applies to all but the one whose restart is done, until the power goes; and a boot. How many were answered."""
    rng = random.Random(seed)
    for service in services:
        service.changed = 0
    others = [service for service in services if service is not settled]
    answers = Answers(rng.randint(3, 12))
    with ExitStack() as stack:
        client = connected(machine, stack)
        settle(client, settled, PATIENCE)
        with ThreadPoolExecutor(WORKERS) as pool:
            asking = [
                pool.submit(edit, client, others[n::WORKERS], answers, f"{seed}-{n}")
                for n in range(WORKERS)
            ]
            assert answers.enough.wait(PATIENCE), f"only {answers.count} answers"
            machine.cut_power()
            assert [done.result() for done in asking] == [1] * WORKERS, "the cut was in the middle"
    assert answers.count >= answers.wanted
    machine.start()
    return answers.count


def check_round(machine: Machine, services: list[Service], settled: Service) -> None:
    names = [service.name for service in services]
    stored = read(machine, *(f"{STORE}/{name}/tambourine.json" for name in names))
    for service, content in zip(services, stored, strict=True):
        check_stored(service, content)
    with ExitStack() as stack:
        client = connected(machine, stack)
        asked: list[tuple[Service, int, bool]] = []
        for service in services:
            if service.answered is None and not service.pending:
                continue
            wanted = service.wish.manifest()  # the last that was sent, whatever became of it
            asked.append((service, put(client, wanted), service.lost))
            service.answered, service.pending = wanted, []
        for service, generation, _ in asked:
            wait_ready(client, service.name, generation, PATIENCE)
    ledgers = read(machine, *(f"/run/{service.name}.ran" for service, _, _ in asked))
    for (service, _, lost), ledger in zip(asked, ledgers, strict=True):
        assert not (lost and service is settled)
        if not lost:
            check_started(service, (ledger or "").splitlines())
    states = machine.run(
        "systemctl", "is-active", *(f"{service.name}.service" for service, _, _ in asked)
    )
    assert states.stdout == "active\n" * len(asked)


def test_five_power_cuts_amid_applies(machine: Machine, seed: int) -> None:
    services = [Service(Wish(f"p{n}")) for n in range(SERVICES)]
    for cut in range(CUTS):
        settled = services[cut % SERVICES]
        answered = round_of(machine, services, settled, f"{seed}-{cut}")
        say(f"machine: power cut {cut + 1} of {CUTS} after {answered} answers")
        check_round(machine, services, settled)
    assert machine.run("findmnt", "-no", "FSTYPE", "/proc/tambourine").stdout == "fuse.tambourine\n"
    with ExitStack() as stack:
        client = connected(machine, stack)
        for service in services:
            remove(client, service.name)
    gone = "systemctl cat p0 p1 p2 p3 2>/dev/null; ls /etc/systemd/system | grep '^p[0-9]'"
    wait_until(
        lambda: not machine.run("sh", "-c", gone, check=False).stdout,
        PATIENCE,
        "the services are gone",
    )
