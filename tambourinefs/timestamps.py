"""Now, as Kubernetes writes it (meta/v1 Time and MicroTime: RFC 3339 in UTC)."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> str:
    """`2021-03-05T21:38:11Z`"""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def now_micro() -> str:
    """`2021-03-05T21:38:11.000001Z`: of Leases and Events."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
