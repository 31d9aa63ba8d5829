"""Manifests as YAML: literal blocks for texts with several lines, keys in the order of the model."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import yaml

from tambourinefs.cli.host.connection import LOCAL
from tambourinefs.cli.host.edit import content, successor
from tambourinefs.model.yamldocument import is_plain

if TYPE_CHECKING:
    from tambourinefs.model.manifest import Manifest


class _Dumper(yaml.SafeDumper):
    """SafeDumper with literal blocks, no anchors and lists indented below their key."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    if (
        not is_plain(text) or "\x85" in text
    ):  # a string to PyYAML alone; a line break to every YAML reader
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(plain: object) -> str:
    """The data as one YAML document that `tambourine apply -f -` takes."""
    return yaml.dump(
        plain,
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=False,
        allow_unicode=True,
        width=1000,
    )


def manifest_diff(stored: Manifest | None, wanted: Manifest, origin: str) -> list[str]:
    """A unified diff of the stored manifest and `wanted`, without newlines; empty where nothing would change."""
    before = to_yaml(content(stored)).splitlines() if stored else []
    after = to_yaml(content(successor(stored, wanted))).splitlines()
    left = f"silo/{LOCAL}/{wanted.metadata.name}" if stored else "/dev/null"
    return list(difflib.unified_diff(before, after, left, origin, lineterm=""))
