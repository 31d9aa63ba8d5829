"""What stands in the silo where a manifest, its directory or its payload should be: no escape, no hang, and it is said."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from tambourinefs.agent.admission.check import open_manifest_directory
from tambourinefs.agent.host.payload import PayloadMissing
from tambourinefs.agent.silo.scan import Silo, SiloUnavailable
from tests.fakes.agent import SLEEPS, AcceptsAny, Host, host_in_memory

pytestmark = pytest.mark.trio


@pytest.fixture
def host() -> Iterator[Host]:
    with host_in_memory() as made:
        (made.root / "outside").mkdir()
        yield made


def _link(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))


def _socket(path: Path) -> None:
    here = os.open(path.parent, os.O_PATH)  # a socket's address has 107 bytes
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{here}/{path.name}")
    os.close(here)


KINDS: dict[str, Callable[[Path], Any]] = {
    "link": _link,
    "FIFO": os.mkfifo,
    "directory": Path.mkdir,
    "socket": _socket,
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_manifest_that_is_no_file_is_refused_and_holds_up_nobody(
    host: Host, kind: str
) -> None:
    host.apply("bad", {"unit": SLEEPS, "command": "start"})
    async with host.agent():
        await host.until_ready("bad", 1)
    manifest = host.silo / "local/bad/tambourine.json"
    manifest.rename(manifest.with_name("elsewhere"))  # as good a manifest as before, by a link
    KINDS[kind](manifest)
    host.apply("good", {"unit": SLEEPS, "command": "start"})
    async with host.agent():
        await host.until_ready("good", 1)
        await host.until(lambda: host.condition("bad", "Accepted")[0] == "False")
        found = host.view("bad").conditions[0]
        assert (found.reason, found.message) == (
            "InvalidManifest",
            "local/bad/tambourine.json is not a regular file",
        )
    assert await host.active("bad.service") == "active"
    assert host.unit_text("bad.service") == SLEEPS


WHOLE = {
    "apiVersion": "tambourine.dev/v1alpha1",
    "kind": "Tambourine",
    "metadata": {"name": "bad", "namespace": "local", "uid": "u", "generation": 7},
    "spec": {"name": "bad", "unit": SLEEPS, "command": "start"},
}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"{", "JSON"),
        (b"\xff" * 10, ""),
        (b"", ""),
        (json.dumps(WHOLE | {"spec": {"name": "bad", "comand": "start"}}).encode(), "comand"),
        (
            json.dumps(
                WHOLE | {"spec": {"name": "bad", "files": [{"path": "x", "content": ""}]}}
            ).encode(),
            "spec.files[0].path",
        ),
        (json.dumps(WHOLE | {"metadata": {"name": "another"}}).encode(), "metadata.name"),
    ],
)
async def test_a_manifest_that_is_wrong_is_refused_with_its_name_and_field(
    host: Host, data: bytes, says: str
) -> None:
    """Trouble 20, past Bombshell and the command line."""
    host.put("bad", data)
    host.apply("good", {"unit": SLEEPS, "command": "start"})
    async with host.agent():
        await host.until_ready("good", 1)
        await host.until(lambda: host.condition("bad", "Accepted") == ("False", "InvalidManifest"))
        message = host.view("bad").conditions[0].message
        assert message.startswith("local/bad:")
        assert says in message
        assert not (host.units / "bad.service").exists()


async def test_a_services_directory_that_is_a_link_is_refused_and_what_runs_is_kept(
    host: Host,
) -> None:
    host.apply("bad", {"unit": SLEEPS, "command": "start"})
    async with host.agent():
        await host.until_ready("bad", 1)
        directory = host.silo / "local/bad"
        directory.rename(host.root / "outside/bad")
        directory.symlink_to(host.root / "outside/bad")
        await host.until(lambda: host.condition("bad", "Accepted") == ("False", "InvalidManifest"))
    async with host.agent():  # and by one that lists the whole silo
        await host.until(lambda: host.condition("bad", "Accepted") == ("False", "InvalidManifest"))
    assert await host.active("bad.service") == "active"


async def test_a_services_directory_that_is_a_fifo_or_a_file_is_none(host: Host) -> None:
    host.apply("good", {"unit": SLEEPS, "command": "start"})
    os.mkfifo(host.silo / "local/fifo")
    (host.silo / "local/file").write_text("x")
    async with host.agent():
        await host.until_ready("good", 1)
        assert set(host.board.views) == {("local", "good")}


async def test_a_namespace_that_is_a_link_is_not_followed(host: Host) -> None:
    host.apply("x", {"unit": SLEEPS, "command": "start"})
    (host.silo / "local").rename(host.root / "outside/local")
    (host.silo / "local").symlink_to(host.root / "outside/local")
    silo = Silo(host.silo, AcceptsAny(), any_directory=True)
    found = await trio.to_thread.run_sync(silo.scan)
    assert found.entries == {}
    found = await trio.to_thread.run_sync(
        silo.scan, [("local", "x")]
    )  # as its notification would say
    assert found.entries["local", "x"].error == "local/x/tambourine.json is not a regular file"
    with pytest.raises(PayloadMissing, match="Too many levels of symbolic links"):
        open_manifest_directory(host.silo, ("local", "x"))


async def test_a_uuid_by_a_link_is_no_uuid(host: Host) -> None:
    uuid = host.silo / ".tambourine-silo"
    uuid.rename(host.root / "outside/uuid")
    uuid.symlink_to(host.root / "outside/uuid")
    with pytest.raises(SiloUnavailable, match="symbolic links"):
        await trio.to_thread.run_sync(Silo(host.silo, AcceptsAny(), any_directory=True).scan)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_payload_that_is_no_file_is_missing_and_then_taken(host: Host, kind: str) -> None:
    digest = hashlib.sha256(b"data").hexdigest()
    host.put("x", b"data", file="elsewhere")
    KINDS[kind](payload := host.silo / "local/x/p.bin")
    files = [{"path": "/etc/p", "contentFrom": {"silo": "p.bin", "sha256": digest}}]
    host.apply("x", {"unit": SLEEPS, "files": files, "command": "start"})
    async with host.agent():
        await host.until(lambda: bool(host.board.views) and _reason(host) == "PayloadMissing")
        message = host.view("x").conditions[0].message
        assert message.startswith("payload p.bin"), message
        assert not (host.root / "etc/p").exists()
        payload.rmdir() if kind == "directory" else payload.unlink()
        host.put("x", b"data", file="p.bin")
        await host.until_ready("x", 1)
    assert (host.root / "etc/p").read_bytes() == b"data"


def _reason(host: Host) -> str:
    return host.condition("x", "Accepted")[1]
