"""What this host's administrator allows a manifest to do. Pure: it gets the configuration and says
no, or nothing.

It guards against mistakes and against a cluster that asks for more than the host gives; whoever may
write a respected namespace is root on the host all the same (docs/security.md), since any unit of
theirs runs as root.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from posixpath import normpath
from typing import TYPE_CHECKING, Final

from tambourinefs.model import exposure, names, paths, unitfile
from tambourinefs.model.names import is_at_or_below

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tambourinefs.model.manifest import Manifest, Spec

NOT_RESPECTED: Final = "NamespaceNotRespected"
DENIED: Final = "DeniedByPolicy"

# Where systemd finds units, generators and presets (systemd.unit(5), UNIT FILE LOAD PATH; systemd.generator(7)).
UNIT_DIRECTORIES: Final = (
    "/etc/systemd/system",
    "/etc/systemd/system.control",
    "/etc/systemd/system.attached",
    "/etc/systemd/system-generators",
    "/etc/systemd/system-preset",
    "/etc/systemd/user",
    "/etc/systemd/user-generators",
    "/etc/systemd/user-preset",
    "/etc/init.d",
    "/run/systemd",
    "/lib/systemd",
    "/usr/lib/systemd",
    "/usr/local/lib/systemd",
)
KERNEL: Final = ("/proc", "/sys", "/dev")


@dataclass(frozen=True, slots=True)
class Policy:
    """The part of the configuration that decides. Paths are normalised."""

    namespaces: tuple[str, ...] = ("local",)  # "*": all
    denied_units: tuple[str, ...] = ()  # globs
    allowed_units: tuple[str, ...] = ()  # globs that lift a denial
    file_prefixes: tuple[str, ...] = ("/etc", "/usr/local", "/opt", "/var/lib")
    forbidden: tuple[str, ...] = ()  # this host's own paths, beside the fixed ones
    mounts: tuple[str, ...] = (str(paths.SILO), str(paths.PROC), str(paths.PROC_LITERAL))
    writers: tuple[str, ...] = ()  # users that may write the silo, by name and by number


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not: a reason of the condition Accepted, and words for people."""

    reason: str
    message: str


FORBIDDEN: Final = (
    *UNIT_DIRECTORIES,
    *KERNEL,
    str(paths.CONFIG.parent),
    str(paths.STATE),
    str(paths.RUN),
    str(paths.PREFIX),
)


def respects(policy: Policy, namespace: str) -> bool:
    """Whether this host obeys that namespace. `local` never by "*": it is the host's own."""
    return namespace in policy.namespaces or ("*" in policy.namespaces and namespace != "local")


def is_denied(policy: Policy, unit: str) -> bool:
    """Whether the unit may only be observed. Our own units always; a template's denial covers its
    instances.
    """
    if names.is_own_unit(unit):
        return True
    if any(fnmatchcase(unit, glob) for glob in policy.allowed_units):
        return False
    return any(fnmatchcase(unit, glob) for glob in policy.denied_units)


def refusal(manifest: Manifest, policy: Policy) -> Refusal | None:
    """The first reason why this host does not do what the manifest says; None: it may."""
    namespace = manifest.metadata.namespace
    if not respects(policy, namespace):
        return Refusal(
            NOT_RESPECTED,
            f"this host does not respect namespace {namespace}: its administrator can add it to"
            f" agent.namespaces in {paths.CONFIG}",
        )
    message = next(_denials(manifest.spec, policy), None)
    return None if message is None else Refusal(DENIED, message)


def only_observes(spec: Spec) -> bool:
    """Whether it changes nothing on the host and commands nothing."""
    changes = spec.unit is not None or spec.drop_ins or spec.files
    return not changes and spec.command is None and spec.enabled is None


def _denials(spec: Spec, policy: Policy) -> Iterator[str]:
    if only_observes(spec):
        return
    if names.is_own_unit(spec.unit_name):
        yield f"{spec.unit_name} is Tambourine's own: it may be observed, not changed or commanded"
    if is_denied(policy, spec.unit_name):
        yield f"{spec.unit_name} may be observed, not changed or commanded, on this host (agent.denied_units)"
    for other in sorted(unitfile.aliases(spec.texts, spec.unit_name)):
        if is_denied(policy, other):
            yield f"Alias= or Also= takes {other}, which may not be changed on this host (agent.denied_units)"
    for file in spec.files:
        yield from _path_denials(file.path, policy)
    yield from _text_denials(spec, policy)


def _path_denials(path: str, policy: Policy) -> Iterator[str]:
    for root in (*FORBIDDEN, *policy.forbidden):
        if is_at_or_below(path, root):
            yield f"file {path}: nothing is written below {root}"
    if not any(is_at_or_below(path, prefix) for prefix in policy.file_prefixes):
        allowed = ", ".join(policy.file_prefixes)
        yield f"file {path}: this host allows files below {allowed} (agent.file_prefixes)"


def _text_denials(spec: Spec, policy: Policy) -> Iterator[str]:
    for mention in exposure.mentions(spec.texts, spec.unit_name, policy.mounts):
        setting = f"{mention.setting.key}={names.printable(mention.setting.value)}"
        yield f"{setting} reaches {mention.root}, which is Tambourine's: systemd could wait for it"
    for user in sorted(exposure.users(spec.texts, spec.unit_name)):
        if user in policy.writers:
            yield f"User={user} would run the unit as a writer of the silo"
    for other in sorted(exposure.stops(spec.texts, spec.unit_name)):
        if names.is_own_unit(other):
            yield f"Conflicts= or PropagatesStopTo= of {other} would stop Tambourine itself"


def normal_paths(configured: Iterable[str]) -> tuple[str, ...]:
    """Configured paths, normalised; relative and empty ones are left out."""
    return tuple(normpath(path) for path in configured if path.startswith("/"))
