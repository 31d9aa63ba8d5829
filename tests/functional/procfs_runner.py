"""Serves a status mount from scripted views: one JSON order a line on stdin, one answer a line on stdout.

    {"publish": VIEW}                      publishes a ServiceView; an object of its fields, bytes in base64
    {"withdraw": [NAMESPACE, NAME]}
    {"storm": VIEW}                        publishes views that differ (EVENTS events each), up to 500 a second, until
    {"calm": null}                         answers how many; each text of a view is the number of its publish
    {"count": null}                        how many inodes and services the status store holds

Ends, and takes its mount down, when stdin is closed or at SIGTERM.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import trio

from tambourinefs import daemon
from tambourinefs.model.status import Condition
from tambourinefs.model.unit import Unit
from tambourinefs.model.view import ServiceView
from tambourinefs.mount import mounts, units
from tambourinefs.procfs.host.cgroups import Cgroups
from tambourinefs.procfs.host.reader import HostReader, LocalZone
from tambourinefs.procfs.serving import serve_status_store
from tambourinefs.procfs.store import StatusStore

EVENTS = 8  # of each publish: two generations and so many conditions


def numbered(view: ServiceView, number: int) -> ServiceView:
    """A view each text of which is `number`, repeated to a length that changes with it."""
    text = f"<{number}>" * (1 + number * 37 % 200)
    unit = view.unit or Unit(name=view.unit_name)
    return replace(
        view,
        generation=number,
        observed_generation=number,
        manifest=text.encode() * 5,
        unit=replace(unit, id=text, description=text, documentation=(text, text), status_text=text),
        conditions=tuple(
            Condition(f"Ready{i or ''}", "True", f"Ready{number}", text, number, "")
            for i in range(EVENTS - 2)
        ),
    )


class Storm:
    """A publisher that never rests."""

    def __init__(self, store: StatusStore, nursery: trio.Nursery) -> None:
        self._store = store
        self._nursery = nursery
        self._scope = trio.CancelScope()
        self._number = 0

    def begin(self, view: ServiceView) -> None:
        self._scope = trio.CancelScope()
        self._nursery.start_soon(self._run, view, self._scope)

    async def _run(self, view: ServiceView, scope: trio.CancelScope) -> None:
        with scope:
            while True:
                self._number += 1
                self._store.publish(numbered(view, self._number))
                await trio.sleep(
                    0.0005
                )  # far faster than systemd; readers get a share of the two cores

    def end(self) -> int:
        self._scope.cancel()
        return self._number


def execute(store: StatusStore, storm: Storm, order: dict[str, object]) -> object:
    match order:
        case {"publish": view}:
            store.publish(msgspec.convert(view, ServiceView))
        case {"withdraw": [str(namespace), str(name)]}:
            store.withdraw(namespace, name)
        case {"storm": view}:
            storm.begin(msgspec.convert(view, ServiceView))
        case {"calm": None}:
            return storm.end()
        case {"count": None}:
            return {"inodes": len(store.inodes), "services": len(store)}
        case _:
            raise ValueError(order)
    return "done"


async def orders(store: StatusStore, nursery: trio.Nursery) -> None:
    """Execute commands until stdin ends."""
    storm = Storm(store, nursery)
    os.set_blocking(0, False)
    rest = b""
    async with trio.lowlevel.FdStream(os.dup(0)) as stdin:
        async for chunk in stdin:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                answer = execute(store, storm, msgspec.json.decode(line))
                sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
                sys.stdout.flush()
    nursery.cancel_scope.cancel()


async def until_stopped(stop: trio.CancelScope) -> None:
    await daemon.wait_for_stop()
    stop.cancel()


async def run(mountpoint: Path) -> None:
    store = StatusStore(HostReader(Cgroups(), LocalZone(Path("/etc/localtime"))))
    store.complete()
    with mounts.mounted("status", mountpoint, units.OPTIONS["proc"]) as fd:
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_status_store, store, fd)
            nursery.start_soon(until_stopped, nursery.cancel_scope)
            nursery.start_soon(orders, store, nursery)
            sys.stdout.write('"ready"\n')
            sys.stdout.flush()


if __name__ == "__main__":
    daemon.configure_logging("info")
    trio.run(run, Path(sys.argv[1]))
