"""A status mount under test, served by a process of its own (procfs_runner.py), and what tests read of it."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tambourinefs.model.status import Condition
from tambourinefs.model.unit import Process, Unit
from tambourinefs.model.view import ServiceView

HERE = Path(__file__).parent


def now_usec() -> int:
    return time.time_ns() // 1000


def hello(name: str = "hello", namespace: str = "local", **unit: Any) -> ServiceView:
    """A running service whose main process is this test's."""
    fields: dict[str, Any] = {
        "id": f"{name}.service",
        "description": "Says hello",
        "load_state": "loaded",
        "fragment_path": f"/etc/systemd/system/{name}.service",
        "unit_file_state": "enabled",
        "unit_file_preset": "enabled",
        "active_state": "active",
        "sub_state": "running",
        "active_enter_usec": now_usec() - 5_000_000,
        "main_pid": os.getpid(),
        "exec_main_pid": os.getpid(),
        "documentation": ("man:hello(1)",),
        "tasks_current": 1,
        "memory_current": 4096,
        "processes": (Process("/system.slice/x", os.getpid(), "hello"),),
    }
    return ServiceView(
        namespace,
        name,
        f"{name}.service",
        uid="u",
        generation=1,
        observed_generation=1,
        unit=Unit(name=f"{name}.service", **{**fields, **unit}),
        conditions=(Condition("Ready", "True", "Ready", "", 1, "2026-11-22T22:30:12Z"),),
        manifest=b'{"kind": "Tambourine"}\n',
        journal=("Nov 22 22:30:12 h1 hello[1]: hello",),
    )


def plain(view: ServiceView) -> Any:
    """The view as the runner reads it."""
    return json.loads(msgspec.json.encode(view))


@dataclass
class Mounted:
    """`root` is the mountpoint; `order` speaks to the server."""

    root: Path
    server: subprocess.Popen[bytes]

    def order(self, **order: Any) -> Any:
        assert self.server.stdin
        assert self.server.stdout
        self.server.stdin.write(json.dumps(order).encode() + b"\n")
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())

    def publish(self, *views: ServiceView) -> None:
        for view in views:
            assert self.order(publish=plain(view)) == "done"

    def withdraw(self, view: ServiceView) -> None:
        assert self.order(withdraw=[view.namespace, view.name]) == "done"

    def of(self, view: ServiceView) -> Path:
        return self.root / view.namespace / view.name


@contextmanager
def status_mount(where: Path) -> Iterator[Mounted]:
    """Serve a mount at `where` for the block; afterwards the server must have ended well and left nothing mounted."""
    where.mkdir()
    server = subprocess.Popen(
        [sys.executable, HERE / "procfs_runner.py", where],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert server.stdin
        assert server.stdout
        assert server.stdout.readline() == b'"ready"\n'
        yield Mounted(where, server)
        server.stdin.close()
        assert server.wait(timeout=20) == 0
    finally:
        server.kill()
        server.wait()
        for pipe in (server.stdin, server.stdout):
            if pipe is not None:
                pipe.close()
    assert not os.path.ismount(where)
    assert list(where.iterdir()) == []


def told(fd: int, seconds: float) -> bool:
    """Whether poll(2) says within `seconds` that the descriptor's content is not current any more."""
    poll = select.poll()
    poll.register(fd, select.POLLPRI)
    return any(events & select.POLLPRI for _, events in poll.poll(seconds * 1000))
