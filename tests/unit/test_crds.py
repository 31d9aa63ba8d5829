"""k8s/crds against the model: the same fields, all described, none with a default; a unit's text by the same grammar.

What the API server itself makes of them is tests/cluster/test_corpus.py's.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tambourinefs.errors import InvalidManifest
from tambourinefs.model import cluster, manifest, names, paths
from tambourinefs.model.schema import MAX_DROP_INS, MAX_FILES, MAX_LABELS, STRUCTS
from tambourinefs.model.status import ACCEPTED, APPLIED, READY
from tambourinefs.sync import node_conditions
from tests.unit import unit_grammar

CRDS = Path(__file__).parents[2] / "k8s/crds"
KINDS = ("tambourines", "tambourinenodes", "tambourineinstances", "tambourinerevisions")
HOW_MANY = 3_000  # texts
PIECES = [
    "[A]", "[", "]", "[]", "A", "=", "B=1", "\\", "\\\\", "\n", "\n", "\n", "\r\n", "\r", "#", "; x", " ", "\t", "'", '"',
    "[B]", "\ufeff", "\\\n", "x", "\x01", "[X-Tambourine]", "\u2028",
]  # fmt: skip


def _schema(plural: str) -> dict[str, Any]:
    crd = yaml.safe_load((CRDS / f"{plural}.yaml").read_text())
    found: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    return found


def _fields(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from _fields(field, f"{path}.{name}")
        yield from _fields(field.get("items", {}), f"{path}.{name}[]")


@pytest.mark.parametrize("plural", KINDS)
def test_every_field_is_described_bounded_and_without_a_default(plural: str) -> None:
    fields = [*_fields(_schema(plural)["spec"], "spec")] if "spec" in _schema(plural) else []
    fields += [*_fields(_schema(plural).get("status", {}), "status")]
    assert len(fields) > 5
    for path, field in fields:
        assert field.get("description", "").rstrip("')").endswith("."), path
        assert "default" not in field, path
        if field.get("type") == "string" and "enum" not in field and "format" not in field:
            assert field.get("maxLength"), path
        if field.get("type") == "array":
            assert field.get("maxItems"), path


def test_the_crd_has_the_fields_of_the_parser_and_no_others() -> None:
    known = {
        f"{path}.{name}"
        for path, shape in STRUCTS.items()
        if path.startswith("spec")
        for name in shape.__struct_encode_fields__
    }
    assert {path for path, _ in _fields(_schema("tambourines")["spec"], "spec")} == known


def _written_to_nodes() -> list[str]:
    written = node_conditions.conditions(
        cluster.Node(), {}, host="", identity="", certificates="", clock=""
    )
    return [one.type for one in written]


@pytest.mark.parametrize(
    ("plural", "types"),
    [
        ("tambourines", [ACCEPTED, APPLIED, READY]),
        ("tambourineinstances", [ACCEPTED, APPLIED, READY]),
        ("tambourinenodes", _written_to_nodes()),
    ],
)
def test_the_described_condition_types_are_those_that_are_written(
    plural: str, types: list[str]
) -> None:
    conditions = _schema(plural)["status"]["properties"]["conditions"]
    listed = conditions["items"]["properties"]["type"]["description"]
    assert listed == f"The type of the condition, one of {', '.join(types)}."
    assert conditions["description"].endswith(f": {', '.join(types)}.")


def test_a_revision_holds_what_a_tambourine_can_say() -> None:
    spec = _schema("tambourines")["spec"]["properties"]
    content = _schema("tambourinerevisions")["spec"]["properties"]["content"]["properties"]
    assert content == {name: spec[name] for name in content}
    assert set(spec) - set(content) == {
        "state", "command", "commandID", "nodeName", "nodeSelector", "rollout",
    }  # fmt: skip


def test_bounds_and_patterns_are_the_models() -> None:
    spec = _schema("tambourines")["spec"]["properties"]
    assert spec["files"]["maxItems"] == MAX_FILES
    assert spec["dropIns"]["maxItems"] == MAX_DROP_INS
    assert spec["nodeSelector"]["maxProperties"] == MAX_LABELS
    assert spec["unit"]["pattern"] == unit_grammar.UNIT
    assert spec["dropIns"]["items"]["properties"]["content"]["pattern"] == unit_grammar.DROP_IN


def _near_our_own() -> set[str]:
    """Our units' names up to each of their dashes, with what may follow, of every type: ours and what looks so."""
    stems = {own.rpartition(".")[0] for own in paths.OWN_UNITS}
    words = [stem.split("-") for stem in stems]
    heads = {"-".join(parts[:count]) for parts in words for count in range(1, len(parts) + 1)}
    ends = ("", "-", "@", "@x", "-@", "-@x", "-@a.timer", "-x", "x", "--")
    types = ("", *(f".{kind}" for kind in names.UNIT_TYPES))
    return {f"{head}{end}{kind}" for head in heads for end in ends for kind in types}


def test_the_crd_refuses_the_units_that_the_node_takes_for_our_own() -> None:
    """Its rules are read as Python: `!`, `&&` and RE2's matches(), which finds anywhere, as re.search does."""
    rules = [
        entry["rule"]
        .replace("self.name.matches(", "found(")
        .replace("!", " not ")
        .replace("&&", " and ")
        for entry in _schema("tambourines")["spec"]["x-kubernetes-validations"]
        if "unit of Tambourine" in entry["message"]
    ]
    assert len(rules) == 2
    refused, wanted = set(), set()
    for name in _near_our_own():
        unit = names.with_suffix(name)
        if names.unit_problem(unit):  # refused for that, by another rule
            continue
        scope = {"found": lambda pattern, name=name: re.search(pattern, name) is not None}
        if not all(eval(rule.strip(), scope) for rule in rules):
            refused.add(name)
        if names.is_own_unit(unit):
            wanted.add(name)
    assert refused == wanted
    assert set(paths.OWN_UNITS) <= wanted
    assert {"tambourine-pki-", "tambourine-pki-@x.timer", "tambourine-first-.service"} <= wanted


def _as_python(pattern: str) -> re.Pattern[str]:
    """RE2's spelling in Python's."""
    return re.compile(pattern.replace(r"\x{feff}", "\ufeff").removesuffix("$") + r"\Z")


def _refused(**spec: Any) -> str:
    item = {"apiVersion": "tambourine.dev/v1alpha1", "kind": "Tambourine"}
    document = {**item, "metadata": {"name": "a"}, "spec": {"name": "a", **spec}}
    try:
        manifest.parse_json(json.dumps(document).encode(), source="x")
    except InvalidManifest as error:
        return str(error)
    return ""


def test_the_grammar_of_units_is_what_the_parser_takes() -> None:
    dice, taken = random.Random(7), 0
    unit, drop_in = _as_python(unit_grammar.UNIT), _as_python(unit_grammar.DROP_IN)
    for _ in range(HOW_MANY):
        text = "".join(dice.choice(PIECES) for _ in range(dice.randint(0, 9)))
        stamped = "X-Tambourine" in text  # refused by the policy, not by the grammar
        for pattern, said in (
            (unit, _refused(unit=text)),
            (drop_in, _refused(dropIns=[{"name": "a.conf", "content": text}])),
        ):
            if not stamped:
                assert bool(pattern.match(text)) == (not said), (text, said)
            taken += not said
    assert taken > HOW_MANY / 10
