"""What becomes of a manifest when it is applied, commanded or compared, without a host."""

from __future__ import annotations

import uuid

import msgspec
import pytest

from tambourinefs.cli.host.command import commanded
from tambourinefs.cli.host.edit import content, successor
from tambourinefs.cli.host.yamltext import manifest_diff, to_yaml
from tambourinefs.errors import InvalidManifest
from tambourinefs.model.manifest import Manifest, parse_json, parse_yaml, to_json

HELLO = """\
apiVersion: tambourine.dev/v1alpha1
kind: Tambourine
metadata:
  name: hello
  labels: {team: a}
spec:
  name: hello
  command: start
  unit: |
    [Service]
    ExecStart=/usr/bin/sleep infinity
"""


def manifest(text: str = HELLO) -> Manifest:
    return parse_yaml(text.encode(), source="test")[0]


def test_the_first_gets_an_identity() -> None:
    first = successor(None, manifest())
    assert first.metadata.namespace == "local"
    assert first.metadata.generation == 1
    assert uuid.UUID(first.metadata.uid).version == 4
    assert first.metadata.creation_timestamp.endswith("Z")


def test_an_equal_one_is_the_stored_one() -> None:
    stored = successor(None, manifest())
    assert successor(stored, manifest()) == stored


def test_a_changed_one_keeps_its_identity_and_is_the_next_generation() -> None:
    stored = successor(None, manifest())
    changed = successor(stored, manifest(HELLO.replace("infinity", "60")))
    assert changed.metadata.uid == stored.metadata.uid
    assert changed.metadata.creation_timestamp == stored.metadata.creation_timestamp
    assert changed.metadata.generation == 2
    relabelled = successor(changed, manifest(HELLO.replace("infinity", "60").replace("a}", "b}")))
    assert relabelled.metadata.generation == 3


def test_an_identity_in_the_file_is_not_taken_over() -> None:
    stored = successor(None, manifest())
    foreign = msgspec.structs.replace(
        manifest(),
        metadata=msgspec.structs.replace(
            manifest().metadata,
            uid="theirs",
            generation=99,
            annotations={"kubectl.kubernetes.io/last-applied-configuration": "{}"},
        ),
    )
    assert successor(stored, foreign) == stored


def test_the_unit_of_a_manifest_is_immutable() -> None:
    stored = successor(None, manifest())
    with pytest.raises(InvalidManifest, match=r"hello\.service cannot become x\.service") as caught:
        successor(
            stored, manifest(HELLO.replace("  name: hello\n  command", "  name: x\n  command"))
        )
    assert caught.value.field == "spec.name"
    assert "tambourine delete hello" in caught.value.hint


def test_each_command_is_a_new_generation_also_when_it_reads_the_same() -> None:
    stored = successor(None, manifest())
    once = commanded(stored, "start", "id-1")
    assert (once.metadata.generation, once.spec.command, once.spec.command_id) == (2, "start", "")
    again = commanded(once, "restart", "id-2")
    assert (again.metadata.generation, again.spec.command_id) == (3, "id-2")
    assert content(commanded(again, "start", "")) == content(once)


def test_a_diff_is_empty_exactly_when_apply_changes_nothing() -> None:
    stored = successor(None, manifest())
    assert manifest_diff(stored, manifest(), "hello.yaml") == []
    changed = manifest(HELLO.replace("infinity", "60"))
    lines = manifest_diff(stored, changed, "hello.yaml")
    assert lines[:2] == ["--- silo/local/hello", "+++ hello.yaml"]
    assert "-    ExecStart=/usr/bin/sleep infinity" in lines
    assert "+    ExecStart=/usr/bin/sleep 60" in lines
    new = manifest_diff(None, changed, "hello.yaml")
    assert new[0] == "--- /dev/null"
    assert all(line.startswith(("+", "@", "---")) for line in new)


def test_yaml_that_is_printed_can_be_applied_again() -> None:
    odd = "[Service]\nExecStart=/bin/sh -c 'echo \"ä: #\\t\"'\n  trailing \n\n"
    first = successor(None, manifest())
    first = msgspec.structs.replace(first, spec=msgspec.structs.replace(first.spec, unit=odd))
    plain = msgspec.json.decode(to_json(first))
    assert parse_yaml(to_yaml(plain).encode(), source="again") == [first]
    assert parse_json(to_json(first), source="again") == first
