"""Whatever a valid manifest says survives the silo, JSON and YAML."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tambourinefs.cli.host.yamltext import to_yaml
from tambourinefs.model.manifest import content_digest, parse_json, parse_yaml, to_json
from tambourinefs.model.yamldocument import from_yaml

text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
label = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
labels = st.dictionaries(label, label, max_size=3)
identifier = st.from_regex(r"[A-Za-z0-9 :._ä-]{1,40}", fullmatch=True)
unit_text = st.builds(
    "[Service]\n{}\n".format, text.filter(lambda value: not set("[\r\ufeff") & set(value))
)
mode = st.one_of(
    st.integers(0, 0o777).filter(lambda value: value not in {400, 440, 444, 500}),
    st.integers(0, 0o777).map("{:04o}".format),
)
owner = st.one_of(st.sampled_from(["root", "alice", "www-data"]), st.integers(0, 2**32 - 2))


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


def merged(*parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(*parts).map(lambda dicts: {k: v for part in dicts for k, v in part.items()})


content = st.one_of(
    text.map(lambda value: {"content": value}),
    st.binary(max_size=40).map(lambda data: {"contentBase64": base64.b64encode(data).decode()}),
    st.builds(
        lambda name, digest: {"contentFrom": {"silo": name, "sha256": digest.hex()}},
        label,
        st.binary(min_size=32, max_size=32),
    ),
)
path = st.lists(label, min_size=2, max_size=2).map(lambda parts: "/etc/" + "/".join(parts))
files = st.lists(
    merged(
        st.builds(lambda p: {"path": p}, path),
        content,
        optional(mode=mode, owner=owner, group=owner),
    ),
    max_size=4,
    unique_by=lambda file: file["path"],
)
drop_ins = st.lists(
    st.fixed_dictionaries({"name": label.map("{}.conf".format), "content": unit_text}),
    max_size=3,
    unique_by=lambda drop_in: drop_in["name"],
)
command = st.one_of(
    st.just({}),
    merged(
        st.builds(
            lambda c: {"command": c}, st.sampled_from(["start", "stop", "restart", "reload"])
        ),
        optional(commandID=identifier),
    ),
)
nodes: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}), label.map(lambda n: {"nodeName": n}), labels.map(lambda v: {"nodeSelector": v})
)
spec = merged(
    st.builds(
        lambda n, s: {"name": n + s},
        label,
        st.sampled_from(["", ".service", "@a.socket", ".timer"]),
    ),
    command,
    nodes,
    optional(
        state=st.sampled_from(["installed", "absent"]),
        unit=unit_text,
        dropIns=drop_ins,
        files=files,
        enabled=st.booleans(),
        onChange=st.sampled_from(["restart", "reload", "none"]),
        deletionPolicy=st.sampled_from(["uninstall", "orphan"]),
        rollout=optional(
            maxUnavailable=st.one_of(st.integers(1, 9), st.just("25%")), paused=st.booleans()
        ),
    ),
)
metadata = merged(
    label.map(lambda n: {"name": n}),
    optional(
        namespace=label,
        uid=identifier,
        generation=st.integers(0, 2**53),
        labels=labels,
        annotations=st.dictionaries(label, text, max_size=3),
        creationTimestamp=st.just("2026-11-22T21:50:00Z"),
    ),
)
objects = st.builds(
    lambda m, s: {
        "apiVersion": "tambourine.dev/v1alpha1",
        "kind": "Tambourine",
        "metadata": m,
        "spec": s,
    },
    metadata,
    spec,
)


@given(objects)
@settings(deadline=None)
def test_json_and_yaml_round_trip(value: dict[str, Any]) -> None:
    written = json.dumps(value, ensure_ascii=False).encode()
    found = parse_json(written, source="json")
    stored = to_json(found)
    assert parse_json(stored, source="silo") == found
    assert to_json(parse_json(stored, source="silo")) == stored
    assert parse_yaml(as_yaml(value).encode(), source="yaml") == [found]
    assert content_digest(parse_json(stored, source="silo")) == content_digest(found)


@given(objects)
@settings(deadline=None)
def test_output_of_get_can_be_applied(value: dict[str, Any]) -> None:
    found = parse_json(json.dumps(value).encode(), source="json")
    printed = to_yaml(json.loads(to_json(found)))
    assert parse_yaml(printed.encode(), source="yaml") == [found]


STRINGS = [
    "y", "n", "on", "1e3", "08", "0o17", "0b1", "1_0", "<<", "~", "null", ".inf", "2026-01-01", "12:30:45", "+1", "-",
    "a\x85b", "a\nb\x85c\n", "a\u2028b\n", "\ufeff", "x\n\n", "x\n ", "\n", "  lead\nb", " \n", "\t\n", "\x7f\nb", "a\r\nb",
]  # fmt: skip


@pytest.mark.parametrize("text", STRINGS, ids=ascii)
def test_ambiguous_strings_survive_printing(text: str) -> None:
    [document] = from_yaml(to_yaml({"key": text, text: "value"}).encode(), "printed")
    assert document.data == {"key": text, text: "value"}


@given(objects)
@settings(deadline=None)
def test_no_field_is_lost(value: dict[str, Any]) -> None:
    """Every field of the object is in what is stored, but for those that say the default."""
    stored = json.loads(to_json(parse_json(json.dumps(value).encode(), source="json")))
    for part in ("metadata", "spec"):
        for field, said in value[part].items():
            if field not in stored[part]:
                assert said in ("installed", "uninstall", "", 0, [], {}) or field == "rollout", (
                    field
                )
            elif field not in {"files", "rollout"}:
                assert stored[part][field] == said
    for given_file, file in zip(
        value["spec"].get("files", []), stored["spec"].get("files", []), strict=True
    ):
        assert {k: v for k, v in file.items() if k.startswith("content")} == {
            k: v for k, v in given_file.items() if k.startswith("content")
        }


def as_yaml(value: Any, indent: int = 0) -> str:
    """Block style with every string in double quotes."""
    pad = " " * indent
    if isinstance(value, dict) and value:
        return "".join(f"\n{pad}{as_yaml(k)}: {as_yaml(v, indent + 2)}" for k, v in value.items())
    if isinstance(value, list) and value:
        return "".join(f"\n{pad}- {as_yaml(v, indent + 2)}" for v in value)
    return (
        "".join(['"', *map(escaped, value), '"']) if isinstance(value, str) else json.dumps(value)
    )


def escaped(character: str) -> str:
    """YAML takes no control characters as they are, and makes a line feed of U+0085."""
    plain = character.isprintable() and character not in '"\\'
    return character if plain else f"\\U{ord(character):08x}"
