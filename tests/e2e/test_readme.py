"""What the README shows is what happens: every command of its `console` blocks is run, every output line compared."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from lab.hosts import Host
from lab.tree import SOURCE

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
ANYTHING = "…"
# What differs from run to run, in the order in which it is replaced.
VARYING = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "ID"),
    (re.compile(r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun) \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+"), "TIME"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"), "TIME"),
    (
        re.compile(r"\b(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]\d \d\d:\d\d:\d\d\b"),
        "TIME",
    ),
    (re.compile(r"\b(\d+ ?(y|month|w|day|h|min|m|s|ms|us)s? ?)+(?= ago)"), "AGE"),
    (re.compile(r"\b\d+(\.\d+)?(ms|us|s|m|h|d|min|B|K|M|G|KiB|MiB|%)(?![\w])"), "AMOUNT"),
    (re.compile(r"\b\d+(\.\d+)?\b"), "N"),
    (re.compile(r"[ \t]+"), " "),
)


@dataclass
class Step:
    command: str
    line: int
    output: list[str] = field(default_factory=list)


def steps(text: str) -> list[Step]:
    """The commands of all console blocks, in order, each with the lines that follow it."""
    found: list[Step] = []
    for block in BLOCK.finditer(text):
        first = text.count("\n", 0, block.start(1)) + 1
        new = True
        for number, line in enumerate(block[1].splitlines(), first):
            if line.startswith(("$ ", "# ")):
                found.append(Step(line[2:], number))
                new = False
            elif new:
                raise AssertionError(f"README.md:{number}: a console block begins with a command")
            elif found[-1].command.endswith("\\"):
                found[-1].command += "\n" + line
            else:
                found[-1].output.append(line)
    return found


def normal(line: str) -> str:
    for pattern, word in VARYING:
        line = pattern.sub(word, line)
    return line.strip()


def matches(expected: list[str], actual: list[str]) -> bool:
    """Line by line after normalising; `…` stands for any text in a line, or alone for any number of lines."""
    wanted = [ANYTHING if line.strip() == ANYTHING else normal(line) for line in expected]
    pattern = "".join(
        r"(?:[^\n]*\n)*?"
        if line == ANYTHING
        else r"[^\n]*?".join(map(re.escape, line.split(ANYTHING))) + r"\n"
        for line in wanted
    )
    return re.fullmatch(pattern, "".join(normal(line) + "\n" for line in actual)) is not None


def test_the_comparison_can_fail() -> None:
    assert matches(["hello   1", "…", "bye …"], ["hello 25", "x", "y", "bye bye"])
    assert matches(
        ["since Fri 2021-03-05 13:38:11 PST; 1 day 21h ago"],
        ["since Mon 2026-01-05 03:08:11 UTC; 2s ago"],
    )
    assert not matches(["active (running)"], ["failed"])
    assert not matches(["a", "b"], ["a"])
    assert not matches(["a"], ["a", "b"])


def test_what_the_readme_shows_is_what_happens(fresh_host: Host) -> None:
    found = steps(README.read_text())
    assert len(found) >= 5, "the README shows a transcript in ```console blocks"
    # The README's reader stands in the repository, which a host of the lab sees at SOURCE.
    for step in found:
        done = fresh_host.run(
            "sh", "-c", f"exec 2>&1; cd {SOURCE}\n{step.command}\n", check=False, timeout=120
        )
        actual = done.stdout.splitlines()
        assert matches(step.output, actual), (
            f"README.md:{step.line}: $ {step.command}\nshown:\n  "
            + "\n  ".join(step.output)
            + "\nhappens:\n  "
            + "\n  ".join(actual)
        )
