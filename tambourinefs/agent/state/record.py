"""The record of one service: what the agent wrote, what was there before, and what it has done.

Pure values; store.py keeps them on the disk. A record is written before the host is changed, so
after a crash at any line it has everything that may have been done.
"""

from __future__ import annotations

from typing import Final

import msgspec

from tambourinefs.model.names import NamespacedName
from tambourinefs.model.status import LastCommand

TOKENS_KEPT: Final = 64

Claim = str  # "unit foo.service", "drop-in foo.service.d/10-x.conf", "file /etc/x"


class Original(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was at a path before the agent. `kind` is "absent", "file" or "symlink"."""

    kind: str = "absent"
    digest: str = ""  # sha256 of a file's content, kept in originals/ under that name
    target: str = ""  # of a symlink; surrogateescape
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    xattrs: dict[str, str] = {}  # name -> base64


class Written(msgspec.Struct, frozen=True, omit_defaults=True):
    """A path that the agent wrote, or is about to. `ours` are the digests that it may have written there,
    the newest last.
    """

    path: str
    kind: str
    ours: tuple[str, ...]
    original: Original = Original()
    placed: bool = False  # False: the write may or may not have happened


class Token(msgspec.Struct, frozen=True):
    """A one-shot command that was taken (uid and the manifest's command and commandID)."""

    uid: str
    command: str
    command_id: str


class Done(msgspec.Struct, frozen=True):
    """The start or stop of one generation was carried out in this boot, with any result."""

    command: str  # "start" | "stop"
    uid: str
    generation: int
    boot: str
    result: str  # of the job: "done", "failed", …


class Running(msgspec.Struct, frozen=True, omit_defaults=True):
    """A job that was sent, or is about to be. `invocation_id` is the unit's before it."""

    verb: str  # start | stop | restart | reload
    uid: str
    generation: int
    boot: str
    invocation_id: str = ""
    command: str = ""  # of the manifest, when this job carries out a token
    command_id: str = ""
    time: str = ""  # RFC 3339, UTC
    since_usec: int = 0  # CLOCK_MONOTONIC of that boot, when this was recorded


class Enablement(msgspec.Struct, frozen=True):
    """The enablement that was set for one generation. `install` is the digest of its [Install]."""

    enabled: bool
    uid: str
    generation: int
    install: str = ""


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """The applied state of one service."""

    namespace: str
    name: str
    unit: str
    silo: str = ""  # UUID of the store in which its manifest was last seen
    uid: str = ""
    generation: int = 0  # the last one whose content is complete on the host
    content: str = ""  # digest of what is complete on the host; "" for no content
    applied: bool = False  # whether `generation` and `content` are set
    intent: str | None = None  # digest of what is being written; None: nothing is
    written: tuple[Written, ...] = ()
    directories: tuple[str, ...] = ()  # that the agent made, outermost first
    claims: tuple[str, ...] = ()
    orphan: bool = False  # deletionPolicy
    enabled_before: str = ""  # UnitFileState of another owner's unit before the agent changed it
    enablement: Enablement | None = None
    due: str = ""  # "restart" | "reload": the content changed under a running unit
    tokens: tuple[Token, ...] = ()
    running: Running | None = None
    done: Done | None = None
    last_command: LastCommand | None = None
    removing: bool = False
    stopped: bool = False  # while removing: the stop was carried out

    @property
    def key(self) -> NamespacedName:
        """(namespace, name)"""
        return (self.namespace, self.name)

    @property
    def owns_unit(self) -> bool:
        """Whether the agent wrote the unit file."""
        return any(w.kind == "unit" for w in self.written)

    def at(self, path: str) -> Written | None:
        """The entry for that path."""
        return next((w for w in self.written if w.path == path), None)

    def handled(self, token: Token) -> bool:
        """Whether that one-shot command was taken."""
        return token in self.tokens

    def taking(self, token: Token) -> Record:
        """With the token; the oldest beyond 64 are dropped."""
        if token in self.tokens:
            return self
        return msgspec.structs.replace(self, tokens=(*self.tokens, token)[-TOKENS_KEPT:])


replace = msgspec.structs.replace
