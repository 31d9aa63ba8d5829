"""What a page shows is what happens: the commands of its `console` blocks are run, and every line of output compared.

`$` is a prompt on this machine or on the one that the page is about, `h1#` one on the host h1. A command may go on after a
backslash, and up to the end of its here-document.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROMPT = re.compile(r"(?:(?P<host>h\d+)#|[$#]) (?P<command>.*)")
HERE = re.compile(r"<<'?(\w+)'?")
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
    (re.compile(r"\b(\d+(\.\d+)?(ms|us|s|m|h|d|min|B|K|M|G|KiB|MiB|%))+(?![\w])"), "AMOUNT"),
    (re.compile(r"\b\d+(\.\d+)?\b"), "N"),
    (re.compile(r"[ \t]+"), " "),
)


@dataclass
class Step:
    """One command, where it is run ("" for this machine), and what it is said to print."""

    command: str
    line: int
    host: str = ""
    output: list[str] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        """Whether the command goes on in the next line."""
        first, *rest = self.command.splitlines()
        here = HERE.search(first)
        return (first.endswith("\\") and not rest) or bool(here and here[1] not in rest)


def steps(text: str) -> list[Step]:
    """The commands of all console blocks, in order, each with the lines that follow it."""
    found: list[Step] = []
    for block in BLOCK.finditer(text):
        first = text.count("\n", 0, block.start(1)) + 1
        new = True
        for number, line in enumerate(block[1].splitlines(), first):
            prompt = PROMPT.fullmatch(line)
            if not new and found[-1].is_open:
                found[-1].command += "\n" + line
            elif prompt is not None:
                found.append(Step(prompt["command"], number, prompt["host"] or ""))
            elif new:
                raise AssertionError(f"line {number}: a console block begins with a command")
            else:
                found[-1].output.append(line)
            new = False
    return found


def section(text: str, heading: str) -> str:
    """The part of a page from this heading (`## What you see`) to the next of its level; lines before it are blank, so that
    steps keep their line numbers.
    """
    level = heading.partition(" ")[0]
    begin = text.index(f"\n{heading}\n") + 1
    end = re.compile(rf"^#{{1,{len(level)}}} ", re.MULTILINE).search(text, begin + len(heading))
    before = "\n" * text.count("\n", 0, begin)
    return before + text[begin : end.start() if end else None]


def normal(line: str) -> str:
    """A line without what differs from run to run."""
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


def play(page: Path, found: Iterable[Step], run: Callable[[Step], str]) -> None:
    """Run the steps in order; AssertionError with both texts at the first that prints something else than the page says."""
    for step in found:
        actual = run(step).splitlines()
        assert matches(step.output, actual), (
            f"{page.name}:{step.line}: {step.host or '$'} {step.command}\nshown:\n  "
            + "\n  ".join(step.output)
            + "\nhappens:\n  "
            + "\n  ".join(actual)
        )
