"""Our rendering of a unit is, character by character, what this host's systemctl prints of it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import unit_zoo
from tests.lab.hosts import Host

# Of every kind, and some that systemd and Debian bring along.
NAMES = [
    *(name for name in unit_zoo.UNITS if "@." not in name),
    "zoo-template@one.service",
    "zoo-template@two.service",
    "zoo-masked.service",
    "zoo-alias.service",
    "missing.service",
    "dbus.service",
    "dbus.socket",
    "-.mount",
    "systemd-journald.service",
    "basic.target",
    "system.slice",
    "dev-fuse.device",
    "systemd-tmpfiles-clean.timer",
]

# What may differ between two looks: an age, and the numbers of something that works just now.
AGE = re.compile(
    r"; .* (ago|left)$|(?<=CPU: ).*$|(?<=Memory: )\S+|(?<=available: )[^ )]+", re.MULTILINE
)


@dataclass(frozen=True)
class Looks:
    before: str
    ours: str
    after: str


@pytest.fixture(scope="module")
def looks(bare_host: Host) -> Iterator[dict[str, Looks]]:
    unit_zoo.set_up(bare_host)
    try:
        yield dict(zip(NAMES, _look(bare_host, NAMES), strict=True))
    finally:
        unit_zoo.take_down(bare_host)


def _python_inside() -> str:
    """This Python as a host sees it: the checkout is at /src there, wherever it is here."""
    tree = Path(__file__).parents[2]
    here = Path(sys.executable)
    return str(Path("/src", here.relative_to(tree)) if here.is_relative_to(tree) else here)


def _look(host: Host, names: list[str]) -> list[Looks]:
    probe = ("/src/tests/e2e/status_probe.py", *names)
    done = host.run("env", "PYTHONPATH=/src", _python_inside(), *probe, timeout=120)
    return [Looks(**json.loads(line)) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("name", NAMES)
def test_the_block_is_the_same(looks: dict[str, Looks], bare_host: Host, name: str) -> None:
    look = looks[name]
    # A number or an age may change between our look and systemctl's: then it does not hold still, and one more look tells.
    for _ in range(20):
        if look.ours in {look.before, look.after}:
            break
        (look,) = _look(bare_host, [name])
    else:
        assert AGE.sub("", look.ours) == AGE.sub("", look.before)
        pytest.fail(f"numbers never agreed:\n{look.before}\n{look.ours}\n{look.after}")
    assert len(look.ours.splitlines()) > 2 or name == "missing.service"


def test_the_zoo_has_what_it_promises(looks: dict[str, Looks]) -> None:
    """The cases are real: each shows the line that it is there for."""
    for name, line in {
        "zoo-failed.service": r"Active: failed \(Result: exit-code\) since .* ago\n",
        "zoo-killed.service": r"code=(killed|dumped), signal=SEGV",
        "zoo-noexec.service": r"code=exited, status=203/EXEC",
        "zoo-exited.service": r"Active: active \(exited\)",
        "zoo-socket.socket": r"Listen: /run/zoo-socket \(Stream\)\n",
        "zoo-accept.socket": r"Accepted: 0; Connected: 0;\n",
        "zoo-timer.timer": r"Trigger: .* left\n",
        "mnt-zoo.mount": r"Where: /mnt/zoo\n",
        "zoo-many.service": r"Drop-In: .*\n +└─10-a.conf, 20-b.conf\n",
        "zoo-tree.service": r"└─sub3\n               ├─",
        "zoo-condition.service": r"├─ ConditionPathExists=!/etc was not met\n",
        "zoo-assert.service": r"AssertPathExists=/nonexistent/a was not met\n",
        "zoo-bad.service": r"Loaded: bad-setting \(Reason: ",
        "zoo-masked.service": r"Loaded: masked \(Reason: ",
        "zoo-notify.service": r"Until: .*\n(.*\n)*.*Status: \"All is well: 42%\"\n +Error: (code: )?2",
        "zoo-starting.service": r"Cntrl PID: \d+ \(sleep\)\n",
        "zoo-alias.service": r"^● zoo-real.service - Has an alias\n",
        "zoo-odd.service": r'"esc\\033\[31m" "star\*" "new\\nline"',
        "missing.service": r"^Unit missing.service could not be found.\n$",
    }.items():
        assert re.search(line, looks[name].ours), looks[name].ours
