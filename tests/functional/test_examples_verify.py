"""systemd has nothing to say against the units of k8s/examples, but that a program is not here for which they ask."""

from __future__ import annotations

from pathlib import Path

import pytest

from tambourinefs.agent.admission.findings import Draft, conditional_commands
from tambourinefs.agent.admission.verify import AnalyzeVerifier
from tambourinefs.model.manifest import parse_yaml

pytestmark = pytest.mark.trio

EXAMPLES = sorted((Path(__file__).parents[2] / "k8s/examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
async def test_a_unit_of_an_example_passes_verify(path: Path) -> None:
    drafts = _drafts(path)
    found = await AnalyzeVerifier().verify(drafts)
    for draft in drafts:
        assert found[draft.unit].problems == ()
        missing = {
            f"{draft.unit}: Command {command} is not executable: No such file or directory"
            for command in conditional_commands(draft)
        }
        assert set(found[draft.unit].warnings) <= missing


def _drafts(path: Path) -> list[Draft]:
    return [
        Draft(
            manifest.spec.unit_name,
            manifest.spec.unit,
            tuple((item.name, item.content) for item in manifest.spec.drop_ins),
            tuple(file.path for file in manifest.spec.files),
        )
        for manifest in parse_yaml(path.read_bytes(), source=str(path))
    ]
