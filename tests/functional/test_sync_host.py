"""What sync holds of the silo through a real Bombshell: listed again when it changed."""

from __future__ import annotations

import pytest

from tambourinefs.errors import Unreachable
from tambourinefs.model import manifest
from tambourinefs.rpc.client import Client
from tambourinefs.sync.host import LIST_EVERY, HostClient
from tests.functional.bombshells import Running

TEXT = """\
{"apiVersion": "tambourine.dev/v1alpha1", "kind": "Tambourine",
 "metadata": {"name": "NAME", "namespace": "storage", "uid": "u-1", "generation": 1},
 "spec": {"name": "NAME", "unit": "[Service]\\nExecStart=/bin/sleep infinity\\n"}}
"""


class Clock:
    """Monotonic seconds that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def put(client: Client, name: str) -> None:
    """As another client does it."""
    data = TEXT.replace("NAME", name).encode()
    client.write("silo", f"storage/{name}/tambourine.json", data, parents=True)


def names(host: HostClient) -> list[str]:
    return sorted(name for _, name in host.manifests())


def test_without_a_bell_it_is_listed_at_each_look(client: Client) -> None:
    host = HostClient(client, clock=Clock())
    assert names(host) == []
    put(client, "a")
    assert names(host) == ["a"]


def test_with_a_bell_it_is_listed_when_it_rang(client: Client) -> None:
    host = HostClient(client, clock=Clock())
    host.notify("silo")
    assert names(host) == []
    put(client, "a")
    assert names(host) == [], "it was listed without a notification: this test would prove nothing"
    host.notify("silo")
    assert names(host) == ["a"]


def test_a_bell_that_was_lost_costs_no_more_than_thirty_seconds(client: Client) -> None:
    clock = Clock()
    host = HostClient(client, clock=clock)
    host.notify("silo")
    assert names(host) == []
    put(client, "a")
    clock.now += LIST_EVERY
    assert names(host) == ["a"]


def test_after_the_bell_was_lost_it_is_listed_at_each_look(client: Client) -> None:
    host = HostClient(client, clock=Clock())
    host.notify("silo")
    assert names(host) == []
    host.watch_lost("silo")
    put(client, "a")
    assert names(host) == ["a"]
    put(client, "b")
    assert names(host) == ["a", "b"]


def test_our_own_writes_are_seen_before_their_bell(client: Client) -> None:
    host = HostClient(client, clock=Clock())
    host.notify("silo")
    assert names(host) == []
    host.write(manifest.parse_json(TEXT.replace("NAME", "a").encode(), source="test"))
    assert names(host) == ["a"]
    host.remove(("storage", "a"))
    assert names(host) == []


def test_a_silo_that_could_not_be_listed_is_listed_again(
    client: Client, bombshell: Running
) -> None:
    host = HostClient(client, clock=Clock())
    put(client, "a")
    host.notify("silo")
    bombshell.kill()
    with pytest.raises(Unreachable):
        host.manifests()
    bombshell.start()
    assert names(host) == ["a"]
