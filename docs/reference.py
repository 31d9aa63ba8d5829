"""Generates docs/reference.md from k8s/crds: every field of the four kinds, with its type, bounds and description.

python docs/reference.py            write the page
python docs/reference.py --print    print it
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "reference.md"
# In the order of the page.
CRDS: Final = ("tambourines", "tambourineinstances", "tambourinenodes", "tambourinerevisions")
Schema = dict[str, Any]
HEAD: Final = """\
# Reference

Every field of the four kinds, generated from `k8s/crds` by `make reference`; a test compares this page with them.
`kubectl explain tambourine.spec.files` prints the same. See [manifest.md](manifest.md) for how the fields work together,
and [kubernetes.md](kubernetes.md) for how a cluster uses them.

The API server rejects values outside these bounds, and fields that are not listed (`kubectl apply` validates strictly).
What only a host can check (whether a program exists, whether its administrator allows the unit) is reported in the
conditions. Lengths of strings are in characters.
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(_kind(_read(name)) for name in CRDS)


def _read(name: str) -> Schema:
    found: Schema = yaml.safe_load((ROOT / "k8s" / "crds" / f"{name}.yaml").read_text())
    return found


def _kind(crd: Schema) -> str:
    spec = crd["spec"]
    names, (version,) = spec["names"], spec["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    lines = [
        "",
        f"## {names['kind']}",
        "",
        schema["description"],
        "",
        f"`{spec['group']}/{version['name']}`, {spec['scope'].lower()}, short name `{', '.join(names['shortNames'])}`."
        + _selectable(version)
        + _columns(version),
    ]
    for part in ("spec", "status"):
        if part in schema["properties"]:
            lines += ["", *_table(part, schema["properties"][part])]
    rules = list(_rules("spec", schema["properties"]["spec"]))
    if rules:
        lines += ["", "Validation rules:", "", *rules]
    return "\n".join(lines) + "\n"


def _selectable(version: Schema) -> str:
    paths = [f"`{item['jsonPath'][1:]}`" for item in version.get("selectableFields", ())]
    return f" `--field-selector` takes {', '.join(paths)}." if paths else ""


def _columns(version: Schema) -> str:
    columns = version.get("additionalPrinterColumns", ())
    plain = [item["name"] for item in columns if not item.get("priority")]
    wide = [item["name"] for item in columns if item.get("priority")]
    text = f" Columns: {', '.join(plain)}" if plain else ""
    return f"{text}; with `-o wide` also {', '.join(wide)}." if wide else f"{text}." if text else ""


def _table(part: str, schema: Schema) -> Iterator[str]:
    yield f"| field of `{part}` | type | bounds | description |"
    yield "|---|---|---|---|"
    for path, field, required in _fields("", schema):
        bounds = ", ".join((["required"] if required else []) + list(_bounds(field)))
        yield f"| `{path}` | {_type(field)} | {bounds} | {_cell(field.get('description', ''))} |"


def _fields(path: str, schema: Schema) -> Iterator[tuple[str, Schema, bool]]:
    """Depth first, in the file's order: (path, schema, whether it is required)."""
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        yield here, field, name in required
        inside = field.get("items")
        yield from _fields(f"{here}[]", inside) if inside else _fields(here, field)


def _type(field: Schema) -> str:
    if field.get("x-kubernetes-int-or-string"):
        return "number or string"
    if field["type"] == "array":
        return f"list of {_type(field['items'])}s"
    if "additionalProperties" in field:
        return f"map of {_type(field['additionalProperties'])}s"
    return {"date-time": "time (RFC 3339)"}.get(field.get("format", ""), str(field["type"]))


def _bounds(field: Schema) -> Iterator[str]:
    if "enum" in field:
        yield " or ".join(f"`{value}`" for value in field["enum"])
    either = field.get("x-kubernetes-int-or-string")
    yield from _range(
        "" if not either else " as a number", field.get("minimum"), field.get("maximum")
    )
    if not either:
        yield from _range(" characters", field.get("minLength"), field.get("maxLength"))
    yield from _range(" items", field.get("minItems"), field.get("maxItems"))
    yield from _range(" keys", field.get("minProperties"), field.get("maxProperties"))
    if keys := field.get("x-kubernetes-list-map-keys"):
        yield f"each `{', '.join(keys)}` once"
    inner = field.get("items") or field.get("additionalProperties")
    if inner and "properties" not in inner and (bounds := ", ".join(_bounds(inner))):
        yield f"each {bounds}"
    if "pattern" in field:
        yield ("as a string " if either else "") + f"`{_cell(field['pattern'])}`"


def _range(unit: str, least: int | None, most: int | None) -> Iterator[str]:
    if least is not None and most is not None:
        yield f"{least:,} to {most:,}{unit}"
    elif most is not None:
        yield f"at most {most:,}{unit}"
    elif least is not None:
        yield f"at least {least:,}{unit}"


def _rules(path: str, schema: Schema) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        yield f"- `{path}{rule.get('fieldPath', '')}`: {rule['message']}"
    for name, field in schema.get("properties", {}).items():
        inside = field.get("items")
        yield from _rules(f"{path}.{name}[]", inside) if inside else _rules(f"{path}.{name}", field)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    if sys.argv[1:] == ["--print"]:
        sys.stdout.write(page())
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        PAGE.write_text(page())
