"""`tambourine agent` by its flags, as a plain program without a unit, a silo server or a configuration of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.services import until
from tests.lab.hosts import Host

HOME = "/run/alone"
UNIT = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=printf said%%s 42\n"


def given(host: Host, *, namespace: str = "alone", **spec: object) -> None:
    """A manifest as Bombshell lays it down, in a directory that no FUSE serves."""
    manifest = {
        "apiVersion": "tambourine.dev/v1alpha1",
        "kind": "Tambourine",
        "metadata": {"name": "e2e-alone", "namespace": namespace, "uid": "u", "generation": 1},
        "spec": {"name": "e2e-alone", **spec},
    }
    directory = f"{HOME}/silo/{namespace}/e2e-alone"
    host.run("mkdir", "-p", directory)
    host.run("tee", f"{directory}/t", input=json.dumps(manifest))
    host.run("mv", f"{directory}/t", f"{directory}/tambourine.json")


@contextmanager
def agent(host: Host, config: str = "/nonexistent.toml") -> Iterator[None]:
    """It runs beside the installed one, and ends well without a trace."""
    flags = (
        f"--config={config}",
        f"--silo={HOME}/silo",
        f"--proc={HOME}/proc",
        f"--state={HOME}/state",
    )
    command = ("tambourine", "agent", "--foreground", "--plain", *flags, "--namespace=alone")
    process = host.popen("sh", "-c", 'echo $$; exec "$@"', "-", *command)
    assert process.stdout is not None
    pid = process.stdout.readline().strip()
    try:
        version = host.root / f"{HOME[1:]}/proc/version.txt"
        until(version.exists, "its mount")
        yield
    finally:
        host.run("kill", pid)
        said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert host.run("findmnt", f"{HOME}/proc", check=False).returncode == 1


@pytest.fixture
def home(host: Host) -> Iterator[Host]:
    host.run("mkdir", "-p", f"{HOME}/silo")
    host.run("tee", f"{HOME}/silo/.tambourine-silo", input="4a3cf51d-7d5c-4a0c-8c27-5e0cb3b3a3a5\n")
    try:
        yield host
    finally:
        host.run("rm", "-r", HOME)
        left = "/etc/systemd/system/e2e-alone.service"  # of a test that failed
        host.run(
            "sh",
            "-c",
            f"if rm {left} 2>/dev/null; then systemctl stop e2e-alone; systemctl daemon-reload; fi",
        )


@pytest.mark.parametrize("lines", [True, False])
def test_it_makes_units_of_manifests_and_shows_them(home: Host, lines: bool) -> None:
    """Log lines only where the configuration wants them: `journal_lines`."""
    home.run("tee", f"{HOME}/a.toml", input=f"[agent]\njournal_lines = {str(lines).lower()}\n")
    given(home, unit=UNIT, command="start")
    proc = home.root / f"{HOME[1:]}/proc/alone/e2e-alone"

    def shown(name: str) -> str:
        return (proc / name).read_text() if (proc / name).exists() else ""

    with agent(home, f"{HOME}/a.toml"):
        until(lambda: shown("active").startswith("active (exited)"), "the service")
        logged = home.run("journalctl", "--no-pager", "--unit=e2e-alone", "--output=cat").stdout
        assert "said42" in logged
        if lines:
            until(lambda: "said42" in shown("journal"), "its log")
        else:
            assert shown("journal") == ""
            assert "said42" not in "".join(shown(name) for name in ("status.json", "manifest"))
        home.run("rm", "-r", f"{HOME}/silo/alone")
        until(lambda: not proc.exists(), "removal")
    assert home.run("systemctl", "cat", "e2e-alone", check=False).returncode


def test_a_namespace_that_no_flag_names_is_not_obeyed(home: Host) -> None:
    given(home, namespace="local", unit=UNIT, command="start")
    conditions = home.root / f"{HOME[1:]}/proc/local/e2e-alone/conditions"
    with agent(home):
        until(conditions.exists, "its status")
        assert "NamespaceNotAllowed" in conditions.read_text()
    assert home.run("systemctl", "cat", "e2e-alone", check=False).returncode
