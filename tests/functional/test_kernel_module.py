"""The module that makes /proc/tambourine: it builds for Debian 12's kernel, and for 6.12 or later, and for every other one
whose headers are here. (tests/machine loads it.)
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tambourinefs import __version__
from tests.lab.layer import cache

TREE = Path(__file__).parents[2]
SOURCE = TREE / "kernel"
FETCH = TREE / "tests/kernel-headers"
# A package linux-headers-…-common holds what its flavours share: only a flavour can build.
FLAVOUR = "usr/src/linux-headers-*/Module.symvers"
HEADERS = [
    place.parent
    for root in (Path("/"), *sorted(cache().glob("kernel-headers-*")))
    for place in sorted(root.glob(FLAVOUR))
]


def version(headers: Path) -> tuple[int, int]:
    found = re.match(r"linux-headers-(\d+)\.(\d+)\.", headers.name)
    assert found is not None, headers
    return int(found[1]), int(found[2])


@pytest.mark.parametrize(
    ("least", "below"), [((6, 1), (6, 2)), ((6, 12), (99, 0))], ids=["6.1", "6.12 or later"]
)
def test_headers_of_both_kernels_are_here(least: tuple[int, int], below: tuple[int, int]) -> None:
    found = [place for place in HEADERS if least <= version(place) < below]
    assert found, f"headers of a kernel from {least} on and below {below} are missing: {FETCH}"


@pytest.mark.parametrize("headers", HEADERS, ids=lambda place: place.name)
def test_it_builds_without_a_warning(tmp_path: Path, headers: Path) -> None:
    place = tmp_path / "kernel"
    shutil.copytree(SOURCE, place, ignore=shutil.ignore_patterns("*.ko", "*.o", "*.mod*", ".*"))
    argv = [
        "make",
        "-C",
        str(headers),
        f"M={place}",
        "W=1",
        "KCFLAGS=-Werror -Wall -Wextra -Wno-unused-parameter",
        "modules",
    ]
    done = subprocess.run(
        argv, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300
    )
    assert done.returncode == 0, done.stdout
    assert "warning:" not in done.stdout
    module = place / "tambourine.ko"
    said = subprocess.run(
        ["/sbin/modinfo", module], text=True, capture_output=True, check=True
    ).stdout
    found = dict(re.findall(r"^(\w+): +(.*)$", said, re.MULTILINE))
    assert found["license"] == "GPL"
    assert found["vermagic"].split()[0] == headers.name.removeprefix("linux-headers-")


def test_it_builds_what_dkms_will_ask_for() -> None:
    """Its version is the release's, and its module the one that is loaded at boot; bash reads dkms.conf (dkms(8))."""
    script = f'. {SOURCE}/dkms.conf; printf "%s\\n" "$PACKAGE_NAME" "$PACKAGE_VERSION" "$BUILT_MODULE_NAME" "$MAKE"'
    environment = {"kernel_source_dir": "/headers", "dkms_tree": "/dkms"}
    done = subprocess.run(["bash", "-c", script], env=environment, text=True, capture_output=True)
    name, version, module, make = done.stdout.splitlines()
    assert (name, version, module) == ("tambourine", __version__, "tambourine")
    assert make == f"make -C /headers M=/dkms/tambourine/{__version__}/build modules"
    loaded = (SOURCE / "modules-load.conf").read_text().splitlines()
    assert [line for line in loaded if not line.startswith("#")] == [module]
    assert (SOURCE / "Kbuild").read_text() == f"obj-m := {module}.o\n"
