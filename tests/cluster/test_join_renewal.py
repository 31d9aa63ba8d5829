"""A node's identity is renewed before it ends, by itself; and when it cannot be, that is said and nothing hurries."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tambourinefs.kube import csr
from tambourinefs.sync import identity as renewing
from tambourinefs.sync.identity import Identity
from tests.announced import Announced
from tests.cluster.joining import aged, approving, by_identity, fresh_node, invite
from tests.cluster.world import Cluster

DAY = dt.timedelta(days=1)
HOUR = 3600


class _Counted(threading.Event):
    """Counts how often it was set."""

    count = 0

    def set(self) -> None:
        self.count += 1
        super().set()


class Renewed:
    """A node of 90 days' identity that has lived so long, and what renews it."""

    def __init__(self, cluster: Cluster, directory: Path, lived: dt.timedelta) -> None:
        self.cluster, self.node = cluster, fresh_node()
        invite(cluster, self.node)  # for the role that names it; the token is unused
        self.file = directory / "node.pem"
        self.first = aged(cluster.plane.pki, self.node, lived, 90 * DAY - lived)
        self.file.write_bytes(self.first)
        self.api = by_identity(cluster, self.file)
        self.changed = _Counted()
        self.identity = Identity(self.api, self.node, self.file, self.changed, lifetime=HOUR)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=self.identity.run, args=(stop,))
        thread.start()
        try:
            yield
            assert thread.is_alive(), "renewal fell over, or gave up"
        finally:
            stop.set()
            thread.join(20)

    def is_new(self) -> bool:
        return self.file.read_bytes() != self.first

    def requests(self) -> int:
        """How many this node has posted."""
        items = self.cluster.get("csr")["items"]
        return sum(item["spec"]["username"] == f"tambourine:node:{self.node}" for item in items)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewing, "RETRY", (0.5, 1.0))


def test_another_key_and_certificate_long_before_the_end(
    control_plane: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    node = Renewed(control_plane, tmp_path, 70 * DAY)
    with approving(control_plane, monkeypatch), node.at_work():
        control_plane.wait(node.is_new, "another identity")
        new = node.file.read_bytes()
        before, after = (x509.load_pem_x509_certificate(pem) for pem in (node.first, new))
        assert after.subject == before.subject
        assert after.public_key() != before.public_key()
        assert load_pem_private_key(new, password=None).public_key() == after.public_key()
        assert node.file.stat().st_mode & 0o777 == 0o600
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
        # Who we are is read again: the next request is the new key's, over a new connection.
        assert csr.request(node.api, node.node, seconds=20, lifetime=HOUR)
        assert node.requests() == 2
        assert node.identity.problem == ""


def test_what_is_young_is_left_alone(
    control_plane: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One at half its life beside one that is due: when that is renewed, this one was not touched."""
    young, due = tmp_path / "young", tmp_path / "due"
    young.mkdir()
    due.mkdir()
    left, renewed = Renewed(control_plane, young, 45 * DAY), Renewed(control_plane, due, 70 * DAY)
    with approving(control_plane, monkeypatch), left.at_work(), renewed.at_work():
        control_plane.wait(renewed.is_new, "the other's renewal")
        assert not left.is_new()
        assert left.requests() == 0


def test_when_nobody_approves_it_says_so_and_goes_on_trying(
    control_plane: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, announce: Announced
) -> None:
    announce("cannot be renewed: no certificate for .*is tambourine-controller running")
    monkeypatch.setattr(renewing, "ANSWER_SECONDS", 0.5)
    node = Renewed(control_plane, tmp_path, 70 * DAY)
    with node.at_work():
        control_plane.wait(lambda: node.identity.problem, "the problem")
        assert "is tambourine-controller running" in node.identity.problem
        assert node.changed.count == 1
        assert not node.is_new()
        monkeypatch.setattr(renewing, "ANSWER_SECONDS", 20.0)
        with approving(control_plane, monkeypatch):
            control_plane.wait(lambda: node.is_new() and not node.identity.problem, "the end")
    assert node.changed.count > 1


def test_an_outage_of_the_api_server_delays_it(
    control_plane: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, announce: Announced
) -> None:
    announce("cannot be renewed")  # just started it does not know our roles: forbidden for a moment
    node = Renewed(control_plane, tmp_path, 70 * DAY)
    control_plane.stop_api()
    with node.at_work():
        control_plane.wait(lambda: "does not answer" in node.identity.problem, "the problem")
        control_plane.start_api()
        with approving(control_plane, monkeypatch):
            control_plane.wait(node.is_new, "another identity")


def test_one_that_has_ended_says_what_to_do(
    control_plane: Cluster, tmp_path: Path, announce: Announced
) -> None:
    announce("cannot be renewed")
    node = Renewed(control_plane, tmp_path, 91 * DAY)
    with node.at_work():
        control_plane.wait(lambda: node.identity.problem, "the problem")
    assert f"kubectl tambourine join {node.node})" in node.identity.problem
    assert not node.is_new()


def test_a_clock_ahead_makes_no_storm_of_requests(
    control_plane: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, announce: Announced
) -> None:
    """To a clock that is ahead of the signer's each new certificate is due at once."""
    announce("due for renewal already: check `timedatectl`")
    monkeypatch.setattr(renewing, "RETRY", (60.0, 60.0))
    monkeypatch.setattr(renewing, "RENEW_AT", (-1.0, -1.0))
    node = Renewed(control_plane, tmp_path, 70 * DAY)
    with approving(control_plane, monkeypatch), node.at_work():
        control_plane.wait(lambda: node.identity.problem, "the problem")
        assert "timedatectl" in node.identity.problem
        assert node.is_new()
        assert node.requests() == 1


def test_a_file_that_cannot_be_read_for_a_moment_is_read_again(
    control_plane: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, announce: Announced
) -> None:
    announce("cannot be renewed")
    node = Renewed(control_plane, tmp_path, 70 * DAY)
    node.file.write_bytes(b"half of som")
    with approving(control_plane, monkeypatch), node.at_work():
        control_plane.wait(lambda: node.identity.problem, "the problem")
        node.file.write_bytes(node.first)
        control_plane.wait(lambda: node.is_new() and not node.identity.problem, "another identity")


def test_a_node_that_was_removed_does_not_renew(
    control_plane: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, announce: Announced
) -> None:
    announce("cannot be renewed: .* has been removed")
    node = Renewed(control_plane, tmp_path, 70 * DAY)
    control_plane.kubectl("delete", "clusterrolebinding", f"tambourine:node:{node.node}")
    with approving(control_plane, monkeypatch), node.at_work():
        control_plane.wait(lambda: node.identity.problem, "the problem")
        assert f"kubectl tambourine join {node.node}" in node.identity.problem
        assert not node.is_new()
        invite(control_plane, node.node)
        control_plane.wait(node.is_new, "another identity, as it is a node again")


def test_without_the_file_it_ends_at_once(control_plane: Cluster, tmp_path: Path) -> None:
    identity = Identity(control_plane.api, "n", tmp_path / "none.pem", threading.Event())
    identity.run(threading.Event())  # returns
    assert identity.problem == ""
