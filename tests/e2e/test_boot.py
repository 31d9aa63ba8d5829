"""A boot, a crash and a restart of any daemon, in any order, end in a working chain; managed services do not notice."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
from collections.abc import Iterator

import pytest

from tests.daemons import AGENT, BOMBSHELL, DAEMONS, SILO
from tests.e2e.chain import (
    answers,
    apply,
    delete,
    ended,
    pids,
    prop,
    props,
    wait_answering,
    wait_until,
)
from tests.lab.hosts import Host

ORDERS = [order for n in (1, 3) for order in itertools.permutations(DAEMONS, n)]
NAMES = {SILO: "silo", AGENT: "agent", BOMBSHELL: "bombshell"}


def names(order: tuple[str, ...]) -> str:
    return "-".join(NAMES[unit] for unit in order)


@pytest.fixture(scope="module")
def managed(host: Host) -> Iterator[str]:
    """A service that Tambourine made on the shared host."""
    apply(host, "steady")
    yield "steady.service"
    delete(host, "steady")


@pytest.mark.parametrize("order", ORDERS, ids=names)
def test_kill_9_in_any_order(host: Host, managed: str, order: tuple[str, ...]) -> None:
    *before, service = pids(host, *order, managed)
    for unit in order:
        host.run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", unit)
    wait_until(lambda: ended(host, before), "the old processes have ended")
    wait_answering(host)
    apply(host, "steady", mark=names(order))  # the way down and the way up, not only reading
    assert props(host, "ActiveState", *DAEMONS) == ["active"] * len(DAEMONS)
    assert pids(host, managed) != (0,)
    assert service
    assert all(before)


@pytest.mark.parametrize("order", ORDERS, ids=names)
def test_restart_in_any_order(host: Host, managed: str, order: tuple[str, ...]) -> None:
    *before, service = pids(host, *order, managed)
    assert all(before)
    for unit in order:
        host.run("systemctl", "restart", "--no-block", unit)
    wait_until(lambda: ended(host, before), "the old processes have ended")
    wait_answering(host)
    assert pids(host, managed) == (service,)


def test_a_managed_service_outlives_all_of_ours(host: Host, managed: str) -> None:
    service = pids(host, managed)
    host.run("systemctl", "stop", *DAEMONS)
    assert pids(host, *DAEMONS, managed) == (0, 0, 0, *service)
    for mountpoint in ("var/lib/tambourine/silo", "run/tambourine/proc"):
        assert not any((host.root / mountpoint).iterdir()), "a mount was left behind"
    host.run("systemctl", "start", *DAEMONS)
    wait_answering(host)
    assert pids(host, managed) == service


@pytest.fixture
def short_watchdog(host: Host) -> Iterator[None]:
    """As shipped, but WatchdogSec=60."""
    drop_ins = [host.root / f"run/systemd/system/{unit}.d" for unit in DAEMONS]
    for directory in drop_ins:
        directory.mkdir(parents=True)
        (directory / "90-watchdog.conf").write_text("[Service]\nWatchdogSec=4\n")
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "restart", *DAEMONS)  # the environment says it to the process
    wait_answering(host)
    yield
    for directory in drop_ins:
        shutil.rmtree(directory)
    # Those that run now tell systemd more often than it asks, until they are started again: that is no harm.
    host.run("systemctl", "daemon-reload")


@pytest.mark.timing
def test_frozen_daemons_are_replaced_by_the_watchdog(
    host: Host, managed: str, short_watchdog: None
) -> None:
    *frozen, service = pids(host, *DAEMONS, managed)
    host.run("kill", "-STOP", *map(str, frozen))
    wait_until(lambda: ended(host, frozen), "the frozen ones are gone")
    wait_answering(host)
    assert not {*frozen, 0} & set(pids(host, *DAEMONS)), "new ones in all three places"
    for unit in DAEMONS:
        log = ["journalctl", "--no-pager", "-b", f"UNIT={unit}", "-n", "20", "-o", "cat"]
        assert "Watchdog timeout" in host.run(*log).stdout, unit
    assert pids(host, managed) == (service,)


def test_a_frozen_silo_that_is_killed_is_replaced(host: Host, managed: str) -> None:
    pid, service = pids(host, SILO, managed)
    host.run("kill", "-STOP", str(pid))
    host.run("kill", "-KILL", str(pid))
    wait_until(lambda: ended(host, [pid]), "the old silo is gone")
    wait_answering(host)
    new, same = pids(host, SILO, managed)
    assert new not in {pid, 0}
    assert same == service


def test_a_reader_in_the_silo_gets_an_error_and_then_the_new_mount(host: Host) -> None:
    directory = os.open(host.root / "var/lib/tambourine/silo", os.O_RDONLY | os.O_DIRECTORY)
    try:
        before = pids(host, SILO)
        host.run("systemctl", "kill", "--signal=KILL", SILO)
        wait_until(lambda: ended(host, before), "the old silo is gone")
        wait_answering(host)
        with pytest.raises(OSError, match=r"Transport endpoint|Input/output|Stale"):
            os.listdir(directory)
    finally:
        os.close(directory)


def test_stopping_by_sigterm_is_clean(host: Host) -> None:
    for unit in DAEMONS:
        host.run("systemctl", "stop", unit)
        assert prop(host, unit, "Result") == "success"
        assert prop(host, unit, "ExecMainStatus") == "0", signal.SIGTERM.name
        host.run("systemctl", "start", unit)
    wait_answering(host)


def test_reboot_and_power_cut(host: Host, managed: str) -> None:
    """The last one here: what was in /run and /tmp of the shared host is gone after it."""

    def runs() -> bool:
        return pids(host, managed) != (0,)

    apply(host, "steady")
    boot = prop(host, managed, "InvocationID")
    host.reboot()
    wait_answering(host)
    wait_until(runs, "the service runs again")
    assert prop(host, managed, "InvocationID") != boot
    host.crash()
    host.start()
    wait_answering(host)
    wait_until(runs, "the service runs again")
    apply(host, "steady", mark="after the power cut")
    assert answers(host)
