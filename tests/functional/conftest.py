"""Fixtures that several modules of this lane share."""

from __future__ import annotations

from functional.bombshells import bombshell, client, make_bombshell, stub

__all__ = ["bombshell", "client", "make_bombshell", "stub"]
