"""What a unit's texts would do to Tambourine is found however it is written."""

from __future__ import annotations

import time

import pytest

from tambourinefs.agent.admission.unittext import delays, own_paths, stops, users


def unit(*lines: str, section: str = "Service") -> tuple[str, ...]:
    return ("\n".join([f"[{section}]", *lines]),)


@pytest.mark.parametrize(
    "line",
    [
        "EnvironmentFile=/run/tambourine/proc/local/x/status",
        "EnvironmentFile=-/run/tambourine/proc/version.txt",
        "EnvironmentFile=/run/tamb*/p?oc/[v]ersion.txt",
        "EnvironmentFile=/run/tambourine/*/version.txt",
        "EnvironmentFile=//run/./x/..//tambourine/proc/version.txt",
        "EnvironmentFile=/var/run/tambourine/proc/version.txt",
        "EnvironmentFile=%t/tambourine/proc/version.txt",
        "EnvironmentFile=%S/tambourine/silo/local/x/env",
        "EnvironmentFile=/proc/1/root/run/tambourine/proc/x",
        "EnvironmentFile=/proc/self/root/proc/self/root/run/tambourine/proc/x",
        "EnvironmentFile=/proc/tambourine/services.txt",
        'EnvironmentFile="/run/tambourine/proc/a b"',
        "EnvironmentFile=\\\n  # a comment between\n  /run/tambourine/proc/x",
        "ConditionPathExists=/run/tambourine/proc/local/x/pid",
        "ConditionPathExists=|!/run/tambourine/proc/local/x/pid",
        "ConditionPathExistsGlob=/run/{a,tambourine/proc}/x",
        "AssertFileNotEmpty=/var/lib/tambourine/silo/x",
        "RequiresMountsFor=/srv /run/tambourine/proc",
        "PathExists=/run/tambourine/proc/local/x/pid",
        "PathChanged=/run/tambourine/proc",
        "DirectoryNotEmpty=/var/lib/tambourine/silo/local",
        "PIDFile=/run/tambourine/proc/local/x/pid",
        "WorkingDirectory=-/run/tambourine/proc",
        "LoadCredential=key:/var/lib/tambourine/silo/local/x/key",
        "StandardOutput=append:/var/lib/tambourine/silo/log",
        "ExecStart=/run/tambourine/proc/x",
        "ExecStart=-@/run/tambourine/proc/x name",
        "ListenFIFO=/run/tambourine/proc/fifo",
        "Where=/run/tambourine/proc/x",
        "RuntimeDirectory=tambourine",
        "RuntimeDirectory=a tambourine/proc",
        "StateDirectory=x:tambourine",
        "ConfigurationDirectory=tambourine",
        "SomeSettingOfALaterSystemd=/run/tambourine/proc/x",
    ],
)  # fmt: skip
def test_a_setting_that_names_a_path_of_our_mounts_is_found(line: str) -> None:
    found = own_paths(unit(line), "x.service")
    assert found, line
    assert found[0].setting.key == line.partition("=")[0]


@pytest.mark.parametrize(
    "line",
    [
        "Description=/run/tambourine/proc",
        "Documentation=file:/run/tambourine/proc/version.txt",
        "Environment=STATUS=/run/tambourine/proc/local/x/status",
        "ExecStart=/usr/bin/cat /run/tambourine/proc/local/x/status",
        "BindReadOnlyPaths=/run/tambourine/proc",
        "EnvironmentFile=/run/tambourine-not/proc/x",
        "EnvironmentFile=/run/tambourine/process",
        "EnvironmentFile=/run/tambourine",
        "EnvironmentFile=/run/t*x/other/y",
        "EnvironmentFile=/etc/*/env",
        "# EnvironmentFile=/run/tambourine/proc/x",
        "ConditionPathExists=/var/lib/x",
        "RuntimeDirectory=tambourine-x",
        "Where=/srv/run/tambourine/proc",
        "ExecStart=sleep infinity",
    ],
)
def test_a_setting_that_systemd_does_not_look_up_in_our_mounts_is_allowed(line: str) -> None:
    assert own_paths(unit(line), "x.service") == []


