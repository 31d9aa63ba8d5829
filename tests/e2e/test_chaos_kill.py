"""kill -9 of each daemon at random while 200 applies with commands run: the chain ends right and no command runs twice.

The end is what was asked last, for every service; a start is counted by the line that the unit itself wrote.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tambourinefs.rpc.client import Client
from tests.daemons import AGENT, DAEMONS, SILO
from tests.e2e.chain import pids, prop, props, wait_answering, wait_until
from tests.e2e.chaos import (
    ONESHOT,
    SERVICE,
    Wish,
    clearing,
    client_of,
    ledger,
    persistently,
    put,
    report,
    temporaries,
    wait_ready,
)
from tests.lab import cgroups
from tests.lab.hosts import Host

WORKERS = 4
STEADY = ("steady-0", "steady-1", "steady-2")
KINDS = ("edit", "edit", "restart", "restart", "both", "touch", "stop", "start")
APPLIES_BETWEEN_KILLS = 12
APPLIES_FOR_A_KILL_OF_EACH = 60  # at most


class Asking:
    """One person with some services: edits, now waiting for the end, now not, and the count after each wait."""

    def __init__(self, host: Host, client: Client, wishes: list[Wish], seed: str) -> None:
        self.host, self.client, self.wishes = host, client, wishes
        self.random = random.Random(seed)
        self.applies = self.exact = 0

    def ask(self, applies: int) -> None:
        while self.applies < applies:
            self.burst(
                self.random.choice(self.wishes),
                min(self.random.choice((1, 1, 1, 4)), applies - self.applies),
            )

    def burst(self, wish: Wish, size: int) -> None:
        """Some edits without waiting, then wait: each start that was asked for ran at most once, a lone one exactly once."""
        before = len(ledger(self.host, wish.name))
        kinds = KINDS if wish.text == SERVICE else ("restart", "both")
        chosen = [self.random.choice(kinds) for _ in range(size)] if wish.mark else ["edit"]
        starts = []
        generation = 0
        for kind in chosen:
            starts.append(wish.change(kind))
            wanted = wish.manifest()
            generation = persistently(partial(put, self.client, wanted))
            self.applies += 1
        wait_ready(self.client, wish.name, generation)
        ran = len(ledger(self.host, wish.name)) - before
        least = 1 if chosen[-1] in {"edit", "restart", "both"} else 0
        if len(chosen) == 1:
            least = starts[0]
            self.exact += 1
        assert least <= ran <= sum(starts), f"{wish.name}: {chosen} started it {ran} times"
        marks = ledger(self.host, wish.name)
        assert not wish.running or int(marks[-1].split()[0]) == wish.mark, (
            f"{wish.name} runs an older text"
        )


def kill_at_random(
    host: Host, rng: random.Random, applies: Callable[[], int], over: threading.Event
) -> Counter[str]:
    """Until it is over: kill -9 of a main process after some more applies, of each about as often as of the others."""
    killed: Counter[str] = Counter()
    while not over.is_set():
        for unit in rng.sample(DAEMONS, len(DAEMONS)):
            due = applies() + rng.randrange(2 * APPLIES_BETWEEN_KILLS)
            while applies() < due and not over.wait(0.01):
                pass
            if over.wait(rng.uniform(0, 0.3)):
                break
            (pid,) = pids(host, unit)
            if pid and host.run("kill", "-KILL", str(pid), check=False).returncode == 0:
                killed[unit] += 1
    return killed


def test_a_oneshot_that_ends_while_the_agent_is_dead_is_not_run_again(host: Host) -> None:
    """systemd forgets a oneshot that ended well once the agent, which refers to it, is gone: only the journal knows."""
    wish = Wish("once", text=ONESHOT)

    def has_run(times: int) -> bool:
        return len(ledger(host, wish.name)) == times

    with client_of(host) as client, clearing(host, client, wish.name):
        wish.change("restart")
        wait_ready(client, wish.name, put(client, wish.manifest()))
        for count in (2, 3):
            wish.change("restart")
            generation = put(client, wish.manifest())
            wait_until(partial(has_run, count), "it runs")
            (pid,) = pids(host, AGENT)
            host.run("kill", "-KILL", str(pid))
            wait_until(lambda: not prop(host, "once.service", "InvocationID"), "it is forgotten")
            wait_ready(client, wish.name, generation)
            assert len(ledger(host, wish.name)) == count
            last = report(client, wish.name).last_command
            assert last is not None
            assert (last.command_id, last.result) == (str(count), "done")
            assert last.invocation_id == ledger(host, wish.name)[-1].split()[1]


def of_unit(host: Host, unit: str, *arguments: str) -> list[int]:
    """The unit's processes, as this machine counts, that are `tambourine` with these arguments: systemctl would take longer
    than what is looked for.
    """
    found = []
    for pid in cgroups.processes(f"{host.state.machine}/payload/system.slice/{unit}"):
        with suppress(FileNotFoundError, ProcessLookupError):
            argv = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            if argv[2:-1] == [*arguments]:
                found.append(pid)
    return found


@pytest.mark.parametrize(
    ("unit", "server", "check"),
    [(SILO, "silo", ("mount", "--check", "silo")), (AGENT, "agent", ("mount", "--check", "proc"))],
    ids=["silo", "agent"],
)
def test_killed_while_systemd_checks_its_mount(
    host: Host, unit: str, server: str, check: tuple[str, ...]
) -> None:
    """Its connection is open then (systemd keeps the descriptor): who asks the mount waits, until the check gives it up."""

    for _ in range(10):
        restarting = host.popen("systemctl", "restart", unit)
        wait_until(
            lambda: of_unit(host, unit, *check) or restarting.poll() is not None,  # noqa: B023
            "it is checked",
            fleeting=True,
        )
        for pid in of_unit(host, unit, server):
            os.kill(pid, signal.SIGKILL)
        hit = prop(host, unit, "SubState") == "start-post"
        restarting.communicate(timeout=30)
        wait_answering(host)
        if hit:
            return
    raise AssertionError("the check was never hit")


@pytest.mark.parametrize("applies", [60, pytest.param(200, marks=pytest.mark.soak)])
def test_applies_while_every_daemon_is_killed_again_and_again(
    host: Host, applies: int, seed: int
) -> None:
    wishes = [Wish(f"w{n}", text=ONESHOT if n % 4 == 3 else SERVICE) for n in range(12)]
    names = (*STEADY, *(wish.name for wish in wishes))
    with client_of(host) as client, clearing(host, client, *names):
        for name in STEADY:
            wait_ready(client, name, put(client, Wish(name, mark=1).manifest()))
        steady = pids(host, *(f"{name}.service" for name in STEADY))
        restarts = dict(zip(DAEMONS, map(int, props(host, "NRestarts", *DAEMONS)), strict=True))
        people = [Asking(host, client, wishes[n::WORKERS], f"{seed}-{n}") for n in range(WORKERS)]
        over = threading.Event()
        with ThreadPoolExecutor(WORKERS + 1) as pool:
            began = time.monotonic()
            killing = pool.submit(
                kill_at_random,
                host,
                random.Random(seed),
                lambda: sum(p.applies for p in people),
                over,
            )
            asking = [pool.submit(person.ask, applies // WORKERS) for person in people]
            wait(asking)
            over.set()
        print(f"{time.monotonic() - began:.1f} s")
        for done in asking:
            done.result()
        killed = killing.result()

        assert sum(person.applies for person in people) == applies
        exact = sum(person.exact for person in people)
        print(f"killed {dict(killed)}, {exact} applies counted alone")
        assert exact > applies // 10, "most starts were counted in bursts only"
        wait_answering(host)
        for unit, now in zip(DAEMONS, props(host, "NRestarts", *DAEMONS), strict=True):
            again = int(now) - restarts[unit]
            assert again >= killed[unit] >= applies // APPLIES_FOR_A_KILL_OF_EACH, (
                f"{unit}: {again} restarts"
            )

        assert pids(host, *(f"{name}.service" for name in STEADY)) == steady
        assert [len(ledger(host, name)) for name in STEADY] == [1, 1, 1]
        asked = [wish for wish in wishes if wish.label]
        for wish in asked:
            wait_ready(
                client, wish.name, put(client, wish.manifest())
            )  # nothing to change: asks for the generation
        states = props(host, "ActiveState", *(f"{wish.name}.service" for wish in asked))
        for wish, state in zip(asked, states, strict=True):
            assert (state == "active") == (wish.running and wish.text == SERVICE), wish.name
            marks = [int(line.split()[0]) for line in ledger(host, wish.name)]
            assert marks == sorted(marks), f"{wish.name}: an older unit after a newer one: {marks}"
        wait_until(lambda: not temporaries(host), "no temporary file is left")
