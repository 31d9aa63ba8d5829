"""Every example that we ship is a manifest, and one that both `tambourine apply` and kubectl put where they are used; it
teaches, and has a page.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tambourinefs.agent.admission.policy import Policy, refusal
from tambourinefs.model.config import DENIED_UNITS
from tambourinefs.model.manifest import parse_yaml

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "k8s/examples").glob("*.yaml"))
PAGES = ROOT / "docs/examples"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_a_manifest_without_a_namespace(path: Path) -> None:
    for manifest in parse_yaml(path.read_bytes(), source=str(path)):
        assert manifest.metadata.namespace == ""
        assert manifest.spec.command == "start"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_default_configuration_of_a_host_allows_it_or_its_page_says_what_to_add(
    path: Path,
) -> None:
    page = (PAGES / f"{path.stem}.md").read_text()
    for manifest in parse_yaml(path.read_bytes(), source=str(path)):
        defaults = Policy(namespaces=("*",), denied_units=DENIED_UNITS)
        refused = refusal(manifest, defaults)
        if refused is not None:
            unit = manifest.spec.unit_name
            assert f'allowed_units = ["{unit}"]' in page, refused
            assert refusal(manifest, replace(defaults, allowed_units=(unit,))) is None


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_teaches_and_has_a_page_that_the_index_leads_to(path: Path) -> None:
    index = (path.parent / "README.md").read_text()
    assert f"]({path.name})" in index
    assert f"](../../docs/examples/{path.stem}.md)" in index
    page = (PAGES / f"{path.stem}.md").read_text()
    assert f"](../../k8s/examples/{path.name})" in page
    assert f"$ kubectl apply -f k8s/examples/{path.name}\n" in page
    assert f"$ kubectl delete -f k8s/examples/{path.name}\n" in page
    assert len(page.splitlines()) < 50
    assert path.read_text().startswith("# ")


def test_there_is_no_page_without_an_example() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} == {path.stem for path in EXAMPLES}


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
