"""Services that write down each start of theirs, and a client that goes on through any trouble.

A command is counted by what the unit itself wrote when it ran: one line with the mark of its unit text and its
INVOCATION_ID, before it counts as started. The ledger lies in /run, so it is of this boot.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tambourinefs.cli.host import edit
from tambourinefs.errors import NotFound, Unreachable
from tambourinefs.model.manifest import Manifest, parse_json
from tambourinefs.model.status import StatusReport
from tambourinefs.rpc.client import Client
from tests.lab.hosts import Host
from tests.waiting import PATIENCE

T = TypeVar("T")
_PAUSE = threading.Event()  # never set: only its timeout is used, between two attempts

SERVICE = """\
[Service]
Environment=MARK={mark}
ExecStartPre=/bin/sh -c 'echo "$MARK $INVOCATION_ID" >>/run/{name}.ran'
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
"""
ONESHOT = """\
[Service]
Type=oneshot
Environment=MARK={mark}
ExecStart=/bin/sh -c 'echo "$MARK $INVOCATION_ID" >>/run/{name}.ran; exec sleep 0.1'
"""


def client_of(host: Host, timeout: float = 10.0) -> Client:
    """A client in this process to a host's Bombshell; of this boot of the host."""
    pki = host.root / "etc/tambourine/pki"
    socket = host.root / "run/tambourine/bombshell/bombshell.sock"
    return Client(socket, pki / "ca.crt", pki / "client.crt", pki / "client.key", timeout)


def persistently(step: Callable[[], T], *also: type[Exception], patience: float = PATIENCE) -> T:
    """The result of the step, tried again while there is no answer (or while it raises one of `also`)."""
    errors: tuple[type[Exception], ...] = (Unreachable, *also)
    end = time.monotonic() + patience
    while True:
        try:
            return step()
        except errors:
            if time.monotonic() > end:
                raise
            _pause(patience)


def _pause(patience: float) -> None:
    """Between two attempts; longer on a machine that needs more patience: each look takes from what is waited for."""
    _PAUSE.wait(max(0.1, patience / 1200))


def manifest(name: str, spec: dict[str, Any], labels: dict[str, str] | None = None) -> Any:
    """What a person would write."""
    document = {
        "apiVersion": "tambourine.dev/v1alpha1",
        "kind": "Tambourine",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"name": name, **spec},
    }
    return parse_json(msgspec.json.encode(document), source=name)


def put(client: Client, wanted: Any) -> int:
    """`tambourine apply --no-wait`; the generation that lies in the silo now. Raises Unreachable: then it may lie there."""
    done = edit.edit(client, wanted.metadata.name, lambda stored: edit.successor(stored, wanted))
    return done.manifest.metadata.generation


def report(client: Client, name: str) -> StatusReport:
    """status.json. Raises Unreachable, NotFound."""
    _, data = client.read("proc", f"local/{name}/status.json")
    return msgspec.json.decode(data, type=StatusReport)


def is_ready(client: Client, name: str, generation: int) -> bool:
    """Whether the host says that this generation, or a later one, is ready. Raises Unreachable, NotFound."""
    found = report(client, name)
    ready = found.condition("Ready")
    return found.observed_generation >= generation and ready is not None and ready.status == "True"


def wait_ready(client: Client, name: str, generation: int, patience: float = PATIENCE) -> None:
    """Until the status says so, through any outage."""
    end = time.monotonic() + patience
    while not persistently(lambda: is_ready(client, name, generation), NotFound, patience=patience):
        if time.monotonic() > end:
            raise AssertionError(
                f"{name} at {generation} is not ready: {persistently(lambda: report(client, name))}"
            )
        _pause(patience)


def ledger(host: Host, name: str) -> list[str]:
    """The lines that the unit wrote in this boot: "MARK INVOCATION_ID"."""
    try:
        lines = (host.root / f"run/{name}.ran").read_text().splitlines()
    except FileNotFoundError:
        return []
    assert len({line.split()[1] for line in lines}) == len(lines), (
        f"{name}: an invocation twice: {lines}"
    )
    return lines


@dataclass
class Wish:
    """What one service is asked to be; each edit of it says how often the unit may start because of it."""

    name: str
    text: str = SERVICE
    mark: int = 0
    command: str = "start"
    command_id: str = ""
    label: int = 0
    running: bool = False
    tokens: int = 0
    extra: dict[str, Any] = field(default_factory=dict)  # of the spec

    def manifest(self) -> Any:
        spec: dict[str, Any] = {"unit": self.text.format(name=self.name, mark=self.mark)}
        spec |= {"command": self.command} | self.extra
        if self.command_id:
            spec["commandID"] = self.command_id
        return manifest(self.name, spec, {"edit": str(self.label)})

    def change(self, kind: str) -> int:
        """Make one edit; how many starts it is worth (0 or 1)."""
        was_running = self.running
        if kind in {"edit", "both"}:
            self.mark += 1
        if kind in {"restart", "both"}:
            self.tokens += 1
            self.command, self.command_id = "restart", str(self.tokens)
        elif kind in {"edit", "start", "stop"}:
            self.command, self.command_id = ("stop" if kind == "stop" else "start"), ""
        self.label += 1
        self.running = self.running if kind == "touch" else kind != "stop"
        if kind in {"edit", "restart", "both"}:
            return 1
        return int(kind == "start" and not was_running)


