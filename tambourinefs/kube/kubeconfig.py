"""Which kubeconfig, context and namespace are selected, by kubectl's rules; access.py loads the credentials.

Source: Kubernetes, "Organizing Cluster Access Using kubeconfig Files". Of several files the first that sets a value
wins, for `current-context` too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tambourinefs.errors import InvalidConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT_NAMESPACE: Final = "default"
_MAX_BYTES: Final = 4 << 20
_HINT: Final = (
    "give --kubeconfig FILE, or set KUBECONFIG; `kubectl config get-contexts` lists contexts"
)


@dataclass(frozen=True, slots=True)
class Chosen:
    """`files` is empty in a pod, where its service account is used."""

    files: tuple[Path, ...]
    context: str
    namespace: str


def choose(kubeconfig: str, context: str, environment: Mapping[str, str]) -> Chosen:
    """What `--kubeconfig`, `--context` ("": not given) and the environment select.

    Raises InvalidConfig where there is no such file or context, or a file cannot be read.
    """
    files = _files(kubeconfig, environment)
    if not files:
        if "KUBERNETES_SERVICE_HOST" in environment and not context:
            return Chosen((), "", _pod_namespace())
        raise InvalidConfig("there is no kubeconfig", source=_source(environment), hint=_HINT)
    found = [_read(path) for path in files]
    name = context or _first(found, "current-context")
    if not name:
        raise InvalidConfig("no context is chosen", source=str(files[0]), hint=_HINT)
    entry = next((item for item in _contexts(found) if item.get("name") == name), None)
    if entry is None:
        raise InvalidConfig(f'there is no context "{name}"', source=str(files[0]), hint=_HINT)
    inner = entry.get("context")
    namespace = inner.get("namespace") if isinstance(inner, dict) else None
    return Chosen(tuple(files), name, str(namespace or DEFAULT_NAMESPACE))


def contexts(kubeconfig: str, environment: Mapping[str, str]) -> list[str]:
    """The names of all contexts, for completion. Raises InvalidConfig."""
    found = [_read(path) for path in _files(kubeconfig, environment)]
    return [str(item["name"]) for item in _contexts(found) if "name" in item]


def _files(kubeconfig: str, environment: Mapping[str, str]) -> list[Path]:
    """A file given by --kubeconfig must exist; missing ones in KUBECONFIG are skipped."""
    if kubeconfig:
        return [Path(kubeconfig)]
    listed = environment.get("KUBECONFIG", "")
    if listed:
        return [
            Path(name)
            for name in dict.fromkeys(listed.split(os.pathsep))
            if name and Path(name).exists()
        ]
    usual = Path(environment.get("HOME", "/")) / ".kube" / "config"
    return [usual] if usual.exists() else []


def _source(environment: Mapping[str, str]) -> str:
    return environment.get("KUBECONFIG", "") or "~/.kube/config"


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        found = yaml.safe_load(data) if len(data) <= _MAX_BYTES else "too large"
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise InvalidConfig(f"cannot be read: {said}", source=str(path), hint=_HINT) from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InvalidConfig("is not a kubeconfig", source=str(path), hint=_HINT)
    return found


def _first(found: Sequence[dict[str, Any]], key: str) -> str:
    return next((str(item[key]) for item in found if item.get(key)), "")


def _contexts(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    lists = [item.get("contexts") for item in found]
    return [
        entry for one in lists if isinstance(one, list) for entry in one if isinstance(entry, dict)
    ]


def _pod_namespace() -> str:
    try:
        return Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace").read_text().strip()
    except OSError:
        return DEFAULT_NAMESPACE
