"""The tree of processes below `CGroup:`, as systemctl draws it. Pure.

Source: dump_processes() and dump_extra_processes() of systemd 252 (src/shared/bus-unit-procs.c).
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tambourinefs.model.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tambourinefs.model.unit import Process


def process_tree(control_group: str, processes: Iterable[Process]) -> Iterator[str]:
    """The lines below `CGroup: control_group`, without indentation: processes by PID, then the
    groups in it by name.
    """
    root = control_group.rstrip("/")
    members: dict[str, list[Process]] = defaultdict(list)
    children: dict[str, set[str]] = defaultdict(set)
    strangers = []
    for process in processes:
        group = process.cgroup.rstrip("/")
        if group != root and not group.startswith(root + "/"):
            strangers.append(process)
            continue
        members[group].append(process)
        while group != root and group not in children[parent := group.rpartition("/")[0]]:
            children[parent].add(group)
            group = parent
    yield from _group(root, members, children, "")
    # The main process may live outside the unit's group (a login session, PAMName=).
    yield from (f"‣ {text}" for text in _aligned(strangers))


def _group(
    group: str, members: dict[str, list[Process]], children: dict[str, set[str]], prefix: str
) -> Iterator[str]:
    below = sorted(children.get(group, ()))
    texts = list(_aligned(members.get(group, [])))
    for place, text in enumerate(texts):
        yield prefix + ("├─" if below or place < len(texts) - 1 else "└─") + text
    for place, child in enumerate(below):
        last = place == len(below) - 1
        yield prefix + ("└─" if last else "├─") + printable(child.rpartition("/")[2])
        yield from _group(child, members, children, prefix + ("  " if last else "│ "))


def _aligned(processes: list[Process]) -> Iterator[str]:
    ordered = sorted({process.pid: process for process in processes}.values(), key=lambda p: p.pid)
    width = len(str(ordered[-1].pid)) if ordered else 0
    return (f"{process.pid:>{width}} {printable(process.command)}" for process in ordered)
