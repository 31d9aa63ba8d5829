"""`tambourine uninstall` at a terminal asks what becomes of the services, and whether to go on."""

from __future__ import annotations

import pytest

from tests.e2e.chain import answers, pids
from tests.e2e.leaving import ORIGINAL, apply_over_an_original, make_original
from tests.e2e.terminal import talk
from tests.lab.hosts import Host

SERVICES = "Stop and remove them? (no: they keep running) [y/N]:"
ALL = "Remove Tambourine, its configuration, manifests and state? [y/N]:"


@pytest.mark.parametrize("remove", [False, True])
def test_who_is_asked_goes_back_or_has_his_services_kept_or_removed(
    fresh_host: Host, remove: bool
) -> None:
    host = fresh_host
    make_original(host)
    apply_over_an_original(host)
    running = pids(host, "over.service")
    answer = "y" if remove else "n"

    aborted = talk(host, "tambourine uninstall", {SERVICES: answer, ALL: "n"})
    assert "Tambourine manages 1 services here: local/over" in aborted.text
    assert aborted.text.rstrip().endswith("Nothing was changed.")
    assert aborted.status == 1
    assert answers(host)
    assert pids(host, "over.service") == running

    done = talk(host, "tambourine uninstall", {SERVICES: answer, ALL: "y"})
    assert done.status == 0, done.text
    assert "Tambourine was removed from this host." in done.text
    assert not list((host.root / "opt/tambourine").iterdir())  # a mount of the lab's
    assert pids(host, "over.service") == ((0,) if remove else running)
    original = host.run("cat", ORIGINAL).stdout
    assert original == ("original\n" if remove else "ours\n")
