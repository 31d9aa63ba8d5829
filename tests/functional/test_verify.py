"""systemd-analyze verify on drafts: each of its traps."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from tambourinefs.agent.admission.findings import Draft, Findings, Verifier
from tambourinefs.agent.admission.verify import AnalyzeVerifier
from tests.waiting import PATIENCE

pytestmark = pytest.mark.trio

GOOD = "[Service]\nExecStart=/bin/sleep 1000\n"


async def verify(*batch: Draft) -> dict[str, Findings]:
    verifier: Verifier = AnalyzeVerifier()
    return dict(await verifier.verify(batch))


async def test_a_good_unit() -> None:
    assert await verify(Draft("a.service", GOOD)) == {"a.service": Findings()}


async def test_a_typing_error_is_a_warning_with_its_place() -> None:
    found = (
        await verify(
            Draft("a.service", GOOD + "Restrat=always\n[Bogus]\nx=1\n[X-Tambourine]\na=b\n")
        )
    )["a.service"]
    assert found.problems == ()
    first, second = found.warnings
    assert first.startswith("a.service:3: Unknown key")
    assert "Restrat" in first
    assert second.startswith("a.service:4: Unknown section 'Bogus'")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.service", "[Unit]\nDescription=x\n", "no ExecStart="),
        ("a.service", "", "empty unit file"),
        ("a.service", "[Service\nExecStart=/bin/true\n", "Invalid section header"),
        ("a.service", "[Service]\nExecStart=/opt/not/there\n", "not executable"),
        ("a.service", "[Service]\nExecStart=/bin/true %Q\n", "specifiers"),
        ("a@.service", "[Service]\nExecStart=/opt/not/there %i\n", "not executable"),
        ("a.socket", "[Socket]\nListenStream=/run/a\n", "a.service not loaded"),
        ("a.timer", "[Timer]\nOnCalendar=blah\n", "OnCalendar|calendar specification"),
        ("mnt-a.mount", "[Mount]\nWhat=tmpfs\nWhere=/mnt/b\n", "Where="),
        ("a.service", "\udcff\udcfe[Service]\nExecStart=/bin/true\n", "UTF-8"),
        ("a.service", "[Service]\nExecStart=/bin/true " + "x" * 2_000_000, "failed to load"),
    ],
)
async def test_a_unit_that_cannot_work(name: str, text: str, says: str) -> None:
    found = (await verify(Draft(name, text)))[name]
    assert found.problems
    assert re.search(says, " ".join(found.problems))


async def test_what_the_batch_brings_counts_as_present() -> None:
    found = await verify(
        Draft("a.socket", "[Socket]\nListenStream=/run/a\n"),
        Draft("a.service", "[Service]\nExecStart=/opt/a/bin/daemon\n"),
        Draft("b.service", GOOD, files=("/opt/a/bin/daemon",)),
    )
    assert found == {"a.socket": Findings(), "a.service": Findings(), "b.service": Findings()}


@pytest.mark.parametrize(
    ("conditions", "good"),
    [
        ("ConditionFileIsExecutable=/opt/not/there", True),
        ("ConditionPathExists=/opt/not/there", True),
        ("ConditionPathExists=/opt/not", False),
        ("ConditionPathExists=!/opt/not/there", False),
        ("ConditionPathExists=|/opt/not/there", False),
        ("AssertPathExists=/opt/not/there", False),
        ("ConditionPathExists=/opt/not/there\nConditionHost=", False),
        ("[Service]\nConditionPathExists=/opt/not/there", False),
    ],
)
async def test_a_command_that_a_condition_asks_for_may_be_missing(
    conditions: str, good: bool
) -> None:
    text = f"[Unit]\n{conditions}\n[Service]\nExecStart=/opt/not/there\n"
    found = (await verify(Draft("a.service", text)))["a.service"]
    assert (found.problems == ()) is good
    assert any(
        "/opt/not/there is not executable" in line for line in (*found.problems, *found.warnings)
    )


async def test_a_command_that_a_template_or_a_drop_in_asks_for_may_be_missing() -> None:
    command = "[Service]\nExecStart=/opt/not/there %i\n"
    condition = "[Unit]\nConditionFileIsExecutable=/opt/not/there\n"
    found = await verify(
        Draft("a@.service", condition + command),
        Draft("b.service", command.replace(" %i", ""), (("10-a.conf", condition),)),
        Draft("c.service", command.replace(" %i", "")),
    )
    assert found["a@.service"].problems == ()
    assert found["b.service"].problems == ()
    assert found["c.service"].problems


async def test_what_is_somebody_elses_or_elsewhere_does_not_count_against_it() -> None:
    text = (
        "[Unit]\nDocumentation=man:no-such-page(8)\nWants=not-there.service\nAfter=not-there.service\n"
        + GOOD
    )
    assert await verify(Draft("a.service", text)) == {"a.service": Findings()}


async def test_a_bad_draft_does_not_colour_the_others() -> None:
    batch = [Draft(f"n-{n}.service", GOOD) for n in range(200)]
    batch[77] = Draft("n-77.service", "[Service]\nExecStart=/opt/not/there\n")
    found = await verify(*batch)
    assert [name for name, f in found.items() if f != Findings()] == ["n-77.service"]
    assert len(found) == 200


async def test_drop_ins_count() -> None:
    drop_in = ("10-x.conf", "[Service]\nExecStart=/bin/false\nFoo=1\n")
    found = (await verify(Draft("a.service", GOOD, (drop_in,))))["a.service"]
    assert "more than one ExecStart=" in found.problems[0]
    assert any(line.startswith("a.service.d/10-x.conf:3:") for line in found.problems)


def host_with(tmp_path: Path, name: str, text: str) -> AnalyzeVerifier:
    """A verifier whose host has this unit, with a search path of its own."""
    (tmp_path / name).write_text(text)
    return AnalyzeVerifier(unit_path=[str(tmp_path)])


async def test_a_drop_in_for_a_unit_of_the_host(tmp_path: Path) -> None:
    verifier = host_with(tmp_path, "theirs.service", GOOD)
    bad = Draft("theirs.service", None, (("a.conf", "[Service]\nExecStartPre=/opt/not/there\n"),))
    good = Draft("theirs.service", None, (("a.conf", "[Service]\nRestart=always\n"),))
    assert "not executable" in (await verifier.verify([bad]))["theirs.service"].problems[0]
    assert (await verifier.verify([good]))["theirs.service"] == Findings()


async def test_the_hosts_own_faults_are_not_the_drop_ins(tmp_path: Path) -> None:
    verifier = host_with(tmp_path, "theirs.service", "[Service]\nExecStart=/opt/gone\n")
    found = (
        await verifier.verify(
            [Draft("theirs.service", None, (("a.conf", "[Service]\nRestart=always\n"),))]
        )
    )["theirs.service"]
    assert found.problems == ()
    assert "not executable" in found.warnings[0]


async def test_text_after_a_trailing_backslash_belongs_to_the_line() -> None:
    """Why [X-Tambourine] goes first: appended, it would become an argument."""
    found = await verify(Draft("a.service", "[Service]\nExecStart=/bin/true \\\n[Bogus]\nFoo=1"))
    assert found["a.service"].warnings  # Foo is in [Service] now …
    assert not any(
        "Bogus" in line for line in found["a.service"].warnings
    )  # … and there is no [Bogus]


async def test_names_with_escapes_and_observed_units_without_text() -> None:
    found = await verify(Draft("a\\x2db@.service", GOOD + "Foo=1\n"), Draft("observed.service"))
    assert found["a\\x2db@.service"].warnings[0].startswith("a\\x2db@.service:3:")
    assert found["observed.service"] == Findings()


async def test_nothing_is_left_behind(tmp_path: Path) -> None:
    verifier = AnalyzeVerifier(staging=tmp_path)
    await verifier.verify([Draft("a.service", GOOD), Draft("b.service", "")])
    assert os.listdir(tmp_path) == []


def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A fake systemd-analyze, first on PATH."""
    program = tmp_path / "bin" / "systemd-analyze"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


