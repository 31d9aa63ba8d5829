"""docs/reference.md is what docs/reference.py makes of the CRDs; every field there has a description."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from docs import reference


def test_the_committed_page_is_what_the_script_makes() -> None:
    assert reference.PAGE.read_text() == reference.page(), "make reference"


def leaves(path: str, schema: reference.Schema) -> Iterator[tuple[str, reference.Schema]]:
    """Every field of a schema by another walk than the script's: all `properties`, wherever they stand."""
    for key, value in schema.items():
        if key == "properties":
            for name, field in value.items():
                yield f"{path}.{name}", field
        if isinstance(value, dict):
            yield from leaves(f"{path}.{key}", value)


@pytest.mark.parametrize("name", reference.CRDS)
def test_every_field_is_on_the_page_with_a_description(name: str) -> None:
    (version,) = reference._read(name)["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]["properties"]
    for part in ("spec", "status"):
        table = list(reference._table(part, schema.get(part, {})))
        assert all(line in reference.PAGE.read_text() for line in table[2:])
        for path, field in leaves(part, schema.get(part, {})):
            plain = path.replace(".properties", "").replace(".items", "[]").removeprefix(f"{part}.")
            row = next(line for line in table if line.startswith(f"| `{plain}` |"))
            assert field.get("description"), f"{name}: {part}.{plain}"
            assert field["description"].replace("|", "\\|") in row
