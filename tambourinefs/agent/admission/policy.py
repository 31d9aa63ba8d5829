"""What this host's configuration allows a manifest to do. Pure.

It guards against mistakes and against a cluster that asks for more than the host allows. A user who
may write in an allowed namespace is root on the host all the same, since a unit runs as root
(docs/security.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import chain
from posixpath import normpath
from typing import TYPE_CHECKING, Final

from tambourinefs.agent.admission import fieldpath, unittext
from tambourinefs.model import names, paths, unitfile
from tambourinefs.model.names import is_at_or_below
from tambourinefs.model.status import FALSE, ConditionState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tambourinefs.model.manifest import Manifest, Spec

NOT_ALLOWED: Final = "NamespaceNotAllowed"
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
_WILDCARD: Final = re.compile(r"[*?\[]")
_SPECIFIER: Final = re.compile("%.")
KERNEL: Final = ("/proc", "/sys", "/dev")


@dataclass(frozen=True, slots=True)
class Policy:
    """The part of the configuration that admission uses. Paths are normalised."""

    namespaces: tuple[str, ...] = ("local",)  # "*": all
    denied_units: tuple[str, ...] = ()  # globs
    allowed_units: tuple[str, ...] = ()  # globs that override denied_units
    file_prefixes: tuple[str, ...] = ("/etc", "/usr/local", "/opt", "/var/lib")
    forbidden: tuple[str, ...] = ()  # this host's own paths, beside the fixed ones
    mounts: tuple[str, ...] = unittext.MOUNTS
    writers: tuple[str, ...] = ()  # users that may write the silo, by name and by number


FORBIDDEN: Final = (
    *UNIT_DIRECTORIES,
    *KERNEL,
    str(paths.CONFIG.parent),
    str(paths.STATE),
    str(paths.RUN),
    str(paths.PREFIX),
    # What the installation has elsewhere, and what would override it (tmpfiles.d(5), sysusers.d(5)).
    "/usr/local/bin/tambourine",
    *(
        f"{root}/{kind}/tambourine.conf"
        for root in ("/etc", "/run", "/usr/local/lib")
        for kind in ("tmpfiles.d", "sysusers.d")
    ),
)


def allows(policy: Policy, namespace: str) -> bool:
    """Whether this host allows that namespace. "*" does not cover `local`, which is the host's."""
    return namespace in policy.namespaces or ("*" in policy.namespaces and namespace != "local")


def is_denied(policy: Policy, unit: str) -> bool:
    """Whether the unit may only be observed. Tambourine's own units always; to deny a template denies
    its instances, and to deny a unit denies what would change it: its template, and `a-.service`
    for `a-b.service`.
    """
    if names.is_own_unit(unit):
        return True
    itself = {unit, names.template_of(unit) or unit}
    if any(fnmatchcase(name, glob) for glob in policy.allowed_units for name in itself):
        return False
    return any(
        fnmatchcase(name, glob) or _reaches_some(unit, glob)
        for glob in policy.denied_units
        for name in itself
    )


def _reaches_some(unit: str, glob: str) -> bool:
    """Whether drop-ins of `unit` may apply to a unit that the glob matches, decided by the glob's
    literal prefix.
    """
    literal = _WILDCARD.split(glob)[0]
    if literal == glob:
        return names.reaches(unit, glob)
    ends = names.unit_type(glob)
    other_type = ends in names.UNIT_TYPES and ends != names.unit_type(unit)
    stem = names.prefix(unit)
    return stem.endswith("-") and literal.startswith(stem) and not other_type


def refusal(manifest: Manifest, policy: Policy) -> ConditionState | None:
    """Why this host's configuration does not allow the manifest; None: it does."""
    namespace = manifest.metadata.namespace
    if not allows(policy, namespace):
        return ConditionState(
            FALSE,
            NOT_ALLOWED,
            f"namespace {namespace} is not allowed on this host: add it to agent.namespaces in"
            f" {paths.CONFIG} to allow it",
        )
    message = next(_denials(manifest.spec, policy), None)
    return None if message is None else ConditionState(FALSE, DENIED, message)


def alias_refusal(spec: Spec, called: Iterable[str], policy: Policy) -> ConditionState | None:
    """The same for `called`, the names that the unit has on this host: sshd.service is ssh.service."""
    if only_observes(spec) or any(fnmatchcase(spec.unit_name, g) for g in policy.allowed_units):
        return None
    denied = next((name for name in sorted(set(called)) if name and is_denied(policy, name)), None)
    if denied is None:
        return None
    message = f"{spec.unit_name} is {denied} on this host, which agent.denied_units denies"
    return ConditionState(FALSE, DENIED, fieldpath.at(fieldpath.NAME, message))


