"""What mount(8)'s helper decides without touching anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from tambourinefs.errors import InvalidInput
from tambourinefs.mount.helper import Request, check_options, of_mount_unit


@pytest.mark.parametrize(
    ("spec", "name"),
    [("silo", "silo"), ("proc", "proc"), ("tambourine-silo", "silo"), ("tambourine-proc", "proc")],
)
def test_a_source_has_two_names(spec: str, name: str) -> None:
    assert Request(spec, Path("/x")).name == name


@pytest.mark.parametrize(
    "spec", ["", "none", "tambourine-", "tambourine-tambourine-silo", "/dev/sda"]
)
def test_any_other_source_is_refused(spec: str) -> None:
    with pytest.raises(InvalidInput, match="is not a Tambourine mount"):
        _ = Request(spec, Path("/x")).name


def test_options_that_hold_anyway_and_options_for_others_are_taken() -> None:
    given = [
        "rw",
        "nosuid",
        "nodev",
        "noexec",
        "relatime",
        "nofail",
        "x-systemd.after=a.service",
        "X-mine",
        "",
    ]
    check_options("silo", given)
    check_options("proc", [*given, "ro"])


@pytest.mark.parametrize(
    "option", ["ro", "remount", "suid=1", "uid=0", "fd=3", "noatime", "context=x"]
)
def test_options_that_would_not_hold_are_refused_by_name(option: str) -> None:
    with pytest.raises(InvalidInput, match=f'silo: option "{option}" cannot be set here'):
        check_options("silo", ["rw", option])


@pytest.mark.parametrize(
    ("cgroup", "is_one"),
    [
        ("0::/system.slice/var-lib-tambourine-silo.mount\n", True),
        (
            "2:pids:/x\n1:name=systemd:/lab/payload/system.slice/proc-tambourine.mount\n0::/x\n",
            True,
        ),
        ("0::/user.slice/user-0.slice/session-1.scope\n", False),
        ("0::/system.slice/tambourine.service\n", False),
        ("0::/machine.mount/system.slice/a.service\n", False),
        ("", False),
    ],
)
def test_whether_a_mount_unit_runs_us(cgroup: str, is_one: bool) -> None:
    assert of_mount_unit(cgroup) is is_one