def remove(client: Client, name: str) -> None:
    """`tambourine delete --no-wait`: the manifest first. Raises Unreachable: then it may be gone."""
    for path in (f"local/{name}/tambourine.json", f"local/{name}"):
        with suppress(NotFound):
            client.remove("silo", path)


def wait_gone(client: Client, names: Iterable[str]) -> None:
    """Until the host has none of them any more, through any outage."""
    end = time.monotonic() + PATIENCE
    while left := persistently(lambda: _present(client)) & set(names):
        assert time.monotonic() < end, f"still there: {left}"
        _PAUSE.wait(0.1)


def _present(client: Client) -> set[str]:
    reports = msgspec.json.decode(client.read("proc", "services.json")[1], type=list[StatusReport])
    return {found.name for found in reports if found.namespace == "local"}


@contextmanager
def clearing(host: Host, client: Client, *names: str) -> Iterator[None]:
    """Whatever happens inside: these services are gone afterwards, with their ledgers."""
    try:
        yield
    finally:
        for name in names:
            persistently(partial(remove, client, name))
        wait_gone(client, names)
        for name in names:
            (host.root / f"run/{name}.ran").unlink(missing_ok=True)


def temporaries(host: Host) -> list[str]:
    """Files that only a write in progress may have, in the silo's store, the agent's state and /etc."""
    tops = ("var/lib/tambourine/store", "var/lib/tambourine/agent", "etc")
    return [
        str(path)
        for top in tops
        for path in (host.root / top).rglob(".*")
        if path.name.startswith((".tambourine-", ".bombshell-"))
    ]


def tree(root: Path) -> dict[str, tuple[int, str | bytes]]:
    """Every path below a directory with its mode and content."""
    found: dict[str, tuple[int, str | bytes]] = {}
    for path in sorted(root.rglob("*")):
        mode = path.lstat().st_mode
        if path.is_symlink():
            found[str(path.relative_to(root))] = (mode, str(path.readlink()))
        else:
            found[str(path.relative_to(root))] = (
                mode,
                path.read_bytes() if path.is_file() else b"",
            )
    return found


@dataclass
class Service:
    """One service over all rounds."""

    wish: Wish
    answered: Manifest | None = None  # the last one
    pending: list[Manifest] = field(default_factory=list)  # sent after it, and never answered
    changed: int = 0  # edits and restarts that were asked for in this round, or since the boot

    @property
    def name(self) -> str:
        return self.wish.name

    @property
    def lost(self) -> bool:
        """Whether it is not known what lies in the silo: the cut came before the answer."""
        return self.answered is None or bool(self.pending)


def settle(client: Client, service: Service, patience: float = PATIENCE) -> None:
    """Restart it, and return when the host says that it has been done: whatever comes after must not do it again.

    Through any outage; AssertionError where it is not said in time.
    """
    for kind in ("restart",) if service.wish.running else ("edit", "restart"):
        service.wish.change(kind)
        wanted = service.wish.manifest()
        generation = persistently(lambda wanted=wanted: put(client, wanted), patience=patience)  # type: ignore[misc]
        service.answered, service.pending = wanted, []
        wait_ready(client, service.name, generation, patience)

    def done() -> bool:
        last = report(client, service.name).last_command
        wish = service.wish
        return last is not None and (last.command, last.command_id, last.result) == (
            wish.command, wish.command_id, "done",
        )  # fmt: skip

    end = time.monotonic() + patience
    while not persistently(done, patience=patience):
        assert time.monotonic() < end, f"{service.name}: its restart is not said to be done"
        _pause(patience)
    service.changed = 0


def check_started(service: Service, lines: Sequence[str]) -> None:
    """In this boot, by the service's own ledger: by systemd, which found it enabled; and once more at most, where the cut
    came during an edit, because it is unknown then which of them ran first.
    """
    invocations = {line.split()[1] for line in lines}
    assert len(invocations) == len(lines), f"{service.name}: an invocation twice: {lines}"
    most = 1 + bool(service.changed)
    assert 1 <= len(lines) <= most, f"{service.name} was started {len(lines)} times: {lines}"