def only_observes(spec: Spec) -> bool:
    """Whether the manifest changes nothing on the host and commands nothing."""
    changes = spec.unit is not None or spec.drop_ins or spec.files
    return not changes and spec.command is None and spec.enabled is None


def _denials(spec: Spec, policy: Policy) -> Iterator[str]:
    if only_observes(spec):
        return
    for message in _name_denials(spec.unit_name, policy):
        yield fieldpath.at(fieldpath.NAME, message)
    for file in spec.files:
        for message in _path_denials(file.path, policy):
            yield fieldpath.at(fieldpath.of_file(spec, file.path), message)
    for message in chain(_other_names(spec, policy), _text_denials(spec, policy)):
        yield fieldpath.at(fieldpath.of_texts(spec), message)


def _name_denials(unit: str, policy: Policy) -> Iterator[str]:
    if names.is_own_unit(unit):
        yield f"{unit} is part of Tambourine: it may only be observed"
    if is_denied(policy, unit):
        yield f"{unit} may only be observed on this host (agent.denied_units)"
    if any(at in policy.writers for at in _instances(unit)):
        yield f"{unit}: a template with User=%i would run it as a writer of the silo"
    if covered := _covers(unit):
        yield f"{unit} mounts over {covered}, a directory of Tambourine"


def _other_names(spec: Spec, policy: Policy) -> Iterator[str]:
    for other in sorted(unitfile.aliases(spec.texts, spec.unit_name)):
        if "%" in other:
            yield f"Alias= or Also= {names.printable(other)}: its value depends on the host"
        if is_denied(policy, other):
            yield f"Alias= or Also= names {other}, which agent.denied_units denies"


def _instances(unit: str) -> Iterator[str]:
    instance = names.instance(unit)
    if instance is not None:
        yield from (instance, names.unescape(instance))


def _covers(unit: str) -> str:
    """The directory of Tambourine that a mount unit hides, or removes when it stops; "" for none. Its
    name is its Where=.
    """
    if names.unit_type(unit) not in {"mount", "automount"}:
        return ""
    where = names.unescape_path(unit.rpartition(".")[0])
    ours = (paths.STATE, paths.RUN, paths.CONFIG.parent, paths.PREFIX)
    return next((str(own) for own in ours if names.is_at_or_below(str(own), where)), "")


def _path_denials(path: str, policy: Policy) -> Iterator[str]:
    for root in (*FORBIDDEN, *policy.forbidden):
        if is_at_or_below(path, root):
            yield f"{path} is at or below {root}, where no file is allowed"
    if not any(is_at_or_below(path, prefix) for prefix in policy.file_prefixes):
        allowed = ", ".join(policy.file_prefixes)
        yield f"{path} is not below an allowed prefix: {allowed} (agent.file_prefixes)"


def _text_denials(spec: Spec, policy: Policy) -> Iterator[str]:
    for setting, root in unittext.own_paths(spec.texts, spec.unit_name, policy.mounts):
        value = names.printable(setting.value)
        yield f"{setting.key}={value} names a path of {root}, which belongs to Tambourine"
    for user in sorted(unittext.users(spec.texts, spec.unit_name)):
        if user in policy.writers or _may_be_any(user, policy.writers):
            yield f"User={user} would run the unit as a writer of the silo"
    for other in sorted(unittext.required_by(spec.texts, spec.unit_name)):
        if "%" in other or is_denied(policy, other):
            yield (
                f"RequiredBy={names.printable(other)}: that unit would stop with this one, and"
                " agent.denied_units denies it; use WantedBy="
            )
    for other in sorted(unittext.stops(spec.texts, spec.unit_name)):
        if names.is_own_unit(other):
            yield f"Conflicts= or PropagatesStopTo= {other} would stop Tambourine"
    for other in sorted(unittext.delays(spec.texts, spec.unit_name)):
        if names.is_own_unit(other):
            yield f"Before={other}: Tambourine would not start until this unit is up"


def _may_be_any(user: str, writers: Iterable[str]) -> bool:
    """Whether specifiers that only the host knows may make it one of them: `bomb%wshell`, %w empty."""
    pattern = _SPECIFIER.sub("*", user)
    # A specifier alone (User=%i of a template) names no user until there is an instance.
    return (
        "%" in user and pattern.strip("*") != "" and any(fnmatchcase(w, pattern) for w in writers)
    )


def normal_paths(configured: Iterable[str]) -> tuple[str, ...]:
    """Configured paths, normalised, without relative and empty ones."""
    return tuple(normpath(path) for path in configured if path.startswith("/"))
