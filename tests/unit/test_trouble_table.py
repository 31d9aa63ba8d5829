"""tests/README.md: each of the borrowed troubles 1 to 26 has a test, and each test that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ROW = re.compile(r"^\| (\d+) \| [^|]+ \| `([\w/]+\.py)::(\w+)` \|$", re.MULTILINE)
TABLE = ROW.findall((TESTS / "README.md").read_text())


def test_each_trouble_has_a_test() -> None:
    assert {int(number) for number, _, _ in TABLE} == set(range(1, 27))


@pytest.mark.parametrize(("file", "function"), sorted({row[1:] for row in TABLE}))
def test_the_tests_that_it_names_exist(file: str, function: str) -> None:
    assert f"def {function}(" in (TESTS / file).read_text()
