"""Tambourines for tests: units that show by their own effect what was done to them."""

from __future__ import annotations

import itertools
import os
from typing import Any

from tambourinefs.model.schema import API_VERSION

_NUMBER = itertools.count(1)
Object = dict[str, Any]


def fresh_name(word: str = "svc") -> str:
    """A name that no other test has, for an object and its unit."""
    return f"{word}-{os.getpid()}-{next(_NUMBER)}"


def tambourine(name: str, namespace: str = "", /, **spec: Any) -> Object:
    """A Tambourine whose unit has its name; keywords are fields of the spec as on the wire (`dropIns=…`)."""
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {
        "apiVersion": API_VERSION,
        "kind": "Tambourine",
        "metadata": metadata,
        "spec": {"name": name, **spec},
    }


def sleeper(description: str = "Sleeps", *, extra: str = "") -> str:
    """A unit that runs until it is stopped."""
    return f"[Unit]\nDescription={description}\n[Service]\nExecStart=/bin/sleep infinity\n{extra}"


def counter(directory: str, *, after: str = "exec sleep infinity") -> str:
    """A unit that leaves a line in `directory`/starts at each start, and one in `stops` at each stop: what was done
    twice is seen there.
    """
    return (
        "[Unit]\nDescription=Counts its starts\n[Service]\n"
        f"ExecStartPre=/bin/mkdir -p {directory}\n"
        f"ExecStart=/bin/sh -c 'echo start >>{directory}/starts; {after}'\n"
        f"ExecStop=/bin/sh -c 'echo stop >>{directory}/stops'\n"
        f"ExecReload=/bin/sh -c 'echo reload >>{directory}/reloads'\n"
    )


def failing(status: int = 3) -> str:
    """A unit that says something and ends at once with this exit status."""
    return (
        "[Unit]\nDescription=Fails\n[Service]\n"
        f"ExecStart=/bin/sh -c 'echo it went wrong; exit {status}'\n"
    )
