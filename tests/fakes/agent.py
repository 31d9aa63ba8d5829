"""An agent on a made-up host: its real inside over a directory, a fake systemd, and a board that remembers.

`Host` outlives its agents, as a machine does: `crash_after` ends the agent like kill -9 at the n-th time that it is about to
touch the host, `reboot` forgets what runs and starts what is enabled.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import trio

from tambourinefs.agent.admission.check import HostChecker
from tambourinefs.agent.admission.findings import Draft, Findings
from tambourinefs.agent.admission.policy import Policy
from tambourinefs.agent.apply.apply import Applier
from tambourinefs.agent.host.files import HostFiles
from tambourinefs.agent.reconcile.loop import Reconciler
from tambourinefs.agent.silo.scan import Silo
from tambourinefs.agent.state.applied import AppliedState
from tambourinefs.agent.state.record import Record
from tambourinefs.agent.state.store import Store
from tambourinefs.model.view import ServiceView
from tests.fakes.systemd import FakeSystemd
from tests.waiting import PATIENCE

SLEEPS = "[Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=multi-user.target\n"


class Killed(BaseException):
    """kill -9."""


class Board:
    """What a reader of the status mount sees, and every view in the order of publication."""

    def __init__(self) -> None:
        self.views: dict[tuple[str, str], ServiceView] = {}
        self.history: list[ServiceView] = []
        self.changed = trio.Event()

    def publish(self, view: ServiceView) -> None:
        self.views[view.namespace, view.name] = view
        self.history.append(view)
        self._ring()

    def withdraw(self, namespace: str, name: str) -> None:
        del self.views[namespace, name]
        self._ring()

    def _ring(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


class Verifier:
    """Says of a unit without ExecStart= what systemd-analyze would."""

    def __init__(self) -> None:
        self.calls = 0

    async def verify(self, batch: Sequence[Draft]) -> Mapping[str, Findings]:
        self.calls += 1
        await trio.lowlevel.checkpoint()
        return {draft.unit: _findings(draft) for draft in batch}


def _findings(draft: Draft) -> Findings:
    if (
        draft.unit.endswith(".service")
        and draft.text is not None
        and "ExecStart=" not in draft.text
    ):
        return Findings(problems=(f"{draft.unit}: Service has no ExecStart=. Refusing.",))
    return Findings()


class Fuse:
    """Burns with each touch of the host; at 0 the agent dies."""

    def __init__(self) -> None:
        self.left = -1

    def touch(self) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1


class _Touchy:
    """Passes everything through, after a look at the fuse for the named methods."""

    def __init__(self, inside: object, fuse: Fuse, methods: Sequence[str]) -> None:
        self._inside, self._fuse, self._methods = inside, fuse, methods

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inside, name)
        if name not in self._methods:
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            self._fuse.touch()
            return found(*args, **kwargs)

        return call


class _TouchySystemd(_Touchy):
    """A job may also be sent and its answer never read."""

    def __getattr__(self, name: str) -> Any:
        found = super().__getattr__(name)
        if name not in {"start", "stop", "restart", "reload_unit", "enable", "disable", "reload"}:
            return found

        async def call(*args: Any) -> Any:
            result = await found(*args)
            self._fuse.touch()
            return result

        return call


class Host:
    """A machine: its files below `root`, its systemd, its silo."""

    def __init__(self, root: Path, *, rules: Policy | None = None) -> None:
        self.root = root
        self.units = root / "etc/systemd/system"
        self.units.mkdir(parents=True)
        self.silo = root / "silo"
        self.silo.mkdir()
        (self.silo / ".tambourine-silo").write_text(str(uuid.uuid4()))
        self.state = root / "var/lib/tambourine/agent"
        self.systemd = FakeSystemd(self.units)
        self.board = Board()
        self.verifier = Verifier()
        self.rules = rules or Policy()
        self.fuse = Fuse()
        self.any_directory = True

    # -- the agent

    @asynccontextmanager
    async def agent(self) -> AsyncIterator[Reconciler]:
        """An agent, for as long as the block runs; then it is killed."""
        self.board = Board()
        with Store(self.state) as store:
            host = HostFiles(self.root, store)
            try:
                async with trio.open_nursery() as nursery:
                    reconciler = self._reconciler(store, host)
                    nursery.start_soon(reconciler.run)
                    yield reconciler
                    nursery.cancel_scope.cancel()
            finally:
                host.close()

    def _reconciler(self, store: Store, host: HostFiles) -> Reconciler:
        records = store.load()
        store.sweep(records.values())
        host.clear_temporaries(
            w.path for r in records.values() if r.intent or r.removing for w in r.written
        )
        touchy_store: Any = _Touchy(store, self.fuse, ("save", "forget", "keep"))
        touchy_host: Any = _Touchy(host, self.fuse, ("write", "restore", "remove_directories"))
        systemd: Any = _TouchySystemd(
            self.systemd,
            self.fuse,
            ("start", "stop", "restart", "reload_unit", "enable", "disable", "reload"),
        )
        applier = Applier(systemd, AppliedState(touchy_store, records), touchy_host, self.silo)
        return Reconciler(
            systemd,
            HostChecker(systemd, self.verifier, touchy_host, self.silo),
            applier,
            Silo(self.silo, store, any_directory=self.any_directory),
            self.board,
            None,
            self.rules,
        )

    def records(self) -> dict[tuple[str, str], Record]:
        """Applied state on the disk; only while no agent runs."""
        with Store(self.state) as store:
            return store.load()

    async def until(self, condition: Callable[[], bool], what: str = "") -> None:
        """Wait until it holds; AssertionError when it does not come."""
        with trio.move_on_after(PATIENCE) as scope:
            while not condition():
                with trio.move_on_after(0.01):
                    await self.board.changed.wait()
        assert not scope.cancelled_caught, f"{what or condition} did not come: {self.board.views}"

    async def until_ready(self, name: str, generation: int, status: str = "True") -> ServiceView:
        """The view once its condition Ready has that status at that generation."""
        await self.until(
            lambda: self.ready(name) == (generation, status), f"{name} {generation} {status}"
        )
        return self.view(name)

    def ready(self, name: str) -> tuple[int, str]:
        view = self.board.views.get(("local", name))
        return (
            (0, "")
            if view is None
            else (view.observed_generation, self.condition(name, "Ready")[0])
        )

    def view(self, name: str, namespace: str = "local") -> ServiceView:
        return self.board.views[namespace, name]

    def condition(self, name: str, kind: str, namespace: str = "local") -> tuple[str, str]:
        """(status, reason), empty while nothing is published."""
        if (namespace, name) not in self.board.views:
            return "", ""
        found = next(c for c in self.view(name, namespace).conditions if c.type == kind)
        return found.status, found.reason

    def message(self, name: str, kind: str) -> str:
        """What the condition of that kind says to people."""
        return next(c for c in self.view(name).conditions if c.type == kind).message

    # -- people

    def apply(
        self, name: str, spec: dict[str, Any], *, generation: int = 1, uid: str = "", namespace: str = "local",
        created: str = "",
    ) -> None:  # fmt: skip
        """Publish a manifest as Bombshell does: whole, by rename."""
        metadata = {
            "name": name,
            "namespace": namespace,
            "uid": uid or f"uid-{name}",
            "generation": generation,
        }
        if created:
            metadata["creationTimestamp"] = created
        self.put(
            name,
            json.dumps(
                {
                    "apiVersion": "tambourine.dev/v1alpha1",
                    "kind": "Tambourine",
                    "metadata": metadata,
                    "spec": {"name": name, **spec},
                }
            ).encode(),
            namespace,
        )

    def put(
        self, name: str, data: bytes, namespace: str = "local", file: str = "tambourine.json"
    ) -> None:
        directory = self.silo / namespace / name
        directory.mkdir(parents=True, exist_ok=True)
        (directory / ".upload").write_bytes(data)
        (directory / ".upload").rename(directory / file)

    def delete(self, name: str, namespace: str = "local") -> None:
        """As `tambourine delete` does: the manifest first."""
        (self.silo / namespace / name / "tambourine.json").unlink()
        for left in list((self.silo / namespace / name).iterdir()):
            left.unlink()
        (self.silo / namespace / name).rmdir()

    def unit_text(self, unit: str) -> str:
        """A unit file without our header."""
        return (self.units / unit).read_text().split("\n\n", 1)[1]

    async def active(self, unit: str) -> str:
        return (await self.systemd.unit(unit)).active_state

    def jobs(self, *verbs: str) -> list[tuple[str, str]]:
        """What systemd was asked for, of these verbs."""
        return [entry for entry in self.systemd.log if entry[0] in verbs]

    async def reboot(self) -> None:
        """Nothing runs any more, then systemd starts what is enabled."""
        self.systemd = FakeSystemd(self.units)
        for link in sorted(self.units.glob("*.wants/*")):
            await self.systemd.ref(link.name)  # the target that wants it keeps it in memory
            await self.systemd.start(link.name)
        self.systemd.log.clear()


def tree(root: Path) -> dict[str, tuple[str, int, bytes]]:
    """Every path below a directory: what it is, its mode, its content."""
    found = {}
    for path in sorted(root.rglob("*")):
        about = path.lstat()
        if path.is_symlink():
            found[str(path)] = ("link", 0, os.fsencode(path.readlink()))
        elif path.is_dir():
            found[str(path)] = ("directory", about.st_mode & 0o7777, b"")
        else:
            found[str(path)] = ("file", about.st_mode & 0o7777, path.read_bytes())
    return found


async def run_until_killed(host: Host, during: Callable[[Reconciler], Awaitable[None]]) -> bool:
    """Run an agent and `during` beside it; whether the agent was killed before that ended."""
    try:
        async with host.agent() as reconciler:
            await during(reconciler)
    except BaseExceptionGroup as group:
        killed, rest = group.split(Killed)
        if rest is not None or killed is None:
            raise
        return True
    return False


class AcceptsAny:
    """For a silo without an agent: the first one is accepted, and forgotten."""

    def silo(self) -> str:
        return ""

    def accept_silo(self, uuid: str) -> None:
        """Accept it."""


@contextmanager
def host_in_memory() -> Iterator[Host]:
    """On tmpfs where there is one: these tests are about decisions, not about the disk."""
    base = Path("/dev/shm")
    with TemporaryDirectory(dir=base if base.is_dir() else None) as root:
        yield Host(Path(root))
