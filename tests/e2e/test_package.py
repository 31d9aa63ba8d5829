"""The Debian package on a host without a network: what it installs, that it updates unnoticed, and that it goes whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lab import package
from lab.hosts import Host
from tests.e2e.chain import DAEMONS, answers, apply, pids, wait_answering
from tests.e2e.leaving import Left, everything
from tests.e2e.under_load import Reader

ORIGINAL = "/etc/tambourine-test-original"
ORPHAN = """\
apiVersion: tambourine.dev/v1alpha1
kind: Tambourine
metadata:
  name: stays
spec:
  name: stays
  command: start
  deletionPolicy: orphan
  unit: |
    [Service]
    ExecStart=/bin/sleep infinity
"""
APT = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", "-o", "Dpkg::Use-Pty=0")


@pytest.fixture(scope="session")
def debs() -> Path:
    return package.packages()


@pytest.fixture
def deb(debs: Path, fresh_bare_host: Host) -> str:
    """The package's path on the host."""
    (file,) = debs.glob("tambourine_*.deb")
    # The host was born with this machine's list of packages, which may have been amid an installation.
    fresh_bare_host.run("dpkg", "--configure", "-a", timeout=300)
    return bring(fresh_bare_host, file)


def bring(host: Host, file: Path) -> str:
    to = f"/var/cache/{file.name}"
    shutil.copyfile(file, host.root / to.lstrip("/"))
    return to


def install(host: Host, *debs: str) -> str:
    return host.run(*APT, "--allow-downgrades", "install", *debs, timeout=300).stdout


def purge(host: Host, what: str) -> str:
    host.run("debconf-set-selections", input=f"tambourine tambourine/services select {what}\n")
    done = host.run(*APT, "purge", "tambourine", timeout=300)
    return done.stdout + done.stderr


def apply_over_an_original(host: Host) -> None:
    host.run("sh", "-c", f"echo original >{ORIGINAL}")
    manifest = {
        "apiVersion": "tambourine.dev/v1alpha1",
        "kind": "Tambourine",
        "metadata": {"name": "over"},
        "spec": {
            "name": "over",
            "command": "start",
            "unit": "[Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=multi-user.target\n",
            "files": [{"path": ORIGINAL, "content": "ours\n"}],
        },
    }
    host.run("tambourine", "apply", "-f", "-", input=json.dumps(manifest))
    assert host.run("cat", ORIGINAL).stdout == "ours\n"


def test_installed_used_and_purged_in_both_ways_nothing_is_left(
    fresh_bare_host: Host, deb: str
) -> None:
    host = fresh_bare_host
    host.run("sh", "-c", f"echo original >{ORIGINAL}")
    before = everything(host)

    said = install(host, deb)
    assert "Tambourine runs. Try:" in said
    assert answers(host)
    assert host.run("man", "--where", "tambourine").stdout.strip().endswith("tambourine.1.gz")
    apply(host, "steady")
    apply_over_an_original(host)
    running = pids(host, "steady.service", "over.service")
    assert "kept: 2 run on" in purge(host, "keep")
    assert pids(host, "steady.service", "over.service") == running
    # They belong to nobody now, so nobody puts back what stood there.
    left = everything(host) - before
    assert left == Left(
        files={"/etc/systemd/system/steady.service", "/etc/systemd/system/over.service"},
        links={"over.service"},
    ), left

    host.run("systemctl", "disable", "--now", "steady", "over")
    host.run("sh", "-c", "rm /etc/systemd/system/steady.service /etc/systemd/system/over.service")
    host.run("systemctl", "daemon-reload")

    install(host, deb)
    apply(host, "steady")
    apply_over_an_original(host)
    host.run("tambourine", "apply", "-f", "-", input=ORPHAN)
    running = pids(host, "stays.service")
    assert "withdrawn local/over, local/stays, local/steady" in purge(host, "remove")
    assert host.run("cat", ORIGINAL).stdout == "original\n"
    assert pids(host, "stays.service", "steady.service", "over.service") == (*running, 0, 0)
    left = everything(host) - before
    assert left == Left(files={"/etc/systemd/system/stays.service"}), left
    assert before - everything(host) == Left()


def test_updated_under_load_and_back_nobody_notices(
    fresh_bare_host: Host, deb: str, debs: Path, tmp_path: Path
) -> None:
    host = fresh_bare_host
    install(host, deb)
    (file,) = debs.glob("tambourine_*.deb")
    newer = bring(host, package.as_version(file, "99.0", tmp_path))
    for name in ("steady", "second", "third"):
        apply(host, name)
    units = ("steady.service", "second.service", "third.service")
    host.run(
        "sh",
        "-c",
        "echo '# mine' >>/etc/tambourine/config.toml; touch /etc/tambourine/config.d/90-mine.toml",
    )
    running = pids(host, *units)

    version = "/run/tambourine/proc/version.txt"
    with Reader(host, "local/steady/pid", f"{running[0]} (sleep)") as reader:
        said = install(host, newer)
        assert "kept as you changed it" in said
        wait_answering(host)
        assert "99.0" in host.run("cat", version).stdout
    assert reader.wrong == []
    # A bound of the design with room for a machine that is busy; where it is idle the pause is under 2 s (printed).
    print(f"longest pause of a reader: {reader.pause:.2f} s in {reader.reads} reads")
    assert reader.reads > 100
    assert reader.pause < 10
    assert pids(host, *units) == running
    assert host.run("tail", "-n1", "/etc/tambourine/config.toml").stdout == "# mine\n"
    assert host.run("ls", "/etc/tambourine/config.d").stdout == "90-mine.toml\n"

    # And back: the applied state is of a format that the older one knows.
    install(host, deb)
    wait_answering(host)
    assert "99.0" not in host.run("cat", version).stdout
    assert pids(host, *units) == running
    apply(host, "after-all")


def test_the_package_takes_the_place_of_an_installation_from_a_tree(
    fresh_host: Host, debs: Path
) -> None:
    host = fresh_host
    (file,) = debs.glob("tambourine_*.deb")
    host.run("dpkg", "--configure", "-a", timeout=300)
    apply(host, "steady")
    running = pids(host, "steady.service")
    install(host, bring(host, file))
    assert answers(host)
    assert pids(host, "steady.service") == running
    from_the_package = host.run("systemctl", "show", "--property=FragmentPath", *DAEMONS).stdout
    assert from_the_package.count("FragmentPath=/") == len(DAEMONS)
    assert "/usr/local" not in from_the_package
    assert host.run("readlink", "--canonicalize", "/usr/bin/tambourine").stdout.startswith("/opt/")
    assert host.run("ls", "/usr/local/bin/tambourine", check=False).returncode != 0
    apply(host, "after-all")


def test_the_module_s_package_brings_what_dkms_builds(debs: Path, host: Host) -> None:
    (file,) = debs.glob("tambourine-dkms_*.deb")
    listed = host.run("dpkg-deb", "--contents", bring(host, file)).stdout
    for name in ("tambourine.c", "Kbuild", "dkms.conf"):
        assert f"/{name}\n" in listed
    assert "/usr/lib/modules-load.d/tambourine.conf" in listed
