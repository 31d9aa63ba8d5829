"""What docs/operate.md shows is what happens: every command is run in its order, every line compared.

A comment `<!-- given: COMMAND -->` before a block, which a reader does not see, brings about what the block is for.
"""

from __future__ import annotations

import re
from pathlib import Path

from tambourinefs.doctor.checks import CHECKS
from tests.e2e.chain import wait_answering
from tests.lab.hosts import Host
from tests.lab.tree import SOURCE
from tests.transcript import BLOCK, matches, steps

PAGE = Path(__file__).parents[2] / "docs" / "operate.md"
GIVEN = re.compile(r"^<!-- given: (.*) -->$", re.MULTILINE)


def run(host: Host, command: str) -> list[str]:
    script = f"exec 2>&1; cd {SOURCE}\n{command}\n"
    return host.run("bash", "-c", script, check=False, timeout=120).stdout.splitlines()


def test_what_the_page_shows_is_what_happens(fresh_host: Host) -> None:
    text = PAGE.read_text()
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) >= 8
    end = 0
    for block in blocks:
        for given in GIVEN.findall(text, end, block.start()):
            run(fresh_host, given)
        end = block.end()
        # Blank lines keep the numbers of the lines right.
        for step in steps("\n" * text.count("\n", 0, block.start()) + block[0] + "\n"):
            actual = run(fresh_host, step.command)
            assert matches(step.output, actual), (
                f"operate.md:{step.line}: # {step.command}\nshown:\n  "
                + "\n  ".join(step.output)
                + "\nhappens:\n  "
                + "\n  ".join(actual)
            )
    wait_answering(fresh_host)


def test_each_given_is_before_a_block_of_its_own() -> None:
    text = PAGE.read_text()
    assert len(GIVEN.findall(text)) >= 3
    for given in GIVEN.finditer(text):
        assert text[given.end() :].lstrip().startswith("```console")


def test_the_page_explains_every_check() -> None:
    import tambourinefs.doctor as package

    source = "".join(file.read_text() for file in Path(package.__path__[0]).glob("*.py"))
    used = set(re.findall(r'Finding\(\s*"([a-z]+)"', source)) | {"silo", "statuses"}
    assert len(used) >= len(CHECKS)
    explained = set(re.findall(r"`([a-z]+)`", PAGE.read_text()))
    assert used <= explained
