"""Where the packages of the whole machine's disk come from: from where this machine's own do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.machine import qemu, recipe

INDEXES = """\
http://mirror.example/debian/ bookworm Debian
http://mirror.example/debian/ bookworm Debian
http://mirror.example/debian/ bookworm-updates Debian
http://mirror.example/debian/ bookworm-backports Debian Backports
http://mirror.example/security/ bookworm-security Debian-Security
http://other.example/ cloud-sdk-bookworm cloud-sdk-bookworm
"""


def test_debians_own_places_are_asked_for_the_images_release() -> None:
    places = [line.partition("] ")[2] for line in recipe.sources(INDEXES)]
    assert places == [
        "http://mirror.example/debian/ bookworm main contrib",
        "http://mirror.example/debian/ bookworm-updates main contrib",
        "http://mirror.example/security/ bookworm-security main contrib",
    ]


def test_a_machine_of_another_release_builds_the_same_image() -> None:
    assert recipe.sources(INDEXES.replace("bookworm", "trixie")) == recipe.sources(INDEXES)


def test_a_machine_without_debians_packages_is_told() -> None:
    with pytest.raises(ValueError, match="no source of Debian"):
        recipe.sources("http://mirror.example/ noble Ubuntu\n")


def test_another_place_is_another_image() -> None:
    here = recipe.sources(INDEXES)
    assert recipe.key(here) == recipe.key(here)
    assert recipe.key(here) != recipe.key(here[:1])


def test_nothing_goes_out_of_the_machine_but_by_its_wire(tmp_path: Path) -> None:
    place = tmp_path
    command = qemu.command(
        kernel=place, initrd=place, append=qemu.SELINUX, overlay=place, console=place, port=4711
    )
    [wire] = [word for word in command if word.startswith("user,")]
    assert wire == "user,id=wire,restrict=on,hostfwd=tcp:127.0.0.1:4711-10.0.2.15:22"
    assert command[command.index("-append") + 1].endswith(qemu.SELINUX)
    assert command[command.index("-accel") + 1].startswith("tcg")
