"""How pages are compared with what happens: what matches, what does not, and what a command is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.transcript import matches, play, section, steps


def test_the_comparison_can_fail() -> None:
    assert matches(["hello   1", "…", "bye …"], ["hello 25", "x", "y", "bye bye"])
    assert matches(
        ["since Fri 2021-03-05 13:38:11 PST; 1 day 21h ago"],
        ["since Mon 2026-01-05 03:08:11 UTC; 2s ago"],
    )
    assert matches(["hello   2/2   3s"], ["hello   2/2   1m5s"])
    assert not matches(["active (running)"], ["failed"])
    assert not matches(["a", "b"], ["a"])
    assert not matches(["a"], ["a", "b"])


def test_commands_hosts_and_here_documents() -> None:
    page = (
        "# T\n```console\n$ one \\\n  two\nsaid\nh2# cat x\ny\n$ apply -f - <<END\na: $ b\nEND\ndone\n```\n"
        "```sh\n$ not this\n```\n"
    )
    found = steps(page)
    assert [(step.host, step.command, step.output, step.line) for step in found] == [
        ("", "one \\\n  two", ["said"], 3),
        ("h2", "cat x", ["y"], 6),
        ("", "apply -f - <<END\na: $ b\nEND", ["done"], 8),
    ]
    with pytest.raises(AssertionError, match="begins with a command"):
        steps("```console\nsaid\n```\n")


def test_a_section_ends_at_the_next_of_its_level_and_keeps_its_lines() -> None:
    page = "# T\n\n## A\n```console\n$ a\n```\n### B\n```console\n$ b\n```\n## C\n```console\n$ c\n```\n"
    assert [(step.command, step.line) for step in steps(section(page, "## A"))] == [
        ("a", 5), ("b", 9),
    ]  # fmt: skip
    assert [step.command for step in steps(section(page, "### B"))] == ["b"]


def test_a_page_that_shows_something_else_fails_with_both_texts() -> None:
    found = steps("```console\n$ a\nshown\n```\n")
    play(Path("page.md"), found, lambda _: "shown\n")
    with pytest.raises(
        AssertionError, match=r"page.md:2: \$ a\nshown:\n  shown\nhappens:\n  other"
    ):
        play(Path("page.md"), found, lambda _: "other\n")
