"""Texts of a unit that would cost the agent seconds to read are refused before they are read."""

from __future__ import annotations

import json
import time

import pytest

from tambourinefs.errors import InvalidManifest
from tambourinefs.model.manifest import parse_json


@pytest.mark.parametrize(
    "text",
    [
        '[Unit]\nConditionPathExists="/' + "%n" * 100_000 + "\n",  # 255 bytes for each two
        "[Service]\n" + "A=/b\n" * 50_000,
        "[Service]\nA=" + "/b " * 300_000 + "\n",
    ],
    ids=["specifiers", "settings", "characters"],
)
def test_a_unit_that_is_slow_to_read_is_refused_at_once(text: str) -> None:
    spec = {"name": "a" * 240, "unit": text}
    whole = {
        "apiVersion": "tambourine.dev/v1alpha1",
        "kind": "Tambourine",
        "metadata": {"name": "x"},
        "spec": spec,
    }
    begun = time.process_time()
    with pytest.raises(InvalidManifest, match=r"at most [0-9]+ "):
        parse_json(json.dumps(whole).encode(), source="x")
    assert time.process_time() - begun < 2
