"""Every example that we ship is a manifest, and one that both `tambourine apply` and kubectl put where they are used."""

from __future__ import annotations

from pathlib import Path

import pytest

from tambourinefs.model.config import DENIED_UNITS
from tambourinefs.model.manifest import parse_yaml

EXAMPLES = sorted((Path(__file__).parents[2] / "k8s/examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_a_manifest_without_a_namespace(path: Path) -> None:
    for manifest in parse_yaml(path.read_bytes(), source=str(path)):
        assert manifest.metadata.namespace == ""
        assert manifest.spec.unit_name not in DENIED_UNITS


def test_the_first_example_installs_and_starts_hello() -> None:
    [hello] = parse_yaml(
        next(path for path in EXAMPLES if path.name == "hello.yaml").read_bytes(),
        source="hello.yaml",
    )
    assert (hello.metadata.name, hello.spec.unit_name) == ("hello", "hello.service")
    assert (hello.spec.state, hello.spec.command) == ("installed", "start")
    assert hello.spec.unit is not None
    assert "Description=" in hello.spec.unit
    assert "Documentation=" in hello.spec.unit
