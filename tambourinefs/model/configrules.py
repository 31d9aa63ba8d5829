"""The rule of each configuration key: from a TOML value to a checked value, or ValueError."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

from tambourinefs.model import names

if TYPE_CHECKING:
    from collections.abc import Callable

ANY: Final = "any"

_SIZE: Final = re.compile(r"([0-9]{1,15}) *(?:([KMGT])(?:iB)?)?")
_USER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?|[0-9]{1,10}")
_GLOB: Final = re.compile(r"[A-Za-z0-9:_.\\@*?\[\]!-]+")
_SOCKET_PATH_MAX: Final = 107  # bytes; sun_path of unix(7) without the NUL


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, got {_kind(value)}")  # noqa: TRY004
    return value


def _path(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a path in quotes, got {_kind(value)}")  # noqa: TRY004
    if problem := names.path_problem(value):
        raise ValueError(f"{problem}: {names.printable(value[:128])}")
    return value


def _socket(value: object) -> str:
    path = _path(value)
    if len(path.encode()) > _SOCKET_PATH_MAX:
        raise ValueError(f"the path of a socket has at most {_SOCKET_PATH_MAX} bytes")
    return path


def _between(low: int, high: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"expected a whole number, got {_kind(value)}")  # noqa: TRY004
        if not low <= value <= high:
            raise ValueError(f"expected {low} to {high}, got {value}")
        return value

    return check


def _size(low: int, high: int) -> Callable[[object], int]:
    within = _between(low, high)

    def check(value: object) -> int:
        if not isinstance(value, str):
            return within(value)
        match = _SIZE.fullmatch(value)
        if not match:
            raise ValueError(
                f'expected bytes, such as 1048576 or "512M", got "{names.printable(value[:64])}"'
            )
        return within(int(match[1]) << (10 * (" KMGT".index(match[2]) if match[2] else 0)))

    return check


def _seconds(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"expected seconds, got {_kind(value)}")  # noqa: TRY004
    if not 1 <= value <= 3600:
        raise ValueError(f"expected 1 to 3600 seconds, got {value}")
    return float(value)


def _list_of(
    check: Callable[[str], str], what: str, most: int = 1024
) -> Callable[[object], tuple[str, ...]]:
    """A list of strings; `check` returns what is wrong with one."""

    def checked(value: object) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise ValueError(f"expected a list of {what}, got {_kind(value)}")  # noqa: TRY004
        if len(value) > most:
            raise ValueError(f"a list has at most {most} entries")
        for item in value:
            if not isinstance(item, str):
                raise ValueError(f"expected a list of {what}, got {_kind(item)} in it")  # noqa: TRY004
            if problem := check(item):
                raise ValueError(f'"{names.printable(item[:128])}": {problem}')
        return tuple(dict.fromkeys(value))

    return checked


def _writers(value: object) -> tuple[str, ...] | Literal["any"]:
    return "any" if value == ANY else _list_of(_user_problem, 'users, or "any"')(value)


def _user_problem(name: str) -> str:
    return "" if _USER.fullmatch(name) else "must be the name or number of a user"


def _namespace_problem(name: str) -> str:
    return "" if name == "*" else names.namespace_problem(name)


def _glob_problem(glob: str) -> str:
    if len(glob) > names.UNIT_NAME_MAX or not _GLOB.fullmatch(glob):
        return "must be a unit name or a pattern (* ? [abc])"
    return "" if glob.count("[") == glob.count("]") else "unbalanced ["


def _name_of(
    check: Callable[[str], str], what: str, *, empty: bool = False
) -> Callable[[object], str]:
    """A name; `check` returns what is wrong with it."""

    def checked(value: object) -> str:
        if not isinstance(value, str):
            raise ValueError(f"expected {what} in quotes, got {_kind(value)}")  # noqa: TRY004
        if not (empty and value == "") and (problem := check(value)):
            raise ValueError(f'"{names.printable(value[:128])}": {problem}')
        return value

    return checked


def _kind(value: object) -> str:
    kinds = {
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "a table",
    }
    return kinds.get(type(value), "a date")


CHECKS: Final[dict[str, Callable[[object], object]]] = {
    "silo.store": _path,
    "silo.mountpoint": _path,
    "silo.writers": _writers,
    "silo.quota_bytes": _size(1 << 20, 1 << 50),
    "silo.quota_files": _between(16, 1 << 32),
    "proc.mountpoint": _path,
    "bombshell.socket": _socket,
    "bombshell.pki": _path,
    "bombshell.require_client_certificate": _boolean,
    "bombshell.max_watches": _between(1, 4096),
    "bombshell.max_reads": _between(1, 4096),
    "bombshell.max_writes": _between(1, 4096),
    "bombshell.max_uncommitted_bytes": _size(1 << 20, 1 << 50),
    "bombshell.stream_timeout": _seconds,
    "agent.namespaces": _list_of(_namespace_problem, "namespaces"),
    "agent.denied_units": _list_of(_glob_problem, "unit names"),
    "agent.allowed_units": _list_of(_glob_problem, "unit names"),
    "agent.file_prefixes": _list_of(names.path_problem, "directories"),
    "agent.state_directory": _path,
    "agent.journal_lines": _boolean,
    "cluster.node_name": _name_of(names.object_name_problem, "the name of a Node", empty=True),
    "cluster.kubeconfig": _path,
    "cluster.lease_namespace": _name_of(names.namespace_problem, "a namespace"),
}
