"""A full quota: a clear error at the command line; the former content stays and runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.daemons import SILO
from tests.e2e.chain import MANIFEST, apply, delete, pids, prop, wait_answering, wait_until
from tests.lab.hosts import Host

NAME = "full"
STORE = "/var/lib/tambourine/store"
SILO_MOUNT = "/var/lib/tambourine/silo"
QUOTA = "/etc/tambourine/config.d/90-full.toml"


@contextmanager
def quota(host: Host) -> Iterator[str]:
    """No further file fits; a replacement needs one for a moment."""
    host.run("mkdir", "-p", "/etc/tambourine/config.d")
    host.run("tee", QUOTA, input="[silo]\nquota_files = 16\n")
    host.run("systemctl", "restart", SILO)
    wait_answering(host)
    fill = f"i=0; while touch {SILO_MOUNT}/fill-$i; do i=$((i+1)); done 2>&1"
    said = host.run("runuser", "-u", "bombshell", "--", "sh", "-c", fill).stdout
    assert "quota" in said.lower(), said
    try:
        yield "quota"
    finally:
        host.run("runuser", "-u", "bombshell", "--", "sh", "-c", f"rm {SILO_MOUNT}/fill-*")
        host.run("rm", QUOTA)
        host.run("systemctl", "restart", SILO)
        wait_answering(host)


def test_the_person_is_told_of_a_quota_and_the_old_one_runs_on(host: Host) -> None:
    apply(host, NAME)
    try:
        service = pids(host, f"{NAME}.service")
        stored = host.run("cat", f"{STORE}/tree/local/{NAME}/tambourine.json").stdout
        with quota(host) as said:
            text = MANIFEST.format(name=NAME, mark="does not fit")
            done = host.run("tambourine", "apply", "-f", "-", input=text, check=False)
            assert done.returncode not in {0, 2, 3}
            assert said in done.stderr.lower(), done.stderr
            assert host.run("cat", f"{STORE}/tree/local/{NAME}/tambourine.json").stdout == stored
            assert prop(host, f"{NAME}.service", "ActiveState") == "active"
        assert pids(host, f"{NAME}.service") == service
        apply(host, NAME, mark="fits again")
        wait_until(lambda: pids(host, f"{NAME}.service") not in {service, (0,)}, "it is new")
    finally:
        delete(host, NAME)