@pytest.mark.timing
async def test_a_verify_that_hangs_is_a_problem_of_that_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, announce: Callable[[str], None]
) -> None:
    announce("no answer within 0.5 s; one by one")
    hang = 'case "$*" in *slow.service*) exec sleep 1000;; esac'
    pretend(tmp_path, monkeypatch, hang)
    verifier = AnalyzeVerifier(single_timeout=0.5, batch_timeout=0.5)
    with trio.fail_after(PATIENCE):
        found = await verifier.verify([Draft("slow.service", GOOD), Draft("quick.service", GOOD)])
    assert "no answer within 0.5 s" in found["slow.service"].problems[0]
    assert found["quick.service"] == Findings()


async def test_a_verify_that_says_nothing_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(tmp_path, monkeypatch, "exit 3")
    found = await AnalyzeVerifier().verify([Draft("a.service", GOOD)])
    assert found["a.service"].problems == (
        "systemd-analyze verify: failed with status 3 and no output",
    )


async def test_a_host_without_systemd_analyze_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, announce: Callable[[str], None]
) -> None:
    announce("cannot run systemd-analyze")
    monkeypatch.setenv("PATH", str(tmp_path))
    found = await AnalyzeVerifier().verify([Draft("a.service", GOOD)])
    assert "cannot run systemd-analyze" in found["a.service"].problems[0]


async def test_endless_output_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(tmp_path, monkeypatch, "head -c 50000000 /dev/zero | tr '\\0' x >&2")
    with trio.fail_after(PATIENCE):
        assert (await AnalyzeVerifier().verify([Draft("a.service", GOOD)]))[
            "a.service"
        ] == Findings()


async def test_what_cannot_be_staged_is_that_drafts_problem_alone(tmp_path: Path) -> None:
    """A unit's name has up to 255 bytes, and so has a file's: with .d behind it the directory cannot be made."""
    longest = "a" * 247 + ".service"
    drafts = (Draft(longest, GOOD, (("x.conf", "[Unit]\n"),)), Draft("b.service", GOOD))
    found = await verify(*drafts)
    assert "too long" in found[longest].problems[0]
    assert found["b.service"] == Findings()

    nowhere = AnalyzeVerifier(staging=tmp_path / "gone")
    found = dict(await nowhere.verify([Draft("b.service", GOOD)]))
    assert "cannot be verified" in found["b.service"].problems[0]
