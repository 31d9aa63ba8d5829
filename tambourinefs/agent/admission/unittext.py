"""What a unit's texts would do to Tambourine itself. Pure; policy.py decides on it.

One rule for paths: a unit's text may not name a path at or below a mount of Tambourine. systemd
(PID 1) looks up the paths of most settings itself (EnvironmentFile=, ConditionPathExists=,
PIDFile= …), and our mounts are served by processes that ask PID 1: when the two wait for each
other, the machine freezes.
"""

from __future__ import annotations

import re
from posixpath import normpath
from typing import TYPE_CHECKING, Final, NamedTuple

from tambourinefs.model import names, paths, unitfile

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from tambourinefs.model.unitfile import Setting

MOUNTS: Final = (str(paths.SILO), str(paths.PROC), str(paths.PROC_LITERAL))
DIRECTORIES: Final = (str(paths.STATE), str(paths.RUN), str(paths.CONFIG.parent))

# Free text, and paths that only the unit's own processes look up in their mount namespace
# (systemd.exec(5)): a mount that hangs there fails that unit alone. So do arguments of Exec*=.
_EXEMPT: Final = frozenset(
    {
        "Description", "Documentation", "Environment", "PassEnvironment", "UnsetEnvironment", "SyslogIdentifier",
        "BindPaths", "BindReadOnlyPaths", "ReadOnlyPaths", "ReadWritePaths", "InaccessiblePaths", "ExecPaths",
        "NoExecPaths", "TemporaryFileSystem",
    }
)  # fmt: skip
# systemd makes these below the directory, changes their owner, and removes runtime ones at stop.
_MADE_BELOW: Final = {
    "RuntimeDirectory": "/run",
    "StateDirectory": "/var/lib",
    "CacheDirectory": "/var/cache",
    "LogsDirectory": "/var/log",
    "ConfigurationDirectory": "/etc",
}
# systemd replaces or removes what it finds there (systemd.socket(5), systemd.service(5)).
_REPLACED: Final = frozenset(
    {
        "ListenStream", "ListenDatagram", "ListenSequentialPacket", "ListenFIFO", "ListenSpecial", "ListenUSBFunction",
        "Symlinks", "PIDFile",
    }
)  # fmt: skip
_EXEC_PREFIXES: Final = "@-:+!|"  # systemd.service(5), COMMAND LINES
_ROOT_OF_A_PROCESS: Final = re.compile(r"/proc/(?:self|thread-self|[0-9]+)/(?:root|cwd)(?=/|$)")
_WILDCARD: Final = re.compile(r"[*?\[\\]")  # glob(7)
_TRUE: Final = frozenset({"1", "yes", "y", "true", "t", "on"})  # parse_boolean()


class OwnPath(NamedTuple):
    """A setting that names `root`, a mount or a directory of Tambourine, or a path below it."""

    setting: Setting
    root: str


def own_paths(texts: Iterable[str], unit: str, mounts: Iterable[str] = MOUNTS) -> list[OwnPath]:
    """The settings of the unit file and its drop-ins that name a path at or below one of `mounts`
    (normalised), or have systemd make something in a directory of Tambourine.

    A setting that a later one resets counts too. Symbolic links are not followed, but /var/run is
    /run. A component with a wildcard, or with a specifier that only the host knows, matches any.
    """
    roots = tuple(mounts)
    return [
        OwnPath(setting, root)
        for text in texts
        for setting in unitfile.parse(text).settings
        if not setting.section.startswith("X-")
        for root in _named_roots(setting, unit, roots)
    ]


def _named_roots(setting: Setting, unit: str, mounts: tuple[str, ...]) -> Iterator[str]:
    key, value = setting.key, unitfile.expand(setting.value, unit, unknown="*")
    if key in _EXEMPT:
        return
    if key in _MADE_BELOW:
        for word in unitfile.words(value):
            for name in word.split(":"):
                path = _normal(f"{_MADE_BELOW[key]}/{name}")
                yield from (root for root in DIRECTORIES if _reaches(path, root))
        return
    if key == "PIDFile" and not value.startswith("/"):
        value = f"/run/{value}"
    roots = (*mounts, *DIRECTORIES) if key in _REPLACED else mounts
    for path in _paths(key, value):
        yield from (root for root in roots if _reaches(path, root))


def _paths(key: str, value: str) -> Iterator[str]:
    """The absolute paths in a value, normalised: "ID:/path", "file:/path", "-/path", "|!/path" …"""
    words = unitfile.words(value)
    if key.startswith("Exec"):
        words = [word.lstrip(_EXEC_PREFIXES) for word in words[:1]]
    else:
        words.append(value)
    for word in words:
        for part in re.split("[:=]", word):
            place = part.find("/")
            if place < 0:
                continue
            path = part[place:]
            if key.endswith("Glob") and "{" in path:  # one brace may hold several components
                path = path[: path.index("{")].rpartition("/")[0] + "/*" * 8
            yield _normal(path)


def _normal(path: str) -> str:
    """Normalised, without the links that every Linux host has."""
    path = "/" + normpath(path).lstrip("/")
    while match := _ROOT_OF_A_PROCESS.match(path):
        path = "/" + path[match.end() :].lstrip("/")
    return path.removeprefix("/var") if names.is_at_or_below(path, "/var/run") else path


def _reaches(path: str, root: str) -> bool:
    """Whether `path` may be `root` or below it."""
    have, want = path.strip("/").split("/"), root.strip("/").split("/")
    return len(have) >= len(want) and all(
        name == part or _WILDCARD.search(name) for name, part in zip(have, want, strict=False)
    )


def users(texts: Iterable[str], unit: str) -> frozenset[str]:
    """Every user that a setting names for the unit, by name or number as written; not root.

    `DynamicUser=` takes an existing user that has the unit's name, so that name counts.
    """
    found: set[str] = set()
    for text in texts:
        for setting in unitfile.parse(text).settings:
            if setting.key == "User" and setting.value:
                found.add(unitfile.expand(setting.value, unit))
            elif setting.key == "DynamicUser" and setting.value.lower() in _TRUE:
                found.add(names.prefix(unit))
    return frozenset(found - {"root", "0"})


def stops(texts: Iterable[str], unit: str) -> frozenset[str]:
    """The units that stop when this one starts or stops (systemd.unit(5))."""
    return _listed(texts, unit, "Unit", {"Conflicts", "PropagatesStopTo"})


def delays(texts: Iterable[str], unit: str) -> frozenset[str]:
    """The units whose start waits, at boot too, until this one is up (systemd.unit(5))."""
    return _listed(texts, unit, "Unit", {"Before"})


def required_by(texts: Iterable[str], unit: str) -> frozenset[str]:
    """The units that require this one once it is enabled, and so stop with it (systemd.unit(5))."""
    return _listed(texts, unit, "Install", {"RequiredBy"})


def _listed(texts: Iterable[str], unit: str, section: str, keys: Container[str]) -> frozenset[str]:
    return frozenset(
        unitfile.expand(word, unit)
        for text in texts
        for setting in unitfile.parse(text).settings
        if setting.section == section and setting.key in keys
        for word in unitfile.words(setting.value, keep_escapes=True)
    )
