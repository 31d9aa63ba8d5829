"""Certificates end while clients are connected: the timer's service renews them without an interruption."""

from __future__ import annotations

import subprocess
import time

from tests.daemons import BOMBSHELL
from tests.e2e.chain import pids, wait_answering, wait_until
from tests.lab.hosts import Host

PKI = "/etc/tambourine/pki"
RENEWER = "tambourine-pki-renew.service"
TIMER = "tambourine-pki-renew.timer"
SECONDS = 15  # the life of the certificates that the clients begin with
# Two clients, for as long as standard input is open: one connection for all, and a new one for each call; some calls a
# second. Each line that they print is a call that succeeded; an error ends them with its message.
CLIENTS = """
import select, sys
from tambourinefs.configfile import load
from tambourinefs.rpc.client import Client
config = load().config
with Client.from_config(config) as lasting, lasting.watch("proc", "") as changes:
    assert next(changes)[0] == "resync"
    while not select.select([sys.stdin], [], [], 0.2)[0]:
        lasting.write("silo", "local/.renewal-test", b"x", parents=True)
        with Client.from_config(config) as fresh:
            fresh.stat("proc", "version.txt")
        print("both", flush=True)
    lasting.remove("silo", "local/.renewal-test")
print("whole", flush=True)
"""


def ends(host: Host, name: str) -> float:
    said = host.run("openssl", "x509", "-noout", "-enddate", "-in", f"{PKI}/{name}.crt").stdout
    return float(host.run("date", "+%s", "-d", said.strip().partition("=")[2]).stdout)


def test_the_timer_waits_for_a_time_of_its_own(host: Host) -> None:
    shown = host.run(
        "systemctl", "show", "--property=ActiveState,UnitFileState,RandomizedDelayUSec,Persistent,Unit", TIMER
    ).stdout  # fmt: skip
    assert sorted(shown.split()) == [
        "ActiveState=active",
        "Persistent=yes",
        "RandomizedDelayUSec=12h",
        f"Unit={RENEWER}",
        "UnitFileState=enabled",
    ]


def test_certificates_end_under_live_connections_and_are_renewed(host: Host) -> None:
    host.run("tambourine", "pki", "init", "--force", "--lifetime", f"{SECONDS}s")
    old = {name: ends(host, name) for name in ("server", "client")}
    running = pids(host, BOMBSHELL)
    clients = host.popen(
        "/opt/tambourine/bin/python", "-c", CLIENTS, stdin=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert clients.stdin is not None
    assert clients.stdout is not None
    try:
        assert clients.stdout.readline() == "both\n"
        assert time.time() < min(old.values()), "they began with the certificates that end"
        host.run("systemctl", "start", RENEWER)  # as its timer does
        assert min(ends(host, name) for name in old) > max(old.values()) + 86400
        assert ends(host, "ca") > max(old.values())
        wait_until(
            lambda: time.time() > max(old.values()) + 1, "the old ones ended", seconds=SECONDS + 5
        )
        assert clients.poll() is None
    finally:
        said, _ = clients.communicate("\n", timeout=60)
    assert said.splitlines()[-1] == "whole", said
    assert set(said.splitlines()[:-1]) == {"both"}, said
    assert pids(host, BOMBSHELL) == running
    assert host.run("systemctl", "show", "--property=Result", RENEWER).stdout == "Result=success\n"  # fmt: skip
    wanted = f'{{certificate="server"}} {ends(host, "server"):.0f}'
    metrics = host.root / "run/tambourine/proc/metrics.prom"
    wait_until(lambda: wanted in metrics.read_text(), "metrics.prom tells it", seconds=90)


def test_what_has_ended_already_is_renewed_all_the_same(host: Host) -> None:
    """A host that was off for years: no client connects until the timer's service has run."""
    host.run("tambourine", "pki", "init", "--force", "--lifetime", "1s")
    end = ends(host, "client")
    wait_until(lambda: time.time() > end + 1, "they ended")
    assert host.run("tambourine", "get", check=False).returncode == 4
    host.run("systemctl", "start", RENEWER)
    wait_answering(host)


def test_where_the_authority_is_kept_elsewhere_nothing_fails(host: Host) -> None:
    host.run("mv", f"{PKI}/ca.key", f"{PKI}/kept-elsewhere")
    try:
        host.run("systemctl", "start", RENEWER)
        shown = host.run("systemctl", "show", "--property=ConditionResult,Result", RENEWER).stdout
    finally:
        host.run("mv", f"{PKI}/kept-elsewhere", f"{PKI}/ca.key")
    assert sorted(shown.split()) == ["ConditionResult=no", "Result=success"]
