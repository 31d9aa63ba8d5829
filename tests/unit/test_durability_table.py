"""docs/durability.md lists every flush in the source, and tests that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLUSHES = {
    "fsync",
    "fdatasync",
    "syncfs",
    "fsync_directory",
    "replace_durably",
    "replace_file_durably",
}
ROW = re.compile(r"^\| `([\w/]+\.py)` `([\w.]+)` \| (\w+) \| [^|]+ \| `([^`]+)` \|$", re.MULTILINE)
TABLE = ROW.findall((ROOT / "docs/durability.md").read_text())


def flushes(path: Path) -> Iterator[tuple[str, str, str]]:
    """(file, function, flush) for each use of a flushing call, also as a value that is called elsewhere."""

    def walk(node: ast.AST, inside: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
        for child in ast.iter_child_nodes(node):
            names = inside
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names = (*inside, child.name)
            # `fsync` alone is a handler (fuse lists them by name); `os.fsync`, `files.fsync_directory` are calls.
            name = child.attr if isinstance(child, ast.Attribute) else getattr(child, "id", "")
            if name in FLUSHES and not isinstance(getattr(child, "ctx", None), ast.Store):
                yield str(path.relative_to(ROOT / "tambourinefs")), ".".join(inside), name
            yield from walk(child, names)

    text = path.read_text()
    return walk(ast.parse(text), ()) if any(flush in text for flush in FLUSHES) else iter(())


def test_the_table_is_the_source() -> None:
    found = {f for path in (ROOT / "tambourinefs").rglob("*.py") for f in flushes(path)}
    assert len(found) > 20, "the search finds too little to be right"
    assert found == {row[:3] for row in TABLE}


@pytest.mark.parametrize("name", sorted({row[3] for row in TABLE}))
def test_the_tests_that_it_names_exist(name: str) -> None:
    file, _, function = name.partition("::")
    assert f"def {function}(" in (ROOT / file).read_text()
