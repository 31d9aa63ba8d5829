"""The fields of a spec that a Tambourine uses: an older agent must not get fields that it lacks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from tambourinefs.model import schema
from tambourinefs.model.schema import Spec

# For the controller only.
_NOT_FOR_NODES: Final = frozenset({"nodeName", "nodeSelector", "rollout"})


def known() -> tuple[str, ...]:
    """Paths of all fields that this release's parser knows, such as `spec.files[].mode`."""
    return tuple(
        sorted(
            f"{path}.{name}"
            for path, shape in schema.STRUCTS.items()
            if path.startswith("spec")
            for name in shape.__struct_encode_fields__
        )
    )


def used(spec: Spec) -> frozenset[str]:
    """Paths of the fields that are sent to a node."""
    plain: dict[str, Any] = msgspec.to_builtins(spec)
    wanted = {name: value for name, value in plain.items() if name not in _NOT_FOR_NODES}
    return frozenset(_paths(wanted, "spec"))


def _paths(value: dict[str, Any], path: str) -> Iterator[str]:
    for name, inner in value.items():
        here = f"{path}.{name}"
        yield here
        if isinstance(inner, dict):
            yield from _paths(inner, here)
        elif isinstance(inner, list | tuple):
            for item in inner:
                yield from _paths(item, f"{here}[]")