def test_an_x_section_is_ignored() -> None:
    assert own_paths(unit("X=/run/tambourine/proc/x", section="X-Mine"), "x.service") == []


def test_drop_ins_and_instances_count() -> None:
    texts = ("[Service]\n", "[Service]\nEnvironmentFile=%I/x\n")
    found = own_paths(texts, "a@-run-tambourine-proc.service")
    assert found[0].root == "/run/tambourine/proc"
    assert own_paths(texts, "a@-srv.service") == []


def test_the_user_is_found_in_every_text_by_name_and_number() -> None:
    assert users(unit("User=bombshell"), "x.service") == {"bombshell"}
    assert users(unit("User=%i"), "x@bombshell.service") == {"bombshell"}
    assert users(unit("User=61000", "User=", "User=root"), "x.service") == {"61000"}
    assert users(unit("DynamicUser=yes"), "bombshell.service") == {"bombshell"}
    assert users(("[Service]\n", "[Service]\nUser=bombshell"), "x.service") == {"bombshell"}
    assert users(unit("DynamicUser=no"), "bombshell.service") == frozenset()


def test_units_that_stop_with_it_are_found() -> None:
    lines = ("Conflicts=tambourine.service a.service", "PropagatesStopTo=%p-b.service")
    found = stops(unit(*lines, section="Unit"), "x.service")
    assert found == {"tambourine.service", "a.service", "x-b.service"}


@pytest.mark.parametrize(
    "line",
    [
        "ListenStream=/run/tambourine/bombshell/bombshell.sock",
        "ListenStream=%t/tambourine/x",
        "ListenDatagram=/var/run/tambourine/x",
        "ListenSequentialPacket=/run/tambourine",
        "ListenFIFO=/var/lib/tambourine/x",
        "ListenSpecial=/etc/tambourine/config.toml",
        "Symlinks=/run/x /run/tambourine/bombshell/bombshell.sock",
        "PIDFile=tambourine/../tambourine/x.pid",
        "PIDFile=/run/tambourine/x.pid",
    ],
)
def test_what_systemd_would_make_in_a_directory_of_tambourine_is_found(line: str) -> None:
    assert own_paths(unit(line, section="Socket"), "x.socket"), line


@pytest.mark.parametrize(
    "line",
    [
        "ListenStream=/run/tambourine-x.sock",
        "ListenStream=@/run/other/x",
        "ListenStream=[::1]:8080",
        "ListenStream=/run/x/tambourine",
        "PIDFile=x.pid",
    ],
)
def test_what_systemd_makes_elsewhere_is_allowed(line: str) -> None:
    assert own_paths(unit(line, section="Socket"), "x.socket") == []


def test_units_that_wait_for_it_are_found() -> None:
    texts = unit("Before=tambourine.service", "Before=%p-b.service", section="Unit")
    assert delays(texts, "x.service") == {"tambourine.service", "x-b.service"}
    assert delays(unit("After=tambourine.service", section="Unit"), "x.service") == frozenset()


def test_hostile_patterns_cost_little() -> None:
    """Much of stars, braces and brackets: what takes quadratic time would take minutes."""
    begun = time.process_time()
    for piece in (
        "*a",
        "[",
        "{a,",
        "%I",
        "\\x2f",
        "/..",
        "/run/tamb*u*r*i*n*/p*/",
        ":",
        '"',
        "/proc/1/root",
    ):
        size = 80_000 // len(piece)
        own_paths(unit("ConditionPathExistsGlob=/run/" + piece * size), "x@a.service")
        own_paths(unit(*["EnvironmentFile=/run/" + piece * 40] * (size // 50)), "x@a.service")
        own_paths(unit("PathExistsGlob=/" + piece * size + "*/tambourine/proc"), "x@a.service")
    assert time.process_time() - begun < 8
