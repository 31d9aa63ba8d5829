"""The shape of a Tambourine object, field by field (group tambourine.dev, version v1alpha1).

Rules between fields are in rules.py. Names are camelCase on the wire, snake_case here.
"""

from __future__ import annotations

import base64
from typing import Annotated, Final, Literal

import msgspec

from tambourinefs.model import names

API_VERSION: Final = "tambourine.dev/v1alpha1"
KIND: Final = "Tambourine"
MAX_FILES: Final = 256
MAX_DROP_INS: Final = 64
MAX_LABELS: Final = 64
DEFAULT_MODE: Final = "0644"

State = Literal["installed", "absent"]
Command = Literal["start", "stop", "restart", "reload"]
OnChange = Literal["restart", "reload", "none"]
DeletionPolicy = Literal["uninstall", "orphan"]
Generation = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Wire(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True
):
    """What all parts of a manifest share."""


class DropIn(Wire, frozen=True):
    """`<unit>.d/<name>`. `name` ends in .conf."""

    name: str
    content: str


class ContentFrom(Wire, frozen=True):
    """A file beside the manifest in the silo with the digest `sha256` (64 lower case hex digits)."""

    silo: str
    sha256: str


class File(Wire, frozen=True):
    """A file on the host. Exactly one of `content`, `content_base64`, `content_from` is set.

    `mode` has four octal digits; manifests may also have the integer that YAML makes of 0644 (420),
    as in `defaultMode` of ConfigMap volumes. `owner` and `group` are a name or a number.
    """

    path: str
    content: str | None = None
    content_base64: str | None = None
    content_from: ContentFrom | None = None
    mode: str = DEFAULT_MODE
    owner: str = "root"
    group: str = "root"

    @property
    def permissions(self) -> int:
        """The mode as a number: 0o644."""
        return int(self.mode, 8)

    def inline_bytes(self) -> bytes | None:
        """The content in the manifest; None if it is in the silo."""
        if self.content is not None:
            return self.content.encode()
        if self.content_base64 is not None:
            return base64.b64decode(self.content_base64, validate=True)
        return None


class Rollout(Wire, frozen=True):
    """How a change is rolled out to the nodes of a cluster; ignored by the host."""

    max_unavailable: int | str = 1  # nodes, or "25%"
    paused: bool = False


class Spec(Wire, frozen=True):
    """The desired state of a service."""

    name: str
    state: State = "installed"
    command: Command | None = None
    command_id: str = msgspec.field(name="commandID", default="")
    node_name: str = ""
    node_selector: Annotated[dict[str, str], msgspec.Meta(max_length=MAX_LABELS)] = {}
    unit: str | None = None
    drop_ins: Annotated[tuple[DropIn, ...], msgspec.Meta(max_length=MAX_DROP_INS)] = ()
    files: Annotated[tuple[File, ...], msgspec.Meta(max_length=MAX_FILES)] = ()
    enabled: bool | None = None
    on_change: OnChange | None = None
    deletion_policy: DeletionPolicy = "uninstall"
    rollout: Rollout = Rollout()

    @property
    def unit_name(self) -> str:
        """The unit's full name; `.service` is implied."""
        return names.with_suffix(self.name)

    @property
    def texts(self) -> tuple[str, ...]:
        """The text of the unit, if any, and of its drop-ins, in the order in which systemd reads them."""
        drop_ins = sorted(self.drop_ins, key=lambda drop_in: drop_in.name)
        return (*([] if self.unit is None else [self.unit]), *(d.content for d in drop_ins))


class Metadata(Wire, frozen=True):
    """Identity. `creation_timestamp` (RFC 3339) decides conflicts: the older manifest wins."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: Generation = 0
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    creation_timestamp: str = ""


class Manifest(Wire, frozen=True, omit_defaults=False):
    """A Tambourine object without its status."""

    api_version: Literal["tambourine.dev/v1alpha1"]
    kind: Literal["Tambourine"]
    metadata: Metadata
    spec: Spec


# Fields of metadata that a host does not use.
SERVER_FIELDS: Final = frozenset(
    {
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "managedFields",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
    }
)

# The struct at each path: for errors with the most similar field name.
STRUCTS: Final[dict[str, type[Wire]]] = {
    "": Manifest,
    "metadata": Metadata,
    "spec": Spec,
    "spec.dropIns[]": DropIn,
    "spec.files[]": File,
    "spec.files[].contentFrom": ContentFrom,
    "spec.rollout": Rollout,
}
CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "apiVersion": (API_VERSION,),
    "kind": (KIND,),
    "spec.state": State.__args__,  # type: ignore[attr-defined]
    "spec.command": Command.__args__,  # type: ignore[attr-defined]
    "spec.onChange": OnChange.__args__,  # type: ignore[attr-defined]
    "spec.deletionPolicy": DeletionPolicy.__args__,  # type: ignore[attr-defined]
}
