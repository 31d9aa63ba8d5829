"""One machine for the whole run: each boot of an emulated processor costs a minute or two.

So the files run in the order in which they need it, and a test leaves the machine on, with Tambourine running.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.machine import installing
from tests.machine.image import image
from tests.machine.machine import Machine, created

# The reboot goes into SELinux, where its tests then are; the first power cut ends that boot.
ORDER = (
    "test_installed",
    "test_doctor",
    "test_examples",
    "test_reboot",
    "test_selinux",
    "test_power",
    "test_removal",
)
_made: list[Machine] = []


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: ORDER.index(item.path.stem) if item.path.stem in ORDER else -1)


@pytest.fixture(scope="session")
def _installed() -> Iterator[Machine]:
    with created(image()) as made:
        _made.append(made)
        made.start()
        installing.install(made)
        yield made
        _made.clear()


@pytest.fixture
def machine(_installed: Machine) -> Machine:
    """The machine, on, with Tambourine installed as a user would install it."""
    if not _installed.on:  # an earlier test failed during a boot
        _installed.cut_power()
        _installed.start()
    return _installed


@pytest.fixture
def of_wider_fixtures() -> Callable[[], set[int]]:
    """QEMU and the wire are other processes after each boot; both end with the run."""
    return lambda: {pid for machine in _made for pid in machine.processes()}
