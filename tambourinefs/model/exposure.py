"""What a unit would do to Tambourine itself: pure extraction from unit texts, for the agent's policy to decide on.

PID 1 reads files (EnvironmentFile=, ConditionPathExists=, PIDFile= …). A file of ours is served by a process that asks
PID 1: when the two wait for each other the machine freezes. So every setting is taken as one that PID 1 looks up, but
for those that are known to be text, or to be looked up by the unit's own processes alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from posixpath import normpath
from typing import TYPE_CHECKING, Final

from tambourinefs.model import names, paths, unitfile

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from tambourinefs.model.unitfile import Setting

MOUNTS: Final = (str(paths.SILO), str(paths.PROC), str(paths.PROC_LITERAL))
OWN_DIRECTORIES: Final = (str(paths.STATE), str(paths.RUN), str(paths.CONFIG.parent))

# Text for people or for the program; the unit's own processes look these up, in a mount namespace of theirs
# (systemd.exec(5)). A dead mount named there fails that unit with 226/NAMESPACE and nothing else.
_NOT_LOOKED_UP: Final = frozenset(
    {
        "Description", "Documentation", "Environment", "PassEnvironment", "UnsetEnvironment", "SyslogIdentifier",
        "BindPaths", "BindReadOnlyPaths", "ReadOnlyPaths", "ReadWritePaths", "InaccessiblePaths", "ExecPaths",
        "NoExecPaths", "TemporaryFileSystem",
    }
)  # fmt: skip
# systemd makes these below the directory, gives them to the unit's user, and removes runtime ones at stop.
_MADE_BELOW: Final = {
    "RuntimeDirectory": "/run",
    "StateDirectory": "/var/lib",
    "CacheDirectory": "/var/cache",
    "LogsDirectory": "/var/log",
    "ConfigurationDirectory": "/etc",
}
# systemd makes a socket, a FIFO or a link there in place of what it finds, or removes it at stop (systemd.socket(5),
# systemd.service(5)).
_TAKEN_AT: Final = frozenset(
    {
        "ListenStream", "ListenDatagram", "ListenSequentialPacket", "ListenFIFO", "ListenSpecial", "ListenUSBFunction",
        "Symlinks", "PIDFile",
    }
)  # fmt: skip
_COVERS: Final = frozenset({"Where"})  # what is mounted over a parent of ours hides ours
_EXEC_PREFIXES: Final = "@-:+!|"  # systemd.service(5), COMMAND LINES
_ROOT_OF_A_PROCESS: Final = re.compile(r"/proc/(?:self|thread-self|[0-9]+)/(?:root|cwd)(?=/|$)")
_BRACKETS: Final = re.compile(
    r"\[[!^]?\]?[^\]]*\]|\\."
)  # of a pattern: each stands for one character
_TRUE: Final = frozenset({"1", "yes", "y", "true", "t", "on"})  # parse_boolean()


@dataclass(frozen=True, slots=True)
class Mention:
    """A setting that names something of ours: `path` is what it would reach, `root` what of ours that is."""

    setting: Setting
    path: str
    root: str


def mentions(
    texts: Iterable[str], unit: str, mounts: Iterable[str] = MOUNTS
) -> tuple[Mention, ...]:
    """The settings by which systemd itself would look up a path in `mounts`, cover one, or take a directory of ours.

    `texts` are the unit file and its drop-ins; `mounts` are normalised. Conservative: a setting that a later one
    resets counts too. Symbolic links are not followed, but /var/run is /run.
    """
    roots = tuple(mounts)
    return tuple(
        mention
        for text in texts
        for setting in unitfile.parse(text).settings
        if not setting.section.startswith("X-")
        for mention in _mentions(setting, unit, roots)
    )


def _mentions(setting: Setting, unit: str, roots: tuple[str, ...]) -> Iterator[Mention]:
    # What only the host knows may be anything, also nothing (%w).
    value = unitfile.expand(setting.value, unit, unknown="*")
    if setting.key in _MADE_BELOW:
        for word in unitfile.words(value):
            for part in word.split(":"):
                path = _clean(f"{_MADE_BELOW[setting.key]}/{part}")
                for root in OWN_DIRECTORIES:
                    if _touches(path, root) or ("*" in path and _matches(path, root)):
                        yield Mention(setting, path, root)
        return
    if setting.key == "PIDFile" and not value.startswith("/"):
        value = f"/run/{value}"  # systemd.service(5)
    if setting.key in _TAKEN_AT:
        roots += OWN_DIRECTORIES
    for path in _looked_up(setting.key, value):
        if setting.key.endswith("Glob") and "{" in path:  # safe_glob() with GLOB_BRACE
            path = path[: path.index("{")].rpartition("/")[0] + "/**"  # noqa: PLW2901
        for root in roots:
            if _matches(path, root) or (
                setting.key in _COVERS and names.is_at_or_below(root, path)
            ):
                yield Mention(setting, path, root)


def _touches(path: str, root: str) -> bool:
    return names.is_at_or_below(path, root) or names.is_at_or_below(root, path)


def _looked_up(key: str, value: str) -> Iterator[str]:
    """The normalised paths that systemd may look up for a setting."""
    if key in _NOT_LOOKED_UP:
        return
    words = unitfile.words(value)
    if key.startswith("Exec"):
        words = [word.lstrip(_EXEC_PREFIXES) for word in words[:1]]
    else:
        words.append(value)
    for word in words:
        # "ID:/path", "file:/path", "-/path", "|!/path", "/path:/other"
        for part in re.split("[:=]", word):
            place = part.find("/")
            if place >= 0:
                yield _clean(part[place:])


def _clean(path: str) -> str:
    """Normalised, with the aliases undone that every Linux host has."""
    path = "/" + normpath(path).lstrip("/")
    while match := _ROOT_OF_A_PROCESS.match(path):
        path = "/" + path[match.end() :].lstrip("/")
    return path.removeprefix("/var") if names.is_at_or_below(path, "/var/run") else path


def _matches(path: str, root: str) -> bool:
    """Whether looking up `path`, which may be a pattern (glob(7)), reaches `root` or something in it."""
    have, want = path.strip("/").split("/"), root.strip("/").split("/")
    if have[-1] == "**":
        have[-1:] = ["*"] * len(want)
    if len(have) < len(want):
        return False
    return all(_could_be(name, part) for name, part in zip(want, have, strict=False))


def _could_be(name: str, pattern: str) -> bool:
    """Whether `pattern` could match `name`; brackets match any character.

    Not fnmatch, whose regular expressions a hostile pattern makes slow: this is linear in the pattern for a name of ours.
    """
    if name == pattern:
        return True
    if not any(special in pattern for special in "*?[\\"):
        return False
    if len(pattern) > names.FILE_NAME_MAX:
        return True  # nobody's: brackets that nothing closes cost the square of its length
    rest, *stars = _BRACKETS.sub("?", pattern).split("*")
    if not stars:
        return _alike(name, rest)
    return _alike(name[: len(rest)], rest) and _in_order(name[len(rest) :], stars)


def _in_order(name: str, parts: list[str]) -> bool:
    """Whether the parts that stars separate are found one after the other, the last one at the end."""
    *middle, last = parts
    for part in middle:
        while name and not _alike(name[: len(part)], part):
            name = name[1:]
        if not _alike(name[: len(part)], part):
            return False
        name = name[len(part) :]
    return len(name) >= len(last) and _alike(name[len(name) - len(last) :], last)


def _alike(text: str, pattern: str) -> bool:
    return len(text) == len(pattern) and all(
        p in {"?", t} for t, p in zip(text, pattern, strict=True)
    )


def users(texts: Iterable[str], unit: str) -> frozenset[str]:
    """Every user, by name or number as written, that some setting would run processes of the unit as; root is not listed.

    `DynamicUser=` takes a user that exists already when it has the unit's name, so that name counts.
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
    """The units that starting or stopping this one would stop as well (systemd.unit(5))."""
    return _named(texts, unit, "Unit", {"Conflicts", "PropagatesStopTo"})


def holds_up(texts: Iterable[str], unit: str) -> frozenset[str]:
    """The units whose start would wait, at boot too, until this one is up (systemd.unit(5))."""
    return _named(texts, unit, "Unit", {"Before"})


def required_by(texts: Iterable[str], unit: str) -> frozenset[str]:
    """The units that would require this one once it is enabled, and so stop when it is stopped (systemd.unit(5))."""
    return _named(texts, unit, "Install", {"RequiredBy"})


def _named(texts: Iterable[str], unit: str, section: str, keys: Container[str]) -> frozenset[str]:
    return frozenset(
        unitfile.expand(word, unit)
        for text in texts
        for setting in unitfile.parse(text).settings
        if setting.section == section and setting.key in keys
        for word in unitfile.words(setting.value, keep_escapes=True)
    )
